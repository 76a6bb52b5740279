"""Public MaskFormer and Mask2Former weights, run by transformers: masks without the paper's own weights.

Such a network has a fixed list of classes, COCO's or ADE20K's. Its class names are not used: of its class
head only the probability of "no object" is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros.errors import WeightsError
from ovseg_ros.files.texts import read_json
from ovseg_ros.models.checkpoints.checkpoint import check_finite, listed, read_weights
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.proposals.maskformer import MaskFormerOutput, check_pixels

CURE = (
    "put config.json, preprocessor_config.json and model.safetensors of a MaskFormer or Mask2Former with a "
    "Swin or ResNet backbone into one folder"
)
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
BACKBONES = ("swin", "maskformer-swin", "resnet")

_ONLY_TRAINING = "criterion."  # the loss keeps its class weights among the network's
_NOT_LEARNED = ("relative_position_index", "num_batches_tracked")  # computed, or not used
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, where the folder names none


class PublicMaskFormer(nn.Module):
    """A MaskFormer or Mask2Former of transformers.

    Args:
        model: maps (1, 3, h, w) to class logits (1, Q, K+1), the last for "no object", and mask logits
            (1, Q, h/4, w/4).
        image: how it wants its image; keys as in preprocessor_config.json.

    Attributes:
        classifies: False; its classes are not the user's words.

    See `ovseg_ros.proposals.maskformer.MaskFormerNetwork` for the others.
    """

    classifies = False
    non_object = None

    def __init__(self, model: nn.Module, image: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        full = 1 / image.get("rescale_factor", 1 / 255)  # the pixel value that the network knows as 1
        normalised = image.get("do_normalize", True)
        self.pixel_mean = _three(image.get("image_mean", _MEAN) if normalised else (0, 0, 0), full)
        self.pixel_std = _three(image.get("image_std", _STD) if normalised else (1, 1, 1), full)
        self.size_divisor = int(image.get("size_divisor", image.get("size_divisibility", 0)) or 32)
        size = image.get("size", 640)
        sides = size if isinstance(size, Mapping) else {"shortest_edge": size}
        self.short_side = int(
            sides.get("shortest_edge") or min(sides.get("height", 640), sides.get("width", 640))
        )
        self.long_side = int(sides.get("longest_edge") or image.get("max_size") or 4 * self.short_side)

    def forward(self, pixels: torch.Tensor) -> MaskFormerOutput:
        """Masks, and how probably each is something: objectness = 1 - softmax(class logits)[no object].

        Args:
            pixels: (1, 3, h, w) normalised; h and w multiples of `size_divisor`.

        Raises:
            InvalidInputError: another shape.
        """
        check_pixels(pixels, self.size_divisor)
        output = self.model(pixel_values=pixels)
        nothing = output.class_queries_logits[0].float().softmax(-1)[:, -1]  # (Q,)
        return MaskFormerOutput(output.masks_queries_logits[0], objectness=1 - nothing)


def load_public_maskformer(folder_or_config: Path, weights: Path | None = None) -> PublicMaskFormer:
    """Loads the network on the CPU, in evaluation mode. Never touches the network.

    Args:
        folder_or_config: a folder as transformers' `save_pretrained` writes it and the Hugging Face hub shows
            it, or the config.json in it. Its preprocessor_config.json tells size, mean and std; without one
            they are 640 to 2560 pixels and ImageNet's.
        weights: the weights file; `model.safetensors` or `pytorch_model.bin` beside the config by default.

    Raises:
        WeightsError: no such folder or file, not a MaskFormer or Mask2Former with a Swin or ResNet backbone,
            or weights that do not fill exactly this network; lists what does not fit.
    """
    path = Path(folder_or_config)
    config_file = path / "config.json" if path.is_dir() else path
    settings = _read_json(config_file)
    if weights is None:
        found = [config_file.parent / name for name in WEIGHT_FILES]
        weights = next((file for file in found if file.is_file()), found[0])
    state, _ = read_weights(weights, cure=CURE)
    state = unwrapped(state, ("class_predictor.weight",))
    check_finite(state, path=weights, cure=CURE)
    model = _build(settings, state, config_file, weights)
    image_file = config_file.parent / "preprocessor_config.json"
    image = _read_json(image_file) if image_file.is_file() else {}
    return PublicMaskFormer(model, image).eval().requires_grad_(False)


def _build(
    settings: dict[str, Any], state: dict[str, torch.Tensor], config_file: Path, weights: Path
) -> nn.Module:
    """The network with its weights; transformers knows the names that older releases of it gave them."""
    import transformers

    kinds = {
        "maskformer": (transformers.MaskFormerConfig, transformers.MaskFormerForInstanceSegmentation),
        "mask2former": (transformers.Mask2FormerConfig, transformers.Mask2FormerForUniversalSegmentation),
    }
    kind, body = settings.get("model_type"), (settings.get("backbone_config") or {}).get("model_type")
    if kind not in kinds or body not in BACKBONES:  # others would fetch a backbone from the network
        raise WeightsError(
            f"expected {config_file} with model_type of {sorted(kinds)} and a backbone_config of "
            f"{list(BACKBONES)}, got {kind!r} with {body!r}; {CURE}"
        )
    if kind == "maskformer":  # predictions of earlier layers serve training, and transformers trips over them
        decoder = {**(settings.get("decoder_config") or {"model_type": "detr"}), "auxiliary_loss": False}
        settings = {**settings, "use_auxiliary_loss": False, "decoder_config": decoder}
    try:
        config = kinds[kind][0].from_dict(settings)
        model, told = kinds[kind][1].from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # a configuration that contradicts itself can raise anything in there
        raise WeightsError(f"expected a {kind} described by {config_file}, got: {error}; {CURE}") from error
    problems = [
        f"{name} {listed(keys)}"
        for name, keys in (
            ("missing", _learned(told["missing_keys"])),
            ("unexpected", _learned(told["unexpected_keys"])),
            ("other shape", _learned(entry[0] for entry in told["mismatched_keys"])),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{weights} does not hold the {kind} of {config_file}: {', '.join(problems)}; {CURE}"
        )
    return model.float()


def _learned(keys: Any) -> list[str]:
    return sorted(
        key for key in keys if not key.startswith(_ONLY_TRAINING) and not key.endswith(_NOT_LEARNED)
    )


def _three(values: Any, scale: float) -> tuple[float, float, float]:
    red, green, blue = (float(value) * scale for value in values)
    return red, green, blue


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path, refuse=lambda text: WeightsError(f"expected {path} as JSON: {text}; {CURE}"))
    if not isinstance(content, dict):
        raise WeightsError(f"expected a mapping in {path}, got a {type(content).__name__}; {CURE}")
    return content
