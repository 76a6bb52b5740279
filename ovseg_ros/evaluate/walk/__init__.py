"""A walk past things that are moved meanwhile: what is true of it, and how right a memory of it is."""

from ovseg_ros.evaluate.walk.score import Score, score
from ovseg_ros.evaluate.walk.truth import Look, Place, Sight, Walk, WalkView, read_walk, write_walk

__all__ = ["Look", "Place", "Score", "Sight", "Walk", "WalkView", "read_walk", "score", "write_walk"]
