"""The word lists that `nouns` works with. Each can be switched off or replaced."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


STOP_WORDS: frozenset[str] = _words(
    # the picture itself
    "photo photograph picture image snapshot selfie shot close-up closeup close view scene portrait drawing "
    # where something is, not what
    "top bottom left right side front back middle center centre edge end corner rear inside outside "
    "background foreground distance area place spot position location direction way row line arm's reach "
    # amounts
    "group bunch pair couple lot number variety assortment array collection set series crowd pile stack kind "
    "sort type piece bit part half dozen plenty amount "
    # when and how
    "day night time morning evening afternoon moment today season while progress action use motion style "
    "color colour size shape condition "
    # words that stand for others
    "thing something someone somebody anything anyone everything everyone nothing nobody one other another "
    "each all none some many several few much item object stuff"
)
"""Never a class on its own, as head of a compound neither ("train photo" gives "train")."""

INVARIANT: frozenset[str] = _words(
    "scissors pants jeans shorts trousers tights leggings pajamas pyjamas overalls pliers tongs tweezers "
    "sunglasses eyeglasses goggles binoculars headphones earphones clothes stairs series species news "
    "glass grass bus gas lens dress cross mattress compass canvas chess cactus lotus iris bass harness "
    "asparagus octopus hippopotamus walrus tennis molasses swiss christmas"
)
"""Not folded to a singular: they have none, or only look like plurals."""

PHRASES: tuple[str, ...] = _names(
    "salt and pepper shaker, salt and pepper mill, macaroni and cheese, mac and cheese, "
    "peanut butter and jelly sandwich, bacon and egg, fish and chips, black and white cat, stop sign, "
    "skate board, fire hydrant, hot dog, teddy bear, traffic light, remote control, cutting board, "
    "frying pan, washing machine, parking meter, rolling pin, living room, dining table, dining room, "
    "swimming pool, bowling ball, wine glass, baked bean, french fry, ice cream, cream cheese, "
    "orange juice, drying rack, mixing bowl, measuring cup, baking sheet, serving platter, "
    "serving spoon, umbrella stand, cake stand, music stand"
)
"""Names of several words that a tagger takes apart; looked for before anything is tagged."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "airplane": ("aeroplane", "plane", "aircraft", "jetliner", "jet"),
    "bathtub": ("bath tub", "tub"),
    "bicycle": ("bike", "push bike"),
    "boy": ("little boy", "young boy"),
    "car": ("automobile",),
    "cell phone": ("cellphone", "mobile phone", "smartphone", "smart phone", "cellular phone"),
    "couch": ("sofa", "settee"),
    "cutting board": ("chopping board",),
    "donut": ("doughnut",),
    "frying pan": ("skillet", "fry pan"),
    "hair dryer": ("hair drier", "hairdryer", "blow dryer"),
    "hot dog": ("hotdog",),
    "laptop": ("laptop computer", "notebook computer"),
    "motorcycle": ("motorbike", "motor cycle", "motor bike"),
    "person": ("people", "human"),
    "refrigerator": ("fridge", "refridgerator"),
    "skateboard": ("skate board",),
    "surfboard": ("surf board",),
    "teapot": ("tea pot", "tea kettle", "teakettle"),
    "teddy bear": ("stuffed bear",),
    "television": ("tv", "tv set", "television set", "telly"),
    "trash can": ("garbage can", "rubbish bin", "trash bin", "dustbin", "wastebasket"),
    "truck": ("lorry",),
}
"""Class name -> other words for it that captions use."""

COUNTED = _words("slice stick loaf can bar sheet")
"""Verbs as often as nouns: behind a noun they are its head ("a butter stick", "a soup can")."""

PLACED = _words("stand stands lie lies sit sits rest rests hang hangs lean leans")
"""Nouns as often as verbs: behind a noun and before "on", "next to" … they say where it is."""
