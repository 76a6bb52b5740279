"""What people mean by words that WordNet 3.0 (2006) lacks or takes otherwise. Chosen by hand."""

from __future__ import annotations

from ovseg_ros.core.words.spelling import words_in

SAME_AS: dict[str, tuple[str, ...]] = {
    "airpods": ("earphone",),
    "bin": ("ashcan",),
    "bookcase": ("bookshelf",),
    "bookshelf": ("bookcase",),
    "cell phone": ("cellphone",),
    "cooktop": ("stove",),
    "cup": ("mug",),
    "cupboard": ("cabinet",),
    "cushion": ("pillow",),
    "earbuds": ("earphone",),
    "flip flop": ("flip-flop",),
    "garbage bin": ("ashcan",),
    "human": ("person",),
    "iphone": ("cellphone",),
    "lift": ("elevator",),
    "light": ("lamp", "light bulb"),
    "lorry": ("truck",),
    "mobile": ("cellphone",),
    "moka pot": ("coffeepot",),
    "mug": ("cup",),
    "ocean": ("sea",),
    "notebook computer": ("laptop",),
    "pants": ("trouser",),
    "pitcher": ("jug",),
    "plushie": ("teddy bear",),
    "potted plant": ("houseplant",),
    "power outlet": ("wall socket",),
    "rubbish bin": ("ashcan",),
    "settee": ("sofa",),
    "shopping trolley": ("shopping cart",),
    "smart phone": ("cellphone",),
    "smartphone": ("cellphone",),
    "trainer": ("gym shoe",),
    "waste bin": ("ashcan",),
    "wastebasket": ("ashcan",),
    "worktop": ("countertop",),
}
"""Word -> words of WordNet that it means too."""

KIND_OF: dict[str, str] = {
    "arduino": "circuit board",
    "cafetiere": "coffee maker",
    "crocs": "shoe",
    "drone": "aircraft",
    "dslr": "camera",
    "ebike": "bicycle",
    "flash drive": "electronic device",
    "game controller": "electronic device",
    "gamepad": "electronic device",
    "gopro": "camera",
    "gripper": "tool",
    "hand sanitizer": "lotion",
    "hoodie": "sweatshirt",
    "humidifier": "home appliance",
    "ipad": "portable computer",
    "jerrycan": "can",
    "kettlebell": "weight",
    "kindle": "electronic device",
    "lunchbox": "box",
    "memory card": "electronic device",
    "multimeter": "measuring instrument",
    "nightstand": "table",
    "onesie": "clothing",
    "plate": "crockery",
    "playstation": "electronic device",
    "power strip": "electrical device",
    "quadcopter": "aircraft",
    "ramen": "noodle",
    "roomba": "vacuum",
    "shopping trolley": "handcart",
    "saucer": "crockery",
    "smartwatch": "watch",
    "soundbar": "loudspeaker",
    "sticky note": "paper",
    "stone wall": "wall",
    "stop sign": "sign",
    "tablet computer": "portable computer",
    "touchpad": "electronic device",
    "trackpad": "electronic device",
    "tracksuit": "clothing",
    "traffic cone": "barrier",
    "tupperware": "box",
    "wellies": "boot",
    "whiteboard": "board",
    "xbox": "electronic device",
}
"""Word -> what it is a kind of, where neither WordNet nor its last word says so."""

NOT_MEANT: dict[str, frozenset[str]] = {
    word: words_in(senses)
    for word, senses in {
        "bag": "base",
        "ball": "musket_ball testis",
        "basket": "basketball_hoop",
        "bulletin_board": "electronic_bulletin_board",
        "carriage": "passenger_car",
        "charger": "courser",
        "dog": "frank",
        "drill": "Mandrillus_leucophaeus",
        "drive": "driveway",
        "engine": "locomotive",
        "flag": "iris",
        "fountain": "natural_spring",
        "glass": "spyglass",
        "hand": "hired_hand",
        "hood": "hoodlum",
        "human": "homo",
        "jean": "dungaree",
        "lollipop": "ice_lolly",
        "man": "homo",
        "mitt": "paw",
        "mug": "chump countenance",
        "napkin": "diaper",
        "paper": "newspaper",
        "plate": "home_plate",
        "platter": "phonograph_record",
        "poster": "bill_poster post_horse",
        "pot": "toilet",
        "pudding": "pud",
        "scale": "scale_leaf",
        "scooter": "water_scooter",
        "teddy": "chemise",
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
