"""The node's memory: labelled images become sightings, and requests are answered from what is remembered."""

from ovseg_ros.ros.memory.remembering import Remembering, make_remembering
from ovseg_ros.ros.memory.services import MemoryServices

__all__ = ["MemoryServices", "Remembering", "make_remembering"]
