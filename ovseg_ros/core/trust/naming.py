"""Names the masks of a frame by the rule of absence: judged, their colours checked, one answer per thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from ovseg_ros.core.classify import check_embedded_for, label_thresholds
from ovseg_ros.core.colours import fit_colours
from ovseg_ros.core.device import check_finite, now, retry_on_oom
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.trust.judge import Prepared, TrustModel, runners_up
from ovseg_ros.core.trust.wholes import FRAGMENT_KEEPS, fragments
from ovseg_ros.core.words import Vocabulary


def label_by_trust(
    embedded: EmbeddedFrame,
    vocabulary: Vocabulary,
    options: SegmenterOptions,
    trust: TrustModel,
    prepared: Prepared,
    logit_scale: float,
    device: torch.device,
    timings: Mapping[str, float],
) -> Segmentation:
    """The masks of a frame with the words that are right.

    Args:
        embedded: N masks.
        vocabulary: the words.
        options: how they are labelled.
        trust: judges them.
        prepared: of this vocabulary.
        logit_scale: the encoder's.
        device: where this is computed.
        timings: seconds so far; "classify" is added.

    Raises:
        InvalidInputError: the frame was embedded without what the classifier needs: embed it again.
        NotFiniteError: a probability is NaN.
        OutOfMemoryError: it does not fit.
    """
    check_embedded_for(embedded, options)
    start = now(device)
    judged = retry_on_oom(
        lambda _: trust.judge(
            embedded.embeddings, embedded.has_clip_embedding, prepared, logit_scale, embedded.mask_scores
        ),
        1,
        device,
        stage="labelling",
    )
    text = prepared.text[: len(vocabulary)]
    similarities = (embedded.embeddings.float().to(text.device) @ text.T).cpu()  # (N,K)
    check_finite(judged.probs, "the masks' probabilities")
    thresholds = label_thresholds(vocabulary, options)
    probs, remarks = fit_colours(
        embedded.frame, embedded.masks, judged.probs, vocabulary.names, options, thresholds
    )
    second = runners_up(judged, prepared.words, probs)
    named = without_fragments(
        Segmentation(embedded, vocabulary, probs, options, similarities, timings, second, remarks)
    )
    return dataclasses.replace(named, timings={**timings, "classify": now(device) - start})


def without_fragments(named: Segmentation) -> Segmentation:
    """What is named, but for fragments of things with the same label, see `fragments`."""
    gone = fragments(named.masks, named.boxes_xyxy, named.label_index, named.ranking)
    if not bool(gone.any()):
        return named
    lowest = float(label_thresholds(named.vocabulary, named.options).min())
    # Below the threshold of every label, and its words stay in their order.
    keeps = FRAGMENT_KEEPS * lowest / named.probs.amax(dim=1).clamp(min=1e-9)  # (N,)
    probs = torch.where(gone[:, None], named.probs * keeps[:, None].clamp(max=1), named.probs)
    return dataclasses.replace(named, probs=probs)
