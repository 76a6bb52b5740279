"""The planner's client: each interface of the node as a method that blocks, with a time limit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Literal

from lifecycle_msgs.srv import GetState

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.client.asking import PATIENCE_S, Asking
from ovseg_ros.ros.client.connection import Connection, NoAnswer, NodeGone
from ovseg_ros.ros.client.images import Images
from ovseg_ros.ros.client.query_topic import QueryTopic
from ovseg_ros.ros.client.recalling import Recalling
from ovseg_ros.ros.client.replies import Reply, Words
from ovseg_ros.ros.client.requests import as_words
from ovseg_ros.ros.client.teaching import Teaching
from ovseg_ros.srv import SetVocabulary

_OPERATIONS = {
    "replace": SetVocabulary.Request.REPLACE,
    "add": SetVocabulary.Request.ADD,
    "remove": SetVocabulary.Request.REMOVE,
}


class NodeClient(Asking, Recalling, Teaching):
    """Asks one `ovseg` node. Use as a context manager, or call `close`; docs/client.md tells all of it.

    Made for programs with or without an executor of their own: a thread of the client's spins a node of the
    client's in a context of the client's, and calls block their caller alone. Several threads may use it.

    Attributes:
        images: the last images of topics that were asked for.
    """

    def __init__(self, *, domain_id: int | None = None, node_name: str = "/ovseg") -> None:
        """Joins a DDS domain (None: the one of ROS_DOMAIN_ID); waits for nothing.

        Raises:
            InvalidInputError: the node's name is not a full one.
        """
        if not node_name.startswith("/") or node_name.endswith("/"):
            raise InvalidInputError(f'expected the full name of a node, such as "/ovseg", got {node_name!r}')
        connection = Connection(domain_id=domain_id, node_name=node_name)
        Asking.__init__(self, connection)
        Recalling.__init__(self, connection)
        Teaching.__init__(self, connection)
        self.images = Images(connection)
        self._get_state = connection.node.create_client(GetState, f"{node_name}/get_state")
        self._set_vocabulary = connection.service(SetVocabulary, "set_vocabulary")
        self._topic = QueryTopic(connection)

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the domain; searches and followings that go on are cancelled, who waits is told NoAnswer."""
        for goal in list(self._goals):
            goal.end()
        self._connection.close()

    # The node

    def wait_for_node(self, timeout_s: float = PATIENCE_S) -> None:
        """Waits until the node is there, active or not.

        Raises:
            NoAnswer: it is not, in time; the message says which nodes there are. NodeGone: it was, and died.
        """
        self._connection.connected(self._find.server_is_ready, "~/find_object", timeout_s)

    def is_active(self) -> bool:
        """Whether the node's lifecycle state is active; False also while it does not answer."""
        return self.state() == "active"

    def state(self) -> str:
        """The node's lifecycle state (unconfigured, inactive, active …); "" where it does not answer."""
        try:
            self._connection.check_alive()
            if not self._get_state.service_is_ready():
                return ""
            reply = self._connection.result(self._get_state.call_async(GetState.Request()), 2.0)
        except NoAnswer:
            return ""
        return reply.current_state.label if reply is not None else ""

    def is_gone(self) -> bool:
        """Whether the node was alive and is no more."""
        return self._connection.is_gone()

    # The node's words

    def set_vocabulary(
        self,
        words: str | Sequence[str],
        *,
        operation: Literal["replace", "add", "remove"] = "replace",
        thresholds: Sequence[float] = (),
        timeout_s: float = PATIENCE_S,
    ) -> Words:
        """Changes what the node looks for from its next image on, for everybody.

        Args:
            words: at most 255; none with "replace" makes the node idle.
            operation: what to do with them.
            thresholds: parallel to `words`, 0 for the node's; none: the node's for all.
            timeout_s: for the node to be there, and then to answer.

        Returns:
            The words in force now, and which of those given were refused and why.

        Raises:
            NoAnswer: no answer in time; NodeGone: the node has died.
            InvalidInputError: an operation that there is not.
        """
        if operation not in _OPERATIONS:
            raise InvalidInputError(f"expected the operation {', '.join(_OPERATIONS)}, got {operation!r}")
        request = SetVocabulary.Request(operation=_OPERATIONS[operation], labels=as_words(words))
        request.thresholds = [float(threshold) for threshold in thresholds]
        reply = self._connection.call(self._set_vocabulary, request, "~/set_vocabulary", timeout_s)
        vocabulary, rejected = reply.vocabulary, dict(zip(reply.rejected, reply.reasons))
        return Words(tuple(vocabulary.labels), vocabulary.version, rejected, reply.message)

    def ask_by_services(self, words: Sequence[str], *, timeout_s: float = 10.0) -> Reply:
        """Makes the words the node's vocabulary, then has the newest image segmented with it.

        Raises:
            NoAnswer: a service did not answer in time, or a word was refused; NodeGone: the node has died.
        """
        start = time.monotonic()
        now = self.set_vocabulary(words, timeout_s=timeout_s)
        if now.rejected or not now.words:
            raise NoAnswer(f"~/set_vocabulary refused {list(now.rejected)}: {now.message}")
        reply = self.segment(timeout_s=timeout_s)
        searched = reply.code in (ResultCode.FOUND, ResultCode.NOT_FOUND)
        if searched and reply.vocabulary_version != now.version:
            raise NoAnswer("~/segment used another vocabulary than ~/set_vocabulary had set")
        return dataclasses.replace(reply, latency_s=time.monotonic() - start)

    def ask_by_topic(self, text: str, *, timeout_s: float = 10.0) -> Reply:
        """Publishes a query; the answer is the first frame that was labelled with its words.

        Subscribes to ~/segmentation until the answer is there.

        Raises:
            NoAnswer: no such frame came in time; NodeGone: the node has died.
        """
        try:
            return self._topic.ask(text, timeout_s=timeout_s)
        except NodeGone:
            raise
        except NoAnswer as error:
            state = self.state()
            if state in ("", "active"):
                raise
            raise NoAnswer(f"{error}; the node is {state}, not active") from None
