"""Who is answered by a running `ovseg web`, on which addresses, in which words, whatever strangers try."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest
from web_fixtures import ask, colour_segmenter, event, served, submit_values, turned_away, upload

from ovseg_ros.app.web import command as web
from ovseg_ros.app.web.bodies import MAX_JSON_BYTES
from ovseg_ros.app.web.gate import Gate, Hosts
from ovseg_ros.app.web.uploads import Files
from ovseg_ros.errors import ConfigError

OK = (200, 206)


# ---------------------------------------------------------------------------------------------- who asks


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example",
        "192.0.2.7",
        "",
        "::",
        "[",
        "a@localhost",
    ],
)
def test_a_foreign_name_for_this_machine_gets_nothing(client, url, host):
    host = host.format(port=urlsplit(url).port)
    for address in ("/", "/config", "/gradio_api/queue/data?session_hash=x"):
        reply = client.get(address, headers={"Host": host})
        assert reply.status_code in (400, 421)
        assert "gradio" not in reply.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:7860"])
def test_this_machines_names_for_itself_are_answered(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_two_names_or_none_get_nothing(url):
    parts = urlsplit(url)
    for heads in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
            opened.sendall(b"GET / HTTP/1.0\r\n" + heads + b"\r\n")
            assert re.match(rb"HTTP/1.1 4\d\d ", opened.recv(100))


def test_which_names_are_ours():
    near = Hosts("127.0.0.1")
    assert near.allows("localhost:7860", "127.0.0.1")
    assert not near.allows("192.0.2.7:7860", "192.0.2.7")  # what arrives there did not come to our socket
    far = Hosts("0.0.0.0", ["Robot.example.org", "10.9.8.7"])
    for host in ("robot.example.org:80", "ROBOT.example.org.", socket.gethostname(), "10.9.8.7", "[::1]"):
        assert far.allows(host, "192.0.2.7"), host
    assert far.allows("192.0.2.7:7860", "192.0.2.7")  # where the visitor's connection arrived
    assert far.allows("192.0.2.7", "::ffff:192.0.2.7")
    for host in (
        "192.0.2.8",
        "evil.example",
        "org",
        "robot.example.org.evil.example",
        "robot.example.org@evil",
    ):
        assert not far.allows(host, "192.0.2.7"), host
    assert Hosts("192.0.2.7").allows("192.0.2.7:7860", "192.0.2.7")
    assert Hosts("2001:db8::7").allows("[2001:db8::7]:7860", "2001:db8::7")
    with pytest.raises(ConfigError, match="expected --allow-host as the name of a machine"):
        Hosts("127.0.0.1", ["not a name"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_in_the_visitors_browser_can_neither_send_nor_ask(client, page_folder, headers):
    before = sorted(page_folder.rglob("*"))
    body = {"data": [None, ""], "fn_index": event(client, "image", "upload")["id"], "session_hash": "x"}
    files = {"files": ("a.png", b"planted", "image/png")}
    assert client.post("/gradio_api/upload", files=files, headers=headers).status_code == 403
    for way in ("queue/join", "run/predict", "cancel", "reset"):
        assert client.post(f"/gradio_api/{way}", json=body, headers=headers).status_code == 403
    assert client.get("/config", headers=headers).status_code == 403
    assert client.get("/assets/index.js", headers=headers).status_code == 403
    assert sorted(page_folder.rglob("*")) == before


def test_our_own_page_and_a_link_to_it_are_answered(client, url):
    origin = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    files = {"files": ("a.png", b"x", "image/png")}
    reply = client.post("/gradio_api/upload", files=files, headers=origin)
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=followed).status_code == 200


def test_a_visitors_headers_do_not_say_where_the_page_sends_others(client):
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Gradio-Server": "http://evil.example/",
        "X-Forwarded-Proto": "https",
    }
    for address in ("/", "/config"):
        assert "evil.example" not in client.get(address, headers=lies).text


def test_an_answer_that_refuses_is_not_lost_to_a_body_still_under_way(url):
    """Closing with bytes unread resets the connection, and the sender sees that instead of the answer."""
    parts, half = urlsplit(url), b"x" * 500_000
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
        opened.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
            b"Content-Length: 1000000\r\n\r\n" + half
        )
        time.sleep(0.3)  # the answer is sent by now, and nothing of it read
        opened.sendall(half)
        time.sleep(0.3)
        received = b"".join(iter(lambda: opened.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.endswith(b"not from other pages")


def test_no_web_socket_is_opened(url):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
        opened.sendall(
            b"GET /gradio_api/queue/data HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert not opened.recv(100).startswith(b"HTTP/1.1 101")


# ------------------------------------------------------------------------------------------------ addresses


def test_of_all_that_gradio_serves_only_what_the_page_asks_for_is_reached(page_folder, client):
    import gradio as gr

    wanted = {
        *("/", "/config", "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/manifest.json"),
        *(
            "/assets/x",
            "/static/x",
            "/gradio_api/app_id",
            "/gradio_api/app_id/",
            "/gradio_api/startup-events",
        ),
        *(
            "/gradio_api/heartbeat/x",
            "/gradio_api/queue/data",
            "/gradio_api/upload_progress",
            "/gradio_api/upload",
        ),
        *("/gradio_api/run/x", "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"),
    }
    with gr.Blocks() as blocks:
        gr.Markdown("all that Gradio has")
    routes = []
    for route in gr.routes.App.create_app(blocks).routes:  # a router in it is one route, in newer FastAPI
        inner = getattr(route, "original_router", None)
        routes += [route] if inner is None else inner.routes
    routes = [route for route in routes if hasattr(route, "methods")]
    assert len(routes) > 50
    closed = 0
    for route in routes:
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        if path in wanted:
            continue
        for method in route.methods:
            reply = client.request(method, path)
            assert reply.status_code == 404, (method, path)
            assert reply.text == ("" if method == "HEAD" else "there is nothing here")
            closed += 1
    assert closed > 40


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/openapi.json",
            "/docs",
            "/redoc",
            "/gradio_api/openapi.json",
            "/gradio_api/info",
            "/monitoring/summary",
        ),
        *(
            "/gradio_api/queue/status",
            "/assets/../../../routes.py",
            "/assets/%2e%2e/%2e%2e/routes.py",
            "/static//etc",
        ),
        *(
            "/static/..%5c..%5croutes.py",
            "/assets/.hidden",
            "//etc/passwd",
            "/gradio_api/mcp/sse",
            "/robots.txt",
        ),
    ],
)
def test_addresses_that_tell_of_the_program_or_lead_out_of_it(client, path):
    reply = client.get(path)
    assert reply.status_code == 404
    assert "there is nothing here" in reply.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods(client, method):
    assert client.request(method, "/").status_code == 404


def test_the_page_itself_is_whole(client):
    page = client.get("/")
    assert page.status_code in OK
    for address in re.findall(r"""(?:src|href)=["'](\.?/[^"']+)["']""", page.text):
        assert client.get(address.removeprefix(".")).status_code in OK, address
    for address in (
        "/theme.css",
        "/config",
        "/gradio_api/startup-events",
        "/gradio_api/app_id",
        "/favicon.ico",
    ):
        assert client.get(address).status_code in OK, address
    pictures = set(re.findall(r'"url":"([^"]+/page/[^"]+)"', page.text))
    assert pictures  # of the examples
    for address in pictures:
        assert client.get(address).status_code in OK, address


def test_answers_tell_nothing_of_this_machine(client, page_folder):
    (path,) = upload(client, "mine.png", b"x").json()
    failed = ask(client, event(client, "submit", "click"), submit_values(None))
    filled = ask(client, event(client, "example-0", "click"), [])
    told = [client.get("/").text, client.get("/config").text, path, json.dumps(failed), json.dumps(filled)]
    assert "/page/examples/" in told[4] or "/page/uploads/" in told[4]
    here = {str(page_folder), os.getcwd(), sys.prefix, socket.gethostname(), os.environ["HOME"] + "/"}
    for text in told:
        for place in here:
            assert place not in text


def test_every_answer_has_the_headers_that_keep_a_browser_to_itself(client):
    for address in ("/", "/config", "/theme.css", "/favicon.ico", "/nothing"):
        headers = client.get(address).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


# ------------------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"data": [' + b"[" * 50_000,
        b'{"data": {"a": 1}, "fn_index": 0, "session_hash": "x"}',
        b'{"data": [[1]], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [NaN], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [1e999], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [' + b"9" * 4000 + b'], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [' + b"9" * 5000 + b'], "fn_index": 0, "session_hash": "x"}',
        b'{"data": ["' + b"a" * 20_001 + b'"], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [' + b"1," * 40 + b'1], "fn_index": 0, "session_hash": "x"}',
        b'{"data": [], "fn_index": true, "session_hash": "x"}',
        b'{"data": [], "fn_index": -1, "session_hash": "x"}',
        b'{"data": [], "fn_index": 0}',
        b'{"data": [], "fn_index": 0, "session_hash": "../x"}',
        b'{"data": [], "fn_index": 0, "session_hash": "' + b"x" * 65 + b'"}',
        b"\xff\xfe",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_requests_that_the_page_would_not_send_are_refused_unread(client, body):
    for way in ("queue/join", "run/predict"):
        reply = client.post(f"/gradio_api/{way}", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400, reply.text
        assert reply.text.startswith("expected ")


def test_a_field_too_many_is_dropped(client):
    message = ask(
        client, event(client, "image", "upload"), [None, ""], batched=True, simple_format=True, event_id="x"
    )
    assert message["success"], message


def test_a_request_too_long_is_refused_before_it_is_here(client):
    body = b'{"data": ["' + b"a" * MAX_JSON_BYTES + b'"]}'
    assert turned_away(client, "/gradio_api/queue/join", content=body)
    assert turned_away(client, "/gradio_api/queue/join", content=iter([body]))  # of unknown length
    assert client.request("GET", "/", content=b"x").status_code == 400


# ------------------------------------------------------------------------------------------------ patience


async def _reads_all(scope, receive, send):
    """An application that wants the whole body."""
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"read"})


def _until_closed(opened: socket.socket) -> bytes:
    got = b""
    try:
        while part := opened.recv(1000):
            got += part
    except ConnectionResetError:
        pass
    return got


def _answered(opened: socket.socket) -> bool:
    """Whether `_reads_all` answers, its body to the end."""
    got = b""
    while not got.endswith(b"0\r\n\r\n"):
        part = opened.recv(1000)
        if not part:
            return False
        got += part
    return b"read" in got


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_that_does_not_come_is_not_waited_for(tmp_path, path):
    with served(Gate(_reads_all, Hosts(), Files(tmp_path), idle_s=0.3)) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
            opened.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc".encode()
            )
            assert b" 408 " in _until_closed(opened)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a head"])
def test_a_connection_that_does_not_ask_is_closed(tmp_path, sent):
    with served(Gate(_reads_all, Hosts(), Files(tmp_path)), headers_s=0.5) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
            opened.sendall(sent)
            assert _until_closed(opened) == b""
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert _answered(opened)
            opened.sendall(b"GET / HTTP/1.1\r\nHost: loc")  # the second of a connection is as slow as a first
            assert _until_closed(opened) == b""


def test_one_visitor_cannot_take_every_connection(tmp_path):
    with served(Gate(_reads_all, Hosts(), Files(tmp_path)), max_each=4) as url:
        parts = urlsplit(url)
        opened = [socket.create_connection((parts.hostname, parts.port), timeout=20) for _ in range(5)]
        try:
            assert _until_closed(opened[4]) == b""
            opened[0].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert _answered(opened[0])
        finally:
            for one in opened:
                one.close()


@pytest.mark.timeout(120)
def test_a_long_queue_is_refused_at_its_end(tmp_path):
    import httpx

    from ovseg_ros.app.web.page import MAX_WAITING

    os.environ.update(web._QUIET)

    def slow(*names):
        segmenter = colour_segmenter()
        segmenter.proposer.propose = lambda frame: time.sleep(60)
        return segmenter

    app = web.make_app("mini", tmp_path, load=slow)
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        filled = ask(client, event(client, "example-0", "click"), [])["output"]["data"]
        values = submit_values(filled[0], filled[3], camera=filled[4])
        body = {"data": values, "fn_index": event(client, "submit", "click")["id"]}
        codes = [
            client.post("/gradio_api/queue/join", json=body | {"session_hash": f"s{number}"}).status_code
            for number in range(MAX_WAITING + 3)
        ]
        assert codes[0] == 200
        assert codes[-1] == 503
        assert client.get("/").status_code == 200
