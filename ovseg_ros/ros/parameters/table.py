"""The node's parameters: one table, from which they are declared (declared.py), checked, documented and read.

Each field of `Settings` is a row: its type and default are the dataclass's, its description, range and
flags stand in the field's metadata. `config/ovseg.yaml` and `docs/interfaces.md` are checked against it.
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ovseg_ros.core.options import CLASSIFIERS, DECISIONS, REGION_VIEWS, SEMANTIC_KINDS
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.auto import AUTO
from ovseg_ros.models.template_sets import TEMPLATE_SETS
from ovseg_ros.ros.parameters.camera_names import check_camera_names

PRESET_WORD = "preset"  # "as the preset says"; in background_labels: "the preset's own list stands here"


def _row(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
    at_configure: bool = False,
) -> Any:
    """One row of the table. `at_configure`: may be set any time, read at the next configure."""
    metadata = {"description": description, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata={**metadata, "read_only": read_only, "at_configure": at_configure})


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; a change makes a new one. Table of the parameters."""

    preset: str = _row(
        AUTO,
        "Name of a bundled preset, or path of a preset's YAML file; auto: the best whose weights are here "
        "and that the device can carry, else lite. Diagnostics say which, and why.",
        at_configure=True,
    )
    device: str = _row(
        "auto",
        "Where the networks run: cpu, cuda, cuda:1 …; auto: cuda or mps where there is one.",
        at_configure=True,
    )
    proposals: str = _row(
        PRESET_WORD,
        "The preset, by name or path, whose proposal generator stands in for this preset's; the word preset: "
        "its own.",
        at_configure=True,
    )
    weights_dir: str = _row(
        "",
        "Folder where weights are looked for first and downloads go; empty: the cache of ovseg download.",
        at_configure=True,
    )
    offline: bool = _row(
        True,
        "Never touch the network. False: configure downloads weights that are missing and can be had.",
        at_configure=True,
    )
    autostart: bool = _row(
        True,
        "Configure and activate by itself, and end the process where that fails. False: wait for a manager.",
        read_only=True,
    )
    cameras: tuple[str, ...] = _row(
        ("",),
        "Names of several cameras that share the model, such as front, left: each has inputs (front/image …) "
        "and outputs (~/front/segmentation …) of its own. [] and empty strings: one camera, without a name.",
        at_configure=True,
    )
    image_transport: str = _row(
        "raw",
        "raw: subscribe to image (Image). compressed: subscribe to image/compressed (CompressedImage).",
        choices=("raw", "compressed"),
        at_configure=True,
    )
    depth_transport: str = _row(
        "raw",
        "raw: subscribe to depth (Image). compressedDepth: subscribe to depth/compressedDepth "
        "(CompressedImage, PNG or RVL).",
        choices=("raw", "compressedDepth"),
        at_configure=True,
    )
    vocabulary: tuple[str, ...] = _row(
        ("",),
        "The words to look for; setting it replaces the active words. [] is none, and so are empty strings.",
    )
    threshold: float = _row(
        0.0,
        "Probability from which a mask gets a label that has no threshold of its own; 0: the preset's.",
        low=0,
        high=1,
    )
    background_labels: tuple[str, ...] = _row(
        (PRESET_WORD,),
        "Words that compete with the vocabulary and are never answered; the word preset: the preset's own.",
    )
    background_max_similarity: float = _row(
        0.0,
        "A background word nearer than this cosine to an active label steps aside; 0: the preset's. Under "
        "decision softmax alone: under trust meaning decides.",
        low=0,
        high=1,
    )
    others: str = _row(
        PRESET_WORD,
        "Competes with a single word that no background word competes with, under decision softmax alone; "
        "empty: nothing does; the word preset: the preset's.",
    )
    templates: str = _row(
        PRESET_WORD,
        "Sentences a word is put into: the word alone, one sentence, ViLD's 14, OpenAI's 80 for ImageNet.",
        choices=(PRESET_WORD, *TEMPLATE_SETS),
    )
    classifier: str = _row(
        PRESET_WORD,
        "Who names masks: clip on the regions; pooled, one pass of the network for all masks; "
        "combined, the mean of these two embeddings; the maskformer's own class embeddings; or the ensemble "
        "of clip and maskformer. The last two need a preset whose proposals are of kind ovseg_maskformer, "
        "pooled and combined a ConvNeXt, MobileCLIP 2, SigLIP, Perception Encoder, or lite.",
        choices=(PRESET_WORD, *CLASSIFIERS),
    )
    decision: str = _row(
        PRESET_WORD,
        "What a score is: trust, the probability that the word is right, against those asked, the background "
        "words and 980 object words; softmax, the word's share among those asked and the background, as "
        "released.",
        choices=(PRESET_WORD, *DECISIONS),
    )
    clip_weight: float = _row(
        -1.0,
        "The ensemble's exponent of CLIP, 1 less it is the MaskFormer's; -1: the preset's.",
        low=-1,
        high=1,
    )
    region_view: str = _row(
        PRESET_WORD,
        "What CLIP sees of a mask: masked, its background filled; context, the box with its background; "
        "both, the mean of the two embeddings.",
        choices=(PRESET_WORD, *REGION_VIEWS),
    )
    mask_prompts: str = _row(
        PRESET_WORD,
        "Whether learned tokens stand in for background patches: on, off.",
        choices=(PRESET_WORD, "on", "off"),
    )
    semantic: str = _row(
        PRESET_WORD,
        "label_image from binary masks that got a label, or from all soft masks, as benchmarks do.",
        choices=(PRESET_WORD, *SEMANTIC_KINDS),
    )
    granularity: float = _row(
        -1.0,
        "In label_image: 0 paints every labelled mask; more leaves out masks whose probability is at most "
        "this part of their label's best; 1 paints the best mask of each label alone; -1: the preset's.",
        low=-1,
        high=1,
    )
    max_masks: int = _row(
        0, "The most masks of one frame that are classified, best first; 0: the preset's.", low=0, high=1000
    )
    min_mask_pixels: int = _row(
        0, "Masks of fewer pixels are left out; 0: the preset's.", low=0, high=1_000_000
    )
    tracking: bool = _row(
        True,
        "Follow things from frame to frame: they keep a track_id, and their embedding while they look the "
        "same. False: every frame by itself.",
    )
    track_max_gap: float = _row(
        1.0,
        "Seconds; a tracked thing that is not found for longer is given up; found before, it keeps its id.",
        low=0.01,
        high=60,
    )
    embedding_refresh: int = _row(
        4,
        "Tracked things that look unchanged are encoded again all the same, at most so many per frame, the "
        "oldest and least certain first; 0: never.",
        low=0,
        high=1000,
    )
    embedding_half_life: float = _row(
        0.1,
        "Seconds after which what is new in a tracked thing's embedding has half its weight; 0: at once.",
        low=0,
        high=60,
    )
    publish_masks: bool = _row(
        True, "Fill the field mask of every segment. False: boxes and the label images only."
    )
    publish_unlabelled: bool = _row(False, "Also send the masks that no label fits.")
    target_frame: str = _row(
        "",
        "The frame for 3D, such as base_link or map, by TF's transform of the image's own time; requests may "
        "name another. Where tf2 or the transform is missing 3D stays in the camera's frame, and the answer, "
        "the log and diagnostics say so. Empty: the camera's frame.",
    )
    gravity_frame: str = _row(
        "",
        "A frame whose z axis points up, by which boxes stand upright. Empty: the target frame where it is a "
        "base_footprint, base_link, odom or map (REP 105), else the surface that the camera sees.",
    )
    transform_wait: float = _row(
        0.2,
        "Seconds that the answer about an image waits for TF's transform of its time, where that is late; "
        "inference goes on meanwhile.",
        low=0,
        high=10,
    )
    max_rate: float = _row(
        0.0, "The most frames per second that are computed; 0: as many as the machine can.", low=0, high=1000
    )
    target_rate: float = _row(
        0.0,
        "Frames per second to hold: where time is short, first fewer new embeddings are made per frame, then "
        "the grid of prompts is thinned; diagnostics say what was given up. Needs tracking; 0: off.",
        low=0,
        high=1000,
    )
    max_frame_age: float = _row(
        1.0,
        "Seconds; an image older than this is never searched; 0: any age.",
        low=0,
        high=3600,
    )
    stamp_tolerance: float = _row(
        0.5,
        "Seconds an image's stamp may be ahead of the node's clock. Where it is more, or the stamp is 0, or "
        "use_sim_time is true and no /clock has come, an image's age is counted from its arrival, with a "
        "WARN in diagnostics.",
        low=0,
        high=3600,
    )
    depth_scale: float = _row(
        0.0,
        "Metres per unit of the depth images' numbers, such as 0.0001 for a camera that sends tenths of a "
        "millimetre; 0: by their encoding, integers are millimetres and floats metres (REP 118).",
        low=0,
        high=10,
    )
    sync_tolerance: float = _row(
        0.02, "Seconds; depth belongs to an image when their stamps differ by this or less.", low=0, high=10
    )
    depth_wait: float = _row(
        0.2,
        "Seconds an image waits for its depth while depth messages arrive; then it is used without.",
        low=0,
        high=10,
    )
    max_pending: int = _row(
        8, "Requests that may wait at the same time; more are answered BUSY.", low=1, high=100
    )
    max_inference_time: float = _row(
        120.0,
        "Seconds that one frame or request may take in the model. One that takes longer is a fault: ERROR in "
        "diagnostics, INTERNAL to all who wait or ask, until it returns; 0: no limit.",
        low=0,
        high=3600,
    )
    find_confirm: int = _row(
        2,
        "Images in which ~/find_object must see a thing under its word, of the last find_confirm_of, before "
        "it says FOUND; 1: the first will do. A goal with timeout zero has one image, which then must do.",
        low=1,
        high=100,
    )
    find_confirm_of: int = _row(
        3, "The last images searched among which find_confirm must agree; at least as many.", low=1, high=100
    )
    remember: bool = _row(
        False,
        "Remember where labelled things were seen: needs depth, tracking and the extra memory "
        "(docs/memory.md).",
        at_configure=True,
    )
    memory_url: str = _row(
        "",
        "Where memory is kept: a SQLite file, or postgresql://… for robots that share one; empty: "
        "ovseg/memory.db in $XDG_DATA_HOME, else in ~/.local/share.",
        at_configure=True,
    )
    memory_frame: str = _row(
        "map",
        "The fixed frame in which things are remembered, by TF; empty: the camera's own, where the camera "
        "stands still.",
        at_configure=True,
    )
    odom_frame: str = _row(
        "odom",
        "The frame in which the robot moves without jumps: where TF moves it against memory_frame at once, "
        "positions told before are doubted. Empty: nothing is.",
    )
    memory_crops: bool = _row(
        True, "Keep a picture of each remembered thing. False: none is stored.", at_configure=True
    )
    memory_days: float = _row(
        0.0,
        "Things not seen for so many days are forgotten; 0: never.",
        low=0,
        high=36500,
        at_configure=True,
    )
    memory_max_objects: int = _row(
        100_000,
        "The most things that are remembered; of more those that are gone, then those not seen for longest, "
        "are forgotten.",
        low=1,
        high=10_000_000,
        at_configure=True,
    )
    robot: str = _row(
        "",
        "The name under which this robot writes into a memory that several share.",
        at_configure=True,
    )
    detections: bool = _row(
        True,
        "Offer label_info, detections and detections_3d, where vision_msgs is installed.",
        at_configure=True,
    )

    def __post_init__(self) -> None:
        check_camera_names(self.camera_names)
        if self.find_confirm > self.find_confirm_of:
            raise ConfigError(
                f"parameter find_confirm: expected at most find_confirm_of, got {self.find_confirm} of "
                f"{self.find_confirm_of}; set both together"
            )

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras' names; one empty name where there is one camera."""
        return tuple(name for name in self.cameras if name) or ("",)


def rows() -> tuple[dataclasses.Field[Any], ...]:
    """The rows of the table, in order."""
    return dataclasses.fields(Settings)


def highest(name: str) -> float:
    """The upper end of a parameter's range."""
    return next(float(row.metadata["high"]) for row in rows() if row.name == name)


def type_name(row: dataclasses.Field[Any]) -> str:
    """The ROS name of a row's type: bool, integer, double, string or string array."""
    if isinstance(row.default, tuple):
        return "string array"
    return {bool: "bool", int: "integer", float: "double", str: "string"}[type(row.default)]


def coerce(row: dataclasses.Field[Any], value: Any) -> Any:
    """The value of one row as `Settings` holds it.

    An integer is taken for a double, and one comma-separated string for a string array, because command
    lines and launch files produce them.

    Raises:
        ConfigError: wrong type, out of range or not among the choices; the message names the parameter.
    """
    meta, default = row.metadata, row.default
    want = type_name(row)
    if isinstance(default, tuple):
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, array.array) and not items:  # an empty list has no type of its own
            items = ()
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"parameter {row.name}: expected {want}, got {value!r}")
        return tuple(item.strip() for item in items)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise ConfigError(f"parameter {row.name}: expected {want}, got {value!r}")
    if meta["low"] is not None and not meta["low"] <= value <= meta["high"]:
        raise ConfigError(f"parameter {row.name}: expected {meta['low']} to {meta['high']}, got {value}")
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(
            f"parameter {row.name}: expected one of {', '.join(meta['choices'])}, got {value!r}"
        )
    return value


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """New settings with `values`; names that are not in the table are passed over.

    Raises:
        ConfigError: the first value that cannot be.
    """
    table = {row.name: row for row in rows()}
    new = {name: coerce(table[name], value) for name, value in values.items() if name in table}
    return dataclasses.replace(settings, **new)
