"""torchvision beside a torch it was not compiled for."""

from __future__ import annotations

import pytest
import torch

from ovseg_ros.models import torchvision_compat
from ovseg_ros.models.torchvision_compat import ensure_torchvision, nms


def test_torchvision_imports_and_the_call_repeats():
    first = ensure_torchvision()
    import torchvision.transforms  # noqa: F401

    assert ensure_torchvision() == first


def test_nms_matches_a_loop():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(60, 2, generator=generator)
    boxes = torch.cat([corners, corners + 0.05 + 0.4 * torch.rand(60, 2, generator=generator)], dim=1)
    scores = torch.rand(60, generator=generator)
    kept: list[int] = []
    for i in sorted(range(60), key=lambda i: -float(scores[i])):
        a = boxes[i]
        for j in kept:
            b = boxes[j]
            inter = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0]))) * max(
                0.0, float(min(a[3], b[3]) - max(a[1], b[1]))
            )
            union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - inter
            if inter / union > 0.5:
                break
        else:
            kept.append(i)
    assert nms(boxes, scores, 0.5).tolist() == kept
    assert torch.ops.torchvision.nms(boxes, scores, 0.5).tolist() == kept


def test_nms_of_nothing():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0,)


@pytest.mark.parametrize("name", ["_C.so", "_C_stable.so"])
def test_every_name_of_the_extension_is_tried(tmp_path, monkeypatch, name):
    (tmp_path / name).touch()
    (tmp_path / "_Cache.py").touch()
    tried = []
    monkeypatch.setattr(torch.ops, "load_library", tried.append)
    assert torchvision_compat._load_compiled_operators(tmp_path)
    assert tried == [str(tmp_path / name)]


def test_an_extension_that_does_not_load_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "_C.so").touch()

    def refuse(path):
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(torch.ops, "load_library", refuse)
    assert not torchvision_compat._load_compiled_operators(tmp_path)
