"""Which masks of a labelled image answer a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ovseg_ros.core.choice import Choice, Item, choose
from ovseg_ros.core.words import Wanted
from ovseg_ros.ros.io.context import MessageContext


def answer_of(
    context: MessageContext, wanted: Sequence[Wanted], left_out: Sequence[int] = ()
) -> tuple[MessageContext, Choice]:
    """The masks that answer a request, and the image where no other has a label.

    Args:
        context: Labelled with all that the request names.
        wanted: What the request asks for; empty where it is plain names: then all that has a label answers.
        left_out: Masks that may be no answer; what is asked for may still be related to them.

    Returns:
        The image, and the choice with indices of its masks, the best first.
    """
    if not wanted:
        context = context.without(left_out)
        return context, Choice(tuple(context.labelled), len(context.labelled))
    labelled, ranking = context.labelled, context.segmentation.ranking.tolist()
    solids = context.objects_in_camera(labelled)
    items = [
        Item(context.names[i], ranking[i], _box(context, i), solid, context.masks[i])
        for i, solid in zip(labelled, solids, strict=True)
    ]
    allowed = [i not in left_out for i in labelled]
    choice = choose(wanted, items, size_hw=context.size_hw, allowed=allowed)
    indices = tuple(labelled[k] for k in choice.indices)
    others = [i for i in labelled if i not in indices]
    return context.without(others), dataclasses.replace(choice, indices=indices)


def _box(context: MessageContext, index: int) -> tuple[int, int, int, int]:
    rows, columns = context.boxes[index]
    return columns.start, rows.start, columns.stop, rows.stop
