"""What was seen where: things kept beyond the frames that show them, and names taught by example."""

from ovseg_ros.memory.entry import Entry, Example, Name, Where

__all__ = ["Entry", "Example", "Name", "Where"]
