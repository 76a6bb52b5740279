#!/usr/bin/env python3
"""A behaviour for py_trees (pip install py_trees) that finds something by name, and does not block the tree.

python3 py_trees_find.py "find teapot"
"""

from __future__ import annotations

import sys
import time

from ovseg_ros.ros.client import NoAnswer, NodeClient, Search

try:
    import py_trees
    from py_trees.common import Access, Status
except ModuleNotFoundError as error:
    raise SystemExit(f"this example needs py_trees ({error}): pip install py_trees") from error


class Find(py_trees.behaviour.Behaviour):
    """SUCCESS when it is found, and then the blackboard's `found` holds it; FAILURE when it is not."""

    def __init__(self, ovseg: NodeClient, query: str, *, frame: str = "", timeout_s: float = 5.0) -> None:
        """Asks nothing yet.

        Args:
            ovseg: shared by all behaviours of the tree.
            query: what to find.
            frame: of its place; "": the camera's. Given, a thing without a place in it is not found.
            timeout_s: how long the node looks.
        """
        super().__init__(f"find {query}")
        self._ovseg, self._query, self._frame, self._timeout_s = ovseg, query, frame, timeout_s
        self._search: Search | None = None
        self._board = self.attach_blackboard_client()
        self._board.register_key("found", access=Access.WRITE)

    def initialise(self) -> None:
        """Sends the search. Waits a second at most, and only for a node that is not there yet."""
        self._search = None
        try:
            self._search = self._ovseg.begin_find(
                self._query,
                max_results=1,
                want_3d=bool(self._frame),
                target_frame=self._frame,
                timeout_s=self._timeout_s,
                patience_s=1.0,
            )
        except NoAnswer as error:
            self.feedback_message = str(error)

    def update(self) -> Status:
        """RUNNING while the node looks."""
        if self._search is None:
            return Status.FAILURE
        if not self._search.done():
            self.feedback_message = "" if self._search.progress is None else self._search.progress.stage
            return Status.RUNNING if not self._ovseg.is_gone() else Status.FAILURE
        reply = self._search.result()
        self.feedback_message = f"{reply.code_name}: {reply.message}"
        if not reply.found or (self._frame and reply.frame_3d != self._frame):
            return Status.FAILURE
        self._board.found = reply.best
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        """Cancels the search where the tree has gone elsewhere."""
        if new_status == Status.INVALID and self._search is not None:
            self._search.cancel()


def main(query: str) -> int:
    """Ticks the behaviour until it has an answer."""
    with NodeClient() as ovseg:
        find = Find(ovseg, query)
        while find.status not in (Status.SUCCESS, Status.FAILURE):
            find.tick_once()
            time.sleep(0.05)
    print(f"{find.status.name}, {find.feedback_message}")
    return 0 if find.status == Status.SUCCESS else 1


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
