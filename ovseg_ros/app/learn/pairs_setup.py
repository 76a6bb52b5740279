"""From the command line of `ovseg learn pairs` to checked options, and what a resumed run must share."""

from __future__ import annotations

import argparse
import hashlib
import json
from typing import Any

from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.learn.pairs.collect import PairOptions
from ovseg_ros.learn.pairs.noun_lists import PHRASES, STOP_WORDS, SYNONYMS
from ovseg_ros.learn.pairs.nouns import NounOptions, read_names, read_synonyms
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.presets import preset_path, weights_hashes
from ovseg_ros.models.template_sets import template_set


def pair_options_of(options: argparse.Namespace, segmenter: OpenVocabularySegmenter) -> PairOptions:
    """The matching's options: the preset's where the command line says nothing.

    Raises:
        ConfigError: a value out of range.
    """
    own = segmenter.options
    return PairOptions(
        min_score=options.min_score,
        min_area=options.min_area,
        max_overlap=options.max_overlap,
        one_noun_per_mask=options.one_noun_per_mask,
        region_view=options.region_view,
        fill=own.fill,
        expand_ratio=own.expand_ratio,
        templates=own.templates if options.templates is None else template_set(options.templates),
        max_masks=own.max_masks if options.max_masks is None else options.max_masks,
        batch_size=own.batch_size if options.batch_size is None else options.batch_size,
        crop_size=options.crop_size,
    )


def noun_options_of(options: argparse.Namespace) -> NounOptions:
    """What counts as a noun.

    Raises:
        ConfigError: a word with two classes.
        InvalidInputError: a list that cannot be read.
    """
    own = {} if options.synonyms is None else read_synonyms(options.synonyms)
    spoken_for = {word for words in own.values() for word in words} | set(own)
    synonyms = {} if options.no_synonyms else dict(own)
    if not options.no_synonyms:
        for name, words in SYNONYMS.items():
            if name not in spoken_for:
                synonyms[name] = tuple(word for word in words if word not in spoken_for)
    stop_words = frozenset() if options.no_stop_words else STOP_WORDS
    if options.stop_words is not None:
        stop_words |= frozenset(read_names(options.stop_words))
    return NounOptions(
        adjectives=options.keep_adjectives,
        compounds=not options.no_compounds,
        stop_words=stop_words,
        phrases=PHRASES + (() if options.phrases is None else read_names(options.phrases)),
        synonyms=synonyms,
    )


def model_of(options: argparse.Namespace, segmenter: OpenVocabularySegmenter) -> dict[str, Any]:
    """Preset and weights, by name and SHA-256."""
    presets = filter(None, (options.preset, options.proposals_from))
    return {
        "preset": str(options.preset),
        "preset_sha256": sha256_of(preset_path(options.preset)),
        "proposals_from": options.proposals_from,
        "proposer": type(segmenter.proposer).__name__,
        "encoder": type(segmenter.clip).__name__,
        "weights": {k: v for one in presets for k, v in weights_hashes(one, options.weights_dir).items()},
    }


def describe_nouns(options: NounOptions) -> dict[str, Any]:
    """What nouns follow from, as JSON; long lists as a hash."""
    lists = [sorted(options.stop_words), list(options.phrases), sorted(options.synonyms.items())]
    return {
        "adjectives": options.adjectives,
        "compounds": options.compounds,
        "stop_words": len(options.stop_words),
        "lists_sha256": hashlib.sha256(json.dumps(lists).encode()).hexdigest(),
    }
