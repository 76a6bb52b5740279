"""What is asked for: queries, vocabularies, sentences around a word, and what words mean."""

from ovseg_ros.core.words.labels import Label, Quoted, Rejected, read_label, tidy_text
from ovseg_ros.core.words.meaning import Meanings, SpellingMeanings
from ovseg_ros.core.words.query import MAX_QUERY_BYTES, as_vocabulary, parse_query
from ovseg_ros.core.words.requests import By, Order, Relation, Wanted, Where, parse_request
from ovseg_ros.core.words.senses import Dictionary, DictionaryMeanings, Sense
from ovseg_ros.core.words.spelling import is_called, is_plural
from ovseg_ros.core.words.templates import BARE_TEMPLATE, SINGLE, VILD_TEMPLATES
from ovseg_ros.core.words.vocabulary import MAX_LABELS, REST_S, UNLABELLED_ID, Refuse, Vocabulary

__all__ = [
    "BARE_TEMPLATE",
    "MAX_LABELS",
    "MAX_QUERY_BYTES",
    "REST_S",
    "SINGLE",
    "UNLABELLED_ID",
    "VILD_TEMPLATES",
    "By",
    "Dictionary",
    "DictionaryMeanings",
    "Label",
    "Meanings",
    "Order",
    "Quoted",
    "Refuse",
    "Rejected",
    "Relation",
    "Sense",
    "SpellingMeanings",
    "Vocabulary",
    "Wanted",
    "Where",
    "as_vocabulary",
    "is_called",
    "is_plural",
    "parse_query",
    "parse_request",
    "read_label",
    "tidy_text",
]
