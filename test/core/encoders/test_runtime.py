"""An encoder by another runtime: the same rows, and torch where it cannot be had."""

from __future__ import annotations

import copy
import ctypes
import gc
import logging
import re
import sys
import threading
import types

import numpy as np
import pytest
import torch
from core_fixtures import TINY_DIM, TINY_PATCHES, TINY_SIDE, TINY_WIDTH, tiny_clip, tiny_tokenizer

from ovseg_ros.core.encoders.accelerate import AcceleratedEncoder, AccelerateOptions, accelerate
from ovseg_ros.core.encoders.agreement import check_regions
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.engines import Job, choose_runtime, has_openvino, runtime
from ovseg_ros.core.engines.openvino_runtime import openvino_network

pytestmark = pytest.mark.usefixtures("one_thread")
needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODULE = sys.modules[AcceleratedEncoder.__module__]  # its name is also that of a function
IN_OPENVINO = AccelerateOptions(runtime="openvino")


@pytest.fixture
def clip():
    prompts = torch.randn(3, TINY_PATCHES, TINY_WIDTH, generator=torch.Generator().manual_seed(2))
    return MaskPromptedClip(tiny_clip(), tiny_tokenizer, prompts).eval().requires_grad_(False)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(runtime, "has_openvino", lambda: True)


def job(clip, threads=1):
    example = torch.zeros(1, 3, TINY_SIDE, TINY_SIDE), torch.ones(1, 1, TINY_SIDE, TINY_SIDE)
    return Job(clip, example, "fp32", CPU, threads)


@needs_openvino
@pytest.mark.parametrize("count", [1, 2, 9])
def test_rows_are_those_of_torch_in_their_order(clip, count):
    pixels, masks = check_regions(count, TINY_SIDE)
    fast = accelerate(clip, IN_OPENVINO, CPU)
    assert (fast.runtime, fast.precision) == ("openvino", "fp32")
    assert fast.report.same == 1
    torch.testing.assert_close(
        fast.encode_regions(pixels, masks), clip.encode_regions(pixels, masks), atol=1e-5, rtol=0
    )


@needs_openvino
def test_threads_that_ask_at_once_get_their_own_rows(clip):
    network, found = openvino_network(job(clip, 2)), {}
    batches = [tuple(part[n : n + 6] for part in check_regions(12, TINY_SIDE)) for n in (0, 6)]

    def ask(n):
        found[n] = [network(*batches[n]) for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, batch in enumerate(batches):
        expected = clip.encode_regions(*batch)
        assert all(torch.allclose(rows, expected, atol=1e-5) for rows in found[n])


@needs_openvino
def test_nothing_is_reported_to_its_makers(clip):
    openvino_network(job(clip))
    assert sys.modules.get("openvino_telemetry") is None


class Memory(ctypes.Structure):
    """glibc's mallinfo2."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (*"abcd", "hblkhd", *"fg", "uordblks", *"ij"))


def used_bytes():
    """Memory that malloc has given out and not got back."""
    gc.collect()
    count = ctypes.CDLL(None).mallinfo2
    count.restype = Memory
    now = count()
    return now.uordblks + now.hblkhd


@needs_openvino
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no glibc of 2.33 or later")
def test_a_network_that_is_gone_leaves_nothing_behind(clip):
    """Torch's tracer keeps what it makes of each module: lite lost 36 MB with each configure of the node."""
    openvino_network(job(clip))
    before = used_bytes()
    for _ in range(3):
        openvino_network(job(clip))
    assert used_bytes() - before < 300_000


@needs_openvino
def test_ctrl_c_between_rows_leaves_nothing_at_work(clip, monkeypatch):
    """The arrays that OpenVINO reads in place would be gone, and the next call would find a request busy."""
    import openvino

    network, held, waited = openvino_network(job(clip, 2)), [], []
    kind = openvino.AsyncInferQueue
    start, wait = kind.start_async, kind.wait_all

    def interrupted(queue, row, **how):
        start(queue, row, **how)
        if any(row is part for given in queue.userdata if given for part in given):
            held.append(row)
        if len(held) == 2:
            raise KeyboardInterrupt

    batch = check_regions(6, TINY_SIDE)
    with monkeypatch.context() as there:
        there.setattr(kind, "start_async", interrupted)
        there.setattr(kind, "wait_all", lambda queue: waited.append(wait(queue)))
        with pytest.raises(KeyboardInterrupt):
            network(*batch)
    assert len(waited) == 1
    torch.testing.assert_close(network(*batch), clip.encode_regions(*batch), atol=1e-5, rtol=0)


def test_auto_is_openvino_on_a_cpu_that_has_it(clip, monkeypatch):
    for here, device, chosen in ((True, CPU, "openvino"), (False, CPU, "torch"), (True, CUDA, "torch")):
        monkeypatch.setattr(runtime, "has_openvino", lambda here=here: here)
        assert choose_runtime("auto", device, "it") == chosen
    monkeypatch.setattr(runtime, "has_openvino", lambda: False)
    assert accelerate(clip, AccelerateOptions(runtime="auto"), CPU) is clip


@pytest.mark.parametrize(
    ("asked", "device", "cure"),
    [
        ("openvino", CPU, r"not installed; .*pip install '.\[fast\]'"),
        ("openvino", CUDA, "OpenVINO is for CPUs, and the device is cuda; say runtime: auto"),
        ("onnxruntime", CPU, r"onnxruntime, onnx, onnxscript is not installed; .*pip install '.\[engines\]'"),
        ("tensorrt", CPU, "for NVIDIA's graphics cards, and the device is cpu"),
    ],
)
def test_a_runtime_that_cannot_be_had_gives_way_to_torch(asked, device, cure, monkeypatch, caplog):
    monkeypatch.setattr(runtime, "_is_here", lambda _: False)
    with caplog.at_level(logging.WARNING):
        assert choose_runtime(asked, device, "the image tower") == "torch"
    assert re.search(f"the image tower cannot run by {asked}, going on with torch: .*{cure}", caplog.text)


def test_the_encoder_itself_comes_back_where_nothing_is_left_to_do(clip, monkeypatch):
    monkeypatch.setattr(runtime, "_is_here", lambda _: False)
    assert accelerate(clip, IN_OPENVINO, CPU) is clip


def test_a_network_it_cannot_read_stays_in_torch(clip, installed, monkeypatch, caplog):
    def unread(*_):
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(runtime.openvino_runtime, "openvino_network", unread)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, IN_OPENVINO, CPU)
    assert fast.runtime == "torch"
    assert "going on with torch: no such operation" in caplog.text
    assert "and more" not in caplog.text
    assert fast.encode_regions(*check_regions(2, TINY_SIDE)).shape == (2, TINY_DIM)


def test_a_network_that_fails_when_it_is_run_stays_in_torch(clip, installed, monkeypatch, caplog):
    def one_row_alone(job, store):
        def run(pixels, masks):
            if len(pixels) > 1:
                raise RuntimeError("Got: 3 Expected: 1")
            return clip(pixels, masks)

        return run

    monkeypatch.setattr(runtime.openvino_runtime, "openvino_network", one_row_alone)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, IN_OPENVINO, CPU)
    assert fast.runtime == "torch"
    assert "going on with torch: Got: 3" in caplog.text


def test_rows_that_do_not_agree_give_way_to_torch(clip, installed, monkeypatch, caplog):
    monkeypatch.setattr(MODULE, "run_elsewhere", lambda *_: lambda *given: -clip.encode_regions(*given))
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, IN_OPENVINO, CPU)
    assert fast.runtime == "torch"
    assert "stays with torch in fp32: fp32 in openvino does not agree" in caplog.text
    pixels, masks = check_regions(3, TINY_SIDE)
    torch.testing.assert_close(fast.encode_regions(pixels, masks), clip.encode_regions(pixels, masks))


def test_crops_without_a_mask_go_through_torch(clip, installed, monkeypatch):
    told = []
    monkeypatch.setattr(
        MODULE, "run_elsewhere", lambda *_: lambda *given: told.append(1) or clip.encode_regions(*given)
    )
    fast = accelerate(clip, AccelerateOptions(runtime="openvino", check_regions=0), CPU)
    pixels, masks = check_regions(2, TINY_SIDE)
    torch.testing.assert_close(fast.encode_regions(pixels), clip.encode_regions(pixels))
    assert told == []
    fast.encode_regions(pixels, masks)
    assert told == [1]


def test_photographs_are_looked_at_too(clip, installed, monkeypatch):
    seen = []
    monkeypatch.setattr(
        MODULE, "run_elsewhere", lambda *_: lambda *given: seen.append(len(given[0])) or clip(*given)
    )
    pictures = [np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)] * 3
    fast = accelerate(clip, AccelerateOptions(runtime="openvino", check_regions=4), CPU, None, pictures)
    assert fast.report.agrees
    assert seen == [4, 3]


@needs_openvino
def test_a_second_start_looks_at_nothing_but_the_words(clip, monkeypatch):
    kept = {}
    store = types.SimpleNamespace(folder="", read=kept.get, write=kept.__setitem__)
    first = accelerate(clip, IN_OPENVINO, CPU, store)
    assert sorted(name.rpartition(".")[2] for name in kept) == ["measured", "openvino"]
    shown = []
    with monkeypatch.context() as there:
        there.setattr(clip, "encode_regions", lambda *given: shown.append(given))
        again = accelerate(clip, IN_OPENVINO, CPU, store)
    assert shown == []
    assert again.report == first.report
    changed = copy.deepcopy(clip)
    with torch.no_grad():
        changed.clip_model.visual.proj += 0.01
    assert accelerate(changed, IN_OPENVINO, CPU, store).report != first.report
    assert len(kept) == 4


@needs_openvino
def test_a_kept_program_is_taken_and_a_broken_one_made_anew(clip, monkeypatch):
    kept = {}
    store = types.SimpleNamespace(folder="", read=kept.get, write=kept.__setitem__)
    pixels, masks = check_regions(3, TINY_SIDE)
    wanted = clip.encode_regions(pixels, masks)
    openvino_network(job(clip), store)
    (name,) = kept
    with monkeypatch.context() as there:
        there.setattr(torch.jit, "trace", None)
        rows = openvino_network(job(clip), store)(pixels, masks)
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=0)
    kept[name] = b"something else"
    rows = openvino_network(job(clip), store)(pixels, masks)
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=0)
    assert kept[name] != b"something else"
