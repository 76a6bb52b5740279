"""From embeddings to labels: N regions against K words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F

from ovseg_ros.core.device import check_finite
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError


def mask_probabilities(
    region_emb: torch.Tensor,
    text_emb: torch.Tensor,
    *,
    logit_scale: float = 100.0,
    non_object: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(logit_scale · cos) over labels and background words; the background columns then go.

    Args:
        region_emb: (N, D) unit rows.
        text_emb: (K, D) unit rows of the labels.
        logit_scale: multiplies the cosines.
        non_object: (B, D) unit rows of background words or of MaskFormer's learned "no object"; they take
            their share of the probability, so rows of the result may sum to less than 1.

    Returns:
        (N, K) float32 in [0, 1]; (N, 0) for no labels.

    Raises:
        InvalidInputError: widths differ.

    Source: OVSeg section 3.2; facebookresearch/ov-seg.

    Examples:
        >>> axes = torch.eye(2)
        >>> mask_probabilities(axes[:1], axes, logit_scale=0.0)
        tensor([[0.5000, 0.5000]])
        >>> mask_probabilities(axes[:1], axes[:1], logit_scale=0.0, non_object=axes[1:])
        tensor([[0.5000]])
    """
    count, labels = region_emb.shape[0], text_emb.shape[0]
    if labels == 0:
        return torch.zeros((count, 0), device=region_emb.device)
    rows = text_emb if non_object is None else torch.cat([text_emb, non_object.to(text_emb)])  # (K+B,D)
    return _softmax_over(region_emb, rows, logit_scale)[:, :labels]


def _softmax_over(region_emb: torch.Tensor, rows: torch.Tensor, logit_scale: float) -> torch.Tensor:
    """(N, R) softmax(logit_scale · cos) of regions (N, D) over all rows (R, D), labels or not."""
    if rows.ndim != 2 or region_emb.ndim != 2 or rows.shape[1] != region_emb.shape[1]:
        raise InvalidInputError(
            f"expected regions (N,D) and words (K,D), got {tuple(region_emb.shape)} and {tuple(rows.shape)}"
        )
    return (logit_scale * (region_emb.float() @ rows.float().T)).softmax(dim=-1)


def ensemble(
    p_maskformer: torch.Tensor, p_clip: torch.Tensor, lam: float, valid: torch.Tensor
) -> torch.Tensor:
    """Ensemble p_maskformer^(1−λ) · p_clip^λ, where an empty mask has p_clip = 1 for every label.

    Args:
        p_maskformer: (N, K) from MaskFormer's own class head.
        p_clip: (N, K) from CLIP on the regions; rows of empty masks are ignored.
        lam: λ in [0, 1], CLIP's weight (0.7 for ADE20K, 0.6 for Pascal Context).
        valid: (N,) bool, False where a mask is empty.

    Returns:
        (N, K); not normalised, as in the paper.

    Raises:
        ConfigError: λ outside [0, 1].
        InvalidInputError: shapes differ.

    Source: OVSeg section 3.2 and appendix; facebookresearch/ov-seg.
    """
    if not 0.0 <= lam <= 1.0:
        raise ConfigError(f"expected the ensemble weight in [0, 1], got {lam}")
    if p_maskformer.shape != p_clip.shape or valid.shape != p_clip.shape[:1]:
        raise InvalidInputError(
            f"expected (N,K), (N,K) and (N,), got {tuple(p_maskformer.shape)}, {tuple(p_clip.shape)} and "
            f"{tuple(valid.shape)}"
        )
    known = torch.where(valid[:, None], p_clip, torch.ones_like(p_clip))
    return p_maskformer.pow(1.0 - lam) * known.pow(lam)


def assign_labels(probs: torch.Tensor, thresholds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gives each mask its most probable label, if that reaches its own threshold.

    The runner-up never inherits a mask: what looks most like a cup, but not enough, is not called a mug.

    Args:
        probs: (N, K).
        thresholds: (K,) lowest probability at which a label is given.

    Returns:
        index (N,) int64 into the labels, the first one on ties, -1 for none; and score (N,), the highest
        probability of each mask, labelled or not (0 for K = 0).

    Raises:
        InvalidInputError: K differs.

    Examples:
        >>> assign_labels(torch.tensor([[0.7, 0.3], [0.45, 0.55]]), torch.tensor([0.5, 0.6]))
        (tensor([ 0, -1]), tensor([0.7000, 0.5500]))
    """
    count, labels = probs.shape
    if thresholds.shape != (labels,):
        raise InvalidInputError(f"expected thresholds ({labels},), got {tuple(thresholds.shape)}")
    if labels == 0 or count == 0:
        none = torch.full((count,), -1, dtype=torch.int64, device=probs.device)
        return none, torch.zeros(count, device=probs.device)
    score, index = probs.max(dim=1)  # the first of equals
    return torch.where(score >= thresholds.to(probs)[index], index, -1), score


def select_background(
    text_emb: torch.Tensor, background_emb: torch.Tensor, max_similarity: float
) -> torch.Tensor:
    """Picks the background words that may compete with the words asked for.

    A background word too near an asked word steps aside: with "table" in the background, a query for
    "dining table" would lose half its probability.

    Args:
        text_emb: (K, D) unit rows of the labels.
        background_emb: (B, D) unit rows.
        max_similarity: cosine at and above which a background word steps aside.

    Returns:
        (B,) bool, True for the words that stay; all of them for K = 0.
    """
    if text_emb.shape[0] == 0 or background_emb.shape[0] == 0:
        return torch.ones(background_emb.shape[0], dtype=torch.bool, device=background_emb.device)
    cosines = background_emb @ text_emb.T  # (B,K)
    return cosines.amax(dim=1) < max_similarity


def background_words(
    asked: Iterable[str],
    text: torch.Tensor,
    options: SegmenterOptions,
    encode: Callable[[Sequence[str]], torch.Tensor],
) -> tuple[tuple[str, ...], torch.Tensor]:
    """The background words that compete with the words asked for, and their embeddings.

    One word alone with no rival left competes with `options.others`.

    Args:
        asked: every name asked for; a background word that is one of them, in any case, steps aside.
        text: (K, D) unit rows of the labels.
        options: the background words and what else is asked of them.
        encode: words -> (M, D) unit rows.

    Returns:
        B words and (B, D) unit rows; none for K = 0.
    """
    if len(text) == 0:
        return (), text
    names = {name.casefold() for name in asked}
    words = tuple(word for word in options.background if word.casefold() not in names)
    rows = encode(words).to(text) if words else text[:0]
    stays = select_background(text, rows, options.background_max_similarity)
    words = tuple(word for word, kept in zip(words, stays.tolist(), strict=True) if kept)
    rows = rows[stays]
    if len(rows) == 0 and len(text) == 1 and options.others:
        words = (options.others,)
        rows = encode(words).to(text)
    return words, rows


def background_rows(
    asked: Iterable[str],
    text: torch.Tensor,
    options: SegmenterOptions,
    encode: Callable[[Sequence[str]], torch.Tensor],
) -> torch.Tensor:
    """The (B, D) embeddings of `background_words`."""
    return background_words(asked, text, options, encode)[1]


def class_probabilities(
    embedded: EmbeddedFrame,
    text: torch.Tensor,
    background: torch.Tensor,
    options: SegmenterOptions,
    *,
    logit_scale: float,
) -> torch.Tensor:
    """(N, K) of the labels alone, see `competing_probabilities`."""
    return competing_probabilities(embedded, text, background, options, logit_scale=logit_scale)[0]


def competing_probabilities(
    embedded: EmbeddedFrame,
    text: torch.Tensor,
    background: torch.Tensor,
    options: SegmenterOptions,
    *,
    logit_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each mask's probabilities by the chosen classifier: of the labels, and of what competed with them.

    Args:
        embedded: N masks.
        text: (K, D) unit rows of the labels.
        background: (B, D) unit rows, see `background_words`.
        options: how the masks are named.
        logit_scale: CLIP's.

    Returns:
        (N, K) and (N, B) float32 on the text's device; zeros for masks nobody has an opinion on. What goes to
        MaskFormer's learned "no object", which has no name, is in neither.

    Raises:
        ConfigError: a classifier that needs class embeddings that these masks have not, or of another width.
        InvalidInputError: the frame was embedded for another classifier.
        NotFiniteError: a probability is NaN.
    """
    labels, rivals = len(text), len(background)
    if len(embedded) == 0 or labels == 0:
        none = torch.zeros((len(embedded), labels + rivals), device=text.device)
        return none[:, :labels], none[:, labels:]
    check_embedded_for(embedded, options)
    words = torch.cat([text, background.to(text)])  # (K+B,D)
    p_clip = _softmax_over(embedded.embeddings.to(text.device), words, logit_scale)
    if not options.uses_generator:
        probs = p_clip * embedded.is_classifiable(options).to(p_clip)[:, None]
    else:
        probs = _generator_probabilities(embedded, words, options.classifier)
        if options.uses_clip:
            seen = embedded.has_clip_embedding.to(text.device)
            probs = ensemble(probs, p_clip, options.clip_weight, seen)
    check_finite(probs, "the masks' probabilities")
    return probs[:, :labels], probs[:, labels:]


def _generator_probabilities(embedded: EmbeddedFrame, words: torch.Tensor, classifier: str) -> torch.Tensor:
    """(N, R) what the generator's own class embeddings say to words (R, D).

    A softmax over the words; where the generator's scores are absolute, a sigmoid of each word by itself.

    Raises:
        ConfigError: the masks have no class embeddings, or of another width.
    """
    own = embedded.class_embeddings
    if own is None:
        raise ConfigError(
            f"classifier {classifier!r} wants class embeddings, these masks have none: members of a "
            "union that were trained apart cannot be compared; take the classifier clip"
        )
    if own.shape[1] != words.shape[1]:
        raise ConfigError(
            f"expected class embeddings as wide as the text's {words.shape[1]}, got {own.shape[1]}: "
            "generator and CLIP are not of one pair (Swin-B goes with ViT-L/14, R101c with ViT-B/16)"
        )
    rows, odds = F.normalize(own.to(words), dim=-1), embedded.scale_shift
    if odds is None:
        return mask_probabilities(rows, words, non_object=embedded.non_object)
    scale, shift = odds.to(words).unbind(dim=1)
    return (scale[:, None] * (rows @ words.T + shift[:, None])).sigmoid()  # (N,R)


def check_embedded_for(embedded: EmbeddedFrame, options: SegmenterOptions) -> None:
    """Refuses a frame that was embedded without what the classifier needs.

    Raises:
        InvalidInputError: it was.
    """
    key = embedded.embedding_key
    if key is not None and key[:2] != options.embedding_key[:2]:
        raise InvalidInputError(
            f"this frame was not embedded for the classifier {options.classifier!r}: embed it again"
        )


def label_thresholds(vocabulary: Vocabulary, options: SegmenterOptions) -> torch.Tensor:
    """(K,) float32: each label's own threshold, or that of the options."""
    default = options.threshold
    own = [default if label.threshold is None else label.threshold for label in vocabulary]
    return torch.tensor(own, dtype=torch.float32)


def name_masks(
    embedded: EmbeddedFrame, probs: torch.Tensor, thresholds: torch.Tensor, options: SegmenterOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """`assign_labels`, but for empty masks and those nobody has an opinion on, which have no label.

    Args:
        embedded: N masks.
        probs: (N, K) on the CPU.
        thresholds: (K,).
        options: where CLIP alone names masks, those it has not seen stay without a label.
    """
    index, scores = assign_labels(probs, thresholds)
    return torch.where(embedded.filled & embedded.is_classifiable(options), index, -1), scores
