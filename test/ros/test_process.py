"""What the node asks of its process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("chosen", [None, "SYNCHRONOUS"])
def test_another_thread_sends_unless_somebody_chose(chosen):
    """In a process of its own: other tests must not inherit it."""
    code = (
        "import os\nfrom ovseg_ros.ros.process import prepare_process\nprepare_process()\n"
        "print(os.environ['RMW_FASTRTPS_PUBLICATION_MODE'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RMW_FASTRTPS_PUBLICATION_MODE"}
    if chosen:
        environment["RMW_FASTRTPS_PUBLICATION_MODE"] = chosen
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    assert run.stdout.strip() == (chosen or "ASYNCHRONOUS")
