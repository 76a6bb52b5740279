"""Names the masks of a frame by the softmax over the words that compete, as the method was released."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ovseg_ros.core.classify import background_words, competing_probabilities, label_thresholds
from ovseg_ros.core.colours import fit_colours
from ovseg_ros.core.device import now, retry_on_oom
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.runners_up import find_runners_up
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary


def label_by_softmax(
    embedded: EmbeddedFrame,
    vocabulary: Vocabulary,
    options: SegmenterOptions,
    encode_text: Callable[[Sequence[str]], torch.Tensor],
    logit_scale: float,
    device: torch.device,
) -> Segmentation:
    """The masks of a frame with the words that have the largest share; `trust.label_by_trust` is the other.

    Args:
        embedded: N masks.
        vocabulary: the words.
        options: how they are labelled.
        encode_text: (K, D) unit rows of K words.
        logit_scale: the encoder's.
        device: where this is computed.

    Returns:
        All tensors on the CPU; timings gain "text" and "classify" in seconds.

    Raises:
        InvalidInputError: the frame was embedded without what the classifier needs: embed it again.
        OutOfMemoryError: it does not fit.
    """
    start = now(device)
    text = encode_text(vocabulary.names)
    rivals, background = background_words(vocabulary.names, text, options, encode_text)
    encoded = now(device)
    probs, rival_probs = retry_on_oom(
        lambda _: [
            part.cpu()
            for part in competing_probabilities(embedded, text, background, options, logit_scale=logit_scale)
        ],
        1,
        device,
        stage="labelling",
    )
    thresholds = label_thresholds(vocabulary, options)
    probs, remarks = fit_colours(embedded.frame, embedded.masks, probs, vocabulary.names, options, thresholds)
    similarities = None
    if not options.uses_generator:
        similarities = (embedded.embeddings.float().to(text.device) @ text.float().T).cpu()  # (N,K)
    runners_up = find_runners_up(probs, vocabulary.names, rival_probs, rivals)
    timings = {**embedded.timings, "text": encoded - start, "classify": now(device) - encoded}
    return Segmentation(embedded, vocabulary, probs, options, similarities, timings, runners_up, remarks)
