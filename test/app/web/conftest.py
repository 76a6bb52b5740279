"""A page that runs, for the tests that attack it."""

from __future__ import annotations

import os

import pytest
from web_fixtures import colour_segmenter, served

from ovseg_ros.app.web import command as web


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def url(page_folder):
    """A page as `ovseg web` serves it, with a segmenter that knows colours."""
    pytest.importorskip("gradio", reason="Gradio is not installed (requirements/web.txt)")
    os.environ.update(web._QUIET)
    app = web.make_app("mini", page_folder, load=lambda *names: colour_segmenter())
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    import httpx

    with httpx.Client(base_url=url, timeout=60) as opened:
        yield opened
