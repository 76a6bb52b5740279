"""Masks as COCO writes them: run lengths per mask, and `masks.json`, which COCO's own tools read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.files.coco import coco_mask_fields

Entries = Callable[[], Iterator[Mapping[str, Any]]]


def masks_of(result: Segmentation) -> list[dict[str, Any]]:
    """The labelled masks that have pixels, in the order of the proposals, as COCO writes them."""
    rows = []
    for i in (result.label_index >= 0).nonzero().flatten().tolist():
        fields = coco_mask_fields(result.masks[i].numpy())
        if fields["area"]:
            rows.append(
                {
                    "category_id": int(result.label_ids[i]),
                    **fields,
                    "score": round(float(result.scores[i]), 6),
                    "margin": round(float(result.margin[i]), 6),
                    "runner_up": result.runner_up[i],
                    "runner_up_score": round(float(result.runner_up_score[i]), 6),
                    "mask_score": round(float(result.mask_scores[i]), 6),
                    "instance": i + 1,
                }
            )
    return rows


def write_coco(
    out: TextIO, entries: Entries, categories: Sequence[Mapping[str, Any]], info: Mapping[str, Any]
) -> None:
    """Writes a COCO data set whose annotations carry scores, row by row.

    Args:
        out: where to.
        entries: gives the journal's lines, each time from the start.
        categories: id and name of each label.
        info: for the data set's "info".
    """
    out.write(f'{{"info": {json.dumps(info, ensure_ascii=False)},\n "licenses": [],\n "categories": ')
    out.write(json.dumps(list(categories), ensure_ascii=False) + ',\n "images": [')
    _write_rows(out, (_image(i, entry) for i, entry in enumerate(entries(), 1)))
    out.write('],\n "annotations": [')
    _write_rows(out, _annotations(entries()))
    out.write("]}\n")


def _image(number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": entry["source"],
        "name": entry["name"],
        "width": entry["width"],
        "height": entry["height"],
        "stamp_ns": entry["stamp_ns"],
    }


def _annotations(entries: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    count = 0
    for number, entry in enumerate(entries, 1):
        for row in entry["masks"]:
            count += 1
            yield {"id": count, "image_id": number, "iscrowd": 0, **row}


def _write_rows(out: TextIO, rows: Iterator[Mapping[str, Any]]) -> None:
    for i, row in enumerate(rows):
        out.write((",\n  " if i else "\n  ") + json.dumps(row, ensure_ascii=False))
