"""An encoder in OpenVINO: the same rows, and torch where it cannot be had."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading

import pytest
import torch
from core_fixtures import TINY_DIM, TINY_PATCHES, TINY_SIDE, TINY_WIDTH, tiny_clip, tiny_tokenizer

from ovseg_ros.core.encoders.accelerate import AcceleratedEncoder, AccelerateOptions, accelerate, check_engine
from ovseg_ros.core.encoders.agreement import check_regions
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.encoders.openvino_engine import has_openvino, openvino_network
from ovseg_ros.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")
needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODULE = sys.modules[AcceleratedEncoder.__module__]  # its name is also that of a function
IN_OPENVINO = AccelerateOptions(engine="openvino")


@pytest.fixture
def clip():
    prompts = torch.randn(3, TINY_PATCHES, TINY_WIDTH, generator=torch.Generator().manual_seed(2))
    return MaskPromptedClip(tiny_clip(), tiny_tokenizer, prompts).eval().requires_grad_(False)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(MODULE, "has_openvino", lambda: True)


@needs_openvino
@pytest.mark.parametrize("count", [1, 2, 9])
def test_rows_are_those_of_torch_in_their_order(clip, count):
    pixels, masks = check_regions(count, TINY_SIDE)
    fast = accelerate(clip, IN_OPENVINO, CPU)
    assert (fast.engine, fast.precision) == ("openvino", "fp32")
    assert fast.report.same == 1
    torch.testing.assert_close(
        fast.encode_regions(pixels, masks), clip.encode_regions(pixels, masks), atol=1e-5, rtol=0
    )


@needs_openvino
def test_threads_that_ask_at_once_get_their_own_rows(clip):
    network, found = openvino_network(clip, "fp32", threads=2), {}
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
    openvino_network(clip, "fp32", threads=1)
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
    openvino_network(clip, "fp32", threads=1)
    before = used_bytes()
    for _ in range(3):
        openvino_network(clip, "fp32", threads=1)
    assert used_bytes() - before < 300_000


def test_auto_is_openvino_on_a_cpu_that_has_it(clip, monkeypatch):
    for here, device, engine in ((True, CPU, "openvino"), (False, CPU, "torch"), (True, CUDA, "torch")):
        monkeypatch.setattr(MODULE, "has_openvino", lambda here=here: here)
        assert check_engine("auto", device) == engine
    monkeypatch.setattr(MODULE, "has_openvino", lambda: False)
    assert accelerate(clip, AccelerateOptions(engine="auto"), CPU) is clip


def test_an_engine_that_cannot_be_had_is_refused(clip, monkeypatch):
    monkeypatch.setattr(MODULE, "has_openvino", lambda: False)
    with pytest.raises(ConfigError, match=r"not installed; .*pip install '\.\[fast\]'"):
        accelerate(clip, IN_OPENVINO, CPU)
    with pytest.raises(ConfigError, match="want engine torch on cuda"):
        check_engine("openvino", CUDA)


def test_a_network_it_cannot_read_stays_in_torch(clip, installed, monkeypatch, caplog):
    def unread(*_):
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(MODULE, "openvino_network", unread)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, IN_OPENVINO, CPU)
    assert fast.engine == "torch"
    assert "going on with torch: no such operation" in caplog.text
    assert "and more" not in caplog.text
    assert fast.encode_regions(*check_regions(2, TINY_SIDE)).shape == (2, TINY_DIM)


def test_rows_that_do_not_agree_give_way_to_torch(clip, installed, monkeypatch, caplog):
    monkeypatch.setattr(MODULE, "openvino_network", lambda *_: lambda *given: -clip.encode_regions(*given))
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, IN_OPENVINO, CPU)
    assert fast.engine == "torch"
    assert "stays with torch in fp32: fp32 in openvino does not agree" in caplog.text
    pixels, masks = check_regions(3, TINY_SIDE)
    torch.testing.assert_close(fast.encode_regions(pixels, masks), clip.encode_regions(pixels, masks))


def test_crops_without_a_mask_go_through_torch(clip, installed, monkeypatch):
    told = []
    monkeypatch.setattr(
        MODULE, "openvino_network", lambda *_: lambda *given: told.append(1) or clip.encode_regions(*given)
    )
    fast = accelerate(clip, AccelerateOptions(engine="openvino", check_regions=0), CPU)
    pixels, masks = check_regions(2, TINY_SIDE)
    torch.testing.assert_close(fast.encode_regions(pixels), clip.encode_regions(pixels))
    assert told == []
    fast.encode_regions(pixels, masks)
    assert told == [1]
