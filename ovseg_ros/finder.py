"""The front door: one object that finds things by name on pictures and in videos."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ovseg_ros.core.camera import DepthDoubt
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.core.words import Asked, as_request, as_vocabulary
from ovseg_ros.errors import InvalidInputError, NotFiniteError
from ovseg_ros.files.frames import as_frame
from ovseg_ros.files.streams import Stream, open_stream
from ovseg_ros.models.auto import AUTO
from ovseg_ros.models.presets import load_preset
from ovseg_ros.result import MaskProposals, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyImage: TypeAlias = "str | Path | Image.Image | npt.NDArray[np.uint8]"
"""A file, a Pillow image, or an array (H, W, 3) uint8 red, green, blue in this order (not OpenCV's)."""

AnyDepth: TypeAlias = "str | Path | npt.NDArray[Any]"
"""A file or an array (H, W): integers are millimetres, floats metres; 0, NaN and inf mean unknown."""

AnyIntrinsics: TypeAlias = "CameraIntrinsics | str | Path | Sequence[float] | npt.NDArray[Any]"
"""(fx, fy, cx, cy) or a (3, 3) matrix in pixels, a camera_info YAML file, or `CameraIntrinsics`."""

Words: TypeAlias = "str | Iterable[str]"
"""["cup", "red mug"], or text as people type it: "cup, red mug", "find the cup and the red mug"."""

_LOG = logging.getLogger(__name__)


def load(
    preset: str | Path = AUTO,
    device: str | torch.device = "auto",
    *,
    weights_dir: str | Path | None = None,
    offline: bool = True,
) -> Finder:
    """Loads a preset's networks and gives what finds things with them.

    Args:
        preset: a name (lite, mini, vitb16 …), or the path of a YAML file of your own; "auto" takes the best
            whose weights are here and that the device can carry, else lite: see `Finder.reason`.
        device: cpu, cuda, cuda:1, mps …; "auto" takes cuda if there is one, else mps, else cpu.
        weights_dir: folder where weights files are looked for first.
        offline: False allows downloading what is missing; True never touches the network.

    Raises:
        ConfigError: no such preset or device; a ValueError too.
        WeightsError: weights that are missing or damaged; the message names the cure.
    """
    return Finder(load_preset(preset, device, weights_dir, offline))


class Finder:
    """Finds things by name: `finder("photo.jpg", ["cup", "spoon"])`. Made by `load`.

    Nothing is remembered between calls but the words' encodings, and what the log has said; each `video`
    follows things for itself.
    """

    def __init__(self, segmenter: OpenVocabularySegmenter) -> None:
        """Puts the door before a chain of the core."""
        self.segmenter = segmenter
        self._doubt = DepthDoubt()

    @property
    def preset(self) -> str:
        """The preset's name."""
        return self.segmenter.name

    @property
    def reason(self) -> str:
        """Why this preset was taken: "asked for by name", or what "auto" went by."""
        return self.segmenter.reason

    @property
    def device(self) -> str:
        """Where the networks run, for example "cuda"."""
        return str(self.segmenter.device)

    def __repr__(self) -> str:
        return f"<Finder {self.preset!r} on {self.device}>"

    def __call__(
        self,
        image: AnyImage,
        words: Words,
        *,
        depth: AnyDepth | None = None,
        intrinsics: AnyIntrinsics | None = None,
        depth_scale: float | None = None,
        threshold: float | None = None,
    ) -> Result:
        """Finds things by name on one picture.

        Args:
            image: a file, a Pillow image or an array (H, W, 3) uint8 RGB; of OpenCV's arrays take
                `image[..., ::-1]`, as nothing tells their order from this one.
            words: a list, or text such as "cup, spoon"; a word may tell which one is meant: "the mug left of
                the teapot", "the two largest plates", "how many spoons" (`Result.how_many`): see
                docs/requests.md.
            depth: registered to the image, pixel by pixel: a 16-bit PNG or TIFF, .npy, or an array (H, W).
                Presets that need none use it where it is given.
            intrinsics: of the image, in pixels: (fx, fy, cx, cy), a (3, 3) matrix, a camera_info YAML file or
                `CameraIntrinsics`; the last two are scaled from the size they were measured at.
            depth_scale: metres per unit of the depth's numbers, 0.0002 for files of TUM's; None: what the
                camera's file says, else integers are millimetres, floats metres.
            threshold: probability from which a mask gets a word, in [0, 1]; None: the preset's.

        Returns:
            The things found, best first; none is an answer too.

        Raises:
            InvalidInputError: an argument that cannot be used, before any network runs; a ValueError too.
            OutOfMemoryError: the device's memory did not hold half a batch either.
        """
        asked, options = as_request(words, self.segmenter.refusal), self._options(threshold)
        frame = self._frame(image, depth, intrinsics, depth_scale)
        return Result(self.segmenter.segment(frame, asked.vocabulary, options), asked)

    def masks(
        self,
        image: AnyImage,
        *,
        depth: AnyDepth | None = None,
        intrinsics: AnyIntrinsics | None = None,
        depth_scale: float | None = None,
    ) -> MaskProposals:
        """Cuts out whatever stands out, without a name.

        Args and errors are those of the call.

        Returns:
            Masks and their scores, the surest first.
        """
        frame = self._frame(image, depth, intrinsics, depth_scale)
        candidates = self.segmenter.propose(frame)
        scores = candidates.proposals.scores.float().cpu()
        order = scores.argsort(descending=True, stable=True)
        order = order[candidates.is_encodable[order]]  # those that are large enough to be named
        masks = candidates.proposals.masks[order.to(candidates.proposals.masks.device)]
        return MaskProposals(masks.cpu().numpy(), scores[order].numpy())

    def name(self, image: AnyImage, masks: npt.NDArray[np.bool_], words: Words) -> npt.NDArray[np.float32]:
        """How well each word fits each mask; no depth is needed, whatever the preset.

        Args:
            image: as for the call.
            masks: (N, H, W) bool, on the image.
            words: as for the call but plain names, K of them.

        Returns:
            (N, K) float32 in [0, 1], the words in the order asked: the probability that the word is right on
            the mask, as a thing's `score`; a row need not sum to 1. 0 for a mask without pixels.

        Raises:
            InvalidInputError: an argument that cannot be used, before any network runs; a ValueError too.
            OutOfMemoryError: the device's memory did not hold half a batch either.
        """
        vocabulary = as_vocabulary(words, self.segmenter.refusal)
        frame = as_frame(image)
        given = torch.from_numpy(_checked_masks(masks, frame.size_hw))
        options = self._options(None)
        if options.uses_generator:  # these masks come from no generator, so CLIP alone names them
            options = dataclasses.replace(options, classifier="clip")
        filled = given.flatten(1).any(dim=1)
        rows = self.segmenter.encode_masks(frame, given[filled], options)
        embeddings = rows.new_zeros((len(given), rows.shape[1]))
        embeddings[filled.to(rows.device)] = rows
        embedded = EmbeddedFrame(frame, given, torch.ones(len(given)), embeddings, {}, filled)
        probs: npt.NDArray[np.float32] = self.segmenter.label(embedded, vocabulary, options).probs.numpy()
        return probs

    def video(
        self,
        source: str | Path | Iterable[Any],
        words: Words,
        *,
        intrinsics: AnyIntrinsics | None = None,
        depth_scale: float | None = None,
        threshold: float | None = None,
    ) -> Iterator[Result]:
        """Finds things by name in a video, and follows them: each `track_id` stays one thing's.

        Args:
            source: a video file (colour alone); a rosbag2 recording, a folder or an .mcap or .db3 file, with
                its depth and camera (images without depth are left out where the preset needs it, and the log
                says how many); or anything that gives frame after frame: images as for the call, or pairs
                (image, depth).
            words: as for the call.
            intrinsics: of every frame, as for the call; None takes the recording's own.
            depth_scale: of every frame's depth, as for the call.
            threshold: as for the call.

        Returns:
            One result per frame, each computed when it is asked for. A frame for which a network gives NaN
            or infinity is left out, and the log says so.

        Raises:
            InvalidInputError: at once for an argument that cannot be used; while frames come, for one that
                cannot. A ValueError too.
        """
        asked, options = as_request(words, self.segmenter.refusal), self._options(threshold)
        stream = open_stream(source, intrinsics, depth_scale)
        if self.segmenter.needs_depth and stream.without_depth:
            raise InvalidInputError(
                f"the preset {self.preset!r} finds masks in depth, and {stream.without_depth}: pass a "
                "recording with depth, or pairs (image, depth) and intrinsics="
            )
        return self._tracked(stream, asked, options)

    def _tracked(self, stream: Stream, asked: Asked, options: SegmenterOptions) -> Iterator[Result]:
        video, left_out = VideoSegmenter(self.segmenter), 0
        for number, frame in enumerate(stream.frames):
            if missing := self._missing(frame, recorded=stream.recorded):
                if not stream.recorded:
                    raise InvalidInputError(f"frame {number} of the video: {missing}")
                left_out += 1
                continue
            self._look_at(frame)
            try:
                found = video.segment(frame, asked.vocabulary, options)
            except NotFiniteError as error:
                _LOG.warning("frame %d of the video is left out: %s", number, error)
                continue
            yield Result(found, asked)
        if left_out:
            _LOG.warning("%d images of the recording have no depth near in time and were left out", left_out)

    def _options(self, threshold: float | None) -> SegmenterOptions:
        options = self.segmenter.options
        if threshold is None:
            return options
        number = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
        if not (number and 0 <= threshold <= 1):
            raise InvalidInputError(f"expected threshold= in [0, 1], got {threshold!r}")
        return dataclasses.replace(options, threshold=float(threshold))

    def _frame(self, image: Any, depth: Any, intrinsics: Any, depth_scale: Any) -> Frame:
        """What was given as one frame that this preset can use."""
        frame = as_frame(image, depth, intrinsics, depth_scale=depth_scale)
        if missing := self._missing(frame):
            raise InvalidInputError(missing)
        self._look_at(frame)
        return frame

    def _look_at(self, frame: Frame) -> None:
        """Says in the log, once, where depth seems to be in another unit."""
        if doubt := self._doubt(frame.depth_m):
            _LOG.warning("%s", doubt)

    def _missing(self, frame: Frame, *, recorded: bool = False) -> str:
        """What is wanted and this frame has not, with the cure; "" where there is nothing.

        Depth that a person gives is to be used, whatever the preset: without intrinsics it cannot be. What a
        recording has is only wanted where the preset needs it.
        """
        wanted, camera = [], "intrinsics= ((fx, fy, cx, cy), a 3x3 matrix or a camera_info YAML file)"
        if not self.segmenter.needs_depth:
            useless = frame.depth_m is not None and frame.intrinsics is None and not recorded
            return f"depth= is of no use without {camera}" if useless else ""
        if frame.depth_m is None:
            wanted.append("depth= (a path or an (H,W) array)")
        if frame.intrinsics is None:
            wanted.append(camera)
        if not wanted:
            return ""
        return f"the preset {self.preset!r} finds masks in depth: pass {' and '.join(wanted)}"


def _checked_masks(masks: Any, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Masks as an array (N, H, W) of their own that torch can take."""
    try:
        given = np.asarray(masks)
    except ValueError as error:  # of differing sizes
        raise InvalidInputError(
            f"expected masks (N,H,W) bool, all of one size, got a list: {error}"
        ) from error
    cure = ""
    if given.shape == size_hw:
        cure = "; one mask is masks[None]"
    elif given.ndim == 3 and given.dtype != bool:
        cure = "; numbers become masks by masks > 0"
    if given.ndim != 3 or given.shape[1:] != size_hw or given.dtype != bool:
        raise InvalidInputError(
            f"expected masks (N,H,W) bool on the image, (N, {size_hw[0]}, {size_hw[1]}), got {given.shape} "
            f"{given.dtype}{cure}"
        )
    return np.array(given)
