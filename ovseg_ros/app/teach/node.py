"""Names that a running node knows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.teach.shown import Shown
from ovseg_ros.errors import ConfigError, OvsegError

if TYPE_CHECKING:
    from ovseg_ros.ros.client import TaughtReply

PATIENCE_S = 20.0


class Node:
    """A `Place`: asks through `~/teach`. Use as a context manager."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Joins the domain.

        Raises:
            ConfigError: there is no ROS here.
        """
        try:
            from ovseg_ros.ros.client import NodeClient
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"telling a node needs ROS ({error}): run it in `make shell`, or where ROS's and the "
                "workspace's setup.bash are sourced; or keep the name in a file, without a node: "
                "--memory FILE"
            ) from error
        self._options = options
        self._client = NodeClient(node_name=options.node)
        self._ends = ExitStack()

    def __enter__(self) -> Node:
        self._ends.enter_context(self._client)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def names(self) -> Mapping[str, int]:
        """See `Place`."""
        return _checked(self._client.taught_names(timeout_s=PATIENCE_S)).names

    def teach(self, name: str, shown: Sequence[Shown]) -> str:
        """See `Place`; what was kept of several is taken back where one is refused and the name is new."""
        requests = [
            self._request(one) for one in shown
        ]  # what cannot be read is said before anything is kept
        is_new = name not in self.names()
        for number, request in enumerate(requests):
            reply = self._client.teach(name, timeout_s=PATIENCE_S, **request)
            if reply.done:
                continue
            if number and is_new:
                self.forget(name)
            kept = f"; {number} of {len(shown)} were kept" if number and not is_new else ""
            about = shown[number].image
            said = f"{about}: {reply.message}" if about is not None else reply.message
            if reply.code_name != "NOT_FOUND":
                _checked(reply, f"{said}{kept}")
            return f"{said}{kept}"
        return ""

    def forget(self, name: str) -> None:
        """See `Place`."""
        _checked(self._client.forget_name(name, timeout_s=PATIENCE_S))

    def _request(self, shown: Shown) -> dict[str, Any]:
        if shown.image is None:
            return {"track_id": shown.track_id, "camera": self._options.camera}
        frame = shown.frame()
        return {
            "image_rgb": frame.image_rgb,
            "depth": frame.depth_m,
            "intrinsics": frame.intrinsics,
            "box_xywh": shown.box_xywh,
            "mask": None if shown.mask is None else shown.mask_of(frame.size_hw),
        }


CURES = {
    "NO_IMAGE": "or show a picture with --image",
    "STALE_IMAGE": "or show a picture with --image",
    "INACTIVE": "see `ros2 lifecycle get`",
    "BUSY": "ask again later",
}


def _checked(reply: TaughtReply, said: str = "") -> TaughtReply:
    """The reply, where it is none of an error.

    Raises:
        OvsegError: it is one.
    """
    if not reply.done and reply.code_name != "NOT_FOUND":
        cure = f"; {CURES[reply.code_name]}" if reply.code_name in CURES else ""
        raise OvsegError(f"the node answers {reply.code_name}: {said or reply.message}{cure}")
    return reply
