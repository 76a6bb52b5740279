"""Downloads against a server on this machine that behaves, misbehaves, and changes its mind."""

from __future__ import annotations

import errno
import http.client
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from weights_server import serve, sha256

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.download import Patience, download
from ovseg_ros.models.files import KnownFile, recorded_sha256, verify
from ovseg_ros.models.http import Refused, check_address

CONTENT = bytes(range(256)) * 1000
OTHER = b"another version".ljust(len(CONTENT), b".")
QUICK = Patience(timeout_s=1.0, attempts=3, pause_s=0.01)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def server():
    with serve(content=CONTENT) as (url, behaviour):
        behaviour.url = url
        yield behaviour


def weights(server, **changes) -> KnownFile:
    row = KnownFile(
        name="net.safetensors",
        url=f"{server.url}/file",
        sha256=sha256(CONTENT),
        size=len(CONTENT),
        licence="MIT",
        source_page="https://example.org/net",
    )
    return replace(row, **changes)


def fetch(file, folder, **options):
    return download(file, folder, progress=False, patience=options.pop("patience", QUICK), **options)


def leftovers(folder):
    """Names of what lies there besides lock files, which stay on purpose."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def test_a_file_is_fetched_verified_and_named(server, tmp_path):
    path = fetch(weights(server), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "net.safetensors"
    assert path.read_bytes() == CONTENT
    assert leftovers(tmp_path) == ["net.safetensors"]


def test_a_part_of_a_checkpoint_goes_into_its_folder(server, tmp_path):
    path = fetch(weights(server, name="net/clip.safetensors"), tmp_path)
    assert path == tmp_path / "net" / "clip.safetensors"


def test_an_empty_file_is_a_file(server, tmp_path):
    server.content = b""
    path = fetch(weights(server, sha256=sha256(b""), size=0), tmp_path)
    assert path.read_bytes() == b""


def test_a_file_that_is_there_is_verified_and_not_fetched(server, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(CONTENT)
    fetch(weights(server), tmp_path)
    assert server.requests == []
    (tmp_path / "net.safetensors").write_bytes(OTHER)
    with pytest.raises(WeightsError, match=sha256(OTHER)):
        fetch(weights(server), tmp_path)


def test_offline_opens_no_socket(server, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(WeightsError, match="offline") as caught:
        fetch(weights(server), tmp_path, offline=True)
    for word in ("net.safetensors", server.url, str(tmp_path)):
        assert word in str(caught.value)
    with pytest.raises(AssertionError, match="a socket"):  # the guard itself works
        fetch(weights(server), tmp_path)


def test_a_file_without_url_says_where_a_person_gets_it(tmp_path):
    file = KnownFile("net.pth", licence="CC-BY-NC-4.0", source_page="https://example.org/net")
    with pytest.raises(WeightsError, match=r"https://example\.org/net \(CC-BY-NC-4\.0\) and put it at"):
        fetch(file, tmp_path)
    assert leftovers(tmp_path) == []


def test_a_broken_line_is_resumed_where_it_broke(server, tmp_path):
    server.failures = ["cut:1000", "cut:5000", "reset"]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", "bytes=6000-", "bytes=6000-"]
    assert [headers.get("If-Range") for _, headers in server.requests] == [None, *['"v1"'] * 3]
    assert leftovers(tmp_path) == ["net.safetensors"]


def test_progress_pays_for_failures(server, tmp_path):
    server.failures = ["cut:1000"] * 10
    fetch(weights(server), tmp_path)
    assert len(server.requests) == 11


def test_a_killed_download_is_resumed_by_the_next_process(server, tmp_path):
    server.failures = ["cut:100000", 503, 503]
    with pytest.raises(WeightsError, match="503"):
        fetch(weights(server), tmp_path)
    assert leftovers(tmp_path) == [".net.safetensors.part", ".net.safetensors.part.json"]
    fetch(weights(server), tmp_path)
    assert ranges(server)[-1] == "bytes=100000-"
    assert (tmp_path / "net.safetensors").read_bytes() == CONTENT


def test_a_process_killed_in_the_middle_leaves_what_the_next_one_needs(server, tmp_path):
    server.failures, server.stall_s = ["stall"], 30
    (tmp_path / ".net.safetensors.part").write_bytes(CONTENT[:70000])
    (tmp_path / ".net.safetensors.part.json").write_text('{"validator": "\\"v1\\"", "sha256": null}')
    code = f"""
        from pathlib import Path
        from ovseg_ros.models.download import download
        from ovseg_ros.models.files import KnownFile
        file = KnownFile("net.safetensors", "{server.url}/file", size={len(CONTENT)}, licence="MIT")
        download(file, Path({str(tmp_path)!r}), progress=False)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline = time.monotonic() + 60
    while not server.requests and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.requests
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / ".net.safetensors.part").stat().st_size == 70000
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT  # the dead process's lock is gone with it
    assert ranges(server) == ["bytes=70000-", "bytes=70000-"]


@pytest.mark.parametrize("honest", [True, False], ids=["If-Range honoured", "If-Range ignored"])
def test_a_file_that_changed_meanwhile_is_begun_anew(server, tmp_path, honest):
    server.failures = ["cut:1000", 503, 503]
    with pytest.raises(WeightsError):
        fetch(weights(server), tmp_path)
    server.content, server.etag, server.honour_if_range = OTHER, '"v2"', honest
    file = weights(server, sha256=sha256(OTHER))
    assert fetch(file, tmp_path).read_bytes() == OTHER


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    server.ranges = False
    server.failures = ["cut:1000"]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_another_range_than_asked_for_is_not_appended(server, tmp_path):
    server.range_shift = -10
    server.failures = ["cut:1000"]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", None]


def test_without_a_validator_nothing_is_resumed(server, tmp_path):
    server.etag = None
    server.failures = ["cut:1000"]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, None]


@pytest.mark.parametrize(("have", "again"), [(CONTENT, 1), (CONTENT + b"more", 2)], ids=["whole", "too long"])
def test_a_part_with_nothing_left_to_fetch(server, tmp_path, have, again):
    (tmp_path / ".net.safetensors.part").write_bytes(have)
    (tmp_path / ".net.safetensors.part.json").write_text('{"validator": "\\"v1\\"", "sha256": null}')
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == again


def test_a_part_whose_state_is_lost_is_begun_anew(server, tmp_path):
    (tmp_path / ".net.safetensors.part").write_bytes(OTHER[:500])
    (tmp_path / ".net.safetensors.part.json").write_text("{not json")
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT


def test_wrong_content_is_deleted_and_both_hashes_are_named(server, tmp_path):
    server.content = OTHER
    with pytest.raises(WeightsError) as caught:
        fetch(weights(server), tmp_path)
    for word in (sha256(CONTENT), sha256(OTHER), "net.safetensors", server.url):
        assert word in str(caught.value)
    assert leftovers(tmp_path) == []


def test_another_size_is_refused_before_it_is_fetched(server, tmp_path):
    with pytest.raises(WeightsError, match=f"want net.safetensors with 7 bytes.*offers {len(CONTENT)}"):
        fetch(weights(server, size=7), tmp_path)
    assert leftovers(tmp_path) == []


def test_another_md5_is_refused(server, tmp_path):
    with pytest.raises(WeightsError, match="MD5 beginning abcdef"):
        fetch(weights(server, sha256=None, md5_prefix="abcdef"), tmp_path)
    assert leftovers(tmp_path) == []


def test_the_hub_states_the_hash_on_its_redirect(server, tmp_path):
    server.redirect, server.linked_sha256 = True, sha256(CONTENT)
    file = weights(server, url=f"{server.url}/hub", sha256=None, size=None)
    path = fetch(file, tmp_path)
    assert [request for request, _ in server.requests] == ["/hub", "/storage"]
    assert recorded_sha256(path) == sha256(CONTENT)
    path.write_bytes(OTHER)
    with pytest.raises(WeightsError, match=sha256(OTHER)):
        verify(path, file)


def test_what_differs_from_the_hubs_hash_is_refused(server, tmp_path):
    server.redirect, server.linked_sha256 = True, sha256(OTHER)
    with pytest.raises(WeightsError, match=sha256(OTHER)):
        fetch(weights(server, url=f"{server.url}/hub", sha256=None, size=None), tmp_path)
    assert leftovers(tmp_path) == []


def test_ranges_survive_the_redirect(server, tmp_path):
    server.redirect, server.linked_sha256 = True, sha256(CONTENT)
    server.failures = ["cut:1234"]
    fetch(weights(server, url=f"{server.url}/hub", sha256=None, size=None), tmp_path)
    assert ranges(server) == [None, None, "bytes=1234-", "bytes=1234-"]


def test_another_hub_hash_half_way_begins_anew(server, tmp_path):
    server.redirect, server.content, server.linked_sha256 = True, OTHER, sha256(OTHER)
    server.failures = ["cut:1234", 503, 503]
    file = weights(server, url=f"{server.url}/hub", sha256=None, size=None)
    with pytest.raises(WeightsError):
        fetch(file, tmp_path)
    server.content, server.linked_sha256 = CONTENT, sha256(CONTENT)  # and the storage's ETag stays as it was
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_without_any_statement_the_hash_of_what_came_is_recorded(server, tmp_path):
    path = fetch(weights(server, sha256=None, size=None), tmp_path)
    assert recorded_sha256(path) == sha256(CONTENT)
    assert (tmp_path / "net.safetensors.sha256").read_text() == f"{sha256(CONTENT)}  net.safetensors\n"


def test_a_file_whose_end_nobody_can_tell_is_refused(server, tmp_path):
    server.length = False
    with pytest.raises(WeightsError, match="neither how long the file is nor its SHA-256"):
        fetch(weights(server, sha256=None, size=None), tmp_path)
    assert fetch(weights(server, size=None), tmp_path).read_bytes() == CONTENT  # the hash tells


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(server, tmp_path, code):
    server.failures = [code] * 9
    with pytest.raises(WeightsError, match=f"the server answered {code}") as caught:
        fetch(weights(server), tmp_path)
    assert len(server.requests) == 1
    for word in ("net.safetensors", server.url, f"put it at {tmp_path}/net.safetensors"):
        assert word in str(caught.value)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_overloaded_server_gets_a_few_more_tries(server, tmp_path, code):
    server.failures = [code, code]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    server.requests.clear()
    server.failures = [code] * 9
    with pytest.raises(WeightsError, match=str(code)):
        fetch(weights(server, name="second.safetensors"), tmp_path)
    assert len(server.requests) == QUICK.attempts


def test_a_silent_server_is_left(server, tmp_path):
    server.failures, server.stall_s = ["stall"] * 9, 3
    began = time.monotonic()
    with pytest.raises(WeightsError, match="timed out"):
        fetch(weights(server), tmp_path, patience=Patience(timeout_s=0.2, attempts=2, pause_s=0.01))
    assert time.monotonic() - began < 3


def test_no_network(server, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(WeightsError, match=r"no connection.*name resolution.*put it at"):
        fetch(weights(server, url="https://example.invalid/net"), tmp_path)


def test_a_network_that_goes_away_is_no_fault_of_the_disk(server, tmp_path, monkeypatch):
    read, faults = http.client.HTTPResponse.read, [OSError(errno.ENETUNREACH, "Network is unreachable")]

    def unreliable(response, size=None):
        if faults and size:
            raise faults.pop()
        return read(response, size)

    monkeypatch.setattr(http.client.HTTPResponse, "read", unreliable)
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert faults == []


def test_a_closed_port(tmp_path, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WeightsError, match="no connection"):
        fetch(weights(server, url=f"http://127.0.0.1:{port}/net"), tmp_path)


def test_only_https(server, tmp_path):
    for url in ("http://example.org/net", "ftp://example.org/net", "file:///etc/passwd"):
        with pytest.raises(Refused, match="want an https address"):
            check_address(url)
        with pytest.raises(WeightsError, match="want an https address"):
            fetch(weights(server, url=url), tmp_path)
    check_address("https://example.org/net")


def test_a_redirect_to_plain_http_is_refused(server, tmp_path, monkeypatch):
    server.redirect = True
    monkeypatch.setattr("ovseg_ros.models.http._LOCAL", ("localhost",))
    file = weights(server, url=f"{server.url}/hub".replace("127.0.0.1", "localhost"))
    with pytest.raises(WeightsError, match="want an https address"):
        fetch(file, tmp_path)
    assert [request for request, _ in server.requests] == ["/hub"]


def test_no_room(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=60_000_000))
    with pytest.raises(WeightsError, match=r"want 67 MB free in .*net.safetensors, got 60 MB.*make room"):
        fetch(weights(server), tmp_path)


def test_the_disk_fills_up_on_the_way(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"cannot write .*net.safetensors: No space left"):
        fetch(weights(server), tmp_path)
    assert len(server.requests) == 1
    assert not (tmp_path / "net.safetensors").exists()


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"cannot write .*Not a directory|cannot write .*File exists"):
        fetch(weights(server), tmp_path / "file")
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(WeightsError, match="Permission denied"):
            fetch(weights(server), tmp_path / "locked")


def _fetch_in_process(url, folder, results):
    file = KnownFile("net.safetensors", url, sha256(CONTENT), licence="MIT")
    results.put(download(file, folder, progress=False).read_bytes() == CONTENT)


def test_two_processes_fetch_it_once(server, tmp_path):
    server.delay_s = 0.5
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [
        context.Process(target=_fetch_in_process, args=(f"{server.url}/file", tmp_path, results))
        for _ in "ab"
    ]
    for process in both:
        process.start()
    assert [results.get(timeout=30), results.get(timeout=30)] == [True, True]
    for process in both:
        process.join()
    assert len(server.requests) == 1


def test_two_threads_fetch_it_once(server, tmp_path):
    server.delay_s = 0.3
    threads = [threading.Thread(target=fetch, args=(weights(server), tmp_path)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (tmp_path / "net.safetensors").read_bytes() == CONTENT


def test_the_bar_shows_on_stderr(server, tmp_path, capfd):
    download(weights(server), tmp_path, patience=QUICK)
    out, err = capfd.readouterr()
    assert out == ""
    assert "net.safetensors" in err
    assert "256k/256k" in err


def test_it_says_who_it_is(server, tmp_path):
    fetch(weights(server), tmp_path)
    assert server.requests[0][1]["User-Agent"].startswith("ovseg_ros/")
