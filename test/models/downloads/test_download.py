"""Downloads against a server on this machine that behaves, misbehaves, and changes its mind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import huggingface_hub
import pytest
from no_network import forbid_network
from weights_server import serve, sha256

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.downloads import download as fetching
from ovseg_ros.models.downloads.download import download
from ovseg_ros.models.downloads.files import KnownFile, recorded_sha256, verify

CONTENT = bytes(range(256)) * 1000
OTHER = b"another version".ljust(len(CONTENT), b".")
PART = f".net.safetensors.{sha256(CONTENT)[:12]}.part"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Nobody sleeps; what they would have slept."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    huggingface_hub.close_session()  # which has read the variable
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def server(monkeypatch):
    with serve(content=CONTENT) as behaviour:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", behaviour.url)
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


def on_hub(server, **changes) -> KnownFile:
    """A file of the hub, which alone knows its hash, kept on another host."""
    server.storage, server.linked_sha256 = "localhost", sha256(CONTENT)
    url = "https://huggingface.co/owner/net/resolve/main/net.safetensors"
    return weights(server, url=url, sha256=None, size=None, **changes)


def fetch(file, folder, **options):
    return download(file, folder, progress=False, **options)


def leftovers(folder):
    """Names of what lies there besides lock files, which stay on purpose."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


@pytest.mark.parametrize("name", ["net.safetensors", "net/clip.safetensors"])
def test_a_file_is_fetched_verified_and_named(server, tmp_path, name):
    path = fetch(weights(server, name=name), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / name
    assert path.read_bytes() == CONTENT
    assert leftovers(tmp_path) == [path.name]
    assert server.requests[0][1]["User-Agent"].startswith("ovseg_ros/")


def test_a_file_that_is_there_is_verified_and_not_fetched(server, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(CONTENT)
    fetch(weights(server), tmp_path)
    assert server.requests == []
    (tmp_path / "net.safetensors").write_bytes(OTHER)
    with pytest.raises(WeightsError, match=sha256(OTHER)):
        fetch(weights(server), tmp_path)


def test_offline_opens_no_socket(server, tmp_path, monkeypatch):
    forbid_network(monkeypatch)
    with pytest.raises(WeightsError, match="offline") as caught:
        fetch(weights(server), tmp_path, offline=True)
    for word in ("net.safetensors", server.url, str(tmp_path)):
        assert word in str(caught.value)
    with pytest.raises(AssertionError, match="a socket"):  # the guard itself works
        fetch(weights(server), tmp_path)


def test_the_librarys_own_offline_switch_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*put it at"):
        fetch(on_hub(server), tmp_path)
    assert server.requests == []


def test_a_file_without_url_says_where_a_person_gets_it(tmp_path):
    file = KnownFile("net.pth", licence="CC-BY-NC-4.0", source_page="https://example.org/net")
    with pytest.raises(WeightsError, match=r"https://example\.org/net \(CC-BY-NC-4\.0\) and put it at"):
        fetch(file, tmp_path)
    assert leftovers(tmp_path) == []


def test_a_broken_line_is_resumed_where_it_broke(server, tmp_path):
    server.failures = ["cut:1000", "cut:5000", "reset"]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", "bytes=6000-", "bytes=6000-"]
    assert leftovers(tmp_path) == ["net.safetensors"]


def test_a_server_that_cuts_each_answer_short_is_borne_with(server, tmp_path):
    server.cut_every = len(CONTENT) // 20
    file = on_hub(server)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server)[-1] == f"bytes={19 * server.cut_every}-"


def test_attempts_that_bring_nothing_come_to_an_end(server, tmp_path, pauses):
    server.failures = ["cut:1000"] + ["reset"] * 9
    with pytest.raises(WeightsError, match=r"no connection \(.*put it at"):
        fetch(weights(server), tmp_path)
    assert pauses == [1.0, 2.0, 4.0]
    assert leftovers(tmp_path) == [PART]  # for the next try
    server.failures = []
    fetch(weights(server), tmp_path)
    assert ranges(server)[-1] == "bytes=1000-"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_leaves_what_the_next_one_needs(server, tmp_path, sent):
    server.failures = ["cut:0", "cut:70000", "stall"]  # the first: asked what the hash is
    file = on_hub(server)
    process = multiprocessing.get_context("fork").Process(target=fetch, args=(file, tmp_path))
    process.start()
    while server.failures and process.is_alive():
        process.join(0.02)
    os.kill(process.pid, sent)
    process.join(timeout=30)
    assert process.exitcode
    assert leftovers(tmp_path) == [PART]
    part = (tmp_path / PART).read_bytes()
    assert len(part) > 50000  # a killed process has not written its last few kilobytes
    assert CONTENT.startswith(part)
    assert fetch(file, tmp_path).read_bytes() == CONTENT  # the dead process's lock is gone with it
    assert ranges(server)[-1] == f"bytes={len(part)}-"


def test_a_file_that_changed_on_the_hub_is_begun_anew(server, tmp_path):
    file = on_hub(server)
    server.failures = ["cut:0", "cut:1000"] + ["reset"] * 9
    with pytest.raises(WeightsError):
        fetch(file, tmp_path)
    server.content, server.linked_sha256, server.failures = OTHER, sha256(OTHER), []
    assert fetch(file, tmp_path).read_bytes() == OTHER
    assert leftovers(tmp_path) == ["net.safetensors", "net.safetensors.sha256"]


@pytest.mark.parametrize(
    ("behaviour", "asked"),
    [({"ranges": False}, [None, "bytes=1000-"]), ({"range_shift": -10}, [None, "bytes=1000-", None])],
    ids=["the whole file again", "another range than asked for"],
)
def test_what_does_not_continue_the_part_is_not_appended(server, tmp_path, behaviour, asked):
    vars(server).update(behaviour, failures=["cut:1000"])
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == asked


def test_a_part_with_nothing_left_to_fetch(server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT)
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize(
    ("part", "content"),
    [(OTHER[:500], CONTENT), (CONTENT + b"more", CONTENT), (b"", OTHER)],
    ids=["another beginning", "too long", "another file"],
)
def test_what_is_not_the_file_is_deleted_and_said(server, tmp_path, part, content):
    (tmp_path / PART).write_bytes(part)
    server.content = content
    with pytest.raises(WeightsError, match="what came was deleted; try again") as caught:
        fetch(weights(server), tmp_path)
    for word in (f"{tmp_path}/net.safetensors", server.url):
        assert word in str(caught.value)
    if content == OTHER:
        assert f"{sha256(CONTENT)}, got {sha256(OTHER)}" in str(caught.value)
    assert leftovers(tmp_path) == []
    server.content = CONTENT
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT


def test_another_size_is_refused_before_it_is_fetched(server, tmp_path):
    with pytest.raises(WeightsError, match=f"expected net.safetensors with 7 bytes.*offers {len(CONTENT)}"):
        fetch(weights(server, size=7), tmp_path)
    assert leftovers(tmp_path) == []


def test_the_hub_states_the_hash_on_its_redirect(server, tmp_path, pauses):
    file = on_hub(server)
    server.failures = ["reset", "reset"]  # a broken line does not keep it from that
    path = fetch(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert pauses == [1, 2]
    assert recorded_sha256(path) == sha256(CONTENT)
    assert (tmp_path / "net.safetensors.sha256").read_text() == f"{sha256(CONTENT)}  net.safetensors\n"
    path.write_bytes(OTHER)
    with pytest.raises(WeightsError, match=sha256(OTHER)):
        verify(path, file)


@pytest.mark.parametrize(
    ("stated", "message"),
    [(sha256(OTHER), sha256(OTHER)), (None, r"does not state the SHA-256 of net\.safetensors; .*put it at")],
)
def test_what_differs_from_the_hubs_hash_or_has_none_is_refused(server, tmp_path, stated, message):
    file = on_hub(server)
    server.linked_sha256 = stated
    with pytest.raises(WeightsError, match=message):
        fetch(file, tmp_path)
    assert leftovers(tmp_path) == []


def test_the_token_goes_to_the_hub_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(on_hub(server, name="first.safetensors"), tmp_path)
    fetch(weights(server), tmp_path)
    sent = {path: headers.get("Authorization") for path, headers in server.requests}
    assert sent == {"/owner/net/resolve/main/net.safetensors": "Bearer hf_secret", "/file": None}


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(server, tmp_path, code):
    server.failures = [code] * 9
    with pytest.raises(WeightsError, match=f"the server answered {code}") as caught:
        fetch(weights(server), tmp_path)
    assert len(server.requests) == 1
    for word in ("net.safetensors", server.url, f"put it at {tmp_path}/net.safetensors"):
        assert word in str(caught.value)
    assert ("HF_TOKEN" in str(caught.value)) == (code in (401, 403))


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_overloaded_server_gets_a_few_more_tries(server, tmp_path, pauses, code):
    server.failures, server.retry_after = [code, code], 7
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert min(pauses) >= 7
    server.failures = [code] * 99
    with pytest.raises(WeightsError, match=f"the server answered {code}"):
        fetch(weights(server, name="second.safetensors"), tmp_path)


def test_an_overloaded_server_that_stays_so_says_what_helps(server, tmp_path):
    server.failures = [429] * 99
    with pytest.raises(WeightsError, match=r"429 .*wait before the next try; with HF_TOKEN set"):
        fetch(weights(server), tmp_path)


def test_an_address_that_expires_on_the_way_is_asked_for_again(server, tmp_path):
    """Each resumed request goes through the hub, which signs a new address; the part is continued."""
    file = on_hub(server)
    server.signed, server.failures = True, ["cut:0", "cut:1000", "cut:5000"]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    stored = [(path, headers.get("Range")) for path, headers in server.requests if "Signature" in path]
    assert [asked for _, asked in stored] == [None, None, "bytes=1000-", "bytes=6000-"]
    assert len({path for path, _ in stored}) == 4


def test_an_address_that_has_expired_when_it_is_used(server, tmp_path, pauses):
    file = on_hub(server)
    server.failures = [403, "cut:1000", 403, 403]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=1000-"
    assert pauses == [1, 2, 4]
    (tmp_path / file.name).unlink()
    server.failures = ["cut:0"] + [403] * 99
    with pytest.raises(
        WeightsError, match=r"403 .*it expired, or this machine's clock is wrong; .*put it at"
    ):
        fetch(file, tmp_path)
    assert not (tmp_path / file.name).exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_log_in_page_in_place_of_the_file(server, tmp_path, known):
    """Of a hotel's network, say. What had come stays."""
    (tmp_path / PART).write_bytes(CONTENT[:500])
    file = weights(server) if known else on_hub(server)
    if not known:
        server.storage = None
        file = replace(file, url=f"{server.url}/file")
    server.failures = ["page"]
    with pytest.raises(WeightsError, match=r"got a web page: a log-in page.*put it at") as caught:
        fetch(file, tmp_path)
    assert file.url in str(caught.value)
    assert leftovers(tmp_path) == [PART]
    assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=500-"


@pytest.mark.parametrize("stated", ["by the table", "by the hub"])
def test_a_server_that_does_not_say_that_it_was_cut(server, tmp_path, stated):
    """Without a length the end of an answer looks like the end of the file."""
    file = weights(server) if stated == "by the table" else on_hub(server)
    server.lengths, server.linked_size = False, len(CONTENT)
    server.failures = ["cut:1000", "cut:5000"]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server)[-1] in ("bytes=6000-", "bytes=5000-")  # the hub's statement was a request too


def test_a_server_that_sends_more_than_the_file(server, tmp_path):
    server.lengths, server.content = False, CONTENT + b"more"
    with pytest.raises(WeightsError, match=f"expected net.safetensors with {len(CONTENT)} bytes"):
        fetch(weights(server), tmp_path)
    assert leftovers(tmp_path) == []


def test_redirects_are_followed_and_have_an_end(server, tmp_path):
    server.hops = 3
    assert fetch(weights(server, url=f"{server.url}/net"), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/net", "/hop1/net", "/hop2/net", "/hop3/net", "/file"]
    server.hops = 99
    with pytest.raises(WeightsError, match=r"no connection \(.*redirects.*put it at"):
        fetch(weights(server, url=f"{server.url}/net", name="second.safetensors"), tmp_path)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of this machine, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        "-",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    path.write_text(made.stdout)
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_spoken_with_whom_the_machine_trusts(certificate, tmp_path, monkeypatch, trusted):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    huggingface_hub.close_session()
    with serve(certificate, content=CONTENT) as server:
        if trusted:
            assert fetch(weights(server), tmp_path).read_bytes() == CONTENT
            return
        with pytest.raises(WeightsError, match=r"no connection \(.*certificate.*put it at"):
            fetch(weights(server), tmp_path)
        assert leftovers(tmp_path) in ([], [PART])
        assert not (tmp_path / "net.safetensors").exists()
    huggingface_hub.close_session()


def test_a_silent_server_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    server.failures = ["stall"] * 9
    with pytest.raises(WeightsError, match=r"no connection \(.*timed out"):
        fetch(weights(server), tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://nowhere.invalid/net", r"no connection \(.+\)"),
        ("http://127.0.0.1:9/net", r"no connection \(.+\)"),
        ("http://example.org/net", "expected an https address"),
        ("ftp://example.org/net", "expected an https address"),
        ("file:///etc/passwd", "expected an https address"),
    ],
)
def test_addresses_that_nothing_comes_from(server, tmp_path, url, message):
    with pytest.raises(WeightsError, match=rf"{message}.*; .*put it at"):
        fetch(weights(server, url=url), tmp_path)


def test_a_proxy_that_cannot_be_used_is_said(server, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(WeightsError, match="no connection"):
        fetch(weights(server), tmp_path)


def test_nothing_is_taken_from_a_redirect_to_plain_http(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_THIS_MACHINE", ("127.0.0.1",))
    with pytest.raises(WeightsError, match=r"expected an https address.*put it at"):
        fetch(on_hub(server), tmp_path)
    assert leftovers(tmp_path) == []


def test_no_room(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=60_000_000))
    with pytest.raises(WeightsError, match=r"expected 67 MB free in .*net.safetensors, got 60 MB.*make room"):
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


def test_two_processes_fetch_it_once(server, tmp_path):
    server.delay_s = 0.5
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=fetch, args=(weights(server), tmp_path)) for _ in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=30)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "net.safetensors").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_bar_shows_on_stderr(server, tmp_path, capfd):
    download(weights(server), tmp_path)
    out, err = capfd.readouterr()
    assert out == ""
    assert "net.safetensors" in err
    assert "256k/256k" in err
