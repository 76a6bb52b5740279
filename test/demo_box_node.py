"""The real node with the segmenter of coloured boxes, for a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))

from evaluate_fixtures import segmenter

from ovseg_ros.ros.node import main

if __name__ == "__main__":
    sys.exit(main(make_segmenter=lambda settings: segmenter()))
