"""What a process keeps when networks are made for OpenVINO in it: others' TorchScript, its signals."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ovseg_ros.core.engines import has_openvino

CONVERTING = """
import os, signal, threading
import torch
from ovseg_ros.core.engines import Job
from ovseg_ros.core.engines.openvino_runtime import openvino_network

torch.set_num_threads(1)
zeros = torch.zeros(1, 3, 8, 8)

def convert():
    network = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3) for _ in range(3))).eval().requires_grad_(False)
    return openvino_network(Job(network, (zeros,), "fp32", torch.device("cpu"), 1))
"""
OF_OTHERS = """
other = torch.jit.trace(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), zeros)
wanted = other(zeros)
threads = [threading.Thread(target=lambda: [convert() for _ in range(5)]) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(torch.equal(other(zeros), wanted))
"""
A_SIGNAL = """
signal.signal(signal.SIGINT, lambda *_: print(True))
networks = [convert(), convert()]
while networks:
    del networks[0]
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
@pytest.mark.parametrize("code", [OF_OTHERS, A_SIGNAL], ids=["torchscript of others", "a signal"])
def test_what_others_need_is_left_in_place(code):
    """What is freed too early ends that process with a segmentation fault."""
    spoilt = os.environ | {"MALLOC_PERTURB_": "165"}  # glibc overwrites what is freed
    done = subprocess.run(
        [sys.executable, "-c", CONVERTING + code], env=spoilt, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
