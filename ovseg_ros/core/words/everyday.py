"""What people mean by words that WordNet 3.0 (2006) lacks or takes otherwise. Chosen by hand."""

from __future__ import annotations

from ovseg_ros.core.words.spelling import words_in

SAME_AS: dict[str, tuple[str, ...]] = {
    "bin": ("ashcan",),
    "bookcase": ("bookshelf",),
    "bookshelf": ("bookcase",),
    "cell phone": ("cellphone",),
    "cup": ("mug",),
    "flip flop": ("flip-flop",),
    "garbage bin": ("ashcan",),
    "mobile": ("cellphone",),
    "moka pot": ("coffeepot",),
    "mug": ("cup",),
    "nightstand": ("bedside table",),
    "pants": ("trouser",),
    "pitcher": ("jug",),
    "potted plant": ("houseplant",),
    "power outlet": ("wall_socket",),
    "rubbish bin": ("ashcan",),
    "shopping trolley": ("shopping_cart",),
    "smart phone": ("cellphone",),
    "smartphone": ("cellphone",),
    "trainer": ("gym_shoe",),
    "waste bin": ("ashcan",),
    "wastebasket": ("ashcan",),
}
"""Word -> words of WordNet that it means too."""

KIND_OF: dict[str, str] = {
    "drone": "aircraft",
    "flash drive": "electronic device",
    "game controller": "electronic device",
    "hand sanitizer": "lotion",
    "memory card": "electronic device",
    "power strip": "electrical device",
    "shopping trolley": "handcart",
    "sticky note": "paper",
    "stop sign": "sign",
    "tablet computer": "portable computer",
    "traffic cone": "barrier",
    "whiteboard": "board",
}
"""Word -> what it is a kind of, where neither WordNet nor its last word says so."""

NOT_MEANT: dict[str, frozenset[str]] = {
    word: words_in(senses)
    for word, senses in {
        "ball": "testis musket_ball",
        "basket": "basketball_hoop",
        "carriage": "passenger_car",
        "charger": "courser",
        "dog": "frank",
        "drill": "Mandrillus_leucophaeus",
        "drive": "driveway",
        "engine": "locomotive",
        "fountain": "natural_spring",
        "glass": "spyglass",
        "hand": "hired_hand",
        "human": "homo",
        "jean": "dungaree",
        "lollipop": "ice_lolly",
        "man": "homo",
        "mitt": "paw",
        "mug": "countenance chump",
        "napkin": "diaper",
        "paper": "newspaper",
        "platter": "phonograph_record",
        "poster": "post_horse bill_poster",
        "pot": "toilet",
        "pudding": "pud",
        "scale": "scale_leaf",
        "scooter": "water_scooter",
        "throne": "toilet",
        "turtle": "turtleneck",
        "whale": "giant",
    }.items()
}
"""Word -> words by which to tell its senses that WordNet ranks high and nobody means before a camera."""

TOO_GENERAL: frozenset[str] = words_in(
    "entity physical_entity abstraction thing object whole unit artifact instrumentality living_thing "
    "organism matter device container solid substance implement covering commodity structure part "
    "natural_object consumer_goods conveyance equipment material instrument mechanism causal_agent "
    "relation creation mechanical_device area restraint ingredient way support location agent sheet "
    "protective_covering article ware electrical_device communication surface decoration fastener "
    "attribute shape chemical compound obstruction passage control supporting_structure product signal "
    "line facility piece block medium strip group event state act process psychological_feature "
    "representation durables furnishing plant_part plant_organ reproductive_structure natural_process "
    "body_part external_body_part geological_formation chordate vertebrate component constituent region "
    "space opening horizontal_surface side framework construction holding_device receptacle body "
    "collection arrangement"
)
"""First words of senses so general that nobody asks for them; to share one of these is to share nothing."""
