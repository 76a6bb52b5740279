"""A query through ~/query, and its answer among the frames of ~/segmentation."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String

from ovseg_ros.core.words import parse_query
from ovseg_ros.msg import Segmentation
from ovseg_ros.ros.client.answers import reply_of_segmentation
from ovseg_ros.ros.client.connection import Connection, NoAnswer
from ovseg_ros.ros.client.replies import Reply

_MATCH_S = 2.0  # for ~/segmentation to be found; else the first frames go by, and an inactive node has none


class QueryTopic:
    """Publishes queries; subscribes to the answers while one is waited for, and not else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._query: Any = None

    def ask(self, text: str, *, timeout_s: float) -> Reply:
        """See `NodeClient.ask_by_topic`."""
        names = [name.casefold() for name in parse_query(text)]
        connection, node = self._connection, self._connection.node
        topic = f"{connection.name}/segmentation"
        if self._query is None:
            self._query = node.create_publisher(String, f"{connection.name}/query", 10)
        connection.connected(lambda: self._query.get_subscription_count() > 0, "~/query", timeout_s)
        came: list[Segmentation] = []

        def callback(message: Segmentation) -> None:
            if [name.casefold() for name in message.labels] == names:
                came.append(message)
                connection.notify()

        subscription = connection.on_executor(
            lambda: node.create_subscription(Segmentation, topic, callback, 1)
        )
        try:
            connection.wait(lambda: node.count_publishers(topic) or None, min(timeout_s, _MATCH_S))
            came.clear()
            start = time.monotonic()
            self._query.publish(String(data=text))
            message = connection.wait(lambda: came[0] if came else None, timeout_s)
        finally:
            connection.begin(lambda: node.destroy_subscription(subscription))
        if message is None:
            raise NoAnswer(f"no frame labelled {', '.join(names)} on ~/segmentation in {timeout_s:g} s")
        return reply_of_segmentation(message, start)
