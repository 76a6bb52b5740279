"""One job on this machine or on many: shards of inputs in, what became of them out, in their order."""

from ovseg_ros.app.many.job import Crew, Here, Job, Work, crew_of
from ovseg_ros.app.many.options import add_ray
from ovseg_ros.app.many.pace import pace
from ovseg_ros.app.many.places import Cursor, ranges

__all__ = ["Crew", "Cursor", "Here", "Job", "Work", "add_ray", "crew_of", "pace", "ranges"]
