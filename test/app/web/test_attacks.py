"""What a stranger with requests of his own must not get from a running `ovseg web`: files and addresses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from web_fixtures import ask, colours, event, file_data, save, submit_values, upload

SECRET = b"not for strangers"


@pytest.fixture
def secret(tmp_path):
    """Files outside of the uploads, of kinds that a page might take for a picture or a drawing."""
    files = [tmp_path / name for name in ("secret.png", "secret.svg", "secret.txt", "secret.npy")]
    for path in files:
        path.write_bytes(SECRET)
    return files


def uploaded(client, folder) -> str:
    """The public name of a picture of ours."""
    (path,) = upload(client, "mine.png", save(folder / "mine.png", colours()).read_bytes()).json()
    return path


def test_a_path_that_a_request_names_is_never_handed_out_nor_read(client, secret, tmp_path):
    changed = event(client, "image", "upload")
    assert ask(client, changed, [None, ""])["success"]  # the request as such is a good one
    for path in secret:
        message = ask(client, changed, [file_data(path), ""])
        assert not message["success"], message
        assert "/file=" not in json.dumps(message)
    picture = save(tmp_path / "red.png", colours())
    submit = event(client, "submit", "click")
    for values in (submit_values(file_data(picture)), submit_values(None, file_data(secret[3]))):
        message = ask(client, submit, values)
        assert not message["success"], message


def test_a_file_without_the_mark_of_one_is_no_way_round(client, tmp_path):
    picture = save(tmp_path / "red.png", colours())
    for given in (
        {"path": str(picture)},
        file_data(picture, is_stream=True),
        file_data(picture, url="/x.png"),
    ):
        message = ask(client, event(client, "submit", "click"), submit_values(given))
        assert "Found" not in json.dumps(message)
        assert not message["success"], message


def test_paths_that_lead_out_of_the_folder(client, secret, page_folder, tmp_path):
    up = os.path.relpath(secret[0], page_folder / "uploads")
    (page_folder / "uploads" / "link.png").symlink_to(secret[0])
    for path in (
        f"/page/uploads/{up}",
        f"/page/examples/{up}",
        "/page/uploads/link.png",
        "/page/uploads",
        "/page/",
    ):
        assert ask(client, event(client, "image", "upload"), [file_data(path), ""])["success"] is False
        for address in (f"/gradio_api/file={path}", f"/gradio_api/file={path.replace('..', '%2e%2e')}"):
            reply = client.get(address)
            assert reply.status_code == 404
            assert SECRET not in reply.content
    (page_folder / "uploads" / "link.png").unlink()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/environ", "/proc/kmsg", "/page/uploads/pipe", ""])
def test_what_never_ends_does_not_hang_the_page(client, page_folder, path):
    pipe = page_folder / "uploads" / "pipe"
    os.mkfifo(pipe)
    try:
        message = ask(client, event(client, "image", "upload"), [file_data(path), ""])
        assert not message["success"]
        assert client.get(f"/gradio_api/file={path}").status_code == 404
        assert client.get("/").status_code == 200
    finally:
        pipe.unlink()


def test_no_address_is_fetched_for_a_stranger(client, monkeypatch, tmp_path):
    fetched = []

    async def fetch(url, *more):
        fetched.append(url)
        return str(save(tmp_path / "fetched.png", colours()))

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    monkeypatch.setattr("gradio.routes.secure_url_stream_response", fetch)
    address = "http://example.com/x.png"
    own = uploaded(client, tmp_path)
    for given in (file_data(address), file_data(own, url=address), {"path": None, "url": address}):
        ask(client, event(client, "submit", "click"), submit_values(given))
    for way in ("file=", "file/", "proxy="):
        assert client.get(f"/gradio_api/{way}{address}", follow_redirects=False).status_code == 404
    assert fetched == []


def test_the_unqueued_way_is_closed_too(client, secret):
    changed = event(client, "image", "upload")
    for way in ("run", "api"):
        body = {"data": [file_data(secret[0]), ""], "fn_index": changed["id"], "session_hash": "x"}
        reply = client.post(f"/gradio_api/{way}/predict", json=body)
        assert reply.status_code != 200, reply.text
        assert "/file=" not in reply.text


def test_nobody_goes_round_the_queue_to_the_networks(client, tmp_path):
    values = submit_values(file_data(uploaded(client, tmp_path)))
    body = {"data": values, "fn_index": event(client, "submit", "click")["id"], "session_hash": "x"}
    reply = client.post("/gradio_api/run/predict", json=body)
    assert reply.status_code == 404, reply.text


def test_a_preset_that_was_not_offered_is_not_read(client, tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("proposer: {kind: colour_masks}\n")
    picture = file_data(uploaded(client, tmp_path))
    for field in ("preset", "generator"):
        message = ask(
            client, event(client, "submit", "click"), submit_values(picture, **{field: str(preset)})
        )
        assert not message["success"], message


def test_no_file_of_the_server_is_served_by_its_path(client, secret):
    for path in (secret[0], "/etc/passwd", Path(__file__).resolve()):
        for address in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}"):
            assert client.get(address).status_code in (403, 404)


def test_a_stored_state_is_not_loaded_into_the_page(client):
    state = json.dumps([{"id": 1, "type": "html", "props": {"value": "<script>alert(1)</script>"}}]).encode()
    (path,) = upload(client, "state.json", state).json()
    for address in ("/", "/config"):
        reply = client.get(address, params={"deep_link": f"../{Path(path).parent.name}"})
        assert "alert(1)" not in reply.text
        assert '"deep_link_state":"invalid"' not in reply.text.replace(" ", "")


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "x.pdf", "noend"])
def test_uploads_that_could_hold_a_script_are_saved_not_shown(client, name):
    (path,) = upload(
        client, name, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    ).json()
    reply = client.get(f"/gradio_api/file={path}")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]


def test_what_a_person_uploads_is_answered_and_can_be_had_again(client, tmp_path):
    path = uploaded(client, tmp_path)
    message = ask(client, event(client, "submit", "click"), submit_values(file_data(path)))
    assert message["success"], message
    said, label_map = message["output"]["data"][:2]
    assert "Found: red (1)" in said
    assert client.get(f"/gradio_api/file={path}").content == (tmp_path / "mine.png").read_bytes()
    shown = client.get(label_map["url"])
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
    assert shown.headers["content-disposition"].startswith("inline")


def test_the_files_of_an_example_reach_the_networks(client):
    filled = ask(client, event(client, "example-0", "click"), [])
    assert filled["success"], filled
    image, words, preset, depth, camera, _, threshold = filled["output"]["data"]
    values = [image, words, preset, preset, 0.0, threshold, depth, 60, camera]
    message = ask(client, event(client, "submit", "click"), values)
    assert message["success"], message
    assert "masks on" in message["output"]["data"][0]
