"""Uploads to a running `ovseg web`: their number, size and age have limits, and the disk never fills."""

from __future__ import annotations

import collections
import io
import json
import os
import resource
import shutil
import socket
import struct
import time
import zlib
from urllib.parse import urlsplit

import numpy as np
import pytest
from web_fixtures import (
    ask,
    colour_segmenter,
    colours,
    event,
    file_data,
    save,
    served,
    submit_values,
    turned_away,
    upload,
)

from ovseg_ros.app.web import bodies, uploads
from ovseg_ros.app.web import command as web
from ovseg_ros.app.web.uploads import Files, FullError, harmless
from ovseg_ros.errors import InvalidInputError

MIB = 1024**2


def put(files: Files, size: int, age_s: float = 0.0, name: str = "a.png") -> str:
    """Stores `size` bytes that were last used some time ago."""
    public = files.store(name, io.BytesIO(b"x" * size), size)
    when = time.time() - age_s
    os.utime(files.folder / public.removeprefix("/page/"), (when, when))
    return public


def here(files: Files) -> list[str]:
    return sorted(files.public(path) for path in files.uploads.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------------ the folder


def test_what_was_unused_for_longest_goes_when_there_are_too_many(tmp_path):
    files = Files(tmp_path, max_files=3, spare_s=1)
    names = [put(files, 10, age_s) for age_s in (50, 40, 30)]
    files.real(names[0])  # is used
    names.append(put(files, 10))
    assert here(files) == sorted([names[0], names[2], names[3]])
    assert sum(path.is_dir() for path in files.uploads.iterdir()) == 3  # no empty folder stays


def test_all_uploads_together_have_a_size(tmp_path):
    files = Files(tmp_path, max_total=100, spare_s=1)
    names = [put(files, 40, age_s) for age_s in (50, 40)]
    names.append(put(files, 60))
    assert here(files) == sorted(names[1:])
    with pytest.raises(FullError, match="holds as many uploads as it may"):
        put(files, 101)


def test_a_flood_does_not_drive_out_what_others_are_using(tmp_path):
    files = Files(tmp_path, max_files=2, spare_s=60)
    names = [put(files, 10), put(files, 10)]
    with pytest.raises(FullError):
        put(files, 10)
    assert here(files) == sorted(names)


def test_old_files_go(tmp_path):
    files = Files(tmp_path, max_age_s=100)
    old, young = put(files, 10, 101), put(files, 10, 50)
    files.sweep()
    assert here(files) == [young]
    with pytest.raises(InvalidInputError, match="upload it again"):
        files.real(old)


def test_the_disk_keeps_room(tmp_path, monkeypatch):
    files = Files(tmp_path, free=100)
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000, 850, 150))
    put(files, 50)
    with pytest.raises(FullError):
        put(files, 51)


def test_the_pages_own_files_stay_and_do_not_count(tmp_path):
    files = Files(tmp_path, max_files=1, max_age_s=100, spare_s=0)
    own = put(files, 10, 1000)
    files.keep_all()
    put(files, 10)
    files.sweep()
    assert own in here(files)
    assert len(here(files)) == 2


def test_what_a_visitor_may_name(tmp_path):
    files = Files(tmp_path)
    files.examples.mkdir()
    (files.examples / "a.png").write_bytes(b"x")
    (tmp_path / "other.txt").write_bytes(b"x")
    assert files.real("/page/examples/a.png") == files.examples / "a.png"
    public = put(files, 10)
    assert files.real(public).read_bytes() == b"x" * 10
    os.mkfifo(files.uploads / "pipe")
    (files.uploads / "link").symlink_to("/dev/zero")
    refused = [
        "/page/other.txt",
        "/page/uploads",
        "/page/uploads/pipe",
        "/page/uploads/link",
        "/page/uploads/\0",
    ]
    refused += [
        str(files.examples / "a.png"),
        "/page/examples/../other.txt",
        "/page/" + "a" * 5000,
        "",
        None,
        7,
    ]
    for name in refused:
        with pytest.raises(InvalidInputError, match="expected a file that was uploaded"):
            files.real(name)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("mein Bild (1).PNG", "mein_Bild__1_.PNG"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\depth.npy", "depth.npy"),
        (".bashrc", "bashrc"),
        ("a\0b\n.png", "a_b_.png"),
        ("x" * 300 + ".tiff", "x" * 95 + ".tiff"),
        ("ümlaut.png", "_mlaut.png"),
        ("..", "upload"),
        ("", "upload"),
    ],
)
def test_names_of_uploads_become_harmless(name, kept):
    assert harmless(name) == kept


# -------------------------------------------------------------------------------------------- a running page


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A page that holds little, and its folder."""
    import httpx

    os.environ.update(web._QUIET)
    files = Files(tmp_path_factory.mktemp("small"), max_files=8, spare_s=0)
    app = web.make_app("mini", files.folder, load=lambda *names: colour_segmenter(), files=files)
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client, files


def test_one_request_brings_one_file(small):
    client, files = small
    before = here(files)
    many = [("files", (f"{number}.png", b"x", "image/png")) for number in range(2)]
    assert client.post("/gradio_api/upload", files=many).status_code == 400
    assert client.post("/gradio_api/upload", files={"other": ("a.png", b"x")}).status_code == 400
    assert client.post("/gradio_api/upload", data={"files": "text"}).status_code == 400
    text = (None, b"x" * MIB)  # a part that is no file would be gathered in memory
    assert client.post("/gradio_api/upload", files={"files": text}).status_code == 400
    assert client.post("/gradio_api/upload", content=b"x").status_code == 400
    head = {"Content-Type": "multipart/form-data"}
    assert client.post("/gradio_api/upload", content=b"x", headers=head).status_code == 400
    assert here(files) == before


def test_a_file_too_large_is_refused_before_and_while_it_comes(small, monkeypatch):
    client, files = small
    url = urlsplit(str(client.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=20) as opened:
        opened.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 110000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        assert b" 413 " in opened.recv(1000)  # not a byte of it was wanted
    monkeypatch.setattr(bodies, "MAX_UPLOAD_BYTES", MIB)
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", MIB)
    before = here(files)
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    endless = iter([part, *[b"x" * 65536] * 40, b"\r\n--x--\r\n"])
    assert turned_away(client, "/gradio_api/upload", content=endless, headers=head)
    assert turned_away(client, "/gradio_api/upload", files={"files": ("a.png", b"x" * (MIB + 1))})
    assert here(files) == before


def test_a_few_upload_at_a_time(small):
    client, _ = small
    url = urlsplit(str(client.base_url))
    stuck = []
    try:
        for _ in range(uploads.MAX_AT_ONCE):
            stuck.append(socket.create_connection((url.hostname, url.port), timeout=20))
            stuck[-1].sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
            )
        time.sleep(1)
        assert upload(client, "a.png", b"x").status_code == 503
    finally:
        for one in stuck:
            one.close()
    deadline = time.monotonic() + 20
    while upload(client, "a.png", b"x").status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert upload(client, "a.png", b"x").status_code == 200  # broken off, they make room


def test_many_uploads_and_answers_never_fill_the_folder(small, tmp_path):
    client, files = small
    kept = len(files._kept)
    for number in range(12):
        assert upload(client, f"{number}.png", b"x").status_code == 200
    assert len(here(files)) - kept <= 8
    picture = save(tmp_path / "a.png", colours()).read_bytes()
    (path,) = upload(client, "a.png", picture).json()
    submit = event(client, "submit", "click")
    for number in range(6):
        values = submit_values(
            file_data(path), words="red, green", threshold=number / 10, granularity=number / 10
        )
        assert ask(client, submit, values)["success"]
    files.sweep()  # which the page does every few seconds
    assert len(here(files)) - kept <= 8


# -------------------------------------------------------------------------------------------------- pixels


def _png(width: int, height: int, bits: int) -> bytes:
    """A grey PNG that says it is so large, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _npy(height: int, width: int) -> bytes:
    """An array of floats that says it is so large, without its data."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (height, width)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(16)


def _tiff(width: int, height: int) -> bytes:
    """A 16-bit TIFF that says it is so large, with one strip of nothing."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
    ]
    tags += [(278, 4, height), (279, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("depth.png", _png(60_000, 60_000, 16)),
        ("depth.tiff", _tiff(60_000, 60_000)),
        ("depth.npy", _npy(60_000, 60_000)),
        ("depth.npy", _npy(2**40, 2**40)),
    ],
    ids=["png", "tiff", "npy", "npy of no memory"],
)
def test_depth_takes_no_memory_before_its_size_is_known(small, tmp_path, name, content):
    client, _ = small
    (depth,) = upload(client, name, content).json()
    (image,) = upload(client, "a.png", save(tmp_path / "a.png", colours()).read_bytes()).json()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    values = submit_values(file_data(image), file_data(depth))
    message = ask(client, event(client, "submit", "click"), values)
    said = json.dumps(message["output"])
    assert "million pixels" in said or "cannot be read" in said, said
    assert "the program failed" not in said
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000
    )  # kB; unpacked it is 3.6 GB or more


def test_a_picture_takes_no_memory_before_its_size_is_known(small):
    client, _ = small
    (image,) = upload(client, "a.png", _png(60_000, 60_000, 8)).json()
    message = ask(client, event(client, "submit", "click"), submit_values(file_data(image)))
    assert "million pixels" in json.dumps(message["output"])


# ------------------------------------------------------------------------------------------------ other pages
# Last: Gradio knows the folder of one page a process, of the one made last.


def test_the_page_sweeps_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "SWEEP_S", 0.1)
    os.environ.update(web._QUIET)
    files = Files(tmp_path, max_age_s=5)
    app = web.make_app("mini", tmp_path, load=lambda *names: colour_segmenter(), files=files)
    old = put(files, 10, 6)
    with served(app):
        deadline = time.monotonic() + 20
        while old in here(files) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert old not in here(files)


def test_a_full_page_says_so(tmp_path):
    import httpx

    os.environ.update(web._QUIET)
    files = Files(tmp_path, max_files=0)
    app = web.make_app("mini", tmp_path, load=lambda *names: colour_segmenter(), files=files)
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        reply = upload(client, "a.png", b"x")
    assert reply.status_code == 507
    assert "try again in a minute" in reply.text
