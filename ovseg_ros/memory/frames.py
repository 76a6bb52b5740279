"""From a labelled frame to sightings in a fixed frame."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.following import View as LookedAt
from ovseg_ros.core.maps import BoxedMask
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.space import Object3d, Rigid, object_points, quaternion_xyzw
from ovseg_ros.memory.entry import Vectors
from ovseg_ros.memory.sighting import Sighting, View

_EDGE_PX = 2
_NEARER_M = 0.03  # what is so much before a thing's edge hides a part of it …
_HIDING = 0.15  # … where it is so much of the edge
_RIM = np.ones((5, 5), np.uint8)
_CROP_PX = 160
_CROP_MARGIN = 0.1
_JPEG_QUALITY = 85


def space_of(model: str, key: tuple[Hashable, ...] | None) -> str:
    """Whose embeddings these are: those of other models, or of other crops, are not compared.

    Args:
        model: name of the preset.
        key: `SegmenterOptions.embedding_key` or `EmbeddedFrame.embedding_key`.
    """
    return f"{model} {'' if key is None else ' '.join(map(str, key))}".strip()


def view_of(segmentation: Segmentation, frame_id: str, camera: Rigid) -> View | None:
    """What the camera saw, None of a frame without depth or intrinsics.

    Args:
        segmentation: of the frame.
        frame_id: the fixed frame.
        camera: from the camera's optical frame to it.
    """
    frame = segmentation.frame
    if frame.depth_m is None or frame.intrinsics is None:
        return None
    return View(frame.stamp_ns * 1e-9, frame_id, camera, frame.depth_m, frame.intrinsics)


def tracked_masks(segmentation: Segmentation, knows: Callable[[int], bool]) -> list[int]:
    """Indices of the masks that memory wants: tracked, and with a word or known from before.

    Args:
        segmentation: of the frame.
        knows: whether memory has an entry for the number of a track.
    """
    tracks, labels = segmentation.track_ids.tolist(), segmentation.label_index.tolist()
    filled = segmentation.embedded.filled.tolist()
    return [
        i for i, track in enumerate(tracks) if track > 0 and filled[i] and (labels[i] >= 0 or knows(track))
    ]


def sightings_of(
    segmentation: Segmentation,
    indices: Sequence[int],
    objects: Iterable[Object3d | None],
    view: View,
    *,
    camera: str = "",
    crops: bool = True,
) -> list[Sighting]:
    """Sightings of some masks of a frame.

    Args:
        segmentation: of the frame.
        indices: which masks.
        objects: what each of them is, in the camera's optical frame; without depth None, and left out.
        view: of the same frame.
        camera: its name; tracks of two cameras are two.
        crops: whether sightings can tell what they look like.
    """
    looked_at = LookedAt.of(segmentation)
    names = segmentation.vocabulary.names
    labels, scores = segmentation.label_index.tolist(), segmentation.scores.tolist()
    found = []
    for i, thing in zip(indices, objects, strict=True):
        embedding = looked_at.embeddings[i]
        if thing is None or not float(embedding @ embedding) > 0:
            continue
        mask, placed = looked_at.masks[i], view.camera.of_object(thing)
        x0, y0, x1, y1 = mask.box_xyxy
        part = slice(y0, y1), slice(x0, x1)
        whole = segmentation.masks[i].numpy()
        points = object_points(view.depth_m, view.intrinsics, whole, part)
        found.append(
            Sighting(
                track=(camera, looked_at.track_ids[i]),
                position=placed.centre_m,
                covariance=placed.covariance_m2,
                size=placed.size_m,
                orientation=quaternion_xyzw(placed.rotation),
                embedding=np.asarray(embedding, np.float32),
                words={names[labels[i]]: scores[i]} if labels[i] >= 0 else {},
                surface=np.asarray(view.camera.of_points(points), np.float32),
                is_whole=_is_whole(mask, view.depth_m),
                crop=partial(crop_jpeg, looked_at.image_rgb, mask.box_xyxy) if crops else None,
                clarity=clarity(looked_at.image_rgb, mask) if crops else 0.0,
            )
        )
    return found


def crop_jpeg(image_rgb: npt.NDArray[np.uint8], box_xyxy: tuple[int, int, int, int]) -> bytes:
    """A JPEG of a box and a little around it, at most 160 pixels wide and high.

    Args:
        image_rgb: (H, W, 3).
        box_xyxy: x0, y0, x1, y1 in pixels, the last two exclusive, not empty.
    """
    x0, y0, x1, y1 = box_xyxy
    margin = round(_CROP_MARGIN * max(x1 - x0, y1 - y0))
    part = image_rgb[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin]
    scale = _CROP_PX / max(part.shape[:2])
    if scale < 1:
        size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, coded = cv2.imencode(".jpg", part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(coded)


def clarity(image_rgb: npt.NDArray[np.uint8], mask: BoxedMask) -> float:
    """How much a picture of a thing shows: the variance of its Laplacian where the thing and its outline are.

    Taken at one size for all: a picture that is enlarged for it has as little detail as one that is blurred,
    so that of two of one thing the sharper has more, and the larger.

    Args:
        image_rgb: (H, W, 3).
        mask: of the thing, not empty.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    x0, y0, x1, y1 = mask.box_xyxy
    scale = _CROP_PX / max(x1 - x0, y1 - y0)
    size = (max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1))
    grey = cv2.cvtColor(image_rgb[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    inside = cv2.resize(mask.crop.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    detail = cv2.Laplacian(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_32F)
    return float(detail[cv2.dilate(inside, _RIM) > 0].var())


def _is_whole(mask: BoxedMask, depth_m: Vectors) -> bool:
    """Whether neither the image's edge nor something nearer cuts a mask."""
    height, width = depth_m.shape
    x0, y0, x1, y1 = mask.box_xyxy
    if x0 < _EDGE_PX or y0 < _EDGE_PX or x1 > width - _EDGE_PX or y1 > height - _EDGE_PX:
        return False
    crop = np.pad(mask.crop, _EDGE_PX).astype(np.uint8)
    around = depth_m[y0 - _EDGE_PX : y1 + _EDGE_PX, x0 - _EDGE_PX : x1 + _EDGE_PX]
    rim = (cv2.dilate(crop, _RIM) > 0) & (crop == 0)
    edge = (crop > 0) & (cv2.erode(crop, _RIM) == 0)
    inside, outside = around[edge], around[rim]
    inside = inside[inside > 0]
    if not len(inside) or not len(outside):
        return True
    return float((outside[outside > 0] < np.median(inside) - _NEARER_M).sum()) < _HIDING * len(outside)
