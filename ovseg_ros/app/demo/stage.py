"""One act of the demo: a node with its preset and a camera with its recording, asked by a planner."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovseg_ros.app.demo.acts import Act
from ovseg_ros.app.demo.output import Answer, Coverage, file_name, in_words
from ovseg_ros.app.demo.pictures import captioned, draw_masks, overlay, write_image
from ovseg_ros.app.demo.processes import Child, end_all
from ovseg_ros.app.demo.queries import ACTION, SERVICES, TOPIC, Ask
from ovseg_ros.app.demo.truth import BestMask, Truth
from ovseg_ros.errors import OvsegError

if TYPE_CHECKING:
    from ovseg_ros.ros.client import NodeClient, Reply

COLOUR = "/camera/color/image_raw"
INSTANCES = "/ground_truth/instance_image"
OVERLAY = "/ovseg/overlay"
REMAPS = (
    "image:=/camera/color/image_raw",
    "depth:=/camera/depth/image_raw",
    "camera_info:=/camera/color/camera_info",
)
NODE_START_S = 90.0
ATTEMPTS = 4
LOOPS = 3
"""A thing that is not seen in good view while the recording plays this often is given up."""

ABSENT_SEARCH_S = 1.5
"""How long the action looks for what is not there."""

PATIENCE_S = 60.0
"""For an answer: a request waits for the image at work, and a slow machine takes seconds for each."""


class DemoFailed(OvsegError):
    """The demo cannot go on; the message says why."""


class Stage:
    """Starts the processes, waits for them, asks, judges. `close` ends everything."""

    def __init__(
        self,
        act: Act,
        folder: Path,
        truth: Truth,
        *,
        frames: int,
        domain: int,
        output: Path,
        say: Callable[[str], None],
    ) -> None:
        """Starts nothing yet.

        Args:
            act: what is played.
            folder: the recording.
            truth: about it; stays here.
            frames: how many the camera shows in one round.
            domain: ROS_DOMAIN_ID of its own, so that two stages can run at the same time.
            output: folder of logs and pictures.
            say: prints a line of progress.
        """
        self.act, self.name, self.preset, self.truth = act, act.recording, act.preset, truth
        self._best_masks: dict[int, list[BestMask]] = {}  # by scene
        self.mask_pictures: list[np.ndarray] = []
        self._folder, self._frames, self._rate_hz = folder, frames, act.rate_hz
        self._domain, self._output, self._say = domain, output, say
        self._children: dict[str, Child] = {}
        self._client: NodeClient | None = None

    def start_node(self, niceness: int = 0) -> None:
        """Starts the node; it loads its preset while others work, and `niceness` lets them go first."""
        remaps = [part for remap in REMAPS for part in ("-r", remap)]
        given = {"preset": self.preset}
        if self.act.masks_wanted is not None:
            given["publish_unlabelled"] = "true"
        parameters = [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
        self._start("node", "ovseg_ros.ros.run", "--ros-args", *parameters, *remaps, niceness=niceness)

    def start_camera(self) -> None:
        """Starts the player, with ground truth for the judge, and joins as a planner."""
        from ovseg_ros.ros.client import NodeClient

        how = ("--rate", f"{self._rate_hz:g}", "--repeat", str(self.act.repeat), "--ground-truth")
        self._start("camera", "ovseg_ros.ros.player", str(self._folder), *how)
        self._client = NodeClient(domain_id=self._domain)
        self._client.images.keep(COLOUR)
        self._client.images.keep(INSTANCES)

    def _start(self, role: str, module: str, *arguments: str, niceness: int = 0) -> None:
        command = [sys.executable, "-m", module, *arguments]
        log = self._output / f"{self.name}_{role}.log"
        env = {"ROS_DOMAIN_ID": str(self._domain), "PYTHONUNBUFFERED": "1"}
        self._children[role] = Child(f"{self.name} {role}", command, log, env, niceness=niceness)

    def close(self) -> None:
        """Leaves the node and ends both processes."""
        if self._client is not None:
            self._client.close()
            self._client = None
        end_all(list(self._children.values()))
        self._children.clear()

    @property
    def client(self) -> NodeClient:
        """The planner."""
        assert self._client is not None, "start_camera comes first"
        return self._client

    def check(self) -> None:
        """Raises ChildEnded where a process has ended."""
        for child in self._children.values():
            child.check()

    def logs(self) -> str:
        """The ends of the logs."""
        return "\n".join(f"{child.log} ends:\n{child.tail()}" for child in self._children.values())

    def wait_ready(self) -> None:
        """Waits until the node is active and frames arrive.

        Raises:
            DemoFailed: not within `NODE_START_S` seconds.
            ChildEnded: a process ended.
        """
        start = said = time.monotonic()
        while not self.client.is_active():
            self.check()
            now = time.monotonic()
            if now - start > NODE_START_S:
                raise DemoFailed(f"the node was not active within {NODE_START_S:g} s\n{self.logs()}")
            if now - said > 3:
                self._say(f"waiting for preset {self.preset} to load")
                said = now
            time.sleep(0.1)
        self.client.images.newest(INSTANCES, timeout_s=20.0)

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """Asks each question in a moment when what it asks for is in good view (or is nowhere).

        Returns:
            One answer per word, in the order of the questions.
        """
        answers: dict[Ask, list[Answer]] = {}
        pending, tried = list(asks), Counter[Ask]()
        after, idle_since = 0, time.monotonic()
        while pending:
            self.check()
            stamp, image = self.client.images.newest(INSTANCES, after=after)
            ask = next((ask for ask in pending if self.truth.fits(ask.words, image, ask.scene)), None)
            if ask is None:
                after = stamp
                if time.monotonic() - idle_since > LOOPS * self._frames / self._rate_hz + 10:
                    break
                continue
            tried[ask] += 1
            number = asks.index(ask) + 1
            rows = self._ask(ask, number, last_attempt=tried[ask] >= ATTEMPTS)
            idle_since = time.monotonic()
            if rows is None:  # the scene changed meanwhile: ask again
                after = stamp
                continue
            answers[ask] = rows
            pending.remove(ask)
            wrong = "WRONG" if self.act.names_count else "wrong"
            verdict = {True: "right", False: wrong, None: "not judged"}[_all(row.correct for row in rows)]
            codes = ", ".join(f"{row.word}: {row.code}" for row in rows)
            self._say(f"{ask.interface:<13} {ask.text!r} -> {codes} ({verdict})")
        for ask in pending:
            answers[ask] = [
                self._failure(ask, w, "NO_ANSWER", "never in good view together") for w in ask.words
            ]
        return [row for ask in asks for row in answers[ask]]

    def _ask(self, ask: Ask, number: int, *, last_attempt: bool) -> list[Answer] | None:
        """One question; None where its answer cannot be judged and another attempt is left."""
        try:
            reply = self._reply_to(ask)
        except (
            OvsegError
        ) as error:  # NoAnswer: an interface that does not answer is an answer too, a wrong one
            return [self._failure(ask, word, "NO_ANSWER", str(error)) for word in ask.words]
        image = self.client.images.at(INSTANCES, reply.stamp_ns) if reply.stamp_ns else None
        if image is not None and ask.scene not in (None, self.truth.scene_of(image)) and not last_attempt:
            return None
        rows = [self._judged(ask, word, reply, image) for word in ask.words] if image is not None else [None]
        if any(row is None for row in rows):
            if not last_attempt:
                return None
            note = reply.message or "what was asked for is not in good view in the frame that was searched"
            failures = [self._failure(ask, word, reply.code_name, note) for word in ask.words]
            answered = {"latency_ms": 1000 * reply.latency_s, "counts": self.act.names_count}
            return [replace(one, **answered) for one in failures]  # too late, but answered
        given = [row for row in rows if row is not None]
        self._draw(ask, number, reply, given)
        if self.act.masks_wanted is not None and image is not None and ask.interface != ACTION:
            self._look_at_masks(reply, image)
        return given

    def _reply_to(self, ask: Ask) -> Reply:
        if ask.interface == TOPIC:
            return self.client.ask_by_topic(ask.text, timeout_s=PATIENCE_S)
        if ask.interface == SERVICES:
            return self.client.ask_by_services(ask.words, timeout_s=PATIENCE_S)
        assert ask.interface == ACTION
        present = any(self.truth.instances(word, ask.scene) for word in ask.words)
        search_s = self.act.search_s if present else ABSENT_SEARCH_S
        return self.client.find(ask.text, timeout_s=search_s, with_masks=True)

    def _judged(self, ask: Ask, word: str, reply: Reply, image: np.ndarray) -> Answer | None:
        found = [s for s in reply.segments if s.label.casefold() == word.casefold()]
        judgement = self.truth.judge(word, (s.mask(image.shape) for s in found), image, ask.scene)
        if judgement is None:
            return None
        code = "FOUND" if found else "NOT_FOUND"
        if len(ask.words) == 1 or reply.code_name not in ("FOUND", "NOT_FOUND"):
            code = reply.code_name  # the interface's own word for it
        best = reply.best_score if len(ask.words) == 1 else None  # of several words it may be another's
        return Answer(
            query=ask.text,
            word=word,
            interface=ask.interface,
            recording=self.name,
            preset=self.preset,
            code=code,
            expected=judgement.expected,
            score=found[0].score if found else best,
            iou=judgement.iou,
            latency_ms=1000 * reply.latency_s,
            correct=judgement.correct and code == judgement.expected,
            note=self.truth.note(word, ask.scene),
            counts=self.act.names_count,
        )

    def _failure(self, ask: Ask, word: str, code: str, note: str) -> Answer:
        expected = "FOUND" if self.truth.instances(word, ask.scene) else "NOT_FOUND"
        interface = ask.interface
        return Answer(
            ask.text, word, interface, self.name, self.preset, code, expected, None, None, None, False, note
        )

    def _draw(self, ask: Ask, number: int, reply: Reply, answers: Sequence[Answer]) -> None:
        image = self.client.images.at(COLOUR, reply.stamp_ns)
        if image is None:
            return
        found = [(s.label, s.score, s.mask(image.shape[:2])) for s in reply.segments]
        path = self._output / f"overlay_{self.name}_{number:02d}_{file_name(ask.text)}.png"
        picture = overlay(image, ask.words, found)
        write_image(path, captioned(picture, in_words(ask.text, answers)))

    def _look_at_masks(self, reply: Reply, image: np.ndarray) -> None:
        """Keeps and draws how well the masks of the first answer about a scene cover its things."""
        scene = self.truth.scene_of(image)
        picture = self.client.images.at(COLOUR, reply.stamp_ns)
        if scene is None or scene in self._best_masks or picture is None:
            return
        masks = [one.mask(image.shape) for one in reply.masks]
        self._best_masks[scene] = best = self.truth.best_masks(masks, image)
        drawn = draw_masks(picture, masks, best, self.act.good_iou)
        self.mask_pictures.append(drawn)
        write_image(self._output / f"masks_{self.name}_{file_name(self.truth.titles[scene])}.png", drawn)

    def coverage(self) -> list[Coverage]:
        """How well the masks of the answers so far cover the act's things; [] where nobody wants to know."""
        wanted = self.act.masks_wanted
        if wanted is None:
            return []
        best = tuple(one for scene in sorted(self._best_masks) for one in self._best_masks[scene])
        return [Coverage(self.name, self.preset, self.act.good_iou, wanted, best)]

    def film(self, words: Sequence[str]) -> list[np.ndarray]:
        """One round of the recording as the node's overlay shows it, labelled with `words`."""
        try:
            self.client.ask_by_topic(", ".join(f'"{word}"' for word in words))
        except OvsegError as error:  # the film is for people; the answers are what counts
            self._say(f"no film: {error}")
            return []
        self.client.images.keep(OVERLAY)
        deadline = time.monotonic() + self._frames / self._rate_hz + 2.0
        while self.client.images.count(OVERLAY) < self._frames and time.monotonic() < deadline:
            self.check()
            time.sleep(0.1)
        return [image for _, image in self.client.images.all(OVERLAY)]


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where nothing can be said of one, else True."""
    given = list(verdicts)
    return False if False in given else None if None in given else True


def own_domain() -> int:
    """The ROS_DOMAIN_ID of this process, 0 where none is set."""
    return int(os.environ.get("ROS_DOMAIN_ID") or 0)
