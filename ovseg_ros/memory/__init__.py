"""What was seen where: things kept beyond the frames that show them, and names taught by example."""

from ovseg_ros.memory.entry import Entry, Example, Name, Where
from ovseg_ros.memory.location import default_path
from ovseg_ros.memory.store import Retention, Writer, open_store

__all__ = ["Entry", "Example", "Name", "Retention", "Where", "Writer", "default_path", "open_store"]
