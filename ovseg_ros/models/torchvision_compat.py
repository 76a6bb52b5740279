"""Lets torchvision import beside a torch build that its compiled operators were not made for.

PyPI's torchvision is built against the CUDA build of torch. Beside a CPU-only torch (the usual choice on
a small robot) its `_C.so` does not load, and `import torchvision` then fails with "operator
torchvision::nms does not exist", because it registers shape functions for operators that are missing.
open_clip and timm import torchvision for image transforms and one normalisation layer only, so it is
enough that the operators exist by name; `nms`, the one that people do call, gets a plain implementation.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
from pathlib import Path

import torch

_LOG = logging.getLogger(__name__)

_BOXES_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_ROI_SCHEMAS = {
    "roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "ps_roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)",
    "ps_roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
}
_libraries: list[torch.library.Library] = []  # a Library's definitions live as long as the object does


def ensure_torchvision() -> bool:
    """Makes `import torchvision` work; call before importing torchvision, timm or open_clip.

    Returns:
        True when torchvision's own compiled operators are in use (or torchvision is not installed, so
        there is nothing to do), False when stand-ins were defined. Calling again changes nothing.
    """
    if _libraries:
        return False
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _load_compiled_operators(Path(spec.origin).parent):
        return True
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _BOXES_SCHEMA)
    for name, schema in _ROI_SCHEMAS.items():
        library.define(name + schema)
    library.impl("nms", nms, "CompositeExplicitAutograd")
    _libraries.append(library)
    return False


def ensure_nms() -> bool:
    """Makes `torchvision.ops.nms` and `batched_nms` work, with the stand-in where it must be.

    torchvision's own functions ask whether its extension was loaded before they call an operator by name. To
    answer for it torchvision must be imported, which takes a second; so this is apart from
    `ensure_torchvision`, for those who suppress boxes.

    Returns:
        As `ensure_torchvision`. The operators on regions of interest have no stand-in and still fail, by
        name.
    """
    if ensure_torchvision():
        return True
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True
    return False


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression.

    Args:
        dets: (N, 4) boxes x1 y1 x2 y2.
        scores: (N,).
        iou_threshold: a box is dropped when its IoU with a better kept box exceeds this.

    Returns:
        (M,) int64 indices of the kept boxes, best score first; empty for N = 0.
    """
    order = scores.argsort(descending=True, stable=True)
    areas = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        top_left = torch.maximum(dets[best, :2], dets[rest, :2])
        bottom_right = torch.minimum(dets[best, 2:], dets[rest, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)  # (rest,)
        order = rest[overlap <= iou_threshold * (areas[best] + areas[rest] - overlap)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64, device=dets.device)


def _load_compiled_operators(package_dir: Path) -> bool:
    """Whether torchvision's extension loads with this torch: `_C`, or `_C_stable` since 0.29."""
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    for library_path in sorted(package_dir.glob("_C*")):
        if library_path.name.endswith(suffixes):
            try:
                torch.ops.load_library(str(library_path))
            except OSError as error:
                _LOG.debug("torchvision's compiled operators do not fit this torch: %s", error)
            else:
                return True
    return False
