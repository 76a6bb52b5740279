"""The tab Memory of `ovseg web`: what it shows of a store, through the gate; without one it is absent."""

from __future__ import annotations

import io
import os
import re
import time

import cv2
import numpy as np
import pytest
from memory_entries import entry
from PIL import Image
from web_fixtures import ask, colour_segmenter, event, served

from ovseg_ros.app import cli
from ovseg_ros.app.web import command as web
from ovseg_ros.memory import Name, open_store

pytest.importorskip("gradio", reason="Gradio is not installed (requirements/web.txt)")
pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")
pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")

RED = np.zeros((20, 20, 3), np.uint8)
RED[..., 2] = 255


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    now = time.time()
    jpeg = cv2.imencode(".jpg", RED)[1].tobytes()
    shown = {"first_seen": now - 9000, "crop": jpeg, "orientation": [0, 0, 0, 1]}
    made = [
        entry(1, **shown, words={"red mug": Name(0.9, 3)}, last_seen=now - 7300, gone_since=None),
        entry(2, **shown, words={"<b>book</b>": Name(0.9, 3)}, last_seen=now - 70, gone_since=now - 60),
    ]
    with open_store(tmp_path_factory.mktemp("store") / "memory.db") as opened:
        opened.save(made)
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def client(store, folder):
    import httpx

    os.environ.update(web._QUIET)
    app = web.make_app("mini", folder, load=lambda *names: colour_segmenter(), memory=store)
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as opened:
        yield opened


def looked_up(client, text, kind=("memory-look", "click")):
    message = ask(client, event(client, *kind), [text])
    assert message["success"], message
    return message["output"]["data"]


@pytest.mark.parametrize("kind", [("memory-look", "click"), ("memory-words", "submit"), ("memory", "select")])
def test_everything_is_shown_with_names_and_ages(client, kind):
    sentence, drawing, table = looked_up(client, "", kind)
    assert "2 things." in sentence
    assert table.index("1 min ago") < table.index("2 h ago")
    assert "red mug" in table
    assert "&lt;b&gt;book&lt;/b&gt;" in table
    assert "<b>book" not in table
    assert drawing["path"].startswith("/page/")


def test_the_drawing_with_its_crops_comes_by_the_pages_own_file_way(client, folder):
    _, drawing, _ = looked_up(client, "mug")
    reply = client.get(f"/gradio_api/file={drawing['path']}")
    assert reply.status_code == 200
    pixels = np.asarray(Image.open(io.BytesIO(reply.content)).convert("RGB")).astype(int)
    red = (pixels[..., 0] > 240) & (pixels[..., 1] < 20) & (pixels[..., 2] < 20)
    assert red.sum() > 2000  # the crop
    assert str(folder) not in str(drawing)


def test_a_part_of_a_name_is_enough_and_what_is_not_there_is_said(client):
    assert "1 thing." in looked_up(client, "MUG, giraffe")[0]
    sentence, drawing, table = looked_up(client, "giraffe")
    assert "Nothing that is remembered is called so." in sentence
    assert (drawing, table) == (None, "")


def test_the_field_takes_text_alone_and_not_more_than_it_may(client):
    assert not ask(client, event(client, "memory-look", "click"), [{"path": "/etc/passwd"}])["success"]
    assert "Nothing" in looked_up(client, "x" * 5000)[0]


def test_a_store_that_fails_is_said_in_words(store, monkeypatch):
    from ovseg_ros.app.web.memory import look_up
    from ovseg_ros.errors import StoreError

    def load(*given, **named):
        raise StoreError("the database is away")

    monkeypatch.setattr(store, "load", load)
    shown = look_up(store, "")
    assert (shown.sentence, shown.is_error, shown.drawing) == ("the database is away", True, None)


def test_of_very_many_those_seen_last_are_shown(tmp_path):
    from ovseg_ros.app.web.memory import MOST_SHOWN, look_up

    with open_store(tmp_path / "many.db") as many:
        many.save([entry(i) for i in range(MOST_SHOWN + 5)])
        shown = look_up(many, "")
    assert shown.sentence == f"{MOST_SHOWN + 5} things, of which the {MOST_SHOWN} seen last are shown."
    assert len(re.findall("<tr>", shown.table)) == 1 + MOST_SHOWN


def test_without_a_memory_there_is_no_tab(tmp_path):
    os.environ.update(web._QUIET)
    app = web.make_app("mini", tmp_path, load=lambda *names: colour_segmenter())
    blocks = app.routes[-1].app.get_blocks().blocks.values()
    assert not any(str(getattr(block, "elem_id", "")).startswith("memory") for block in blocks)


def test_a_memory_that_is_not_there_ends_the_command(tmp_path, capsys):
    missing = str(tmp_path / "none.db")
    assert cli.main(["web", "--port", "0", "--memory", missing]) == 2
    assert f"there is no memory at {missing}" in capsys.readouterr().err
