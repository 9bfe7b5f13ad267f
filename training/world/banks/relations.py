"""Small relations between words: opposites, sounds, young, colours, plurals, past tenses, and fixed orders."""


def _pairs(text: str) -> dict[str, str]:
    return dict(item.split("=") for item in text.split())


OPPOSITES = _pairs(
    "hot=cold big=small tall=short fast=slow happy=sad rich=poor hard=soft light=dark wet=dry old=young high=low "
    "long=brief strong=weak loud=quiet full=empty open=closed early=late thick=thin wide=narrow deep=shallow "
    "clean=dirty heavy=weightless sharp=dull sweet=sour brave=afraid kind=cruel good=bad up=down left=right day=night "
    "black=white first=last true=false love=hate win=lose buy=sell start=stop push=pull give=take near=far north=south "
    "east=west summer=winter smooth=rough simple=complex inside=outside above=below before=after always=never "
    "friend=enemy king=queen man=woman boy=girl brother=sister"
)
SOUNDS = _pairs(
    "dog=bark cat=meow cow=moo duck=quack lion=roar sheep=bleat horse=neigh pig=oink owl=hoot wolf=howl bee=buzz "
    "snake=hiss mouse=squeak crow=caw frog=croak rooster=crow hen=cluck bird=chirp donkey=bray goose=honk "
    "elephant=trumpet "
    "bear=growl monkey=chatter turkey=gobble"
)
YOUNG = _pairs(
    "dog=puppy cat=kitten cow=calf horse=foal sheep=lamb pig=piglet duck=duckling lion=cub goose=gosling goat=kid "
    "hen=chick deer=fawn swan=cygnet frog=tadpole kangaroo=joey butterfly=caterpillar owl=owlet eagle=eaglet"
)
THING_COLOURS = _pairs(
    "grass=green snow=white coal=black blood=red sky=blue banana=yellow carrot=orange leaf=green milk=white rose=red "
    "lemon=yellow crow=black cherry=red sun=yellow tomato=red pumpkin=orange frog=green cloud=white ink=black "
    "chocolate=brown sea=blue plum=purple pig=pink elephant=gray fox=orange bear=brown swan=white grape=purple "
    "night=black flamingo=pink stone=gray mouse=gray cucumber=green lime=green bone=white bark=brown"
)
PLURALS = _pairs(
    "cat=cats dog=dogs book=books tree=trees car=cars mouse=mice child=children foot=feet tooth=teeth man=men "
    "woman=women goose=geese box=boxes city=cities leaf=leaves wolf=wolves knife=knives key=keys star=stars hat=hats "
    "baby=babies story=stories bus=buses fox=foxes house=houses bird=birds ring=rings lamp=lamps"
)
PASTS = _pairs(
    "go=went see=saw eat=ate take=took give=gave run=ran sing=sang swim=swam write=wrote drive=drove speak=spoke "
    "break=broke know=knew grow=grew fly=flew fall=fell find=found buy=bought bring=brought teach=taught catch=caught "
    "think=thought sleep=slept keep=kept leave=left lose=lost make=made say=said tell=told sell=sold sit=sat "
    "stand=stood "
    "walk=walked play=played jump=jumped cook=cooked"
)
_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ORDERS = {
    "days": tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
    "months": tuple("January February March April May June July August September October November December".split()),
    "letters": tuple("A B C D E F G H I J K L M N O P Q R S T U V W X Y Z".split()),
    "small letters": tuple("a b c d e f g h i j k l m n o p q r s t u v w x y z".split()),
    "number words": tuple((_ONES + " eighteen nineteen twenty").split()),
    "ordinals": tuple("first second third fourth fifth sixth seventh eighth ninth tenth".split()),
}
DIGIT_WORDS = {str(i + 1): word for i, word in enumerate(ORDERS["number words"])}
UPPER = {w: w.upper() for w in "a b c d e f g h i j k l m n o p q r s t u v w x y z".split()}
