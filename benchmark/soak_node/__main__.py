"""`make soak`: the node over real DDS for hours, put through what the world sends it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmark"), str(ROOT / "test" / "fixtures")]

from soak_node.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
