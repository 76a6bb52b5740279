"""SAM 2.1 and EdgeTAM as transformers has them: built from a name or a config.json, filled from a file.

The hub's folders (facebook/sam2.1-hiera-tiny, yonigozlan/EdgeTAM-hf) hold the whole video network and say
`sam2_video` and `edgetam_video`; of those files the parts for single images are read, or all with its memory.
No network is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.files.texts import read_json
from ovseg_ros.models.checkpoints.checkpoint import check_finite, listed, read_weights
from ovseg_ros.models.checkpoints.prefixes import unwrapped

PAGES = {
    "tiny": "facebook/sam2.1-hiera-tiny",
    "small": "facebook/sam2.1-hiera-small",
    "base_plus": "facebook/sam2.1-hiera-base-plus",
    "large": "facebook/sam2.1-hiera-large",
    "edgetam": "yonigozlan/EdgeTAM-hf",
}
"""The published networks, and the hub's pages whose model.safetensors fills them."""

MODELS = tuple(PAGES)

# What differs between sizes: facebookresearch/sam2, sam2/configs/sam2.1/*.yaml and the defaults of Hiera.
_HIERA: dict[str, dict[str, Any]] = {
    "tiny": {"width": 96, "heads": 1, "blocks": [1, 2, 7, 2], "whole": [5, 7, 9]},
    "small": {"width": 96, "heads": 1, "blocks": [1, 2, 11, 2], "whole": [7, 10, 13]},
    "base_plus": {
        "width": 112,
        "heads": 2,
        "blocks": [2, 3, 16, 3],
        "whole": [12, 16, 20],
        "background": [14, 14],
    },
    "large": {
        "width": 144,
        "heads": 2,
        "blocks": [2, 6, 36, 4],
        "whole": [23, 33, 43],
        "windows": [8, 4, 16, 8],
    },
}
_KINDS = {"sam2": "sam2", "sam2_video": "sam2", "edgetam": "edgetam", "edgetam_video": "edgetam"}
_BACKBONES = {"sam2": "sam2_hiera_det_model", "edgetam": "timm_wrapper"}  # others could fetch from the hub
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


def build_sam2(
    model: str | Mapping[str, Any], image_size: int | None = None, *, memory: bool = False
) -> nn.Module:
    """A network with random weights, on the CPU, in evaluation mode.

    Args:
        model: one of `MODELS`, or what a config.json of transformers says.
        image_size: side of its square input, a multiple of 32; None for its own.
        memory: the whole network for video, not only its part for single images.

    Raises:
        ConfigError: an unknown name, a configuration of something else, or one that contradicts itself.
    """
    config, network = _config(model, image_size, memory)
    try:
        built: nn.Module = network(config)
    except Exception as error:  # a configuration that contradicts itself can raise anything in there
        raise ConfigError(f"expected a configuration of {network.__name__}, got: {error}") from error
    return built.eval().requires_grad_(False)


def load_sam2(
    weights: Path, model: str | None = None, image_size: int | None = None, *, memory: bool = False
) -> nn.Module:
    """Builds a network and fills it from a file with transformers' names.

    Args:
        weights: model.safetensors of a page in `PAGES`, or what transformers saved.
        model: see `build_sam2`; None reads config.json beside the weights.
        image_size: see `build_sam2`.
        memory: see `build_sam2`.

    Returns:
        The network on the CPU, float32, in evaluation mode.

    Raises:
        ConfigError: see `build_sam2`.
        WeightsError: missing, damaged, not finite, or of another network; says which keys.
    """
    weights = Path(weights)
    cure = _cure(model)
    said: str | Mapping[str, Any] = model if model is not None else _read_config(weights, cure)
    config, network = _config(said, image_size, memory)  # before a file of a gigabyte is read
    state, _ = read_weights(weights, cure=cure)
    state = unwrapped(state, ("mask_decoder.iou_token.weight", "image_encoder.trunk.pos_embed"))
    if any(key.startswith("image_encoder.trunk.") for key in state):
        raise WeightsError(
            f"{weights} has the names of its authors' own code, not transformers'; {cure}, not the .pt there"
        )
    check_finite(state, path=weights, cure=cure)
    try:
        with _quiet():
            filled, told = network.from_pretrained(
                None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except Exception as error:
        raise WeightsError(f"{weights} does not fill a {network.__name__}: {error}; {cure}") from error
    _check_filled(
        told, f"{weights} does not hold the {network.__name__} of {model or 'its config.json'}", cure
    )
    loaded: nn.Module = filled.float().eval().requires_grad_(False)
    return loaded


def _config(model: str | Mapping[str, Any], image_size: int | None, memory: bool) -> tuple[Any, Any]:
    """Transformers' configuration, and the class of network that it is of."""
    import transformers

    classes = {
        ("sam2", False): (transformers.Sam2Config, transformers.Sam2Model),
        ("sam2", True): (transformers.Sam2VideoConfig, transformers.Sam2VideoModel),
        ("edgetam", False): (transformers.EdgeTamConfig, transformers.EdgeTamModel),
        ("edgetam", True): (transformers.EdgeTamVideoConfig, transformers.EdgeTamVideoModel),
    }
    if isinstance(model, str):
        if model not in MODELS:
            raise ConfigError(f"expected a model of {', '.join(MODELS)} or a mapping, got {model!r}")
        kind = "edgetam" if model == "edgetam" else "sam2"
        settings: Mapping[str, Any] = {"vision_config": _vision(model)}
    else:
        kind = _kind(model, memory)
        settings = {key: value for key, value in model.items() if memory or key in _PARTS}
    try:
        config = classes[kind, memory][0].from_dict(dict(settings))
        _at_size(config, image_size)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"expected a configuration of {kind}, got: {error}") from error
    return config, classes[kind, memory][1]


def _kind(settings: Mapping[str, Any], memory: bool) -> str:
    """Which network a config.json is of."""
    kinds = {name: kind for name, kind in _KINDS.items() if name.endswith("_video") or not memory}
    kind = kinds.get(str(settings.get("model_type")))
    vision = settings.get("vision_config")
    body = (vision if isinstance(vision, Mapping) else {}).get("backbone_config")
    found = body.get("model_type") if isinstance(body, Mapping) else None
    if kind is None or found != _BACKBONES[kind]:
        raise ConfigError(
            f"expected a configuration with model_type of {', '.join(kinds)} and the vision backbone that "
            f"goes with it, got {settings.get('model_type')!r} with {found!r}"
        )
    return kind


def _vision(model: str) -> Any:
    """Transformers' vision configuration of a published network."""
    import transformers

    if model == "edgetam":
        body: Any = transformers.TimmWrapperConfig(
            architecture="repvit_m1",
            model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        )
        return transformers.EdgeTamVisionConfig(backbone_config=body)
    size = _HIERA[model]
    widths = [size["width"] << stage for stage in range(4)]
    body = transformers.Sam2HieraDetConfig(
        hidden_size=size["width"],
        num_attention_heads=size["heads"],
        blocks_per_stage=size["blocks"],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[size["heads"] << stage for stage in range(4)],
        window_size_per_stage=size.get("windows", [8, 4, 14, 7]),
        global_attention_blocks=size["whole"],
        window_positional_embedding_background_size=size.get("background", [7, 7]),
    )
    return transformers.Sam2VisionConfig(backbone_config=body, backbone_channel_list=widths[::-1])


def _at_size(config: Any, side: int | None) -> None:
    """Changes a configuration to another size of input; no weight depends on it."""
    if side is None or side == config.prompt_encoder_config.image_size:
        return
    if type(side) is not int or side < 32 or side % 32:
        raise ConfigError(f"expected image_size as a multiple of 32, got {side!r}")
    config.prompt_encoder_config.image_size = side
    config.vision_config.backbone_feature_sizes = [[side // stride] * 2 for stride in (4, 8, 16)]
    if hasattr(config, "memory_attention_rope_feat_sizes"):
        config.image_size = side
        config.memory_attention_rope_feat_sizes = [side // 16] * 2
    if hasattr(config.vision_config.backbone_config, "image_size"):
        config.vision_config.backbone_config.image_size = [side, side]


def _read_config(weights: Path, cure: str) -> dict[str, Any]:
    path = weights.parent / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"expected {path} beside the weights, or model: one of {', '.join(MODELS)} in the preset; {cure}"
        )
    content = read_json(path, refuse=lambda text: WeightsError(f"expected {path} as JSON: {text}; {cure}"))
    if not isinstance(content, dict):
        raise WeightsError(f"expected a mapping in {path}, got a {type(content).__name__}; {cure}")
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report and bar: what is wrong with a file is said once, as an error."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _check_filled(told: Mapping[str, Iterable[Any]], what: str, cure: str) -> None:
    problems = [
        f"{name} {listed(sorted(keys))}"
        for name, keys in (
            ("missing", list(told["missing_keys"])),
            ("unexpected", list(told["unexpected_keys"])),
            ("other shape", [entry[0] for entry in told["mismatched_keys"]]),
        )
        if keys
    ]
    if problems:
        raise WeightsError(f"{what}: {', '.join(problems)}; {cure}")


def _cure(model: str | None) -> str:
    pages = [PAGES[model]] if model in PAGES else list(PAGES.values())
    return "take model.safetensors of " + " or ".join(f"https://huggingface.co/{page}" for page in pages)
