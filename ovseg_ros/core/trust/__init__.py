"""Whether an answer is right: words compete, against their own past, for a calibrated score."""

from ovseg_ros.core.trust.calibration import Calibration
from ovseg_ros.core.trust.competition import Competition, best_competitors, competition, log_odds
from ovseg_ros.core.trust.judge import Evidence, Judgement, Prepared, TrustModel, runners_up
from ovseg_ros.core.trust.naming import label_by_trust
from ovseg_ros.core.trust.past import Past, past_of
from ovseg_ros.core.trust.wholes import fragments

__all__ = [
    "Calibration",
    "Competition",
    "Evidence",
    "Judgement",
    "Past",
    "Prepared",
    "TrustModel",
    "best_competitors",
    "competition",
    "fragments",
    "label_by_trust",
    "log_odds",
    "past_of",
    "runners_up",
]
