"""An image labelled for a request, and told in the frame that the request wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ovseg_ros.ros.io.context import MessageContext

_T = TypeVar("_T")


async def told(
    node: Any, target_frame: str, label: Callable[[], MessageContext], tell: Callable[[MessageContext], _T]
) -> _T:
    """What `tell` makes of the image that `label` labels; both run on the inference thread.

    Where the transform of the image's time is late, at most `transform_wait` seconds pass between the two,
    in which the inference thread and the executor do other work.

    Args:
        node: As for `Queries`.
        target_frame: The frame for 3D; "": the parameter `target_frame`.
        label: Labels an image.
        tell: Makes the answer, with 3D in the frame that there is.

    Raises:
        RequestError: BUSY or INACTIVE.
        Exception: what `label` and `tell` raise.
    """
    transforms = node.transforms
    transforms.listen(target_frame)
    wait_s = node.settings.transform_wait

    def at_once() -> tuple[MessageContext, list[_T]]:
        context = label()
        context = context.placed(transforms.place(context.header, target_frame))
        if context.has_depth and context.placement.may_improve and wait_s > 0:
            return context, []
        return context, [tell(context)]

    context, answers = await node.bridge.wrap(node.submit(at_once))
    if answers:
        return answers[0]
    until = time.monotonic() + wait_s
    while context.placement.may_improve and time.monotonic() < until:
        await node.bridge.changed()
        context = context.placed(transforms.place(context.header, target_frame))
    return await node.bridge.wrap(node.submit(lambda: tell(context)))
