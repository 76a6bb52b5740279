"""`ovseg ask`: asks a running node, and says in plain English what it answers; see docs/client.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.ask import sentences
from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np

    from ovseg_ros.ros.client import NodeClient, Reply

FOUND, NOT_FOUND, FAILED = 0, 1, 2
PATIENCE_S = 20.0
FIRST_IMAGE_S = 2.0
EVERY_S = 1.0  # what is followed is told again where nothing has changed


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    parser = commands.add_parser(
        "ask",
        help="ask a running node: where it is, how large, how sure",
        description="Asks a running ovseg node for something, and says in plain English where it is, how "
        "large and how sure that is, with a picture where the terminal can show one. Needs rclpy and this "
        "package's interfaces; the networks run in the node. Exits 0 if it is there (with --recall: if "
        "something is remembered), 1 if it is not (was lost, or is only remembered), 2 if that could not be "
        "told: no node, no image, a query that cannot be answered; 130 if "
        "interrupted.",
    )
    parser.add_argument("query", help='"find teapot", "the mug left of the teapot", "how many plates"')
    parser.add_argument("--watch", action="store_true", help="follow it, until Ctrl-C or it is lost")
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="S",
        help="look for so long; 0: at the newest image alone; with --watch: lost when out of sight for so "
        "long (default: 5)",
    )
    parser.add_argument(
        "--frame", default="", metavar="FRAME", help="say where it is in this frame: base_link"
    )
    parser.add_argument(
        "--camera", default="", metavar="NAME", help="look through this one of several (default: all)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.0, metavar="P", help="probability it needs (default: the node's)"
    )
    most = parser.add_mutually_exclusive_group()
    most.add_argument("--max", type=int, default=5, metavar="N", help="tell of so many at most (default: 5)")
    most.add_argument("--all", action="store_const", const=0, dest="max", help="tell of all there are")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument(
        "--memory", action="store_true", help="where it is not in view, tell where it was seen last"
    )
    memory.add_argument(
        "--recall",
        action="store_true",
        help='ask memory alone: "my mug", "on the table", "what food do you remember", "everything"',
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="write the answer, the picture, masks and points there"
    )
    parser.add_argument("--no-picture", action="store_true", help="show no picture in the terminal")
    parser.add_argument(
        "--node", default="/ovseg", metavar="NAME", help="the node's full name (default: /ovseg)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Asks; the exit status is 0 for found, 1 for not found, 2 where that could not be told."""
    if options.max < 0:
        raise ConfigError(f"expected --max of 0 or more, got {options.max}")
    if options.watch and options.save:
        raise ConfigError("--save keeps one answer, and --watch has many: leave one of them out")
    if options.watch and (options.memory or options.recall):
        raise ConfigError("what is followed has to be in view: leave out --watch, or --memory and --recall")
    if options.recall and options.save:
        raise ConfigError(
            "memory has no image to save: leave out --save, or see `ovseg memory show --picture`"
        )
    try:
        from ovseg_ros.ros.client import NodeClient
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ovseg ask needs ROS ({error}): run it in `make shell`, or where ROS's and the workspace's "
            "setup.bash are sourced; ovseg segment and ovseg demo need no ROS"
        ) from error
    try:
        with NodeClient(node_name=options.node) as client:
            ask = _watch if options.watch else _recall if options.recall else _ask
            return ask(client, options)
    except BrokenPipeError:  # who read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND


def _ask(client: NodeClient, options: argparse.Namespace) -> int:
    from ovseg_ros.app.ask import terminal

    how = None if options.json or options.no_picture else terminal.protocol()
    wants_picture = bool(how or options.save)
    client.wait_for_node(PATIENCE_S)
    camera = _camera(client) if wants_picture else []
    reply = client.find(
        options.query,
        camera=options.camera,
        threshold=options.threshold,
        max_results=options.max,
        timeout_s=options.timeout,
        target_frame=options.frame,
        with_masks=wants_picture,
        with_points=options.save is not None,
        search_memory=options.memory,
        patience_s=PATIENCE_S,
    )
    image = _image(client, camera, reply) if wants_picture else None
    if options.json:
        print(json.dumps({"query": options.query, **reply.as_dict()}, ensure_ascii=False))
    else:
        _tell(reply, options.max)
        if how and image is not None:
            from ovseg_ros.app.ask.picture import drawn

            terminal.show(drawn(image, reply.segments), how, sys.stdout)
    if options.save:
        from ovseg_ros.app.ask.picture import save

        files = save(options.save, options.query, reply, image)
        print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
        if image is None:
            print("no picture and no masks: the image that was searched did not come", file=sys.stderr)
    return _status(reply)


def _recall(client: NodeClient, options: argparse.Namespace) -> int:
    client.wait_for_node(PATIENCE_S)
    reply = client.recall(options.query, max_results=options.max, timeout_s=PATIENCE_S)
    if options.json:
        print(json.dumps({"query": options.query, **reply.as_dict()}, ensure_ascii=False))
    else:
        for one in reply.things:
            print(sentences.remembered(one))
        if reply.count > len(reply.things):
            print(f"and {reply.count - len(reply.things)} more: --all tells of them")
        print(sentences.conclusion(reply))
    return {"REMEMBERED": FOUND, "NOT_FOUND": NOT_FOUND}.get(reply.code_name, FAILED)


def _status(reply: Reply) -> int:
    if reply.code_name == "NO_DEPTH":  # without things: a limit in metres could not be held against anything
        return FOUND if reply.segments else FAILED
    return {"FOUND": FOUND, "NOT_FOUND": NOT_FOUND, "LOST": NOT_FOUND, "REMEMBERED": NOT_FOUND}.get(
        reply.code_name, FAILED
    )


def _tell(reply: Reply, most: int) -> None:
    for segment in reply.segments:
        print(sentences.thing(segment, reply.frame))
    for one in reply.remembered[: most or None]:
        print(sentences.remembered(one))
    more = reply.count - len(reply.segments)
    if reply.remembered:
        more = len(reply.remembered[most:]) if most else 0
    if (reply.segments or reply.remembered) and more > 0:
        print(f"and {more} more: --all tells of them")
    print(sentences.conclusion(reply))


def _watch(client: NodeClient, options: argparse.Namespace) -> int:
    # The node is told of our end, or it would go on following.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    following = client.follow(
        options.query,
        camera=options.camera,
        threshold=options.threshold,
        target_frame=options.frame,
        lost_after_s=options.timeout,
        patience_s=PATIENCE_S,
    )
    rewrites = sys.stdout.isatty() and not options.json
    stage, told_s = "", 0.0
    try:
        with following:
            for sighting in following:
                now_s = time.monotonic()
                if options.json:
                    print(json.dumps(sighting.as_dict(), ensure_ascii=False), flush=True)
                elif rewrites:
                    print(f"\r\x1b[K{sentences.sighting(sighting)}", end="", flush=True)
                elif sighting.stage != stage or now_s - told_s >= EVERY_S:
                    print(sentences.sighting(sighting), flush=True)
                    stage, told_s = sighting.stage, now_s
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    reply = following.reply(PATIENCE_S)
    if options.json:
        print(json.dumps({"query": options.query, **reply.as_dict()}, ensure_ascii=False))
    else:
        print(f"{chr(10) if rewrites else ''}{sentences.conclusion(reply)}")
    return _status(reply)


def _camera(client: NodeClient) -> list[str]:
    """The node's image topics, colour first, kept from now on; waits for the first image that comes."""
    from ovseg_ros.ros.client import NoAnswer

    deadline = time.monotonic() + FIRST_IMAGE_S
    topics: dict[str, str] = {}
    while not topics and time.monotonic() < deadline:
        with contextlib.suppress(NoAnswer):  # the node's services are known before its name
            topics = client.images.of_node()
        time.sleep(0.02)
    ordered = sorted(topics, key=lambda topic: ("depth" in topic, topic))
    for topic in ordered:
        client.images.keep(topic, compressed="Compressed" in topics[topic], reliable=False)
    while ordered and not client.images.count(ordered[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return ordered


def _image(client: NodeClient, topics: list[str], reply: Reply) -> np.ndarray | None:
    """The colour image that was searched, (H, W, 3) uint8 RGB; None where it did not come."""
    if not reply.stamp_ns:
        return None
    for topic in topics:
        try:
            image = client.images.at(topic, reply.stamp_ns, frame=reply.frame)
        except InvalidInputError:  # depth
            continue
        except ModuleNotFoundError as error:
            print(f"no picture: this Python has no {error.name}", file=sys.stderr)
            return None
        if image is not None and image.ndim == 3:
            return image
    return None
