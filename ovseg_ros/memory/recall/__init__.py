"""What memory answers: things by words, by kind and by what they stand on, and how sure each is."""

from ovseg_ros.memory.recall.chosen import Answers, answers, kind_words, of_kinds, on_top
from ovseg_ros.memory.recall.named import (
    LEAST_SURE,
    Recalled,
    Remembers,
    called_so,
    confidence,
    list_all,
    name_entries,
    recall,
    surest_first,
)
from ovseg_ros.memory.recall.question import Question, question_of, read_question

__all__ = [
    "LEAST_SURE",
    "Answers",
    "Question",
    "Recalled",
    "Remembers",
    "answers",
    "called_so",
    "confidence",
    "kind_words",
    "list_all",
    "name_entries",
    "of_kinds",
    "on_top",
    "question_of",
    "read_question",
    "recall",
    "surest_first",
]
