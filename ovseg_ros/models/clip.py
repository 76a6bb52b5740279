"""CLIP from a weights file, on open_clip's networks, with or without mask prompts.

Names as OpenAI gives them, and as open_clip does (for ViTs and ResNets they are the same, its ConvNeXts are
timm's under `visual.trunk.`, and its models with a text tower of their own only put `text.` before it), load
alike, and so do those of transformers and timm (see `checkpoints.clip_names`). `visual.mask_embedding`, as
OVSeg's files have it, becomes the mask prompts.

Which activation the weights were trained with is not in their shapes: OpenAI's and everything finetuned from
them want QuickGELU, x·sigmoid(1.702 x), most of open_clip's own want GELU, and the wrong one costs accuracy
without an error. So it is taken from where the weights come from (see `activation_of`) or has to be stated;
what contradicts itself is refused. Nothing here touches the network.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP

from ovseg_ros.core.encoders import (
    AttentionPooledClip,
    MaskPromptedClip,
    PooledClip,
    attends_to_pool,
    can_pool,
)
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.checkpoints.checkpoint import DEFAULT_CURE, check_finite, load_exactly, read_weights
from ovseg_ros.models.checkpoints.clip_names import (
    IN_EVERY_CLIP,
    OVSEG_PREFIX,
    clip_tensors,
    open_clip_names,
    with_text_prefix,
)
from ovseg_ros.models.checkpoints.clip_towers import CONSTANTS, check_grid, check_whole, load_image_tower
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.models.clip_inputs import (
    OWN_VOCABULARY,
    Normalisation,
    build_tokenizer,
    normalisation_of,
)
from ovseg_ros.models.downloads.files import known_by_sha256, known_file, recorded_sha256
from ovseg_ros.models.downloads.verify import sha256_of

Activation = Literal["auto", "gelu", "quick_gelu"]
ACTIVATIONS = ("gelu", "quick_gelu")

_SCALARS = ("logit_scale", "logit_bias")

OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's own files hold beside the weights."""

PROMPT_KEYS = ("mask_prompts", "visual.mask_embedding", f"{OVSEG_PREFIX}visual.mask_embedding")
VOCABULARY = 49408
"""Tokens of the one vocabulary that comes with open_clip."""

_SUFFIX = "-quickgelu"
_CONFIG_KEYS = {
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_bias",
    "preprocess_cfg",
}
_NOT_BUILT = ("custom_text", "preprocess_cfg")
_LOG = logging.getLogger(__name__)


def load_clip(
    model: str | Mapping[str, Any],
    weights: Path,
    *,
    image_weights: Path | None = None,
    prompts: Path | None = None,
    activation: Activation = "auto",
    tokenizer: Path | None = None,
) -> MaskPromptedClip:
    """Builds CLIP and fills it, on the CPU, in float32, in evaluation mode, locked.

    One with a ConvNeXt or FastVit as image tower comes as a `PooledClip`, one of timm's that ends with
    attention pooling (SigLIP, Perception Encoder) as an `AttentionPooledClip`: both can also embed all masks
    in one pass.

    Args:
        model: an open_clip architecture such as "ViT-L-14" (with "-quickgelu" it states the activation too),
            or {"embed_dim": …, "vision_cfg": {…}, "text_cfg": {…}} in open_clip's terms, with
            "preprocess_cfg": {"mean": […], "std": […]} where that is not CLIP's.
        weights: the file; see `read_weights`. Half precision becomes single.
        image_weights: file with an image tower that takes the place of the one in `weights`, such as a
            finetuned `CLIPVisionModel` of transformers or a ViT of timm; one without projection keeps the
            other's. Of the same activation.
        prompts: file with mask prompts, under `mask_prompts` or `visual.mask_embedding`; by default those in
            `weights`, if there are any.
        activation: "auto" takes it from where the weights come from.
        tokenizer: `tokenizer.json` of an architecture with a vocabulary of its own, such as SigLIP 2's.

    Raises:
        ConfigError: an architecture that is not known or cannot be used, with the reason; or a tokenizer that
            is missing or not wanted.
        WeightsError: see `read_weights` and `load_exactly`; or an activation that is not known, or
            contradicts what is known of the weights.
    """
    weights = Path(weights)
    config, name, stated = architecture(model)
    tokens = build_tokenizer(config, name, tokenizer)
    tensors, metadata = read_weights(weights)
    tensors = unwrapped(tensors, IN_EVERY_CLIP)
    known = activation_of(weights, tensors, metadata)
    config["quick_gelu"] = _decide(activation, stated, known, weights, name) == "quick_gelu"
    _check_architecture(metadata, model, weights)
    state = clip_tensors(tensors)
    if "timm_model_name" not in config["vision_cfg"]:  # whose names are its own
        state = open_clip_names(state, weights)
    own_prompts = state.pop("visual.mask_embedding", None)
    _check_extras(state, config, weights, name)
    check_whole(state, weights, name)
    if "logit_bias" in state:  # of a CLIP trained with sigmoids
        config.setdefault("init_logit_bias", 0.0)
    network = build_network(config, name)
    state = with_text_prefix(state, isinstance(network, CustomTextCLIP))
    for key in _SCALARS:  # some programs save them as (1,)
        if key in state and state[key].numel() == 1:
            state[key] = state[key].reshape(getattr(network, key).shape)
    check_grid(network, state, weights, name)
    load_exactly(network, state, path=weights, what=f"CLIP {name}", ignore=CONSTANTS)
    if image_weights is not None:
        own_prompts = load_image_tower(network, Path(image_weights), name)
    rows = own_prompts if prompts is None else read_prompts(Path(prompts))
    return with_prompts(
        network,
        tokens,
        rows,
        path=prompts or weights,
        what=f"CLIP {name}",
        normalisation=normalisation_of(config, name),
    )


def with_prompts(
    network: CLIP | CustomTextCLIP,
    tokenizer: Any,
    prompts: torch.Tensor | None,
    *,
    path: Path,
    what: str,
    cure: str = DEFAULT_CURE,
    normalisation: Normalisation = (CLIP_MEAN, CLIP_STD),
) -> MaskPromptedClip:
    """The filled network as an encoder, in evaluation mode, locked; path, what and cure are for messages.

    `prompts` are (depth, patches, width), or None for none; depth 0 is none too, as OVSeg saves it.

    Raises:
        WeightsError: prompts that are not finite, or that the network cannot take.
    """
    if prompts is not None:
        check_finite({"mask prompts": prompts}, path=path, cure=cure)
        prompts = prompts.float() if prompts.numel() else None
    kind = PooledClip if can_pool(network) else MaskPromptedClip
    if attends_to_pool(network.visual):
        kind = AttentionPooledClip
    mean, std = normalisation
    try:
        clip = kind(network, tokenizer, prompts, mean=mean, std=std)
    except ConfigError as error:
        raise WeightsError(f"{path} does not fit {what}: {error}; {cure}") from error
    return clip.eval().requires_grad_(False)


def architecture(model: str | Mapping[str, Any]) -> tuple[dict[str, Any], str, str | None]:
    """What is to be built: open_clip's configuration, a name for messages, and the activation `model` states.

    Raises:
        ConfigError: not known to open_clip, or one of those that need other files, another preprocessing or
            another tokenizer.
    """
    if isinstance(model, Mapping):
        config, name = copy.deepcopy(dict(model)), "of the given shape"
        stated = None if "quick_gelu" not in config else ACTIVATIONS[bool(config["quick_gelu"])]
    else:
        name = model.replace("/", "-")
        config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
        if config is None:
            near = [known for known in open_clip.list_models() if known.lower()[:5] == name.lower()[:5]]
            raise ConfigError(
                f"expected an architecture of open_clip, got {model!r}; it knows "
                f"{', '.join(near or ['ViT-L-14', '…'])}"
            )
        stated = "quick_gelu" if config.get("quick_gelu") else None
    _check_config(config, name)
    return config, name, stated


def activation_of(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> tuple[str, str] | None:
    """The activation weights were trained with and how that is known, or None where it cannot be told.

    In this order: "activation" in the file's metadata (what `ovseg convert-checkpoint` writes); names that
    only OpenAI's own files have; the wrapping of OVSeg's files, which are finetuned from OpenAI's; the file's
    SHA-256 in the table of known files.

    Raises:
        WeightsError: metadata with another value than "gelu" or "quick_gelu".
    """
    if "activation" in metadata:
        if metadata["activation"] not in ACTIVATIONS:
            raise WeightsError(
                f"expected the metadata of {path} to say gelu or quick_gelu, got {metadata['activation']!r}; "
                "convert the checkpoint again"
            )
        return metadata["activation"], "its metadata says so"
    if any(key in clip_tensors(tensors) for key in OPENAI_EXTRAS):
        return "quick_gelu", "it has the names of OpenAI's own files"
    if any(key.startswith(OVSEG_PREFIX) for key in tensors):
        return "quick_gelu", "it is laid out as OVSeg's files, which are finetuned from OpenAI's"
    digest = sha256_of(path)
    known = known_by_sha256(digest)
    if known is None and recorded_sha256(path) == digest:
        known = known_file(path.name)
    if known is not None and known.activation is not None:
        return known.activation, f"it is {known.name}, {known.note}"
    return None


def read_prompts(path: Path) -> torch.Tensor:
    """Mask prompts (depth, patches, width) out of a file of their own, or out of a whole checkpoint.

    Raises:
        WeightsError: see `read_weights`; or none in the file.
    """
    tensors, _ = read_weights(path)
    tensors = unwrapped(tensors, PROMPT_KEYS)
    for key in PROMPT_KEYS:
        if key in tensors:
            return tensors[key]
    raise WeightsError(
        f"expected mask prompts in {path} as {PROMPT_KEYS[0]!r} or {PROMPT_KEYS[1]!r}, got "
        f"{sorted(tensors)[:5]}; name the prompts.safetensors of a converted checkpoint"
    )


def _decide(asked: str, stated: str | None, known: tuple[str, str] | None, weights: Path, name: str) -> str:
    """One activation out of what is asked for, what the architecture's name states, and what is known."""
    if asked not in ("auto", *ACTIVATIONS):
        raise ConfigError(f"expected activation auto, gelu or quick_gelu, got {asked!r}")
    if asked != "auto" and stated is not None and asked != stated:
        raise ConfigError(
            f"expected one activation, got {asked} beside the architecture {name} with {stated}"
        )
    wanted = stated if asked == "auto" else asked
    if known is not None:
        if wanted is not None and wanted != known[0]:
            raise WeightsError(
                f"{weights} was trained with {known[0]} ({known[1]}), got {wanted} for {name}; ask for "
                f"{known[0]} or leave the activation to auto"
            )
        return known[0]
    if wanted is None:
        raise WeightsError(
            f"expected to be told whether {weights} was trained with GELU or QuickGELU, nothing in it tells; "
            "say activation quick_gelu (OpenAI's weights and what was finetuned from them, DFN, MetaCLIP) or "
            "gelu (most others of open_clip)"
        )
    return wanted


def _check_architecture(metadata: Mapping[str, str], model: str | Mapping[str, Any], weights: Path) -> None:
    """What a converted file says of itself, against what it is asked to be."""
    held = metadata.get("architecture", "").removesuffix(_SUFFIX)
    if held and isinstance(model, str) and held != model.replace("/", "-").removesuffix(_SUFFIX):
        raise WeightsError(f"expected CLIP {model} in {weights}, it holds CLIP {held}; {DEFAULT_CURE}")


def _check_config(config: Mapping[str, Any], name: str) -> None:
    unknown, missing = set(config) - _CONFIG_KEYS, {"embed_dim", "vision_cfg", "text_cfg"} - set(config)
    if unknown or missing:
        raise ConfigError(
            f"CLIP {name} is not supported: expected embed_dim, vision_cfg, text_cfg and at most "
            f"quick_gelu and custom_text, missing {sorted(missing)}, not known {sorted(unknown)}"
        )
    if not isinstance(config["vision_cfg"], Mapping) or not isinstance(config["text_cfg"], Mapping):
        raise ConfigError("expected vision_cfg and text_cfg as mappings, see open_clip's model_configs")
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        raise ConfigError(f"CLIP {name} is not supported: its text tower comes from a hub")
    if text.get("hf_tokenizer_name") and OWN_VOCABULARY not in text["hf_tokenizer_name"]:
        raise ConfigError(f"CLIP {name} is not supported: its tokenizer comes from a hub")
    if not text.get("hf_tokenizer_name") and text.get("vocab_size", VOCABULARY) != VOCABULARY:
        raise ConfigError(
            f"expected vocab_size {VOCABULARY} (open_clip's own tokenizer), got {text['vocab_size']}"
        )
    if config["vision_cfg"].get("timm_model_pretrained"):
        raise ConfigError(f"CLIP {name} is not supported: its image tower comes from a hub")
    normalisation_of(config, name)


def build_network(config: Mapping[str, Any], name: str) -> CLIP | CustomTextCLIP:
    """open_clip's network with random weights, on the current default device. Never touches the network.

    Raises:
        ConfigError: sizes that do not fit each other.
    """
    arguments = {key: value for key, value in config.items() if key not in _NOT_BUILT}
    kind = CustomTextCLIP if config.get("custom_text") else CLIP
    try:
        return kind(**arguments)
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise ConfigError(f"open_clip cannot build CLIP {name}: {error!r}") from error


def _check_extras(
    state: dict[str, torch.Tensor], config: Mapping[str, Any], weights: Path, name: str
) -> None:
    """Takes OpenAI's three numbers out of `state`; they must say what the architecture says."""
    wanted = {
        "input_resolution": config["vision_cfg"].get("image_size", 224),
        "context_length": config["text_cfg"].get("context_length", 77),
        "vocab_size": VOCABULARY,
    }
    for key in OPENAI_EXTRAS:
        value = state.pop(key, None)
        if value is not None and (value.numel() != 1 or int(value) != wanted[key]):
            raise WeightsError(
                f"{weights} does not hold CLIP {name}: expected {key} {wanted[key]}, got {value.tolist()}; "
                f"{DEFAULT_CURE}"
            )
