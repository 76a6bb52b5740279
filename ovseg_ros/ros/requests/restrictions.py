"""Restrictions of requests: what they leave out of a labelled image, and what is said of it."""

from __future__ import annotations

from typing import Any

from ovseg_ros.core.choice import Item, Limits
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.requests.answers import RequestError


def limits_of(where: Any) -> Limits:
    """The limits that an ovseg_ros/Restriction sets.

    Raises:
        InvalidInputError: they contradict themselves, or a number is none.
    """
    region, low, high = where.region, where.box_min, where.box_max
    return Limits(
        region=(region.x_offset, region.y_offset, region.width, region.height),
        distance_m=(where.min_distance_m, where.max_distance_m),
        size_m=(where.min_size_m, where.max_size_m),
        box_m=((low.x, low.y, low.z), (high.x, high.y, high.z)),
    )


def left_out(context: MessageContext, limits: Limits) -> list[int]:
    """The labelled masks that do not keep to the limits.

    Raises:
        RequestError: NO_DEPTH: a box is set in a frame that 3D cannot be told in.
    """
    if limits.are_none:
        return []
    placement = context.placement
    if placement.is_elsewhere and any(map(any, limits.box_m)):
        raise RequestError(
            ResultCode.NO_DEPTH,
            f"the box of `where` is in {placement.wanted!r}, where nothing can be placed: {placement.remark}",
        )
    if limits.needs_depth:
        context.objects_in_camera(context.labelled)
    return [i for i in context.labelled if not limits.keeps(_item(context, i), context.object_3d(i))]


def restricted(context: MessageContext, limits: Limits) -> tuple[MessageContext, str]:
    """The image where what is left out has no label, and a sentence about that, "" where nothing is.

    Raises:
        RequestError: as `left_out`.
    """
    out = left_out(context, limits)
    flat = sum(context.object_3d(i) is None for i in out) if limits.needs_depth else 0
    said = f"{len(out)} left out by `where`" + (f", {flat} of them for want of 3D" if flat else "")
    return context.without(out), said if out else ""


def _item(context: MessageContext, index: int) -> Item:
    rows, columns = context.boxes[index]
    (in_camera,) = context.objects_in_camera([index])
    box = (columns.start, rows.start, columns.stop, rows.stop)
    return Item(context.names[index], float(context.scores[index]), box, in_camera)
