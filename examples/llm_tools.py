#!/usr/bin/env python3
"""Tools for a language model: what the node can do, as schemas for function calling, and what carries it out.

    tools = anthropic_tools()                     # or openai_tools()
    with NodeClient() as ovseg:
        text = call(ovseg, name, arguments)       # as the model gave them: a dict, or JSON

python3 llm_tools.py [--openai]                   prints the schemas
python3 llm_tools.py find '{"query": "teapot"}'   carries out one call
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.ros.client import FoundSegment, NodeClient, RecallReply, RememberedThing, Reply

TYPES = {"string": str, "integer": int, "number": (int, float), "array": list, "boolean": bool}


def anthropic_tools() -> list[dict[str, Any]]:
    """The schemas, as Anthropic's `tools` wants them."""
    return json.loads(Path(__file__).with_name("llm_tools.json").read_text(encoding="utf-8"))


def openai_tools() -> list[dict[str, Any]]:
    """The same as OpenAI's `tools`, and those of most others, want them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["input_schema"],
            },
        }
        for tool in anthropic_tools()
    ]


def call(ovseg: NodeClient, name: str, arguments: str | dict[str, Any]) -> str:
    """Carries out one call, and says as JSON what came of it; the model's mistakes are said, not raised."""
    try:
        if name not in TOOLS:
            raise InvalidInputError(f"expected one of the tools {', '.join(TOOLS)}, got {name!r}")
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        return json.dumps(TOOLS[name](ovseg, **_checked(name, given)), ensure_ascii=False)
    except (OvsegError, ValueError, TypeError) as error:
        return json.dumps({"error": str(error)}, ensure_ascii=False)


def _checked(name: str, arguments: Any) -> dict[str, Any]:
    """The arguments, where they are the schema's and of its types.

    Raises:
        InvalidInputError: they are not; the message is for the model.
    """
    schema = next(tool["input_schema"] for tool in anthropic_tools() if tool["name"] == name)
    known, needed = schema["properties"], schema.get("required", [])
    if not isinstance(arguments, dict) or not set(needed) <= arguments.keys() <= known.keys():
        raise InvalidInputError(f"{name} takes {', '.join(known)} (needed: {', '.join(needed) or 'none'})")
    for key, value in arguments.items():
        kind = known[key]["type"]
        if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "boolean"):
            raise InvalidInputError(f"{name} wants {key} as {kind}, got {value!r}")
    return arguments


def find(
    ovseg: NodeClient, query: str, frame: str = "", max_results: int = 5, search_memory: bool = False
) -> dict[str, Any]:
    """Where things are."""
    reply = ovseg.find(query, target_frame=frame, max_results=max_results, search_memory=search_memory)
    told = {"answer": _answer(reply), "count": reply.count, "things": [_thing(one) for one in reply.segments]}
    if reply.remembered:  # apart from what is in view
        told["remembered"] = [_remembered(one) for one in reply.remembered[:max_results]]
    return told


def recall(
    ovseg: NodeClient, query: str = "", kind: str = "", within_hours: float = 0.0, max_results: int = 10
) -> dict[str, Any]:
    """What was seen where."""
    since_s = (
        time.time() - 3600 * within_hours if within_hours else 0.0
    )  # as the images' clock, if that is real
    reply = ovseg.recall(query, kind=kind, seen_after_s=since_s, max_results=max_results)
    told = [_remembered(one) for one in reply.things]
    return {"answer": _answer(reply), "count": reply.count, "remembered": told}


def count(ovseg: NodeClient, query: str) -> dict[str, Any]:
    """How many there are."""
    reply = ovseg.find(query)
    return {"answer": _answer(reply), "count": reply.count}


def describe_scene(ovseg: NodeClient, words: list[str] | tuple[str, ...] = ()) -> dict[str, Any]:
    """What is in view."""
    reply = ovseg.segment(words=words, with_masks=False)
    return {"answer": _answer(reply), "things": [_thing(one) for one in reply.segments]}


def follow(ovseg: NodeClient, query: str, seconds: float = 5.0) -> dict[str, Any]:
    """What one thing does for a while."""
    places, seen, looked = [], 0, 0
    with ovseg.follow(query) as following:
        end_s = time.monotonic() + seconds
        for sighting in following:
            looked += 1
            if sighting.stage == "FOLLOWING":
                seen += 1
                places += [sighting.segment.place] if sighting.segment.place else []
            if time.monotonic() > end_s:
                break
    reply = following.reply()
    moved = math.dist(places[0].centroid_m, places[-1].centroid_m) if places else None
    return {
        "answer": _answer(reply),
        "images": looked,
        "images_that_show_it": seen,
        "moved_m": None if moved is None else round(moved, 3),
        "last_seen": None if reply.best is None else _thing(reply.best),
    }


TOOLS: dict[str, Callable[..., dict[str, Any]]] = {
    "find": find,
    "recall": recall,
    "count": count,
    "describe_scene": describe_scene,
    "follow": follow,
}


def _answer(reply: Reply | RecallReply) -> str:
    return f"{reply.code_name}: {reply.message}" if reply.message else reply.code_name


def _thing(segment: FoundSegment) -> dict[str, Any]:
    """What a model needs to know of a thing: few numbers, rounded to what they are worth."""
    told: dict[str, Any] = {"name": segment.label, "score": round(segment.score, 2)}
    if segment.track_id:
        told["track_id"] = segment.track_id
    place = segment.place
    if place is not None:
        told["frame"] = place.frame
        told["position_m"] = [round(value, 3) for value in place.centroid_m.tolist()]
        told["size_m"] = [round(value, 3) for value in place.size_m.tolist()]
        told["distance_m"] = round(place.distance_m, 3)
    return told


def _remembered(one: RememberedThing) -> dict[str, Any]:
    """The same of what is remembered; its age always beside its place."""
    told: dict[str, Any] = {
        "name": one.label,
        "seen_s_ago": round(one.age_s),
        "confidence": round(one.confidence, 2),
        "frame": one.frame,
        "position_m": [round(value, 3) for value in one.pose.position_m.tolist()],
        "size_m": [round(value, 3) for value in one.size_m.tolist()],
    }
    if one.times_missed:
        told["looked_for_there_in_vain"] = one.times_missed
    return told


def main() -> int:
    """Prints the schemas, or carries out the call of the command line."""
    if len(sys.argv) == 3:
        with NodeClient() as ovseg:
            print(call(ovseg, sys.argv[1], sys.argv[2]))
    else:
        print(json.dumps(openai_tools() if "--openai" in sys.argv else anthropic_tools(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
