"""The page of `ovseg web` and its command, without a browser: layout, events, address, end."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from web_fixtures import colour_segmenter, colours, save

from ovseg_ros.app import cli
from ovseg_ros.app.web import command as web
from ovseg_ros.app.web import server
from ovseg_ros.errors import ConfigError, WeightsError

pytest.importorskip("gradio", reason="Gradio is not installed (requirements/web.txt)")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The ASGI application with a segmenter that knows colours, and its Gradio part."""
    os.environ.update(web._QUIET)
    app = web.make_app("mini", tmp_path_factory.mktemp("web"), load=lambda *names: colour_segmenter())
    return app, app.routes[-1].app.get_blocks()


def events(blocks, component, event):
    """The functions that run when `event` happens to the component with that id."""
    wanted = next(b for b in blocks.blocks.values() if getattr(b, "elem_id", None) == component)
    return [fn for fn in blocks.fns.values() if (wanted._id, event) in fn.targets]


def ids(blocks):
    return {getattr(block, "elem_id", None): block for block in blocks.blocks.values()}


def values(**changes):
    given = {"image": None, "words": "red", "preset": "mini", "generator": "mini", "granularity": 0.0}
    given |= {"threshold": 0.5, "depth": None, "field_of_view": 60, "camera": ""}
    return list((given | changes).values())


def test_the_fields_have_sensible_defaults(page):
    _, blocks = page
    parts = ids(blocks)
    assert parts["preset"].value == "mini"
    assert parts["threshold"].value == pytest.approx(0.5)  # mini's own
    assert (parts["granularity"].value, parts["granularity"].maximum) == (0.0, 1.0)
    assert parts["generator"].interactive is True  # lite brings another
    assert "vitb16" in parts["preset"].info
    assert sum(name is not None and name.startswith("example-") for name in parts) == 3


def test_submit_gives_message_map_overlay_legend_and_table(page, tmp_path):
    _, blocks = page
    (submit,) = events(blocks, "submit", "click")
    assert events(blocks, "words", "submit") == [submit]  # Enter in the words
    picture = str(save(tmp_path / "a.png", colours()))
    message, label_map, overlay, legend, table, answered = submit.fn(None, *values(image=picture))
    assert "Found: red (1)" in message
    assert label_map.shape == overlay.shape == colours().shape
    assert "red" in legend
    assert table.count("<tr") == 4  # the head and three masks
    assert answered is True
    nothing = submit.fn(None, *values())
    assert "ov-error" in nothing[0]
    assert nothing[1:] == [None, None, "", "", False]  # no old picture stays beside an error


def test_sliders_answer_again_only_after_an_answer(page, tmp_path):
    _, blocks = page
    picture = str(save(tmp_path / "a.png", colours()))
    for slider in ("threshold", "granularity"):
        (moved,) = events(blocks, slider, "input")
        assert "Found" in moved.fn(None, True, *values(image=picture))[0]
        assert all(not isinstance(value, str) for value in moved.fn(None, False, *values(image=picture)))


def test_the_networks_work_for_one_request_at_a_time(page):
    _, blocks = page
    busy = [fn for fn in blocks.fns.values() if fn.concurrency_id == "networks"]
    assert len(busy) == 2 + 3 + 3  # submit, sliders, three examples, clicks on two pictures, and Teach
    assert {fn.concurrency_limit for fn in busy} == {1}
    assert all(fn.api_visibility == "private" for fn in blocks.fns.values())


def test_choosing_a_preset_brings_its_threshold_and_generator(page):
    _, blocks = page
    (choose,) = events(blocks, "preset", "input")
    generator, threshold = choose.fn("lite")
    assert threshold == pytest.approx(0.3)
    assert generator.value == "lite"


def test_another_presets_generator_is_handed_on(tmp_path):
    from ovseg_ros.app.web.choices import Generator, PresetChoice
    from ovseg_ros.app.web.inference import Inference
    from ovseg_ros.app.web.page import build_page

    asked = []
    inference = Inference(lambda *names: asked.append(names) or colour_segmenter())
    generators = (Generator("Depth clusters", "mini"), Generator("Segment Anything", "vitb16"))
    blocks = build_page(inference, [PresetChoice("mini", generators, 0.2)])
    parts = ids(blocks)
    assert parts["generator"].interactive is True
    assert parts["generator"].choices == [("Depth clusters", "mini"), ("Segment Anything", "vitb16")]
    (submit,) = events(blocks, "submit", "click")
    picture = str(save(tmp_path / "a.png", colours()))
    for generator in ("mini", "vitb16"):
        assert "Found" in submit.fn(None, *values(image=picture, generator=generator))[0]
    assert asked == [("mini", None), ("mini", "vitb16")]
    assert parts["preset"].info is None  # nothing is missing
    assert "example-0" not in parts


def test_a_presets_folder_is_nobodys_business(tmp_path):
    from ovseg_ros.app.web.choices import Generator, PresetChoice
    from ovseg_ros.app.web.inference import Inference
    from ovseg_ros.app.web.page import build_page
    from ovseg_ros.models.presets import preset_path

    mine = tmp_path / "mini.yaml"  # no bundled one is taken for it
    mine.write_text(preset_path("mini").read_text())
    asked = []
    inference = Inference(lambda *names: asked.append(names) or colour_segmenter())
    choices = [PresetChoice(name, (Generator("Depth clusters", name),), 0.2) for name in (str(mine), "mini")]
    blocks = build_page(inference, choices)
    assert str(tmp_path) not in str(blocks.get_config_file())
    (submit,) = events(blocks, "submit", "click")
    picture = str(save(tmp_path / "a.png", colours()))
    for name in ("mini.yaml", "mini"):
        assert "Found" in submit.fn(None, *values(image=picture, preset=name, generator=name))[0]
    assert asked == [(str(mine), None), ("mini", None)]


def test_an_example_fills_the_fields(page):
    _, blocks = page
    (fill,) = events(blocks, "example-2", "click")
    image, words, preset, depth, camera, _, threshold = fill.fn()
    assert (words, preset) == ("motorcycle, door, shelf", "lite")
    assert threshold == pytest.approx(0.3)
    assert os.path.isfile(image)
    assert os.path.isfile(depth)
    assert len(camera.split(",")) == 4
    outputs = [blocks.blocks[block._id].elem_id for block in fill.outputs]
    assert outputs == ["image", "words", "preset", "depth", "camera", "generator", "threshold"]


def test_an_examples_depth_is_forgotten_when_a_picture_is_uploaded(page):
    _, blocks = page
    (uploaded,) = events(blocks, "image", "upload")
    assert uploaded.fn("/x/1_tabletop_depth.png", "1, 1, 1, 1") == [None, ""]
    assert uploaded.fn("/x/my_depth.png", "1, 1, 1, 1") == ["/x/my_depth.png", "1, 1, 1, 1"]
    assert uploaded.fn(None, "") == [None, ""]


def test_uploads_reach_us_as_they_are(page, tmp_path):
    _, blocks = page
    from gradio.data_classes import ImageData

    image = ids(blocks)["image"]
    text = tmp_path / "a.png"
    text.write_text("no picture")
    assert image.preprocess(ImageData(path=str(text), orig_name="a.png")) == str(text)
    assert image.preprocess(None) is None


def test_the_page_names_no_script_or_font_of_another_host_and_forbids_them(page):
    from fastapi.testclient import TestClient

    app, blocks = page
    assert blocks.analytics_enabled is False  # nor is there telemetry
    assert web._QUIET["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert (blocks.share, blocks.run_history) == (False, False)
    with TestClient(app, base_url="http://localhost") as client:
        reply = client.get("/")
        css = client.get("/theme.css").text
    assert reply.status_code == 200
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert not re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']https?:""", reply.text)
    assert "googleapis" not in css + reply.text


# ------------------------------------------------------------------------------------------------ the command


def options(*words):
    return cli._parser().parse_args(["web", *words])


def test_defaults_keep_the_page_on_this_machine():
    given = options()
    assert (given.preset, given.host, given.port, given.device) == ("auto", "127.0.0.1", 7860, "auto")


def test_without_gradio_the_cure_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["web"]) == 2
    assert "pip install '.[web]'" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_ports_that_are_none(port):
    with pytest.raises(ConfigError, match="expected --port in 0 to 65535"):
        web.run(options("--port", port))


def test_a_port_in_use_and_a_host_that_is_not_ours():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"cannot listen .* --port 0"):
            web.run(options("--port", port))
    with pytest.raises(ConfigError, match="cannot listen"):
        web.run(options("--host", "192.0.2.1", "--port", "0"))


def test_a_preset_that_cannot_be_loaded_ends_the_command(tmp_path):
    with pytest.raises(ConfigError, match="preset"):
        web.make_app("nonsense", tmp_path)
    with pytest.raises(WeightsError):
        web.make_app("vitb16", tmp_path, weights_dir=tmp_path)


def test_presets_are_loaded_as_the_options_say(monkeypatch, tmp_path, capsys):
    from ovseg_ros.models import presets

    asked, warmed = [], []

    class Segmenter:
        def warm_up(self):
            warmed.append(self)

    monkeypatch.setattr(presets, "load_preset", lambda *a, **k: asked.append((a, k)) or Segmenter())
    segmenter = web._loader("cuda", tmp_path)("mini", "vitb16")
    assert asked == [(("mini",), {"device": "cuda", "weights_dir": tmp_path, "proposals_from": "vitb16"})]
    assert warmed == [segmenter]
    assert "loading mini" in capsys.readouterr().err


def test_addresses():
    assert server.address("127.0.0.1", 7860) == "http://127.0.0.1:7860/"
    assert server.address("::1", 80) == "http://[::1]:80/"


def test_a_server_closes_no_handler_of_the_process():
    stream = io.StringIO()

    class Handler(logging.StreamHandler):
        def close(self):
            stream.close()

    kept = Handler(stream)  # absl-py's closes its stream likewise
    server.make_server(lambda: None)
    assert not kept.stream.closed


# In a process of its own: a signal that comes at a wrong moment ends that one, and not the tests.
SERVING = """
import json, os, signal, sys, urllib.request, webbrowser
from ovseg_ros.app import cli
from ovseg_ros.app.web import command as web

number, got = int(sys.argv[1]), []

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

def visit(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        got.append((url, reply.read().decode()))
    os.kill(os.getpid(), number)

web.make_app, webbrowser.open = (lambda *_, **more: application), visit
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
before = signal.getsignal(number)
status = web.run(cli._parser().parse_args(["web", "--port", "0", "--open-browser"]))
print(json.dumps([status, got, signal.getsignal(number) == before]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_says_where_and_leaves_no_file(number, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(int(number))],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *said, result = done.stdout.splitlines()
    status, ((url, body),), restored = json.loads(result)
    assert (status, body, restored) == (0, "here", True)
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", url)
    assert any(f"the page is at {url}" in line for line in said)
    assert list(tmp_path.iterdir()) == []
