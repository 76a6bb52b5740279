"""Whether names are right: precision beside recall, absent words, and whether a score means what it says."""

from ovseg_ros.evaluate.naming.absent import ABSENT_KINDS, AskedWord, far_words, near_words, one_to_one
from ovseg_ros.evaluate.naming.calibration import Bin, Calibration, calibration
from ovseg_ros.evaluate.naming.curves import Curve, precision_recall_curve
from ovseg_ros.evaluate.naming.measures import AnswerFigures, MaskFigures, answer_figures, mask_figures
from ovseg_ros.evaluate.naming.trials import Answer, NamedMask, TrueObject, ask_alone, name_all

__all__ = [
    "ABSENT_KINDS",
    "Answer",
    "AnswerFigures",
    "AskedWord",
    "Bin",
    "Calibration",
    "Curve",
    "MaskFigures",
    "NamedMask",
    "TrueObject",
    "answer_figures",
    "ask_alone",
    "calibration",
    "far_words",
    "mask_figures",
    "name_all",
    "near_words",
    "one_to_one",
    "precision_recall_curve",
]
