"""The whole chain on one frame: propose, embed, label."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ovseg_ros.core.candidates import Candidates, choose
from ovseg_ros.core.checks import check_options, check_proposals
from ovseg_ros.core.device import PROPOSE_LESS, check_finite, now, retry_on_oom
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposer, RegionEncoder, as_proposer
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.joint import ToEncode, Way, alone, encode_regions_of
from ovseg_ros.core.naming import label_by_softmax
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.scene import label_by_scene, settled
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.trust import Prepared, TrustModel, label_by_trust
from ovseg_ros.core.within_memory import encode, encode_words
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError

__all__ = ["EmbeddedFrame", "OpenVocabularySegmenter", "Segmentation", "SegmenterOptions"]

WARM_UP_HW = (480, 640)
"""Pixels of the picture that generators see before the first frame."""

_LOG = logging.getLogger(__name__)


class OpenVocabularySegmenter:
    """Finds things by name in single frames.

    `embed` is the costly half and does not know the words; `label` costs one text encoding per new word and
    one matrix product. One thread may embed while others label. `options` may be swapped at any time; each
    call reads it once.
    """

    def __init__(
        self,
        proposer: Any,
        clip: RegionEncoder,
        options: SegmenterOptions | None = None,
        device: str | torch.device = "cpu",
        name: str = "",
        reason: str = "",
        warning: str = "",
        trust: TrustModel | None = None,
    ) -> None:
        """Puts a chain together.

        Args:
            proposer: gives class-agnostic masks: a `Proposer`, or anything with `propose(frame)`.
            clip: embeds regions and words; already on `device` and in evaluation mode.
            options: see `SegmenterOptions`.
            device: where crops are made and encoded.
            name: for logs and diagnostics, usually the preset's.
            reason: why this chain was chosen, for the same.
            warning: what is unwise about it here, "" where nothing is.
            trust: what answers are judged by where `options.decision` is "trust".

        Raises:
            ConfigError: the options ask for what the proposer cannot do.
        """
        self.proposer = proposer
        self.clip = clip
        self.options = SegmenterOptions() if options is None else options
        self.device = torch.device(device)
        self.name, self.reason, self.warning = name, reason, warning
        self.trust = trust
        self.check(self.options)

    def rebuilt(
        self,
        *,
        proposer: Any = None,
        clip: RegionEncoder | None = None,
        options: SegmenterOptions | None = None,
    ) -> OpenVocabularySegmenter:
        """The same chain with other parts; those not named are shared.

        Raises:
            ConfigError: see `__init__`.
        """
        return OpenVocabularySegmenter(
            self.proposer if proposer is None else proposer,
            self.clip if clip is None else clip,
            self.options if options is None else options,
            self.device,
            self.name,
            trust=None
            if self.trust is None
            else dataclasses.replace(self.trust),  # remembers rows of one clip
        )

    @property
    def needs_depth(self) -> bool:
        """Whether frames without depth and intrinsics are of no use."""
        return as_proposer(self.proposer).needs_depth

    def check(self, options: SegmenterOptions) -> None:
        """Refuses options that this chain cannot follow.

        Raises:
            ConfigError: a classifier that needs the generator's own class embeddings, which it has not, or
                an encoder that pools over masks, or looks at them at all, which this one cannot; class
                embeddings of one network beside words of another; or the decision "trust" without a model
                of it.
        """
        check_options(options, proposer=self.proposer, clip=self.clip, trust=self.trust, name=self.name)

    def segment(
        self, frame: Frame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """`label(embed(frame))`; see there for what is raised."""
        chosen = self.options if options is None else options
        return self.label(self.embed(frame, chosen), vocabulary, chosen)

    def embed(self, frame: Frame, options: SegmenterOptions | None = None) -> EmbeddedFrame:
        """Proposes masks and embeds each.

        Args:
            frame: any size; what else it must hold is the proposer's to say.
            options: for this frame; `self.options` when None.

        Returns:
            At most `max_masks` masks, possibly none; of at least `min_mask_pixels` where CLIP alone names
            them. Seconds spent in "propose", "crop" and "encode", each waited for on the device.

        Raises:
            ConfigError: see `check`.
            InvalidInputError: the proposer cannot use this frame, or gave masks of another size.
            OutOfMemoryError: the device's memory did not hold half a batch either.
            NotFiniteError: the proposer or the encoder gave NaN or infinity.
        """
        return alone(self.embedding(frame, options), self.encode_all)

    def embedding(self, frame: Frame, options: SegmenterOptions | None = None) -> Way[EmbeddedFrame]:
        """`embed`, as a way to go with the frames of other cameras, see `core.joint.together`."""
        options = self.options if options is None else options
        start = now(self.device)
        candidates = self.propose(frame, options)
        timings = {"propose": now(self.device) - start}
        seen = candidates.is_encodable & options.uses_clip
        rows = yield ToEncode(frame, candidates.proposals.masks[seen], options, timings)
        embeddings = torch.zeros((len(candidates), self.clip.embedding_dim), device=self.device)
        embeddings[seen.to(self.device)] = rows
        return candidates.embedded(frame, embeddings, timings)

    def propose(
        self, frame: Frame, options: SegmenterOptions | None = None, hints: Hints = NO_HINTS
    ) -> Candidates:
        """The first part of `embed`: masks, and which of them are worth embedding.

        Args:
            frame: see `embed`.
            options: for this frame; `self.options` when None.
            hints: for the proposer.

        Raises:
            ConfigError, InvalidInputError, NotFiniteError: see `embed`.
        """
        options = self.options if options is None else options
        self.check(options)
        proposer = as_proposer(self.proposer)
        proposals = retry_on_oom(
            lambda _: proposer.propose(frame, hints),
            1,  # a generator that holds many prompts at once halves them itself when it is asked again
            self.device,
            stage="proposing masks",
            hint=PROPOSE_LESS,
        )
        proposals.check_size(frame, self.proposer)
        check_proposals(proposals, type(self.proposer).__name__)
        return choose(proposals, options)

    def encode_masks(
        self,
        frame: Frame,
        masks: torch.Tensor,
        options: SegmenterOptions | None = None,
        timings: dict[str, float] | None = None,
    ) -> torch.Tensor:
        """The second part of `embed`: what CLIP says to some masks of a frame.

        Args:
            frame: the one the masks were proposed on.
            masks: (M, H, W) bool, none of them empty; M may be 0, which costs nothing.
            options: for this frame; `self.options` when None.
            timings: gains the seconds of "crop" and "encode" where given.

        Returns:
            (M, D) float32 unit rows on `device`.

        Raises:
            OutOfMemoryError: the device's memory did not hold half a batch either.
            NotFiniteError: an embedding holds NaN or infinity.
        """
        options = self.options if options is None else options
        given = {} if timings is None else timings
        return self.encode_all([ToEncode(frame, masks, options, given)])[0]

    def encode_all(self, asked: Sequence[ToEncode]) -> list[torch.Tensor]:
        """`encode_masks` of one or several frames, whose crops go through the encoder in one batch."""
        return encode_regions_of(asked, self.clip, self.device)

    def label(
        self, embedded: EmbeddedFrame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """Names the masks of an embedded frame.

        Args:
            embedded: from `embed`; not changed, may be labelled again with other words.
            vocabulary: the words; none is valid and leaves everything unlabelled.
            options: for this call; `self.options` when None.

        Returns:
            The result, all tensors on the CPU; timings gain "text" and "classify" in seconds.

        Raises:
            ConfigError: see `check`.
            InvalidInputError: the frame was embedded without what the classifier needs: embed it again.
            OutOfMemoryError: the text tower does not fit.
            NotFiniteError: the text tower gave NaN or infinity.
        """
        options = self.options if options is None else options
        self.check(options)
        if embedded.scene is not None:
            return label_by_scene(embedded, vocabulary, options, self.clip, self.device)
        if not options.uses_trust or self.trust is None:
            return label_by_softmax(
                embedded,
                vocabulary,
                options,
                lambda words: self.encode_text(words, options),
                self.clip.logit_scale,
                self.device,
            )
        start = now(self.device)
        prepared = self.prepare(vocabulary.names, options)
        timings = {**embedded.timings, "text": now(self.device) - start}
        return label_by_trust(
            embedded,
            vocabulary,
            options,
            self.trust,
            prepared,
            self.clip.logit_scale,
            self.device,
            timings,
        )

    def settled(
        self, embedded: EmbeddedFrame, words: Sequence[str], options: SegmenterOptions | None = None
    ) -> EmbeddedFrame:
        """The frame with masks that stay, whatever of these words is asked of it; as it is where they do.

        Where a network finds masks by words there are none before; for those who compare masks with a truth.

        Raises:
            NotFiniteError, OutOfMemoryError: see `label`.
        """
        chosen = self.options if options is None else options
        return settled(embedded, words, chosen, self.clip, self.device)

    def prepare(self, labels: Sequence[str], options: SegmenterOptions | None = None) -> Prepared:
        """What the rule of absence needs of a vocabulary: the words that compete, and their pasts.

        Raises:
            ConfigError: see `check`.
            OutOfMemoryError: the text tower does not fit.
        """
        options = self.options if options is None else options
        self.check(options)
        if self.trust is None:
            raise ConfigError("this segmenter was made without a TrustModel")
        return self.trust.prepare(
            labels,
            lambda words: self.encode_text(words, options),
            rivals=options.rivals,
            background=options.background,
            key=options.templates,
        )

    def encode_text(self, labels: Sequence[str], options: SegmenterOptions | None = None) -> torch.Tensor:
        """(K, D) unit rows of words, in the options' templates, cached by the encoder.

        Raises:
            NotFiniteError: a row holds NaN or infinity.
        """
        options = self.options if options is None else options
        rows = encode_words(self.clip, list(labels), options.templates, self.device)
        return check_finite(
            rows, f"the embeddings of {len(labels)} words, {next(iter(labels), '')!r} the first"
        )

    def refusal(self, word: str) -> str:
        """Why the text tower cannot mean a word, "" where it can.

        Towers that take any text, as CLIP's do, refuse none: the tokenizer says which it does not know.
        """
        unknown = getattr(getattr(self.clip, "tokenizer", None), "unknown_words", None)
        if unknown is None or not unknown([word]):
            return ""
        return f"unknown: English is the language of {self.name or 'this model'}"

    def warm_up(self) -> None:
        """Runs every network once, so that the first frame is quick.

        The generator gets a striped picture, the encoder a blank region and the background words. A generator
        with a `warm_up(frame)` of its own is asked for that instead of for masks; one that has no more than
        `propose(frame)` is left in peace, as it may know no frames but its own.

        Raises:
            OutOfMemoryError: it does not fit.
        """
        self._warm_up_proposer()
        if not getattr(self.clip, "words_only", False):
            side = self.clip.size
            blank = torch.zeros(1, 3, side, side, device=self.device)
            all_of_it = torch.ones(1, 1, side, side, device=self.device)
            encode(self.clip, [(blank, all_of_it)], 1, self.device)
        if self.options.uses_trust:
            self.prepare(("thing",))
            return
        words = ("thing", self.options.others, *self.options.background)
        self.encode_text([word for word in words if word])

    def _warm_up_proposer(self) -> None:
        warm = getattr(self.proposer, "warm_up", None)
        if warm is None and isinstance(self.proposer, Proposer):
            warm = self.proposer.propose
        if warm is None:
            return
        frame = _picture(with_depth=self.needs_depth)
        try:
            retry_on_oom(
                lambda _: warm(frame),
                1,
                self.device,
                stage="proposing masks",
                hint=PROPOSE_LESS,
            )
        except InvalidInputError as error:  # one that is for other cameras: frames will tell
            _LOG.debug("masks are not proposed before the first frame: %s", error)


def _picture(*, with_depth: bool) -> Frame:
    """A striped frame, as if of a wall a metre away."""
    height, width = WARM_UP_HW
    stripes = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3) // 96 % 256
    if not with_depth:
        return Frame(stripes.astype(np.uint8))
    lens = CameraIntrinsics(fx=width, fy=width, cx=width / 2, cy=height / 2, width=width, height=height)
    return Frame(stripes.astype(np.uint8), np.ones((height, width), np.float32), lens)
