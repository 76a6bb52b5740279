"""When a program is made for images of a shape, and when torch stays."""

import logging
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ovseg_ros.core.engines import A_CAMERA, Programs, precision_elsewhere, programs

CPU = torch.device("cpu")
SMALL, LARGE = torch.Size((1, 3, 4, 4)), torch.Size((1, 3, 4, 8))


class Verdict(SimpleNamespace):
    def __str__(self):
        return "99.1 % of labels agree"


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that a made-up runtime was given; it runs each module as it is."""
    given = []

    def run_elsewhere(runtime, job, store, what):
        given.append(job)
        return job.module

    monkeypatch.setattr(programs, "choose_runtime", lambda *_: "openvino")
    monkeypatch.setattr(programs, "run_elsewhere", run_elsewhere)
    return given


def made(runtime="openvino", agrees=True, module=nn.Identity):
    return Programs(
        "the network",
        module,
        lambda program, job: Verdict(agrees=agrees),
        runtime=runtime,
        precision="fp32",
        device=CPU,
    )


def test_a_program_for_each_shape_is_made_once(jobs):
    network = made()
    programs_ = [network.of(shape) for shape in (SMALL, LARGE, SMALL)]
    assert programs_[0] is programs_[2] is not None
    assert [job.example[0].shape for job in jobs] == [SMALL, LARGE]
    assert [job.rows for job in jobs] == [False, False]
    assert list(network.reports) == [SMALL, LARGE]


def test_of_many_shapes_the_last_ones_are_kept(jobs):
    network = made()
    shapes = [torch.Size((1, 3, 4, side)) for side in range(1, programs._SIZES + 2)]
    for shape in (*shapes, shapes[-1], shapes[0]):
        network.of(shape)
    assert [job.example[0].shape for job in jobs] == [*shapes, shapes[0]]


def test_auto_waits_for_a_camera_or_to_be_told(jobs):
    network = made("auto")
    for _ in range(A_CAMERA - 1):
        assert network.of(SMALL) is None
    assert jobs == []
    assert network.of(SMALL) is not None
    assert network.prepare(LARGE) is not None
    assert [job.example[0].shape for job in jobs] == [SMALL, LARGE]


def test_a_program_that_disagrees_is_not_used_and_the_figure_is_said(jobs, caplog):
    network = made(agrees=False)
    with caplog.at_level(logging.WARNING):
        assert network.of(SMALL) is None
        assert network.of(LARGE) is None
    assert (network.runtime, len(jobs)) == ("torch", 1)
    assert caplog.text.count("the network stays with torch: 99.1 % of labels agree") == 1
    assert not network.reports[SMALL].agrees


def test_a_network_the_runtime_cannot_run_stays_in_torch(jobs, monkeypatch):
    monkeypatch.setattr(programs, "run_elsewhere", lambda *_: None)
    network = made()
    assert network.of(SMALL) is None
    assert (network.runtime, network.reports) == ("torch", {})


def test_torch_is_never_asked_for_the_network():
    network = made("torch", module=None)
    assert network.prepare(SMALL) is None
    assert network.runtime == "torch"


def test_threads_that_ask_at_once_get_one_program(jobs):
    network, found = made(), []
    threads = [threading.Thread(target=lambda: found.append(network.of(SMALL))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(jobs) == 1
    assert len(found) == 8
    assert set(map(id, found)) == {id(found[0])}


def test_auto_is_float32_on_a_cpu_alone():
    cases = [("auto", CPU), ("auto", torch.device("cuda")), ("bf16", CPU), ("fp32", CPU)]
    found = [precision_elsewhere(asked, "bf16" if asked != "fp32" else "fp32", at) for asked, at in cases]
    assert found == ["fp32", "bf16", "bf16", "fp32"]
