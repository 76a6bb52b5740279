"""The interfaces through which words come in: the query topic, the services, and what they share."""

from __future__ import annotations

import array
import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from std_msgs.msg import String

from ovseg_ros.core.words import Refuse, Vocabulary, Wanted, names_of, wanted_of
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.context import UNLABELLED, MessageContext
from ovseg_ros.ros.io.conversions import segmentation_message, vocabulary_message
from ovseg_ros.ros.requests.answers import RequestError, name_of
from ovseg_ros.ros.requests.best import answer_of
from ovseg_ros.ros.requests.placing import told
from ovseg_ros.ros.requests.queues import SERVICES
from ovseg_ros.ros.requests.restrictions import left_out_by, limits_of
from ovseg_ros.ros.requests.serving import serve
from ovseg_ros.srv import EmbedText, SegmentImage, SetVocabulary

MAX_TEXTS = 255


def words_vocabulary(
    names: Sequence[str], threshold: float, refuse: Refuse | None = None
) -> tuple[Vocabulary, list[Any]]:
    """A vocabulary for one request (version 0), and the names it could not take.

    Args:
        names: The words.
        threshold: For all of them, in (0, 1]; 0: the node's.
        refuse: What else stands against a word.

    Raises:
        RequestError: INVALID_QUERY: the threshold is out of range, or no usable word is left.
    """
    _check_threshold(threshold)
    thresholds = [threshold] * len(names) if threshold > 0 else None
    vocabulary, rejected = Vocabulary.empty().replace(list(names), thresholds, refuse=refuse)
    if not len(vocabulary):
        raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected) or "it names no thing to look for")
    return dataclasses.replace(vocabulary, version=0), rejected


def beyond_names(asked: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """What a request asks for where it is more than plain names; else nothing has to be chosen."""
    return () if all(one.is_plain for one in asked) else tuple(asked)


def reasons_of(rejected: Sequence[Any]) -> str:
    """Words that were not taken and why, in one line."""
    return "; ".join(f"{r.name!r}: {r.reason}" for r in rejected)


def _check_threshold(threshold: float) -> None:
    if not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise RequestError(ResultCode.INVALID_QUERY, f"expected a threshold from 0 to 1, got {threshold}")


class Queries:
    """`~/query`, `~/set_vocabulary`, `~/segment` and `~/embed_text`."""

    def __init__(self, node: Any) -> None:
        """`node` is an `ovseg_ros.ros.node.OvsegNode`."""
        self._node = node
        node.create_subscription(String, "~/query", self._on_query, 10)
        node.create_service(SetVocabulary, "~/set_vocabulary", self._on_set_vocabulary, qos_profile=SERVICES)
        serve(
            node,
            (SegmentImage, "~/segment", self._on_segment),
            (EmbedText, "~/embed_text", self._on_embed_text),
        )

    def _on_query(self, message: String) -> None:
        """The words of a query become the vocabulary; a bad query is said and changes nothing."""
        node = self._node
        try:
            asked = node.asked(message.data)
            names, wanted = names_of(asked), beyond_names(asked)
            vocabulary, rejected = node.vocabulary.replace(names, now_s=time.monotonic(), refuse=node.refusal)
            if rejected and (wanted or len(rejected) == len(names)):
                raise InvalidInputError(reasons_of(rejected))
        except InvalidInputError as error:
            node.statistics.count("invalid_queries")
            node.get_logger().warning(
                f"query refused, the vocabulary stays: {error}", throttle_duration_sec=5.0
            )
            return
        for refused in rejected:
            node.statistics.count("rejected_words")
            node.get_logger().warning(
                f"word refused: {refused.name!r}: {refused.reason}", throttle_duration_sec=5.0
            )
        node.words.change(vocabulary, message.data.strip(), wanted)

    def _on_set_vocabulary(self, request: Any, response: Any) -> Any:
        node = self._node
        present, rejected = node.vocabulary, []
        try:
            vocabulary, rejected = _changed(present, request, node.refusal)
            response.success = len(rejected) < len(request.labels) or not request.labels
            response.message = f"{len(vocabulary)} active labels, {len(rejected)} refused"
            if response.success:
                node.words.change(vocabulary)
        except InvalidInputError as error:
            response.success, response.message = False, str(error)
        response.rejected = [r.name for r in rejected]
        response.reasons = [r.reason for r in rejected]
        stamp = node.get_clock().now().to_msg()
        response.vocabulary = vocabulary_message(node.vocabulary, node.words.default_threshold(), stamp)
        return response

    async def _on_segment(self, request: Any, response: Any) -> None:
        camera, settings = self._node.ready_cameras(request.camera)[0], self._node.settings
        engine, image = camera.engine, request.image
        is_given = bool(image.width or image.height or len(image.data))
        limits = limits_of(request.where)
        wanted: tuple[Wanted, ...] = ()
        if request.labels:
            asked = wanted_of(request.labels)
            wanted, names = beyond_names(asked), names_of(asked)
            vocabulary, rejected = words_vocabulary(names, request.threshold, self._node.refusal)
            if wanted and rejected:
                raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        else:
            vocabulary, rejected = self._node.vocabulary, []
            if not len(vocabulary):
                raise RequestError(
                    ResultCode.INVALID_QUERY, "no labels given, and the node's vocabulary is empty"
                )
            if request.threshold:
                _check_threshold(request.threshold)
                labels = [dataclasses.replace(one, threshold=request.threshold) for one in vocabulary]
                vocabulary = dataclasses.replace(vocabulary, labels=tuple(labels), version=0)

        def label() -> MessageContext:
            if is_given:
                depth = request.depth if request.depth.width or len(request.depth.data) else None
                info = request.camera_info
                camera_info = info if info.width or any(info.k) or any(info.p) else None
                embedded = engine.given(image, depth, camera_info)
            else:
                embedded = engine.newest()
            return engine.label(embedded, vocabulary)

        def tell(context: MessageContext) -> None:
            out, left_out = left_out_by(limits, context)
            context, choice = answer_of(context, wanted, out)
            response.segmentation = segmentation_message(
                context,
                model=engine.model,
                with_masks=request.with_masks and settings.publish_masks,
                with_unlabelled=settings.publish_unlabelled,
                with_images=request.with_masks,
                with_points=request.with_points,
            )
            response.segmentation.camera = "" if is_given else camera.name
            found = int((context.label_ids != UNLABELLED).sum())
            response.code = ResultCode.FOUND if found else ResultCode.NOT_FOUND
            refused = f"; {choice.reason}" if choice.reason and wanted else ""
            refused += "".join(f"; refused {r.name!r}: {r.reason}" for r in rejected)
            if set(vocabulary.names) - set(context.names):  # why one was not found
                refused += "".join(f"; {remark}" for remark in context.remarks)
            refused += "".join(f"; {one}" for one in (left_out, context.remark_3d) if one)
            response.message = (
                f"{name_of(response.code)}: {found} of {len(context.masks)} masks labelled{refused}"
            )

        await told(self._node, request.target_frame, label, tell)

    async def _on_embed_text(self, request: Any, response: Any) -> None:
        engine = self._node.ready_cameras()[0].engine
        if not 1 <= len(request.labels) <= MAX_TEXTS:
            raise RequestError(
                ResultCode.INVALID_QUERY, f"expected 1 to {MAX_TEXTS} labels, got {len(request.labels)}"
            )
        texts = [checked_text(label) for label in request.labels]

        def job() -> None:
            rows = engine.encode(texts, verbatim=request.verbatim).detach().cpu().numpy().astype(np.float32)
            response.dimension = rows.shape[1]
            response.embeddings = array.array("f", rows.tobytes())
            response.model = engine.model
            response.code, response.message = (
                ResultCode.FOUND,
                f"{len(rows)} vectors of length {rows.shape[1]}",
            )

        await self._node.bridge.wrap(self._node.submit(job))


def checked_text(text: str) -> str:
    """A text as it stands, where it is one the model may be given.

    Raises:
        RequestError: INVALID_QUERY: blank or longer than 128 bytes.
    """
    if len(text) > 128 or not text.strip() or len(text.encode()) > 128:
        raise RequestError(
            ResultCode.INVALID_QUERY, f"expected texts of 1 to 128 bytes, got {len(text.encode())}"
        )
    return text


def _changed(vocabulary: Vocabulary, request: Any, refuse: Refuse) -> tuple[Vocabulary, list[Any]]:
    """The vocabulary after a SetVocabulary request, and the labels it did not take.

    Raises:
        InvalidInputError: the request contradicts itself.
    """
    thresholds = [None if value == 0 else float(value) for value in request.thresholds] or None
    now_s = time.monotonic()  # not the node's clock: simulated time may stand or go back
    if request.operation == SetVocabulary.Request.REPLACE:
        return vocabulary.replace(request.labels, thresholds, now_s=now_s, refuse=refuse)
    if request.operation == SetVocabulary.Request.ADD:
        return vocabulary.add(request.labels, thresholds, now_s=now_s, refuse=refuse)
    if request.operation == SetVocabulary.Request.REMOVE:
        return vocabulary.remove(request.labels, now_s=now_s)
    raise InvalidInputError(f"expected operation REPLACE (0), ADD (1) or REMOVE (2), got {request.operation}")
