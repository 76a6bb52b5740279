"""Names on photographs with true instances: the preset's own masks, or the true ones."""

from ovseg_ros.evaluate.photos.measure import (
    MASK_KINDS,
    WORD_KINDS,
    PhotoOptions,
    PhotoScores,
    refuse_depth,
    score_photos,
)

__all__ = ["MASK_KINDS", "WORD_KINDS", "PhotoOptions", "PhotoScores", "refuse_depth", "score_photos"]
