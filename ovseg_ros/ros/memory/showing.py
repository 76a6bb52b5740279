"""What a request shows: the thing of a track, in a box or under a mask, in one image or another."""

from __future__ import annotations

from typing import Any

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.memory.teaching import FITS, check_box, no_fit, region_in_box, with_mask
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.images import colour_from_message
from ovseg_ros.ros.memory.taught_names import TaughtNames
from ovseg_ros.ros.requests.answers import RequestError
from ovseg_ros.ros.requests.queries import checked_text


def taught_name(text: str) -> str:
    """The name of a request.

    Raises:
        RequestError: INVALID_QUERY: it cannot be one.
    """
    name = checked_text(text).strip()
    if '"' in name:
        raise RequestError(ResultCode.INVALID_QUERY, f"expected a name without quotation marks, got {name}")
    return name


def teach(taught: TaughtNames, engine: Any, name: str, request: Any) -> int:
    """Stores what a Teach request shows; how many examples the name has then. On the inference thread.

    Raises:
        RequestError, InvalidInputError: nothing is shown, or no name can be taught to this preset.
    """
    taught.check()
    image = request.image
    is_given = bool(image.width or image.height or len(image.data))
    if not is_given:
        embedded = engine.newest().embedded
        if request.mask.width or request.mask.height:
            raise RequestError(
                ResultCode.INVALID_QUERY, "expected the image of this mask beside it, got none"
            )
        return taught.teach(name, embedded, region_of(embedded, request))
    if request.track_id:
        raise RequestError(
            ResultCode.INVALID_QUERY, "a track is of the newest image: give a box or a mask with an image"
        )
    info = request.camera_info
    depth = request.depth if request.depth.width or len(request.depth.data) else None
    embedded = engine.given(image, depth, info if info.width or any(info.k) or any(info.p) else None).embedded
    if request.box.width or request.box.height or not request.mask.width:
        return taught.teach(name, embedded, region_of(embedded, request))
    drawn = with_mask(
        embedded, colour_from_message(request.mask).any(axis=2), engine.segmenter, engine.options
    )
    return taught.teach(name, drawn, len(embedded))


def region_of(embedded: EmbeddedFrame, request: Any) -> int:
    """Which mask the track or the box of a request shows.

    Raises:
        RequestError: INVALID_QUERY: it shows nothing; NOT_FOUND: no mask is there.
        InvalidInputError: the box leaves the image.
    """
    box = request.box
    if request.track_id:
        tracks = embedded.track_ids.tolist()
        if request.track_id not in tracks:
            raise RequestError(
                ResultCode.NOT_FOUND,
                f"track {request.track_id} is not in the newest image; there: "
                + (", ".join(str(track) for track in tracks if track) or "none"),
            )
        return tracks.index(request.track_id)
    if not (box.width and box.height):
        raise RequestError(
            ResultCode.INVALID_QUERY, "expected track_id, or a box with width and height, or a mask"
        )
    box_xywh = box.x_offset, box.y_offset, box.width, box.height
    check_box(box_xywh, embedded.frame.size_hw)
    region, fit = region_in_box(embedded, box_xywh)
    if fit < FITS:
        raise RequestError(ResultCode.NOT_FOUND, no_fit(fit))
    return region
