"""The newest moment of the camera: image, depth and intrinsics that belong together, in one slot."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

JUMP_BACK_S = 1.0  # a stamp earlier than the last one by more is a clock that was set back (a bag that loops)
DEPTH_ALIVE_S = 1.0  # without a depth message for longer, images do not wait for one
DEPTH_STOPPED_S = 5.0  # silent for so long, a depth camera is no slow one: it has stopped
KEPT = 8  # images and depth images that wait for their partner


def stamp_ns(header: Any) -> int:
    """The stamp of a std_msgs/Header in nanoseconds; 0: unknown."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


@dataclass(frozen=True)
class SyncedImages:
    """The messages of one moment, not looked into yet.

    Attributes:
        seq: Counts them, 1 and up.
        generation: Of the source when they came; see there.
        image: sensor_msgs/Image or CompressedImage.
        arrival_s: When the image came, by the source's clock.
        depth: sensor_msgs/Image or CompressedImage whose stamp is the image's within the tolerance, or None.
        camera_info: The newest sensor_msgs/CameraInfo, or None. Its stamp is not looked at: intrinsics
            stand still, and some drivers send them rarely.
    """

    seq: int
    generation: int
    image: Any
    arrival_s: float = 0.0
    depth: Any = None
    camera_info: Any = None


@dataclass(frozen=True)
class Seen:
    """What has come of one input since everything was forgotten.

    Attributes:
        messages: How many.
        stamp_ns: Of the one nearest to the image in question; None where there is none.
    """

    messages: int = 0
    stamp_ns: int | None = None


@dataclass(frozen=True)
class SourceCounts:
    """What came in since the last configure, in messages."""

    images: int = 0
    dropped: int = 0  # images that a newer one replaced before they were used, while somebody wanted them
    unwanted: int = 0  # the same, while nobody did
    without_depth: int = 0  # images used without depth although depth messages arrive
    out_of_order: int = 0  # images older than one before them; not used
    time_jumps: int = 0


class FrameSource:
    """Newest frame wins: one slot, overwritten; what is overwritten unused is counted as dropped.

    `reset`, and time that jumps back, forget all images and begin another `generation`, whose number travels
    with all images. Intrinsics have no time: they stay until others come, for a latched camera_info comes
    once.

    Where depth messages arrive, an image waits for the one of its own time (`sync_tolerance_s`), at most
    `depth_wait_s`. The add methods run on the executor's thread, the others on any.
    """

    def __init__(
        self,
        *,
        sync_tolerance_s: float,
        depth_wait_s: float,
        on_images: Callable[[], None],
        is_wanted: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An empty source.

        Args:
            sync_tolerance_s: Largest difference of stamps, seconds.
            depth_wait_s: How long an image waits for depth, seconds.
            on_images: Called after the slot was filled anew.
            is_wanted: Whether somebody waits for images at this moment.
            clock: Seconds that never jump.
        """
        self.sync_tolerance_s = sync_tolerance_s
        self.depth_wait_s = depth_wait_s
        self.needs_depth = False  # True: no image is used without depth
        self.is_rectified = False  # whether the images are, by their topic's name
        self.generation = 0  # counts how often everything was forgotten; what is known of another is void
        self._on_images, self._is_wanted = on_images, is_wanted
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(SourceCounts.__dataclass_fields__, 0)
        self._seq = 0
        self._camera_info: Any = None
        self._infos = 0
        self._forget()

    def _forget(self) -> None:
        self.generation += 1
        self._come = {"image": 0, "depth": 0}
        self._images: deque[tuple[float, int, Any]] = deque(maxlen=KEPT)  # (arrival, stamp_ns, message)
        self._depths: deque[tuple[int, Any]] = deque(maxlen=KEPT)  # (stamp_ns, message)
        self._depth_arrival = self._image_arrival = -float("inf")
        self._last_stamp = 0
        self._slot: SyncedImages | None = None
        self._slot_used = True

    @property
    def counts(self) -> SourceCounts:
        """The counts now."""
        with self._lock:
            return SourceCounts(**self._counts)

    def reset(self) -> None:
        """Forgets images and depth (the counts and the intrinsics stay)."""
        with self._lock:
            self._forget()

    def newest(self) -> SyncedImages | None:
        """The newest images, which count as used from now on; None: there is none."""
        self.poll()
        with self._lock:
            self._slot_used = True
            return self._slot

    def peek(self) -> SyncedImages | None:
        """The newest images, without their counting as used."""
        with self._lock:
            return self._slot

    def newest_seq(self) -> int:
        """The number of the newest images, 0 where there is none."""
        with self._lock:
            return self._slot.seq if self._slot else 0

    @property
    def waits_for_depth(self) -> bool:
        """True while images have come that may not be used for want of depth or intrinsics."""
        with self._lock:
            if not self.needs_depth or self._slot is None:
                return self.needs_depth and self._come["image"] > 0
            return bool(self._images) and self._clock() - self._images[-1][0] < DEPTH_ALIVE_S

    @property
    def image_silent_s(self) -> float:
        """Seconds since the last image came, 0 where none has come."""
        with self._lock:
            silent_s = self._clock() - self._image_arrival
        return silent_s if silent_s < float("inf") else 0.0

    def age_s(self, arrival_s: float) -> float:
        """Seconds since `arrival_s` of an image."""
        return self._clock() - arrival_s

    def seen(self) -> dict[str, Seen]:
        """What has come of image, depth and camera_info, beside the image that was used last.

        Where none was used for a while it is the image that waits for depth longest: all that belongs to it
        should have come by now.
        """
        with self._lock:
            slot, waiting = self._slot, self._images[0] if self._images else None
            if waiting and (slot is None or waiting[0] - slot.arrival_s > DEPTH_ALIVE_S):
                stamp: int | None = waiting[1]
                slot = None
            else:
                stamp = stamp_ns(slot.image.header) if slot else None
            stamps = [kept[0] for kept in self._depths]
            if slot is not None and slot.depth is not None:
                stamps.append(stamp_ns(slot.depth.header))
            depth = min(stamps, key=lambda one: abs(one - (stamp or 0)), default=None)
            info = self._camera_info
            return {
                "image": Seen(self._come["image"], stamp),
                "depth": Seen(self._come["depth"], depth),
                "camera_info": Seen(self._infos, None if info is None else stamp_ns(info.header)),
            }

    @property
    def depth_stopped_s(self) -> float:
        """Seconds from the last depth message to the last image, where images went on for a while; else 0.

        Where both stopped at once it is the camera that stands, or a recording that is paused.
        """
        with self._lock:
            silent_s = self._image_arrival - self._depth_arrival
        return silent_s if DEPTH_STOPPED_S <= silent_s < float("inf") else 0.0

    def add_camera_info(self, message: Any) -> None:
        """Takes intrinsics; they hold for all images until the next."""
        with self._changing():
            self._infos += 1
            self._camera_info = message

    def add_depth(self, message: Any) -> None:
        """Takes a depth image."""
        with self._changing():
            self._come["depth"] += 1
            self._depths.append((stamp_ns(message.header), message))
            self._depth_arrival = self._clock()

    def add_image(self, message: Any) -> None:
        """Takes a colour image."""
        stamp = stamp_ns(message.header)
        with self._changing():
            self._counts["images"] += 1
            if stamp and self._last_stamp - stamp > JUMP_BACK_S * 1e9:
                self._counts["time_jumps"] += 1
                self._forget()
            self._come["image"] += 1
            self._image_arrival = self._clock()
            if stamp and stamp < self._last_stamp:
                self._counts["out_of_order"] += 1
            else:
                self._last_stamp = stamp or self._last_stamp
                if len(self._images) == KEPT:
                    self._lose(1)
                self._images.append((self._clock(), stamp, message))

    def poll(self) -> None:
        """Lets images go whose wait for depth is over; call it now and then."""
        with self._changing():
            pass

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Holds the lock for a change, then fills the slot where an image is ready, and says so unlocked."""
        with self._lock:
            yield
            filled = self._match()
        if filled:
            self._on_images()

    def _match(self) -> bool:
        """Fills the slot with the newest image that is ready; True where it did. Under the lock."""
        now = self._clock()
        depth_alive = now - self._depth_arrival < DEPTH_ALIVE_S
        for place in range(len(self._images) - 1, -1, -1):
            arrival, stamp, image = self._images[place]
            depth = self._depth_at(stamp)
            if self.needs_depth and (depth is None or self._camera_info is None):
                continue
            if depth is None and depth_alive and now - arrival < self.depth_wait_s:
                continue
            if depth is None and depth_alive:
                self._counts["without_depth"] += 1
            self._fill(place, image, depth)
            return True
        return False

    def _depth_at(self, stamp: int) -> Any:
        """The depth image nearest in time, or None where none is within the tolerance."""
        best = min(self._depths, key=lambda kept: abs(kept[0] - stamp), default=None)
        if best is None or abs(best[0] - stamp) > self.sync_tolerance_s * 1e9:
            return None
        return best[1]

    def _fill(self, place: int, image: Any, depth: Any) -> None:
        self._lose(place + (not self._slot_used))  # the older ones that waited, and the slot
        arrival_s = self._images[place][0]
        for _ in range(place + 1):
            self._images.popleft()
        self._seq += 1
        self._slot = SyncedImages(self._seq, self.generation, image, arrival_s, depth, self._camera_info)
        self._slot_used = False

    def _lose(self, images: int) -> None:
        """Counts images that nobody will look at."""
        if images:
            self._counts["dropped" if self._is_wanted() else "unwanted"] += images
