"""What the options of `ovseg teach` show: pictures with a box or a mask, or a track of a running node."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ovseg_ros.core.frame import Frame

USAGE = "as in --image photo.png --box 210,130,60,70"


@dataclass(frozen=True)
class Shown:
    """One look at the thing.

    Attributes:
        image: the picture, None for a running node's newest image.
        depth: registered to it, None without.
        camera: of the picture, as `files.cameras.read_camera` takes it, "" without.
        depth_scale: metres per unit of depth, None for what `files.depth` takes it for.
        box_xywh: left, top, width and height in pixels, () where something else says which thing.
        mask: a picture that is not black where the thing is, None likewise.
        track_id: in the newest image, 0 likewise.
    """

    image: Path | None = None
    depth: Path | None = None
    camera: str = ""
    depth_scale: float | None = None
    box_xywh: tuple[int, ...] = ()
    mask: Path | None = None
    track_id: int = 0

    def frame(self) -> Frame:
        """The picture with its depth.

        Raises:
            InvalidInputError: a file that cannot be used, or a box that leaves the picture.
        """
        from ovseg_ros.files.cameras import read_camera
        from ovseg_ros.files.frames import read_frame
        from ovseg_ros.memory.teaching import check_box

        assert self.image is not None
        camera = read_camera(self.camera) if self.camera else None
        grid_hw = None
        if self.mask is not None and self.depth is None:  # what a mask was drawn on has no EXIF orientation
            drawn = self.mask_of(None)
            grid_hw = drawn.shape[0], drawn.shape[1]
        frame = read_frame(self.image, self.depth, camera, depth_scale=self.depth_scale, grid_hw=grid_hw)
        if self.box_xywh:
            check_box(self.box_xywh, frame.size_hw)
        if self.mask is not None:
            self.mask_of(frame.size_hw)
        return frame

    def mask_of(self, size_hw: tuple[int, int] | None) -> npt.NDArray[np.bool_]:
        """(H, W) bool: the thing.

        Args:
            size_hw: of the picture; None: not looked at.

        Raises:
            InvalidInputError: no picture, of another size, or nothing in it.
        """
        from ovseg_ros.files.pictures import read_image

        assert self.mask is not None
        mask: npt.NDArray[np.bool_] = read_image(self.mask).any(axis=2)
        if size_hw is not None and mask.shape != size_hw:
            raise InvalidInputError(
                f"expected a mask of the picture's size, {size_hw[1]}x{size_hw[0]}, got {mask.shape[1]}x"
                f"{mask.shape[0]} in {self.mask}"
            )
        if not mask.any():
            raise InvalidInputError(f"nothing is in the mask {self.mask}: expected white where the thing is")
        return mask


class _OfImage(argparse.Action):
    """`--box`, `--mask` and `--depth` belong to the `--image` before them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given: list[dict[str, Any]] = getattr(namespace, "pictures", None) or []
        if self.dest == "image":
            given = [*given, {"image": values}]
        elif not given:
            parser.error(f"{option_string} belongs to the --image before it: {USAGE}")
        elif self.dest in given[-1]:
            parser.error(f"{option_string} stands twice after one --image: give each picture its own")
        else:
            given[-1][self.dest] = values
        namespace.pictures = given


def add_shown_options(group: Any, either: Any) -> None:
    """Adds the options to an argument group; `either` is the group of those that exclude each other."""
    group.add_argument(
        "--image",
        type=Path,
        action=_OfImage,
        metavar="FILE",
        help="a picture that shows it; again, with its --box, for one more example from another side",
    )
    group.add_argument(
        "--box",
        type=_box,
        action=_OfImage,
        metavar="X,Y,W,H",
        help="left, top, width and height in pixels around it: the mask that fits best is taken",
    )
    group.add_argument(
        "--mask", type=Path, action=_OfImage, metavar="FILE", help="instead: a picture, white where it is"
    )
    group.add_argument(
        "--depth",
        type=Path,
        action=_OfImage,
        metavar="FILE",
        help="depth registered to the picture; its size is then known too",
    )
    group.add_argument(
        "--depth-scale",
        type=float,
        metavar="M",
        help="metres per unit of depth (default: integers mm, floats m)",
    )
    group.add_argument(
        "--intrinsics", metavar="K", help="with --depth: fx,fy,cx,cy in pixels, or a camera_info YAML file"
    )
    either.add_argument(
        "--track", type=int, metavar="N", help="the thing with this number in a running node's newest image"
    )
    group.add_argument(
        "--camera",
        default="",
        metavar="NAME",
        help="with --track: of several cameras this one (default: the first)",
    )
    group.set_defaults(pictures=None)


def _box(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(
            f"expected X,Y,W,H: left, top, width and height in pixels, got {text!r}"
        )
    return numbers


def shown_of(options: argparse.Namespace) -> list[Shown]:
    """What is shown; nothing where names are listed or forgotten.

    Raises:
        ConfigError: nothing, or too much.
    """
    pictures: Sequence[dict[str, Any]] = options.pictures or ()
    tracked = options.track is not None
    if options.list or options.forget:
        if pictures:
            raise ConfigError("--list and --forget are shown nothing: leave --image out")
        return []
    if tracked == bool(pictures):
        got = "both" if tracked else "neither"
        raise ConfigError(
            f"expected pictures, {USAGE}, or --track N of a running node's newest image, got {got}"
        )
    if tracked:
        if options.memory is not None:
            raise ConfigError(
                "--track is of a running node: leave --memory out, or show a picture with --image"
            )
        if options.track < 1:
            raise ConfigError(f"expected --track as in Segment.track_id, 1 or more, got {options.track}")
        return [Shown(track_id=options.track)]
    return [_picture(one, options) for one in pictures]


def _picture(given: dict[str, Any], options: argparse.Namespace) -> Shown:
    image = given["image"]
    if ("box" in given) == ("mask" in given):
        got = "both" if "box" in given else "neither"
        raise ConfigError(
            f"expected --box or --mask after --image {image}, to say which thing it is, got {got}"
        )
    if "depth" in given and not options.intrinsics:
        raise ConfigError("--depth needs the camera's intrinsics; give them with --intrinsics")
    return Shown(
        image,
        given.get("depth"),
        options.intrinsics or "" if "depth" in given else "",
        options.depth_scale if "depth" in given else None,
        given.get("box", ()),
        given.get("mask"),
    )
