"""What goes into a CLIP: how pixels are normalised, and how texts become tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn
from tokenizers import Tokenizer

from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, WeightsError

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of RGB in [0, 1]."""

OWN_VOCABULARY = "SigLIP2"
"""In open_clip's names of the tokenizers that `FileTokenizer` reads: Gemma's."""

PADDING, END = "<pad>", "<eos>"
"""Gemma's special tokens; a beginning (`<bos>`) is not asked for."""


def normalisation_of(config: Mapping[str, Any], name: str) -> Normalisation:
    """What is subtracted from RGB in [0, 1], and what it is divided by.

    CLIP's, where open_clip lists weights of the architecture with it, or none at all; else the one that all
    its weights have in common.

    Raises:
        ConfigError: they have none in common, or `preprocess_cfg` is not two lists of three numbers.
    """
    usual, stated = (CLIP_MEAN, CLIP_STD), config.get("preprocess_cfg")
    if stated is not None:
        values = (
            tuple(tuple(stated[key]) for key in ("mean", "std")) if set(stated) == {"mean", "std"} else ()
        )
        if [len(value) for value in values] != [3, 3] or not all(number > 0 for number in values[1]):
            raise ConfigError(f"expected preprocess_cfg as mean and std of three numbers each, got {stated}")
        return values[0], values[1]
    tags = [get_pretrained_cfg(name, tag) for tag in list_pretrained_tags_by_model(name)]
    found = {(tuple(tag["mean"]), tuple(tag["std"])) for tag in tags}
    if not found or usual in found:
        return usual
    if len(found) > 1:
        raise ConfigError(
            f"CLIP {name} is not supported: its weights differ in mean and std: {sorted(found)}"
        )
    return found.pop()


def build_tokenizer(config: Mapping[str, Any], name: str, file: Path | None) -> Any:
    """open_clip's own tokenizer, or the one in `file` where the architecture has another vocabulary.

    Raises:
        ConfigError: a file is missing, or not wanted.
        WeightsError: it is not this architecture's.
    """
    text = config["text_cfg"]
    length, options = text.get("context_length", 77), text.get("tokenizer_kwargs") or {}
    if not text.get("hf_tokenizer_name"):
        if file is not None:
            raise ConfigError(f"CLIP {name} has the tokenizer that comes with open_clip: leave tokenizer out")
        return SimpleTokenizer(context_length=length, **options)
    if file is None:
        raise ConfigError(
            f"CLIP {name} has a vocabulary of its own: say tokenizer: siglip2_tokenizer.json, which is "
            f"tokenizer.json of {text['hf_tokenizer_name']} on the hub"
        )
    return FileTokenizer(file, length, text["vocab_size"], **options)


class FileTokenizer:
    """What open_clip's HFTokenizer gives for SigLIP 2, without a hub and without a second file.

    The file is `tokenizer.json`, as the hub keeps it beside the weights. Texts are cleaned, cut, closed with
    one end token that is kept however long they are, and padded. HFTokenizer takes that from a second file,
    `tokenizer_config.json`, of which hubs state no SHA-256; here it is stated.

    Attributes:
        context_length: L, tokens per text.
    """

    def __init__(self, file: Path, context_length: int, vocabulary: int, clean: str = "canonicalize") -> None:
        """Reads the file.

        Args:
            file: `tokenizer.json`.
            context_length: L.
            vocabulary: tokens that the text tower knows.
            clean: open_clip's name of what is done to a text before; "canonicalize" makes it lower case and
                leaves punctuation out.

        Raises:
            WeightsError: not such a file, or another tower's.
        """
        cure = "expected the tokenizer.json that lies beside the weights of SigLIP 2 (docs/weights.md)"
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more exact
            reason = str(error).split("\n")[0]
            raise WeightsError(f"{file} cannot be read as a tokenizer: {reason:.200}; {cure}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ids = [self._tokenizer.token_to_id(token) for token in (PADDING, END)]
        size = self._tokenizer.get_vocab_size()
        if None in ids or size > vocabulary:
            raise WeightsError(
                f"{file} is another model's: expected {PADDING}, {END} and at most {vocabulary} tokens, got "
                f"{size} tokens, {PADDING} as {ids[0]} and {END} as {ids[1]}; {cure}"
            )
        self._padding, self._end = ids
        self._clean = get_clean_fn(clean)
        self.context_length = context_length

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """K texts -> (K, L) int64 token ids."""
        cleaned = [self._clean(text) for text in texts]
        rows = torch.full((len(cleaned), self.context_length), self._padding, dtype=torch.int64)
        for row, coded in zip(
            rows, self._tokenizer.encode_batch(cleaned, add_special_tokens=False), strict=True
        ):
            ids = [*coded.ids[: self.context_length - 1], self._end]
            row[: len(ids)] = torch.tensor(ids)
        return rows
