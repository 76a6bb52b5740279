"""A planner that asks and asks, for `soak_node` to kill: `python planner.py SEED`, a line per answer."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from ovseg_ros.ros.client import NoAnswer, NodeClient  # noqa: E402
from soak_node.words import WORDS  # noqa: E402


def main() -> int:
    """Asks through each interface in turn until it is killed."""
    rng = random.Random(sys.argv[1])
    with NodeClient() as client:
        while True:
            words = rng.sample(WORDS, rng.randint(1, 3))
            ask = rng.choice(
                [
                    lambda words=words: client.ask_by_services(words, timeout_s=20.0),
                    lambda words=words: client.ask_by_topic(", ".join(words), timeout_s=5.0),
                    lambda words=words: client.find(", ".join(words), timeout_s=1.0, with_masks=True),
                ]
            )
            try:
                print(ask().code_name, flush=True)
            except NoAnswer as error:  # the words were changed by others meanwhile, or the node is gone
                print(f"no answer: {error}", flush=True)
            time.sleep(rng.uniform(0, 1))


if __name__ == "__main__":
    sys.exit(main())
