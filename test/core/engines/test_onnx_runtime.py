"""A network by ONNX Runtime: the same numbers, kept, and providers that are not there."""

import dataclasses
import logging
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_ros.core.engines import Job, onnx_runtime
from ovseg_ros.models.bundled.lite import load_lite
from ovseg_ros.models.bundled.mini import load_mini

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CARD = torch.device("cpu"), torch.device("cuda", 1)


class Kept(dict):
    folder = "/kept"

    def read(self, name):
        return self.get(name)

    def write(self, name, content):
        self[name] = content


class Two(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, pixels, masks):
        found = self.layer(pixels * masks)
        return found, found.mean((2, 3))


def job(device=CPU, **changed):
    example = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    return Job(Two().eval(), example, **{"precision": "fp32", "device": device, "threads": 1} | changed)


def test_rows_are_those_of_torch_and_the_graph_is_kept(monkeypatch):
    for package in onnx_runtime.NEEDS:
        pytest.importorskip(package)
    asked, kept = job(), Kept()
    network = onnx_runtime.onnx_network(asked, kept)
    (name,) = kept
    assert name.endswith(".onnx")
    monkeypatch.setattr(torch.onnx, "export", None)  # not made again
    again = onnx_runtime.onnx_network(asked, kept)
    for count in (1, 2, 5):
        given = torch.rand(count, 3, 8, 8), torch.rand(count, 1, 8, 8)
        for program in (network, again):
            for found, wanted in zip(program(*given), asked.module(*given), strict=True):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def first_dims(content):
    """Of the graph's inputs and outputs: a number, or the name of one that is open."""
    import onnx

    graph = onnx.load_from_string(content).graph
    first = [part.type.tensor_type.shape.dim[0] for part in (*graph.input, *graph.output)]
    return [dim.dim_param or dim.dim_value for dim in first]


def test_on_a_card_a_graph_takes_any_number_of_rows():
    for package in onnx_runtime.NEEDS:
        pytest.importorskip(package)
    import onnxruntime

    asked = job(CARD)
    graph = onnx_runtime.exported(asked)
    assert first_dims(graph) == ["rows"] * 4
    assert first_dims(onnx_runtime.exported(job())) == [1] * 4
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        given = torch.rand(count, 3, 8, 8), torch.rand(count, 1, 8, 8)
        found, _ = session.run(None, {f"input_{n}": part.numpy() for n, part in enumerate(given)})
        torch.testing.assert_close(torch.from_numpy(found), asked.module(*given)[0], atol=1e-5, rtol=1e-5)


class Counting(Two):
    """As a network may: len() makes a number of what was open."""

    def forward(self, pixels, masks):
        found, means = super().forward(pixels, masks)
        return found, means + torch.zeros(1, 4).expand(len(found), -1)


def test_a_graph_of_one_number_of_rows_is_refused():
    for package in onnx_runtime.NEEDS:
        pytest.importorskip(package)
    asked = dataclasses.replace(job(CARD), module=Counting().eval())
    with pytest.raises(ValueError, match="takes 2 rows and no others: input_0, input_1"):
        onnx_runtime.exported(asked)
    assert first_dims(onnx_runtime.exported(dataclasses.replace(asked, device=CPU))) == [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_lite, load_mini])
def test_the_bundled_towers_take_any_number_of_rows_on_a_card(load):
    for package in onnx_runtime.NEEDS:
        pytest.importorskip(package)
    tower = load().eval()
    example = torch.zeros(1, 3, tower.size, tower.size), torch.ones(1, 1, tower.size, tower.size)
    assert first_dims(onnx_runtime.exported(Job(tower, example, "fp32", CARD, 1))) == ["rows"] * 3


@pytest.fixture
def sessions(monkeypatch):
    """ONNX Runtime as its documentation describes it, without a network in it."""
    made = []

    class Session:
        def __init__(self, graph, options, providers):
            made.append((graph, providers))

        def get_inputs(self):
            return [types.SimpleNamespace(name="input_0"), types.SimpleNamespace(name="input_1")]

        def run(self, outputs, given):
            assert all(array.dtype == np.float32 for array in given.values())
            return [given["input_0"]]

    class Options:
        def add_session_config_entry(self, *_):
            pass

    module = types.SimpleNamespace(
        SessionOptions=Options,
        InferenceSession=Session,
        get_available_providers=lambda: [
            "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
        ],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setattr(onnx_runtime, "_graph", lambda *_: b"graph")
    return module, made


def test_tensorrt_is_told_what_it_will_be_given(sessions):
    onnx_runtime.onnx_network(job(CARD, precision="fp16"), Kept(), tensorrt=True)
    ((_, providers),) = sessions[1]
    (first, told), (second, cuda), (third, _) = providers
    assert (first, second, third) == (
        "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
    )  # fmt: skip
    assert cuda == {"device_id": 1}
    assert told == {
        "device_id": 1,
        "trt_fp16_enable": True,
        "trt_bf16_enable": False,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": "/kept",
        "trt_profile_min_shapes": "input_0:1x3x8x8,input_1:1x1x8x8",
        "trt_profile_opt_shapes": "input_0:16x3x8x8,input_1:16x1x8x8",
        "trt_profile_max_shapes": "input_0:64x3x8x8,input_1:64x1x8x8",
    }


def test_a_provider_that_is_not_there_gives_way_to_the_next(sessions, caplog):
    sessions[0].get_available_providers = lambda: ["CPUExecutionProvider"]
    with caplog.at_level(logging.WARNING):
        onnx_runtime.onnx_network(job(CARD), None, tensorrt=True)
    assert [name for name, _ in sessions[1][0][1]] == ["CPUExecutionProvider"]
    assert (
        "no TensorrtExecutionProvider, CUDAExecutionProvider, going on with CPUExecutionProvider"
        in caplog.text
    )
    caplog.clear()
    onnx_runtime.onnx_network(job(), None)
    assert not caplog.text
