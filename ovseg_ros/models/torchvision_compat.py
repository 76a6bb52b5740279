"""Lets torchvision be imported when its compiled operators do not fit the installed torch.

A torch from one place (say a CPU build) beside a torchvision from another (a CUDA build) is common on
robots. The compiled half of torchvision then fails to load, and `import torchvision` dies with
"operator torchvision::nms does not exist", because its Python half describes operators nobody
defined. open_clip and timm need only the Python half. Defining those operators first is enough.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import logging
import sys
from pathlib import Path

import torch

_log = logging.getLogger(__name__)

# The operators that torchvision's Python half mentions at import whether or not its compiled half loaded.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def ensure_torchvision() -> bool:
    """Makes `import torchvision` work; call it before the first import of torchvision, open_clip or timm.

    Does nothing where torchvision is absent, is imported already, or fits the installed torch. Calling it
    twice is harmless.

    Returns:
        True if torchvision's own compiled operators are in use (or torchvision is absent), False if the
        stand-ins are.
    """
    if "torchvision" in sys.modules:
        return _has_operator("roi_align")
    return _define_missing_operators() is None


@functools.lru_cache(maxsize=1)  # the Library must stay alive: its operators go when it goes
def _define_missing_operators() -> torch.library.Library | None:
    """Loads torchvision's operators, or defines stand-ins and returns the library that owns them."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _load_compiled(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not _has_operator(name):
            library.define(schema)
            if name == "nms":
                library.impl(name, non_maximum_suppression, "CompositeExplicitAutograd")
    return library


def _load_compiled(folder: Path) -> bool:
    """Tries to load torchvision's compiled operators from its package folder."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_C{suffix}"
        if path.is_file():
            try:
                torch.ops.load_library(str(path))
            except (OSError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                _log.debug("torchvision's operators do not fit torch %s: %s", torch.__version__, reason)
                return False
            return _has_operator("nms")
    return False


def _has_operator(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


def non_maximum_suppression(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,).
        iou_threshold: boxes overlapping a better one by more than this go.

    Returns:
        (M,) int64 indices of the kept boxes, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[torch.Tensor] = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        top_left = torch.maximum(boxes[best, :2], boxes[order, :2])
        bottom_right = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        order = order[overlap <= iou_threshold * (area[best] + area[order] - overlap)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64, device=boxes.device)
