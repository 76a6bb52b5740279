"""Where memory is kept unless somebody says otherwise: the node and the commands mean the same file."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """`ovseg/memory.db` in $XDG_DATA_HOME, else in ~/.local/share; it need not be there yet."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ovseg" / "memory.db"
