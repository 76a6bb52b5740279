"""Names that are spelled like relations or numbers: "top hat", "seven up", "jack in the box".

The lists were read from WordNet's compound nouns of things one can see, and added to by hand. What is missing
here is refused with a sentence that says how to ask for it all the same: in quotation marks.
"""

from __future__ import annotations


def words_in(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


def _sets(table: dict[str, str]) -> dict[str, frozenset[str]]:
    return {word: words_in(following) for word, following in table.items()}


AFTER_POSITION = _sets(
    {
        "left": "angle arrow bank bracket brain field fielder hand-drive handed hander hemisphere turn wing",
        "right": "angle angled arrow bank bracket brain click field fielder hand-drive handed hander"
        " hemisphere triangle turn whale wing",
        "top": "banana bar billing boot boots box brass bun coat dog down dressing end freezer gear gun"
        " handle hat hats knot lift light load loader loading notch of onion opening quality quark"
        " round secret sheet side sider soil spin stitch tube up",
        "bottom": "bracket dog feeder fish freezer line quark rot round up",
        "front": "bench bumper burner camera cover crawl desk door doors end entrance fender fork gate"
        " lawn leg light line load loader loading loaded man matter page panel paw porch projector"
        " room seat tooth wheel wheels window yard",
        "back": "board bone brace breaker burner camera channel circle country cover cushion door doors"
        " drop end entrance exercise hoe light massager matter pack packs pain panel pillow plate"
        " pocket porch rest room saw scratcher seat splash stage strap street support talk to"
        " tooth wheel wheels window yard",
        "rear": "admiral bumper camera door end fender lamp light mirror seat view wheel wheels window",
        "upper": "arm back balcony berth body cannon case class crust deck eyelid hand jaw jawbone leg"
        " limit lip receiver side",
        "lower": "arm back balcony berth body cannon case class deck eyelid jaw jawbone leg limit lip"
        " receiver",
        "middle": "age aged ages class ear east eastern finger name school watch west",
        "center": "bit channel circle console field fielder line piece punch spread stage",
        "centre": "bit channel circle console forward half line piece punch spread stage",
        "near": "beer east eastern field gale infrared miss sighted thing vision",
        "far": "cry east eastern infrared sighted",
    }
)
"""After each word of position, the words that make a name with it."""

AFTER_EVERY_ORDINAL = words_in(
    """
    base baseman class degree edition floor gear generation grade half place prize
    """
)
AFTER_ORDINAL = _sets(
    {
        "first": "aid amendment balcony blush communion lady lieutenant light mate responder violin",
        "second": "balcony banana deck hand lieutenant skin sight string violin",
        "third": "eye eyelid party person rail wheel world",
        "fourth": "of wall",
        "last": "supper straw name",
        "next": "door gen of",
        "final": "cut draft",
    }
)
"""After each ordinal, the words that make a name with it."""

UNITS = words_in(
    """
    amp ball bedroom bit blade bulb burner button by carat cent chamber channel colour color core
    corner cube cylinder day deck digit dimensional disc dollar door drawer euro eyed finger foot
    gallon gang gram hole hour in inch iron kettle key kilo kilogram layer leaf leg legged lever lb
    line liter litre meter metre mile minute ml mm cm kg oz ounce o'clock pack pence penny percent
    person piece pin pint player ply point pole position poster pound prong quart quid ring room
    seat seater second shelf shot sided slice slot speed spoke star step storey story stroke tier
    ton tone tooth volt watt way wheel wheeled wheeler wick wire yard year v w
    """
)
"""Words between a number and a thing that make the number a property: "two piece suit"."""

NUMBER_NAMES = frozenset(
    {
        "five guys",
        "five spice",
        "four horsemen",
        "four square",
        "one direction",
        "one piece",
        "one shot",
        "seven dwarfs",
        "seven eleven",
        "seven seas",
        "seven up",
        "seven wonders",
        "ten commandments",
        "three kings",
        "three musketeers",
        "three stooges",
    }
)
"""Names that begin with a number, by their first two words."""

IDIOMS = (
    "bats in the belfry",
    "bull in a china shop",
    "cat in the hat",
    "cream of the crop",
    "dog in the manger",
    "egg in a hole",
    "fifth wheel",
    "fly in the ointment",
    "forget me not",
    "hen of the woods",
    "jack in a box",
    "jack in the box",
    "jack in the pulpit",
    "lily of the valley",
    "lord of the rings",
    "man in the moon",
    "pig in a blanket",
    "pigs in a blanket",
    "pheasant under glass",
    "right of way",
    "ship in a bottle",
    "soup of the day",
    "toad in the hole",
    "touch me not",
    "whiskey on the rocks",
    "whisky on the rocks",
)
"""Names with a relation in them."""

PARTICLE_VERBS = words_in(
    """
    add baby bike bolt built buckle carry clamp clip drive drop fly hands hang head hook iron join
    lace lay log made peel plug pop pour press pull push put ride rig roll rub run screw sign slide
    slip snap stand step stick strap sweater trade try turn walk wash wrap zip
    """
)
"""Before "on", "in", "over" and "by" these make a name: "slip on shoes", "walk in closet"."""

AFTER_ON = words_in(
    """
    air bone call chip cob demand fire ice off rocks rope sale stick sticks tap toast vine wheels
    """
)
"""After "on" these make a name: "corn on the cob"."""

WORN_OVER = words_in(
    """
    air bed cabinet counter desk door ear ears go head knee neck range shoulder sink stove toilet
    wall
    """
)
"""After "over the" and the like these begin a name: "over the ear headphones"."""

PLACES = words_in(
    """
    background bag basket bin bowl bowls box boxes bucket cabinet corner counter cup cupboard desk
    dishwasher drawer floor foreground fridge ground hand kitchen microwave middle oven pan pile
    plate pot rack refrigerator room shelf shelves sink sofa stack table tray trash tub window
    """
)
"""Where things lie: after "in", "at" and the like without an article these tell a place."""

DEPICTIONS = words_in(
    """
    book bust card drawing figure figurine flag globe image isle map model painting photo photograph
    picture portrait poster sculpture statue sticker
    """
)
"""Before "of the" these make a name: "statue of the virgin"."""

PARTS = words_in(
    """
    back base bottom centre center corner door edge end front half handle inside left leg lid middle
    outside part rest right rim side spout tip top
    """
)
"""Before "of a" these tell a part of something."""

ONES = frozenset({"in", "xbox", "formula", "force", "capital", "playstation"})
"""Before a last "one" these make a name: "all in one"."""

SIGNS = frozenset({"sign", "signs", "symbol", "sticker", "poster", "board"})
"""What may bear "no smoking" or "do not enter"."""
