"""What the node asks of its process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
import numpy as np
from ovseg_ros.ros.process import keep_large_buffers

if sys.argv[1] == "kept":
    assert keep_large_buffers()

def frames():
    for number in range(20):
        if number == 10:
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        clouds = [np.empty(25 << 20, np.uint8) for _ in range(3)]
        for cloud in clouds:
            cloud.fill(1)
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

thread = threading.Thread(target=frames)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told")
def test_a_thread_that_makes_clouds_gets_fresh_pages_once():
    """3 x 25 MB per frame are more than glibc keeps for a thread by itself."""

    def faults(how: str) -> int:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
        )
        return int(run.stdout)

    assert faults("kept") < 500 < 2000 < faults("as it comes")


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
