"""What the encoder is shown of each mask: its region blanked, its surroundings, or both."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import Fill, SegmenterOptions
from ovseg_ros.core.regions.crop import MEMORY_BUDGET, Regions, crop_regions

View = tuple[torch.Tensor, "torch.Tensor | None"]
"""(N,3,S,S) pixels, and (N,1,S,S) region masks or None where the encoder is not told."""


def region_views(
    frame: Frame,
    masks: torch.Tensor,
    size: int,
    options: SegmenterOptions,
    memory_budget: int = MEMORY_BUDGET,
) -> list[View]:
    """Cuts N masks out of a frame, once per view that the options ask for.

    Args:
        frame: its colour image is cut.
        masks: (N, H, W) bool on the device where the crops shall be made.
        size: S, the encoder's input side in pixels.
        options: `region_view`, `fill`, `expand_ratio`, `mask_prompts`.
        memory_budget: see `crop_regions`.

    Returns:
        One view, or two for "both".
    """
    image = torch.from_numpy(np.require(frame.image_rgb, requirements=("C", "W")))  # (H,W,3)
    image = image.to(masks.device).permute(2, 0, 1)

    def crop(fill: Fill) -> Regions:
        return crop_regions(
            image,
            masks,
            size=size,
            fill=fill,
            expand_ratio=options.expand_ratio,
            memory_budget=memory_budget,
        )

    views: list[View] = []
    if options.region_view != "context":
        regions = crop(options.fill)
        views.append((regions.pixels, regions.masks if options.mask_prompts else None))
    if options.region_view != "masked":  # tokens in place of the background would undo this view
        views.append((crop("none").pixels, None))
    return views


@torch.no_grad()
def encode_views(encoder: RegionEncoder, views: list[View], batch_size: int) -> torch.Tensor:
    """Embeds regions.

    Args:
        encoder: on the views' device.
        views: at least one, all of the same N.
        batch_size: most regions per forward pass.

    Returns:
        (N, D) unit rows: the mean over the views, normalised.
    """
    count, device = views[0][0].shape[0], views[0][0].device
    if count == 0:
        return torch.zeros((0, encoder.embedding_dim), device=device)
    rows = []
    for pixels, region_masks in views:
        parts = [
            encoder.encode_regions(
                pixels[i : i + batch_size],
                None if region_masks is None else region_masks[i : i + batch_size],
            )
            for i in range(0, count, batch_size)
        ]
        rows.append(torch.cat(parts))  # (N,D)
    return rows[0] if len(rows) == 1 else F.normalize(torch.stack(rows).mean(dim=0), dim=-1)
