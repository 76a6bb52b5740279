"""What is in a released OVSeg checkpoint: its parts by their names and shapes, each checked to be whole.

`criterion.empty_weight` (of the training loss) and `clip_adapter.pixel_mean/std` (CLIP's constants, checked)
are left out knowingly; any other name that does not belong to a part is refused. A file with CLIP alone may
have CLIP's names as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import open_clip
import torch

from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.checkpoints.checkpoint import check_layout, listed
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.models.clip import ACTIVATIONS, IN_EVERY_CLIP, OPENAI_EXTRAS, OVSEG_PREFIX, build_network
from ovseg_ros.models.maskformer.config import CONFIGS, SwinConfig
from ovseg_ros.models.maskformer.network import build_ovseg_maskformer

PARTS = ("proposals", "clip", "prompts", "non_object")
CLIP_ONLY_FILE = "ovseg_clip_l_9a1909.pth"
CURE = "name one of the files that OVSeg's GETTING_STARTED.md lists, or one its code saved"

_PROPOSALS = ("backbone.", "sem_seg_head.")
_NON_OBJECT = "clip_adapter.non_object_embedding"
_TELLING = (*IN_EVERY_CLIP, _NON_OBJECT, "sem_seg_head.predictor.class_embed.layers.1.weight")
_CLIP_NAMES = ("ViT-L-14", "ViT-B-16", "ViT-B-32", "ViT-L-14-336")
_CLIP_SIZES = (
    "visual.conv1.weight",
    "visual.positional_embedding",
    "text_projection",
    "positional_embedding",
)
_CONSTANTS = {
    "clip_adapter.pixel_mean": tuple(255 * value for value in CLIP_MEAN),
    "clip_adapter.pixel_std": tuple(255 * value for value in CLIP_STD),
    "pixel_mean": CONFIGS["swin_base"].pixel_mean,
    "pixel_std": CONFIGS["swin_base"].pixel_std,
}


@dataclass
class Checkpoint:
    """A checkpoint taken apart.

    Attributes:
        parts: tensors of each part that is there, by the names they are written with.
        architectures: what each part is, such as "ViT-L-14-quickgelu" or "swin_base"; "custom" for sizes
            that were never released.
        activation: "quick_gelu" or "gelu".
    """

    parts: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    architectures: dict[str, str] = field(default_factory=dict)
    activation: str = "quick_gelu"

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts that the file does not have; in the order of `PARTS`."""
        return tuple(part for part in PARTS if part not in self.parts)


def take_apart(tensors: Mapping[str, torch.Tensor], source: Path, *, activation: str = "auto") -> Checkpoint:
    """Sorts a checkpoint's tensors into parts and checks each against the network it is for.

    Raises:
        ConfigError: an activation that is none.
        WeightsError: names that do not belong there, or a part that is incomplete; lists them.
    """
    if activation not in ("auto", *ACTIVATIONS):
        raise ConfigError(f"expected activation auto, gelu or quick_gelu, got {activation!r}")
    rest = unwrapped(tensors, _TELLING)
    _take_constants(rest, source)
    proposals = {key: rest.pop(key) for key in list(rest) if key.startswith(_PROPOSALS)}
    wrapped = {
        key.removeprefix(OVSEG_PREFIX): rest.pop(key) for key in list(rest) if key.startswith(OVSEG_PREFIX)
    }
    non_object = rest.pop(_NON_OBJECT, None)
    clip = wrapped
    if not wrapped and not proposals and "visual.conv1.weight" in rest:
        clip, rest = rest, {}
    if rest or not (clip or proposals):
        raise WeightsError(
            f"{source} is not a checkpoint of OVSeg: unexpected {listed(sorted(rest))}; {CURE}"
        )
    checkpoint = Checkpoint()
    checkpoint.activation = _activation(clip, bool(wrapped) or bool(proposals), activation, source)
    if proposals:
        checkpoint.parts["proposals"] = proposals
        checkpoint.architectures["proposals"] = _check_proposals(proposals, source)
    if clip:
        prompts = clip.pop("visual.mask_embedding", None)
        name = _check_clip(clip, source)
        if name != "custom" and checkpoint.activation == "quick_gelu":
            name += "-quickgelu"
        checkpoint.parts["clip"], checkpoint.architectures["clip"] = clip, name
        if prompts is not None and prompts.numel():
            _check_prompts(prompts, clip, source)
            checkpoint.parts["prompts"] = {"mask_prompts": prompts}
            checkpoint.architectures["prompts"] = name
    if non_object is not None:
        _check_non_object(non_object, clip, source)
        checkpoint.parts["non_object"] = {"non_object_embedding": non_object}
        checkpoint.architectures["non_object"] = checkpoint.architectures.get("proposals", "custom")
    return checkpoint


def _take_constants(rest: dict[str, torch.Tensor], source: Path) -> None:
    """Takes out what is not needed, after a look at whether it is what it should be."""
    rest.pop("criterion.empty_weight", None)
    for key, values in _CONSTANTS.items():
        got = rest.pop(key, None)
        if got is not None and not (
            got.numel() == 3
            and torch.allclose(got.flatten().double(), torch.tensor(values).double(), rtol=1e-3)
        ):
            raise WeightsError(
                f"expected {key} {[round(v, 3) for v in values]} in {source}, got "
                f"{got.flatten().tolist()[:6]}: "
                f"trained on images normalised otherwise, which is not supported; {CURE}"
            )


def _activation(clip: Mapping[str, torch.Tensor], ovseg: bool, asked: str, source: Path) -> str:
    """OVSeg's files are finetuned from OpenAI's weights; a plain CLIP has to show that it is one of them."""
    known = ovseg or source.name == CLIP_ONLY_FILE or "visual.mask_embedding" in clip
    if known and asked == "gelu":
        raise WeightsError(
            f"{source} is laid out as OVSeg's files, finetuned from OpenAI's weights with QuickGELU, got "
            "gelu; leave the activation to auto"
        )
    if not known and asked == "auto":
        raise WeightsError(
            f"{source} holds a plain CLIP, and nothing in it tells that it is OVSeg's; if it is finetuned "
            "from OpenAI's weights say --activation quick_gelu (any CLIP loads without being converted)"
        )
    return "quick_gelu" if asked == "auto" else asked


def _check_proposals(state: Mapping[str, torch.Tensor], source: Path) -> str:
    """The name of the network; one of the released widths has to be complete."""
    swin = state.get("backbone.patch_embed.proj.weight")
    stem = state.get("backbone.stem.conv3.weight")
    classes = state.get("sem_seg_head.predictor.class_embed.layers.1.weight")
    if (swin is None) == (stem is None) or classes is None:
        raise WeightsError(
            f"expected MaskFormer with Swin or ResNet under backbone. and sem_seg_head. in {source}, got "
            f"{listed(sorted(state))}; {CURE}"
        )
    first = stem if swin is None else swin
    for name, config in CONFIGS.items():
        body = config.backbone
        is_swin = isinstance(body, SwinConfig)
        width = body.embed_dim if is_swin else body.stem
        if ((swin is not None), first.shape[0], classes.shape[0]) == (is_swin, width, config.embedding_dim):
            with torch.device("meta"):
                own = build_ovseg_maskformer(config).state_dict()
            ignore = ("*.num_batches_tracked", "*.relative_position_index")
            check_layout(own, state, path=source, what=f"MaskFormer {name}", cure=CURE, ignore=ignore)
            return name
    return "custom"


def _check_clip(state: dict[str, torch.Tensor], source: Path) -> str:
    """The name of the architecture; one of open_clip's has to be complete. Drops OpenAI's three numbers."""
    for key in OPENAI_EXTRAS:
        state.pop(key, None)
    lacking = [key for key in _CLIP_SIZES if key not in state]
    if lacking:
        raise WeightsError(f"expected CLIP with a ViT in {source}, missing {lacking}; {CURE}")
    for name in _CLIP_NAMES:
        with torch.device("meta"):
            own = build_network(open_clip.get_model_config(name), name).state_dict()
        if all(own[key].shape == state[key].shape for key in _CLIP_SIZES):
            check_layout(own, state, path=source, what=f"CLIP {name}", cure=CURE)
            return name
    return "custom"


def _check_prompts(prompts: torch.Tensor, clip: Mapping[str, torch.Tensor], source: Path) -> None:
    rows, width = clip["visual.positional_embedding"].shape
    if prompts.ndim != 3 or tuple(prompts.shape[1:]) != (rows - 1, width):
        raise WeightsError(
            f"expected mask prompts (depth,{rows - 1},{width}) in {source}, got {tuple(prompts.shape)}; "
            f"{CURE}"
        )


def _check_non_object(row: torch.Tensor, clip: Mapping[str, torch.Tensor], source: Path) -> None:
    width = clip["text_projection"].shape[1] if clip else row.shape[-1]
    if tuple(row.shape) != (1, width):
        raise WeightsError(f"expected {_NON_OBJECT} (1,{width}) in {source}, got {tuple(row.shape)}; {CURE}")
