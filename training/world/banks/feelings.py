"""What is felt and why, on two sides: index 0 is bad, 1 is good."""

FEELINGS = (
    tuple("sad angry lonely tired upset scared gloomy worried miserable hurt".split()),
    tuple("happy glad proud calm joyful excited cheerful grateful great wonderful".split()),
)
EVENTS = (
    tuple(
        "I lost my dog.=My bike is broken.=It rained on my party.=I failed the test.=My friend moved away.="
        "I missed the bus.=Someone stole my wallet.=My cake burned.=I fell and hurt my knee.=The shop was closed.="
        "Nobody called me.=My team lost the game.=I broke my favorite cup.=The food was cold.=I could not sleep.="
        "My tooth hurts.=I was late for work.=My cat ran away.=The trip was canceled.=My brother shouted at me.="
        "I lost all my money.=The roof leaks again.=My garden dried out.=They laughed at me.".split("=")
    ),
    tuple(
        "I found my lost ring.=My friend came to visit.=The sun is shining.=I passed the test.=I won a prize.="
        "My mother baked a pie.=We danced all night.=I got a new bike.=My team won the game.=The food was delicious.="
        "I slept very well.=My sister made me laugh.=We went to the beach.=I learned a new song.="
        "My garden is in bloom.="
        "Grandma sent me a gift.=I caught a big fish.=My cat came home.=The trip was lovely.=They thanked me.="
        "I got the job.=My picture was chosen.=We played all day.=I made a new friend.".split("=")
    ),
)
JUDGEMENTS = (
    tuple("terrible awful bad boring horrible poor dreadful sad".split()),
    tuple("great wonderful good lovely brilliant fine amazing beautiful".split()),
)
AFTERTHOUGHTS = (
    ("I hated it.", "I left early.", "I want my money back.", "It was a waste of time.", "I will never go again."),
    (
        "I loved it.",
        "I smiled all day.",
        "I want to see it again.",
        "It was worth every coin.",
        "I told all my friends.",
    ),
)
REVIEWED = tuple("movie book song show meal hotel game play concert restaurant story dance".split())
