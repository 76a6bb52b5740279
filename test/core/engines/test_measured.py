"""What was measured of a program is measured once, and anew where it could be something else."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_ros.core.engines import Job, measured, measured_once, measurement_name, onnx_runtime

CPU = torch.device("cpu")


class Kept(dict):
    folder = "/kept"

    def read(self, name):
        return self.get(name)

    def write(self, name, content):
        self[name] = content


@pytest.fixture
def count():
    calls = []

    def measure():
        calls.append(1)
        return np.array([[len(calls), np.nan]], np.float32)

    return calls, measure


def test_it_is_measured_once(count):
    calls, measure = count
    store = Kept()
    first = measured_once(store, "a", (1, 2), measure)
    again = measured_once(store, "a", (1, 2), measure)
    np.testing.assert_array_equal(first, again)
    assert again.dtype == np.float32
    assert calls == [1]
    assert measured_once(store, "b", (1, 2), measure)[0, 0] == 2
    assert measured_once(None, "a", (1, 2), measure)[0, 0] == 3


@pytest.mark.parametrize("spoilt", [b"", bytes(7), bytes(12), b"it agrees"])
def test_what_is_not_as_long_is_measured_anew(count, spoilt):
    calls, measure = count
    store = Kept()
    measured_once(store, "a", (1, 2), measure)
    store["a"] = spoilt
    assert measured_once(store, "a", (1, 2), measure)[0, 0] == 2
    assert len(store["a"]) == 8
    assert len(calls) == 2


def test_its_name_is_of_all_it_depends_on(monkeypatch):
    version = ["1.23", ["CPUExecutionProvider"]]
    monkeypatch.setattr(onnx_runtime, "version", lambda: tuple(version))
    monkeypatch.setattr(measured.openvino_runtime, "version", lambda: tuple(version))
    torch.manual_seed(0)
    example = (torch.zeros(1, 2),)
    job = Job(nn.Linear(2, 2), example, "fp32", CPU, 1)
    shown = [torch.rand(2, 2)]

    def name(job=job, runtime="onnxruntime", check="masks 1", shown=shown):
        return measurement_name(job, runtime, check, shown)

    first = name()
    assert name() == first
    assert name(shown=[part.clone() for part in shown]) == first
    found = {
        first,
        name(dataclasses.replace(job, module=nn.Linear(2, 2))),
        name(dataclasses.replace(job, precision="bf16")),
        name(dataclasses.replace(job, threads=2)),
        name(dataclasses.replace(job, rows=False)),
        name(runtime="openvino"),
        name(runtime="tensorrt"),
        name(check="masks 2"),
        name(shown=[shown[0] + 1e-6]),
        name(shown=[shown[0].reshape(1, 4)]),
    }
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "of another processor")
    found.add(name())
    version[0] = "1.24"
    found.add(name())
    version[1] = ["CUDAExecutionProvider"]
    found.add(name())
    assert len(found) == 13
