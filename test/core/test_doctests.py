"""The examples in the docstrings of the core are true."""

import doctest
import importlib
import pkgutil

import pytest

import ovseg_ros.core

MODULES = [module.name for module in pkgutil.walk_packages(ovseg_ros.core.__path__, "ovseg_ros.core.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = sum(
        len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name))
    )
    assert examples >= 10
