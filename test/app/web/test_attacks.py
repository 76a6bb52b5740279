"""What a stranger who sends requests of his own to a running `ovseg web` must not get."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from web_fixtures import colour_segmenter, colours, save

from ovseg_ros.app.web import command as web

pytest.importorskip("gradio", reason="Gradio is not installed (requirements/web.txt)")

SECRET = b"not for strangers"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A page that runs, as `ovseg web` serves it, with a segmenter that knows colours."""
    import uvicorn

    folder = tmp_path_factory.mktemp("web")
    os.environ.update(web._QUIET, GRADIO_TEMP_DIR=str(folder / "uploads"))
    app = web.make_app("mini", folder, load=lambda *names: colour_segmenter())
    with web._listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def client(url):
    import httpx

    with httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


def file_data(path: Path | str) -> dict:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def event(client, component: str, kind: str) -> dict:
    """The function that runs when `kind` happens to the component with that id, as /config lists it."""
    config = client.get("/config").json()
    wanted = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == component)
    return next(d for d in config["dependencies"] if [wanted, kind] in [list(t) for t in d["targets"]])


def ask(client, function: dict, values: list) -> dict:
    """Sends a request through the queue, as the page does, and waits for its last message."""
    session = f"s{time.monotonic_ns()}"
    body = {"data": values, "fn_index": function["id"], "session_hash": session}
    reply = client.post("/gradio_api/queue/join", json=body)
    if reply.status_code != 200:
        return {"success": False, "output": reply.text}
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] == "process_completed":
                    return message
    raise AssertionError("the queue closed without an answer")


def submit_values(image: dict | None, depth: dict | None = None) -> list:
    return [image, "red", "mini", "mini", 0.0, 0.5, depth, 60, ""]


@pytest.fixture
def secret(tmp_path):
    """Files outside of the uploads, of kinds that a page might take for a picture or a drawing."""
    files = [tmp_path / name for name in ("secret.png", "secret.svg", "secret.txt", "secret.npy")]
    for path in files:
        path.write_bytes(SECRET)
    return files


def test_a_path_that_a_request_names_is_never_handed_out_nor_read(client, secret, tmp_path):
    uploaded = event(client, "image", "upload")
    assert ask(client, uploaded, [None, ""])["success"]  # the request as such is a good one
    for path in secret:
        message = ask(client, uploaded, [file_data(path), ""])
        assert not message["success"], message
        assert "/file=" not in json.dumps(message)
    picture = save(tmp_path / "red.png", colours())
    submit = event(client, "submit", "click")
    for values in (submit_values(file_data(picture)), submit_values(None, file_data(secret[3]))):
        message = ask(client, submit, values)
        assert not message["success"], message


@pytest.mark.timeout(60)
def test_a_device_that_never_ends_does_not_hang_the_page(client):
    message = ask(client, event(client, "image", "upload"), [file_data("/dev/zero"), ""])
    assert not message["success"]
    assert client.get("/").status_code == 200


def test_the_unqueued_way_is_closed_too(client, secret):
    uploaded = event(client, "image", "upload")
    for way in ("run", "api"):
        body = {"data": [file_data(secret[0]), ""], "fn_index": uploaded["id"], "session_hash": "x"}
        reply = client.post(f"/gradio_api/{way}/predict", json=body)
        assert reply.status_code != 200, reply.text
        assert "/file=" not in reply.text


def test_no_file_of_the_server_is_served_by_its_path(client, secret):
    for path in (secret[0], "/etc/passwd", Path(__file__).resolve()):
        for address in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}"):
            assert client.get(address).status_code in (403, 404)


def test_what_a_person_uploads_is_answered(client, tmp_path):
    picture = save(tmp_path / "mine.png", colours())
    with picture.open("rb") as opened:
        reply = client.post("/gradio_api/upload", files={"files": ("mine.png", opened, "image/png")})
    (path,) = reply.json()
    message = ask(client, event(client, "submit", "click"), submit_values(file_data(path)))
    assert message["success"], message
    assert "Found: red (1)" in message["output"]["data"][0]


def test_the_files_of_an_example_reach_the_networks(client):
    filled = ask(client, event(client, "example-0", "click"), [])
    assert filled["success"], filled
    image, words, preset, depth, camera, _, threshold = filled["output"]["data"]
    values = [image, words, preset, preset, 0.0, threshold, depth, 60, camera]
    message = ask(client, event(client, "submit", "click"), values)
    assert message["success"], message
    assert "masks on" in message["output"]["data"][0]
