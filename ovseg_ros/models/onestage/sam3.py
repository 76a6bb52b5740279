"""SAM 3, segmentation by concepts, run by transformers: the image once, the detector's head for each phrase.

A phrase's tokens go into the fusion encoder and the decoder with the image's features, so its masks are its
own. score = sigmoid(logit of the mask) · sigmoid(logit that the phrase is in the image at all).

Source: Carion et al.: SAM 3: Segment Anything with Concepts, 2025; github.com/facebookresearch/sam3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.encoders import TextCache
from ovseg_ros.models.onestage.hub_folder import WordsOnly, build_whole, chosen_settings, pixels_of
from ovseg_ros.proposals.concepts import ConceptOutput

SPACE = "SAM 3"
CURE = (
    "ask for access at https://huggingface.co/facebook/sam3 (SAM License), and put its model.safetensors "
    "and, unless the preset says model: base, its config.json into one folder"
)
SIZES: Mapping[str, Mapping[str, Any]] = {"base": {}}
"""Of the published network: transformers' defaults are its own."""

_DETECTOR = "detector_model."  # the published file holds the tracker of SAM 3's video model too
PHRASES = 1024
"""So many are remembered as tokens, 32 KiB each."""

Phrase = tuple[torch.Tensor, torch.Tensor]
"""(1, T, D) float32 token features and (1, T) int64, 1 for tokens and 0 for padding."""


class Sam3Network(nn.Module):
    """The image's part and the head.

    Args:
        model: transformers' `Sam3Model`; its text tower is not kept.
    """

    space = SPACE

    def __init__(self, model: Any) -> None:
        super().__init__()
        from transformers import Sam3ImageProcessor

        model.text_encoder = model.text_projection = None
        self.model = model
        self.looks_dim = int(model.config.vision_config.fpn_hidden_size)
        side = int(model.config.vision_config.backbone_config.image_size)
        self._processor = Sam3ImageProcessor(size={"height": side, "width": side})

    def look(self, image_rgb: npt.NDArray[np.uint8]) -> Any:
        """The image's features, one pass; see `ConceptNetwork`."""
        device = next(self.model.parameters()).device
        pixels = pixels_of(image_rgb, self._processor, device)
        return self.model.get_vision_features(pixel_values=pixels)

    def find(self, features: Any, word: Phrase, size_hw: tuple[int, int], min_score: float) -> ConceptOutput:
        """The masks of one phrase, by transformers' own post-processing; see `ConceptNetwork`."""
        device = next(self.model.parameters()).device
        tokens, attention = (part.to(device) for part in word)
        output = self.model(
            vision_embeds=features,
            text_embeds=SimpleNamespace(pooler_output=tokens),
            attention_mask=attention,
        )
        for name in ("pred_logits", "presence_logits", "pred_masks"):
            output[name] = output[name].float()
        found = self._processor.post_process_instance_segmentation(
            output, threshold=min_score, mask_threshold=0.5, target_sizes=[size_hw]
        )[0]
        masks = found["masks"].bool().reshape(-1, *size_hw)
        presence = float(output.presence_logits.sigmoid().reshape(()))
        return ConceptOutput(masks, found["scores"], max(presence, 1e-6))

    def looks(self, features: Any, masks: torch.Tensor) -> torch.Tensor:
        """(M, D) unit rows: the coarsest features averaged over each mask."""
        if not len(masks):
            return torch.zeros(0, self.looks_dim)
        grid = features.fpn_hidden_states[-2][0].float()  # (D,h,w), the level that the decoder looks at
        shares = F.interpolate(masks[None].to(grid), grid.shape[1:], mode="area")[0]  # (M,h,w)
        return F.normalize(torch.einsum("mhw,dhw->md", shares, grid), dim=-1)


class Sam3Words(WordsOnly):
    """The words' part, as an encoder that looks at no masks.

    Args:
        model: transformers' `Sam3Model`; only its text tower is kept.
    """

    space = SPACE

    def __init__(self, model: Any) -> None:
        super().__init__()
        from open_clip.tokenizer import SimpleTokenizer

        text = model.config.text_config
        self.text_encoder, self.text_projection = model.text_encoder, model.text_projection
        self.embedding_dim = int(self.text_projection.out_features)
        # CLIP's own byte pairs, as the folder's tokenizer has them; it pads with the end token.
        self._tokenize = SimpleTokenizer(context_length=int(text.max_position_embeddings))
        self._cache = TextCache()
        self._phrase = lru_cache(maxsize=PHRASES)(self._encode_phrase)

    def encode_concepts(self, words: Sequence[str]) -> list[Phrase]:
        """What the network is told of each word; the word alone, in no sentence, "_" as a blank."""
        return [self._phrase(word.replace("_", " ")) for word in words]

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """(K, D) float32 unit rows: the mean over each word's tokens, which the head does not use."""
        return self._cache.encode(labels, ("{}",) if templates is None else templates, self._mean)

    @torch.no_grad()
    def _encode_phrase(self, text: str) -> Phrase:
        end = int(self._tokenize.eot_token_id)
        ids = self._tokenize([text]).to(self.text_projection.weight.device)  # (1,T)
        after = (ids == end).cumsum(dim=1) - (ids == end).long() > 0
        ids = ids.masked_fill(after, end)
        attention = (~after).long()
        hidden = self.text_encoder(input_ids=ids, attention_mask=attention).last_hidden_state  # (1,T,W)
        return self.text_projection(hidden).cpu(), attention.cpu()

    def _mean(self, texts: list[str]) -> torch.Tensor:
        rows = [
            (tokens * there[..., None]).sum(1) / there.sum() for tokens, there in map(self._phrase, texts)
        ]
        return torch.cat(rows)


def load_sam3_network(weights: Path, model: str | Mapping[str, Any] | None = None) -> Sam3Network:
    """The image's part and the head, on the CPU; see `_load`."""
    return Sam3Network(_load(weights, model))


def load_sam3_words(weights: Path, model: str | Mapping[str, Any] | None = None) -> Sam3Words:
    """The words' part on the CPU; see `_load`."""
    return Sam3Words(_load(weights, model))


def _load(weights: Path, model: str | Mapping[str, Any] | None) -> Any:
    """The whole network. Never touches the network.

    Args:
        weights: model.safetensors, as the hub has it, with the tracker or without.
        model: a published size, or settings as in config.json; None reads the config.json beside the weights.

    Raises:
        ConfigError: no such size.
        WeightsError: no such file, or weights that do not fill exactly this network; lists what does not fit.
    """
    from transformers import Sam3Config, Sam3Model

    settings = chosen_settings(weights, model, SIZES, ("sam3", "sam3_video"), CURE)
    settings = settings.get("detector_config", settings)
    return build_whole(Sam3Config, Sam3Model, settings, weights, CURE, part=_detector)


def _detector(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The detector's tensors of a file that holds the tracker too; all of another file."""
    own = {key.removeprefix(_DETECTOR): value for key, value in state.items() if key.startswith(_DETECTOR)}
    return own or state
