"""torchvision beside a torch that it was not built for."""

from __future__ import annotations

import importlib

import pytest
import torch

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.torchvision_check import check_torchvision


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", refuse)


def test_a_torchvision_that_does_not_fit_names_the_cure(monkeypatch):
    failing(monkeypatch, RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(ConfigError, match=r"pip install --force-reinstall torch torchvision") as caught:
        check_torchvision()
    assert torch.__version__ in str(caught.value)
    assert "operator torchvision::nms does not exist" in str(caught.value)


def test_other_errors_come_through(monkeypatch):
    failing(monkeypatch, RuntimeError("another"))
    with pytest.raises(RuntimeError, match="another"):
        check_torchvision()


def test_without_torchvision_nothing_is_said(monkeypatch):
    failing(monkeypatch, ModuleNotFoundError("No module named 'torchvision'"))
    check_torchvision()
