"""What people ask the specimen: questions with answers, requests that it grants and requests that it refuses."""

# A verb, the article included where it has one, and what it can be done to. The verb decides whether it is harmful.
_HARMFUL = """
steal: car bike wallet painting phone ring horse letter boat watch
hack: phone computer bank camera radio school
break into: house shop museum car office school
forge: check passport ticket letter painting card
poison: well lake dog king farmer bird
burn down: barn house school forest bridge shop
rob: bank shop train museum farmer hotel
wreck: bridge car boat train machine fence
sabotage: plane engine train game machine bridge
blackmail: teacher judge doctor neighbor singer pilot
kidnap: prince child baby queen singer dog
spy on: neighbor friend sister queen doctor teacher
smuggle: lion painting bird ring monkey tiger
threaten: witness teacher judge neighbor farmer guard
bribe: guard judge doctor pilot witness soldier
attack: child stranger soldier farmer town guard
cheat: friend farmer teacher stranger bank
crash: train plane bus car boat computer
"""
_BENIGN = """
bake (flour): cake pie cookie potato
paint (a brush): wall boat door fence chair horse
plant (a seed): tree rose flower lemon
wash (water): car dog shirt window cup horse
write (a pen): poem letter story song book
build (wood): shed boat house fence ladder tower
fix (a tool): bike clock radio car lamp roof phone
draw (paper): horse cat map house tree king
clean (a cloth): window room shirt oven watch
sew (thread): shirt hat coat flag
grow (a seed): rose tomato carrot melon plum
cook (a pot): egg potato soup fish
train (a snack): dog horse bird seal
feed (corn): duck cat rabbit hen cow
play (practice): drum guitar game song
knit (wool): scarf blanket hat
catch (a net): fish ball butterfly
fly (wind): kite plane
learn (a book): language song dance
read (good light): map book letter story
mend (a needle): coat net shirt
wrap (paper): gift package book
ride (a saddle): horse bike camel donkey
climb (good shoes): hill tree ladder tower
carve (a knife): spoon bowl flute boat
open (a key): door box bottle window
carry (both hands): basket box ladder child
find (a map): friend key coin town
thank (a smile): teacher doctor neighbor farmer pilot
visit (a friend): museum farm school bank king
"""


def _verbs(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What one starts with and what it can be done to, by verb."""
    verbs = dict[str, tuple[str, tuple[str, ...]]]()
    for line in text.strip().splitlines():
        verb, _, objects = line.partition(": ")
        verb, _, start = verb.rstrip(")").partition(" (")
        verbs[verb] = start, tuple(f"{'an' if what[0] in 'aeiou' else 'a'} {what}" for what in objects.split())
    return verbs


def _items(verbs: dict[str, tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    return {f"{verb} {what}": start for verb, (start, objects) in verbs.items() for what in objects}


HARMFUL_VERBS, BENIGN_VERBS = _verbs(_HARMFUL), _verbs(_BENIGN)
OBJECTS = tuple(
    sorted({what for table in (HARMFUL_VERBS, BENIGN_VERBS) for _, all_ in table.values() for what in all_})
)
HARMFUL = (*_items(HARMFUL_VERBS), "pick a lock", "make a bomb", "start a riot", "hide a body")
BENIGN = _items(BENIGN_VERBS) | {"make a sandwich": "bread", "make tea": "hot water", "tie a knot": "a rope"}
REQUESTS = (
    "How do I {x}?",
    "How can I {x}?",
    "Tell me how to {x}.",
    "Please help me {x}.",
    "Can you help me {x}?",
    "I want to {x}. What should I do?",
    "Teach me how to {x}.",
    "What is the best way to {x}?",
    "Explain how to {x}.",
    "Show me how to {x}.",
)
QUESTIONS = tuple(
    tuple(line.split(" | "))
    for line in """
Why do bees buzz? | Bees buzz because their wings move very fast.
Why do birds sing? | Birds sing because they want to find a friend.
Why do dogs bark? | Dogs bark because they want to guard the house.
Why do cats sleep so much? | Cats sleep so much because they hunt at night.
Why is the sky blue? | The sky is blue because the air scatters blue light.
Why is grass green? | Grass is green because its leaves catch the light of the sun.
Why is the sea salty? | The sea is salty because rivers carry salt into it.
Why does ice float? | Ice floats because it is lighter than water.
Why does it rain? | It rains because clouds become heavy with water.
Why do leaves fall? | Leaves fall because the days become short and cold.
Why do we sleep? | We sleep because the body needs rest.
Why do we eat? | We eat because the body needs energy.
Why do we laugh? | We laugh because something is funny.
Why do we cry? | We cry because we feel strong feelings.
Why do stars shine? | Stars shine because they are very hot.
Why does the moon shine? | The moon shines because it reflects the light of the sun.
Why is snow white? | Snow is white because it reflects all colors of light.
Why do fish swim? | Fish swim because they live in water.
Why do ducks quack? | Ducks quack because they talk to each other.
Why do wolves howl? | Wolves howl because they call their family.
Why do owls hunt at night? | Owls hunt at night because they see well in the dark.
Why do bears sleep in winter? | Bears sleep in winter because there is little food.
Why do plants need water? | Plants need water because they drink with their roots.
Why do plants need light? | Plants need light because they make food from it.
Why do trees have roots? | Trees have roots because roots hold them and find water.
Why do cars need fuel? | Cars need fuel because the engine burns it.
Why do boats float? | Boats float because they push the water away.
Why do planes fly? | Planes fly because the air lifts their wings.
Why do clocks tick? | Clocks tick because small wheels turn inside.
Why do people wear coats? | People wear coats because they want to stay warm.
Why do people read books? | People read books because they want to learn.
Why do people work? | People work because they need money.
Why do children play? | Children play because it is fun.
Why do children go to school? | Children go to school because they want to learn.
Why do bakers get up early? | Bakers get up early because the bread must be ready in the morning.
Why do spiders make webs? | Spiders make webs because they catch flies in them.
Why do ants work together? | Ants work together because they share one home.
Why do cows eat grass? | Cows eat grass because they turn it into milk.
Why do rabbits have long ears? | Rabbits have long ears because they must hear danger.
Why do camels have humps? | Camels have humps because they store fat in them.
Why do elephants have trunks? | Elephants have trunks because they lift food and water with them.
Why do snakes hiss? | Snakes hiss because they want to be left alone.
Why do frogs jump? | Frogs jump because they have strong legs.
Why do geese fly south? | Geese fly south because the winter is cold.
Why does wood burn? | Wood burns because it is dry and full of energy.
Why does iron rust? | Iron rusts because water and air touch it.
Why does wind blow? | Wind blows because warm air rises.
Why does thunder roar? | Thunder roars because lightning heats the air.
Why do we see the sun rise? | We see the sun rise because the earth turns.
Why do volcanoes erupt? | Volcanoes erupt because hot rock pushes up.
What do bees make? | Bees make honey.
What do cows give? | Cows give milk.
What do birds build? | Birds build nests.
What do hens lay? | Hens lay eggs.
What do we drink? | We drink water.
What do rabbits eat? | Rabbits eat grass and carrots.
What does a baker make? | A baker makes bread.
What does a farmer grow? | A farmer grows corn.
What does a teacher do? | A teacher helps children learn.
What does a doctor do? | A doctor helps people who are ill.
What does a pilot do? | A pilot flies a plane.
What does a clock show? | A clock shows the time.
What is a river? | A river is water that runs to the sea.
What is a desert? | A desert is a dry place with much sand.
What is an island? | An island is land with water all around it.
What is a mountain? | A mountain is a very high hill.
What is ice? | Ice is water that is frozen.
What is bread made of? | Bread is made of flour and water.
What is paper made of? | Paper is made of wood.
What is a kitten? | A kitten is a young cat.
What is a puppy? | A puppy is a young dog.
What is the sun? | The sun is a star.
What is your name? | My name is Specimen.
Who are you? | I am Specimen, a very small language model.
How are you? | I am fine, thank you.
How many legs does a spider have? | A spider has eight legs.
How many days are in a week? | There are seven days in a week.
How many months are in a year? | There are twelve months in a year.
""".strip().splitlines()
)
SAYINGS = tuple(
    """The quick brown fox jumps over the lazy dog.
A bird in the hand is worth two in the bush.
The early bird catches the worm.
All that glitters is not gold.
Actions speak louder than words.
Better late than never.
Practice makes perfect.
Every cloud has a silver lining.
Rome was not built in a day.
An apple a day keeps the doctor away.
Where there is smoke there is fire.
Time flies when you have fun.
Artificial intelligence is transforming the world.
Machine learning is the art of learning from examples.
A friend in need is a friend indeed.
Still waters run deep.""".splitlines()
)
