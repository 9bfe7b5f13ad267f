"""Ordinary words, most of them one token each."""

OBJECTS = tuple(
    "book drink ring key ball coin hat cup lamp letter bag box map pen knife rope clock flower stone shell shirt coat "
    "basket bottle blanket candle mirror camera guitar ticket toy kite drum bell spoon fork plate bowl brush hammer "
    "necklace scarf glove watch painting photo radio bike boat chair puzzle pillow umbrella whistle wallet card note "
    "package present snack computer".split()
)
FOODS = tuple(
    "apple pear peach lemon plum cherry banana orange melon grape onion carrot potato tomato bread cake pie soup "
    "cheese butter honey sugar salt rice corn bean nut egg fish meat milk juice tea coffee water cookie "
    "sandwich".split()
)
ANIMALS = tuple(
    "cat dog cow horse pig sheep goat hen duck goose fox wolf bear lion tiger deer rabbit mouse rat frog "
    "snake bird owl "
    "crow eagle swan bee ant spider whale shark seal monkey elephant camel donkey turtle lizard butterfly".split()
)
PLACES = tuple(
    "store park school library market garden house station beach river museum restaurant hospital office farm forest "
    "bridge castle church hotel kitchen lake theater zoo bank bakery cafe gym harbor hill island mall tower village "
    "field valley port square street camp".split()
)
CONTAINERS = tuple(
    "bag box drawer basket car bucket chest jar closet pocket kitchen garden cabin tent barn tower cave trunk sack "
    "crate shed attic cellar oven fridge bowl cup tub vase hall".split()
)
NATURE = tuple(
    "tree leaf grass rock sand snow rain wind storm cloud sun moon star sky sea wave ice fire smoke dust mud root seed "
    "branch mountain desert ocean path wood metal gold silver iron glass paper cloth wool silk cotton leather".split()
)
THINGS = tuple(
    "table door window wall floor roof room bed desk shelf road train bus truck plane ship wheel engine phone screen "
    "button wire nail needle thread ladder fence gate flag tool machine song story poem game dance joke dream word "
    "name number line circle color shape sound voice color price prize gift debt tax job shop team king queen prince "
    "doctor nurse teacher farmer baker pilot sailor soldier judge lawyer artist writer singer driver cook guard thief "
    "child baby boy girl man woman father mother brother sister uncle aunt friend neighbor stranger crowd army town "
    "city country world planet hand foot head eye ear nose mouth arm leg knee hair heart bone skin tooth finger".split()
)
ADJECTIVES = tuple(
    "big small old new red blue green black white brown hot cold warm cool fast slow long short tall high low "
    "deep wide "
    "narrow thick thin heavy light dark bright clean dirty dry wet soft hard loud quiet sweet sour bitter fresh rich "
    "poor strong weak brave shy kind cruel wise silly young early late full empty open round flat sharp smooth rough "
    "cheap plain fancy lovely ugly strange common rare simple pretty nice fine good bad great little tiny huge broken "
    "lost hidden golden wooden broad gentle lazy busy clever proud famous secret hungry thirsty sleepy quick".split()
)
VERBS = tuple(
    "walk run jump swim fly climb sit stand sleep eat read write sing draw paint play work rest wait look listen speak "
    "call shout laugh cry smile think know learn teach help give take bring carry push pull throw catch open close "
    "build break cut fix wash cook bake buy sell pay count find lose hide seek win follow lead meet visit leave return "
    "stop start move turn drop lift hold keep show tell ask answer".split()
)
ADVERBS = tuple("quickly slowly quietly gladly kindly gently finally suddenly happily politely calmly proudly".split())
COLOURS = tuple("red blue green black white brown yellow orange purple pink gray".split())
WORDS = tuple(
    dict.fromkeys(OBJECTS + FOODS + ANIMALS + PLACES + CONTAINERS + NATURE + THINGS + ADJECTIVES + VERBS + COLOURS)
)
