"""Names taught on the page: a click picks a mask, a name teaches it; what strangers must not do."""

from __future__ import annotations

import os

import numpy as np
import pytest
from web_fixtures import (
    BOXES,
    ask,
    colour_segmenter,
    colours,
    event,
    file_data,
    inputs,
    save,
    served,
    submit_values,
    upload,
)

from ovseg_ros.app.web import command as web
from ovseg_ros.app.web.inference import Inference
from ovseg_ros.app.web.teach import names as names_module
from ovseg_ros.app.web.teach.names import Names, checked_name
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.errors import ConfigError, InvalidInputError, StoreError
from ovseg_ros.memory.teaching import taught

ON_RED, ON_WHITE = (12, 12), (60, 2)


@pytest.fixture(autouse=True)
def weights(monkeypatch):
    """Made up: what is as red as the example is it."""
    plain = taught.Weights(-14, 0, 10, 0, 10, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(taught.WEIGHTS, "colours", (plain, plain))


def segmenter(name="colours"):
    made = colour_segmenter()
    made.name = name
    return made


@pytest.fixture
def inference():
    return Inference(lambda preset, _: segmenter("plain" if preset == "b" else "colours"))


@pytest.fixture
def picture(tmp_path):
    return save(tmp_path / "a.png", colours())


def labels(answer):
    return {row.label for row in answer.masks if row.label}


def test_what_was_clicked_at_is_found_by_its_name_elsewhere(inference, picture, tmp_path):
    picked, shown = inference.pick(inputs(picture), ON_RED, None)
    assert (picked.region, picked.count, picked.size) == (0, 1, (16, 16))
    assert (shown == (255, 0, 0)).all(axis=2).sum() > 100
    assert shown.shape[0] < 48
    example = inference.example(inputs(picture), picked, "my brick")
    assert (example.name, example.space.split()[0], example.crop[:2]) == ("my brick", "colours", b"\xff\xd8")
    turned = save(tmp_path / "b.png", np.ascontiguousarray(colours()[::-1]))
    answer = inference.answer(inputs(turned, "find my brick, green"), [example])
    assert labels(answer) == {"my brick", "green"}
    assert {row.name: row.masks for row in answer.legend} == {"my brick": 1, "green": 1}
    without = colours()
    top, left, bottom, right = BOXES[255, 0, 0]
    without[top:bottom, left:right] = 255
    answer = inference.answer(inputs(save(tmp_path / "c.png", without), "my brick"), [example])
    assert (labels(answer), answer.error) == (set(), "")


def test_a_click_beside_everything_and_on_another_picture(inference, picture, tmp_path):
    with pytest.raises(InvalidInputError, match="no mask is there"):
        inference.pick(inputs(picture), ON_WHITE, None)
    with pytest.raises(InvalidInputError, match="no mask is there"):
        inference.pick(inputs(picture), (9999, 9999), None)
    with pytest.raises(InvalidInputError, match="click on a thing"):
        inference.example(inputs(picture), None, "my brick")
    picked, _ = inference.pick(inputs(picture), ON_RED, None)
    other = save(tmp_path / "b.png", np.ascontiguousarray(colours()[::-1]))
    with pytest.raises(InvalidInputError, match="the picture has changed"):
        inference.example(inputs(other), picked, "my brick")
    with pytest.raises(InvalidInputError, match="upload an image first"):
        inference.pick(inputs(None), ON_RED, None)


def test_another_click_at_the_same_place_takes_the_next_mask():
    import torch

    from ovseg_ros.app.web.teach.picking import pick
    from ovseg_ros.core.frame import Frame

    masks = torch.zeros((3, 20, 20), dtype=torch.bool)
    masks[0, 5:10, 5:10] = masks[1, 2:18, 2:18] = masks[2, 15:, 15:] = True
    scores = torch.tensor([0.5, 0.9, 0.8])
    embedded = EmbeddedFrame(Frame(np.zeros((20, 20, 3), np.uint8)), masks, scores, torch.eye(3))
    first = pick(embedded, "p", (7, 7), None)
    assert (first.region, first.count) == (1, 2)  # the surest
    second = pick(embedded, "p", (8, 6), first)
    assert second.region == 0
    assert pick(embedded, "p", (7, 7), second).region == 1
    assert pick(embedded, "q", (7, 7), first).region == 1  # on another picture it is a first click


def test_presets_without_weights_say_which_one_knows_the_name(inference, picture):
    picked, _ = inference.pick(inputs(picture), ON_RED, None)
    example = inference.example(inputs(picture), picked, "my brick")
    answer = inference.answer(inputs(picture, "my brick", preset="b"), [example])
    assert "it was taught to the preset colours, and plain knows no taught names" in answer.error
    with pytest.raises(ConfigError, match="colours"):
        inference.example(inputs(picture, preset="b"), picked, "my brick")


def an_example(inference, picture, name="my brick"):
    return inference.example(inputs(picture), inference.pick(inputs(picture), ON_RED, None)[0], name)


def test_each_visitor_has_names_of_his_own_within_limits(inference, picture, monkeypatch):
    monkeypatch.setattr(names_module, "MOST_EACH", 2)
    monkeypatch.setattr(names_module, "MOST_VISITORS", 2)
    names, example = Names(None), an_example(inference, picture)
    for visitor in ("a", "b"):
        names.keep(visitor, example)
    assert names.examples("c") == []
    names.keep("a", example)
    with pytest.raises(InvalidInputError, match="forget a name first"):
        names.keep("a", example)
    assert names.counts("a") == {"my brick": 2}
    names.keep("c", example)
    assert [len(names.examples(visitor)) for visitor in "abc"] == [2, 0, 1]  # b was away for longest
    assert names.forget("a", "MY BRICK") == 2
    assert names.forget("nobody", "my brick") == 0
    assert names.examples("a") == []


def test_in_a_memory_names_stay_within_a_limit_and_none_is_forgotten(
    inference, picture, tmp_path, monkeypatch, caplog
):
    pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")
    from ovseg_ros.memory import open_store

    monkeypatch.setattr(names_module, "MOST_STORED", 1)
    with open_store(tmp_path / "memory.db") as store:
        names, example = Names(store), an_example(inference, picture)
        names.keep("a", example)
        assert names.counts("b") == {"my brick": 1}
        with pytest.raises(InvalidInputError, match="from 1 on the page adds none"):
            names.keep("b", example)
        with pytest.raises(InvalidInputError, match="--forget"):
            names.forget("a", "my brick")
        assert len(store.examples()) == 1

        def away():
            raise StoreError("away")

        monkeypatch.setattr(store, "examples", away)
        assert names.examples("a") == []
        assert "taught names cannot be read" in caplog.text


@pytest.mark.parametrize("text", ["", "  ", 'my "mug"', "x" * 129])
def test_names_that_are_none(text):
    with pytest.raises(InvalidInputError, match="type a name"):
        checked_name(text)


# ------------------------------------------------------------------------------------- through requests


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    import httpx

    pytest.importorskip("gradio", reason="Gradio is not installed (requirements/web.txt)")
    os.environ.update(web._QUIET)
    app = web.make_app("mini", tmp_path_factory.mktemp("page"), load=lambda *names: segmenter())
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as opened:
        yield opened


def click(client, values, at, session):
    data = {"index": list(at), "value": None}
    return ask(client, event(client, "overlay", "select"), [None, *values], session, event_data=data)


def test_a_click_and_a_name_through_the_gate_and_no_other_visitor_knows_it(client, tmp_path):
    path = save(tmp_path / "a.png", colours())
    (public,) = upload(client, "a.png", path.read_bytes()).json()
    values = submit_values(file_data(public), words="my brick")
    picked = click(client, values, ON_RED, "one")
    assert picked["success"], picked
    assert "This is mask 1, 16 by 16 pixels" in picked["output"]["data"][0]
    teach = event(client, "teach", "click")
    said = ask(client, teach, [None, "my <b>brick</b>", *values], "one")["output"]["data"][0]
    assert "my &lt;b&gt;brick&lt;/b&gt; (1 example)" in said
    forget = event(client, "teach-forget", "click")
    assert (
        "1 forgotten; known: no name" in ask(client, forget, ["my <b>brick</b>"], "one")["output"]["data"][0]
    )
    assert "(1 example)" in ask(client, teach, [None, "my brick", *values], "one")["output"]["data"][0]
    submit = event(client, "submit", "click")
    assert "Found: my brick (1)" in ask(client, submit, values, "one")["output"]["data"][0]
    # To anybody else they are words as any other, of which "my" says nothing.
    assert "Found: brick" in ask(client, submit, values, "two")["output"]["data"][0]
    said = ask(client, teach, [None, "my brick", *values], "two")["output"]["data"][0]
    assert "Click on a thing in the overlay first" in said  # nor is another's click theirs


@pytest.mark.parametrize(
    "data",
    [
        {"index": [-1, 3]},
        {"index": [1e9, 3]},
        {"index": [True, 3]},
        {"index": [2.5, 3]},
        {"index": [10**30, 3]},
        {"index": ["1", "2"]},
    ],
)
def test_clicks_that_no_page_sends_are_refused(client, data):
    function = event(client, "overlay", "select")
    body = {"data": [None, *submit_values(None)], "fn_index": function["id"], "session_hash": "x"}
    reply = client.post("/gradio_api/queue/join", json=body | {"event_data": data})
    assert (reply.status_code, "a click as two whole numbers" in reply.text) == (400, True)


@pytest.mark.parametrize("data", [{"index": [1]}, {"path": "/etc/passwd"}, [1, 2], "x", {"index": {"a": 1}}])
def test_other_data_of_an_event_reaches_nobody(client, data):
    """A function without its click does not run; the page goes on."""
    message = ask(
        client, event(client, "overlay", "select"), [None, *submit_values(None)], "x", event_data=data
    )
    assert not message["success"], message
    assert client.get("/").status_code == 200
