"""OWLv2, a detector with words, run by transformers: boxes of an image once, any words against them.

Each cell of the image has a box, an objectness and a class embedding, none of which depends on the words; a
word is a row of the text tower, and what a box says to it is sigmoid(scale · (cosine + shift)).

Source: Minderer, Gritsenko, Houlsby: Scaling Open-Vocabulary Object Detection, 2023, arXiv 2306.09683.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.encoders import TextCache
from ovseg_ros.core.words import SINGLE
from ovseg_ros.models.onestage.hub_folder import WordsOnly, build_whole, chosen_settings, pixels_of
from ovseg_ros.proposals.boxes import BoxOutput

SPACE = "OWLv2"
CURE = (
    "put model.safetensors of an OWLv2 and, unless the preset says model: base, its config.json into one "
    "folder, as https://huggingface.co/google/owlv2-base-patch16-ensemble shows it"
)
SIZES: Mapping[str, Mapping[str, Any]] = {"base": {"vision_config": {"image_size": 960}}}
"""Of the published networks, as far as they differ from transformers' defaults, which are the base's."""


class Owlv2Boxes(nn.Module):
    """The image's part.

    Args:
        model: transformers' `Owlv2ForObjectDetection`; its text tower is not kept.
    """

    space = SPACE

    def __init__(self, model: Any) -> None:
        super().__init__()
        from transformers import Owlv2ImageProcessor

        model.owlv2.text_model = None
        self.model = model
        side = int(model.config.vision_config.image_size)
        self._processor = Owlv2ImageProcessor(size={"height": side, "width": side})

    def forward(self, image_rgb: npt.NDArray[np.uint8]) -> BoxOutput:
        """All boxes of an image, one pass; what the heads say, before any word.

        Args:
            image_rgb: (H, W, 3) uint8 RGB; padded to a square and scaled to the network's size.
        """
        device = self.model.box_bias.device
        pixels = pixels_of(image_rgb, self._processor, device)
        grid, _ = self.model.image_embedder(pixel_values=pixels)  # (1,h,w,D)
        features = grid.flatten(1, 2)  # (1,Q,D)
        head = self.model.class_head
        scale = head.elu(head.logit_scale(features)) + 1
        odds = torch.cat([scale, head.logit_shift(features)], dim=-1)
        middle, size = self.model.box_predictor(features, grid)[0].float().split(2, dim=-1)  # of the square
        boxes = torch.cat([middle - size / 2, middle + size / 2], dim=-1) * max(image_rgb.shape[:2])
        objectness = self.model.objectness_predictor(features)[0].float().sigmoid()
        return BoxOutput(boxes, objectness, head.dense0(features)[0], odds[0])


class Owlv2Words(WordsOnly):
    """The words' part, as an encoder that looks at no masks.

    Args:
        model: transformers' `Owlv2ForObjectDetection`; only its text tower is kept.
    """

    space = SPACE

    def __init__(self, model: Any) -> None:
        super().__init__()
        from open_clip.tokenizer import SimpleTokenizer

        config = model.config
        self.embedding_dim = int(config.projection_dim)
        self.text_model, self.text_projection = model.owlv2.text_model, model.owlv2.text_projection
        # CLIP's own byte pairs, as the folder's tokenizer has them; it pads with token 0 as well.
        self._tokenize = SimpleTokenizer(context_length=int(config.text_config.max_position_embeddings))
        self._cache = TextCache()

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """(K, C) float32 unit rows of words, in their sentences, each encoded once."""
        return self._cache.encode(labels, SINGLE if templates is None else templates, self._encode)

    @torch.no_grad()
    def _encode(self, sentences: list[str]) -> torch.Tensor:
        ids = self._tokenize(sentences).to(self.text_projection.weight.device)  # (M,16)
        rows: torch.Tensor = self.text_projection(self.text_model(input_ids=ids).pooler_output)
        return rows


def load_owlv2_boxes(weights: Path, model: str | Mapping[str, Any] | None = None) -> Owlv2Boxes:
    """The image's part on the CPU; see `_load`."""
    return Owlv2Boxes(_load(weights, model))


def load_owlv2_words(weights: Path, model: str | Mapping[str, Any] | None = None) -> Owlv2Words:
    """The words' part on the CPU; see `_load`."""
    return Owlv2Words(_load(weights, model))


def _load(weights: Path, model: str | Mapping[str, Any] | None) -> Any:
    """The whole network. Never touches the network.

    Args:
        weights: model.safetensors, as the hub has it.
        model: a published size, or settings as in config.json; None reads the config.json beside the weights.

    Raises:
        ConfigError: no such size.
        WeightsError: no such file, or weights that do not fill exactly this network; lists what does not fit.
    """
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    settings = chosen_settings(weights, model, SIZES, ("owlv2",), CURE)
    return build_whole(Owlv2Config, Owlv2ForObjectDetection, settings, weights, CURE)
