"""What is asked for: queries, vocabularies, sentences around a word, and what words mean."""

from ovseg_ros.core.words.labels import Label, Quoted, Rejected, read_label, tidy_text
from ovseg_ros.core.words.meaning import Meanings, SpellingMeanings
from ovseg_ros.core.words.query import MAX_QUERY_BYTES, as_vocabulary, parse_query
from ovseg_ros.core.words.senses import Dictionary, DictionaryMeanings, Sense
from ovseg_ros.core.words.templates import BARE_TEMPLATE, SINGLE, VILD_TEMPLATES
from ovseg_ros.core.words.vocabulary import MAX_LABELS, UNLABELLED_ID, Refuse, Vocabulary

__all__ = [
    "BARE_TEMPLATE",
    "MAX_LABELS",
    "MAX_QUERY_BYTES",
    "SINGLE",
    "UNLABELLED_ID",
    "VILD_TEMPLATES",
    "Dictionary",
    "DictionaryMeanings",
    "Label",
    "Meanings",
    "Quoted",
    "Refuse",
    "Rejected",
    "Sense",
    "SpellingMeanings",
    "Vocabulary",
    "as_vocabulary",
    "parse_query",
    "read_label",
    "tidy_text",
]
