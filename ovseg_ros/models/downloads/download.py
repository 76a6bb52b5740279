"""Fetching weights files: resumed where they stopped, verified before they get their name.

The connection is huggingface_hub's, which knows tokens, mirrors, proxies and rate limits. `hf_hub_download`
itself is not used: interrupted, it deletes what has come; where the line is cut, it forgets up to 10 MB each
time. While a download runs, `.<file>.<hash>.part` holds what has come and `.<file>.lock` keeps a second
process from writing to it. The hash is that of the whole file, so the part can be continued without an ETag:
if the server sends another version by then, the check at the end finds out. Every attempt asks the hub anew,
since the address it redirects to is signed and expires.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tqdm import tqdm

from ovseg_ros import __version__
from ovseg_ros.errors import WeightsError
from ovseg_ros.models.downloads.answers import is_expired, reason, refuse_page, statement
from ovseg_ros.models.downloads.files import (
    KnownFile,
    check_content,
    cure,
    find_file,
    known_file,
    sha256_record,
    verify,
    weights_folders,
)

if TYPE_CHECKING:
    import httpx2

_HUB = "https://huggingface.co"  # as the table has it; HF_ENDPOINT may name a mirror
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_SPARE_BYTES = 64 << 20  # left free on the disk
_ATTEMPTS = 4  # broken connections in a row, none of which brought anything new, after which it gives up
_PAUSE_S = 1.0  # before the second attempt; doubled after each further one

_LOG = logging.getLogger(__name__)


def resolve_file(
    name: str, *, weights_dir: str | Path | None = None, beside: Path | None = None, offline: bool = True
) -> Path:
    """The verified file of that name; fetched first where it is missing, can be, and `offline` is False.

    Args:
        name: see `find_file`.
        weights_dir: looked into, and where a download goes; the cache otherwise.
        beside: see `find_file`.
        offline: True never touches the network.

    Raises:
        WeightsError: not there (says where to get it and where to put it), or not the expected content.
    """
    path = find_file(name, weights_dir, beside)
    file = known_file(name)
    if path is not None:
        return verify(path, file)
    if file is None:
        looked = ", ".join(str(folder) for folder in weights_folders(weights_dir, beside))
        raise WeightsError(
            f"expected the weights file {name}, it is in none of {looked}; put it into one of them"
        )
    folder = weights_folders(weights_dir)[0]
    if offline or file.url is None:
        raise WeightsError(
            f"expected the weights file {name}, it is not on this machine; {cure(file, folder)}"
        )
    return download(file, folder)


def download(file: KnownFile, folder: Path, *, offline: bool = False, progress: bool = True) -> Path:
    """The verified file in `folder`, fetched unless it is already there.

    Args:
        file: a row of the table.
        folder: a weights folder; made if missing.
        offline: True never opens a connection.
        progress: shows a bar on stderr.

    Raises:
        WeightsError: cannot be fetched, other content than expected, no room or no permission. Each names the
            file, where to get it by hand and where to put it. What has come stays for the next try, unless it
            is wrong.
    """
    target = folder / file.name
    if target.is_file():
        return verify(target, file)
    if offline:
        raise WeightsError(
            f"expected {target}, it is not there and offline forbids fetching it; {cure(file, folder)}"
        )
    if file.url is None:
        raise WeightsError(f"{file.name} cannot be fetched by a program; {cure(file, folder)}")
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if target.is_file():  # another process fetched it while this one waited
                return verify(target, file)
            return _fetch(file, file.url, folder, progress)
    except (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled, ImportError) as error:
        raise WeightsError(
            f"cannot fetch {file.name} from {file.url}: {reason(error)}; {cure(file, folder)}"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {error.strerror or error}; {cure(file, folder)}"
        ) from error


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    with target.with_name(f".{target.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.warning("another process is fetching %s; waiting for it", target.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _fetch(file: KnownFile, url: str, folder: Path, progress: bool) -> Path:
    """Fetches the rest of the file, checks it and gives it its name; the lock is held."""
    target, record = folder / file.name, sha256_record(folder / file.name)
    sha256, size = (file.sha256, None) if file.sha256 else _stated(file, url, folder)
    if sha256 is None:
        raise WeightsError(f"{url} does not state the SHA-256 of {file.name}; {cure(file, folder)}")
    part = target.with_name(f".{target.name}.{sha256[:12]}.part")
    for other in target.parent.glob(f".{target.name}.*.part"):
        if other != part:  # of another version
            other.unlink()
    with part.open("ab") as stream:
        _receive(replace(file, size=file.size or size), url, stream, progress)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        advice = f"what came was deleted; try again, or {cure(file, folder)}"
        check_content(part, file, sha256, advice, called=target)
    except WeightsError:
        part.unlink()
        raise
    record.unlink(missing_ok=True)
    if file.sha256 is None:
        record.write_text(f"{sha256}  {target.name}\n", encoding="utf-8")
    os.replace(part, target)
    return target


def _receive(file: KnownFile, url: str, stream: IO[bytes], progress: bool) -> None:
    """Appends what is missing to the part; attempts go on as long as they bring something new."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    failures, most = 0, stream.tell()
    with tqdm(desc=file.name, initial=most, unit="B", unit_scale=True, disable=not progress) as bar:
        while True:
            try:
                with _open(url, stream.tell(), retry_on_exceptions=()) as response:
                    _copy(response, file, stream, bar)
                return
            except (httpx2.TransportError, HfHubHTTPError) as error:
                if not (isinstance(error, httpx2.TransportError) or is_expired(error)):
                    raise
                failures = 1 if stream.tell() > most else failures + 1
                most = max(most, stream.tell())
                if failures >= _ATTEMPTS:
                    raise
                pause = _PAUSE_S * 2 ** (failures - 1)
                _LOG.warning("%s: %s; next attempt in %.0f s", file.name, reason(error), pause)
                time.sleep(pause)


@contextlib.contextmanager
def _open(url: str, start: int = 0, **retries: Any) -> Iterator[httpx2.Response]:
    """The server's answer, its body still to be read from byte `start` on; redirects are followed.

    Overloaded servers are asked again a few times, after the time they say in Retry-After. What a broken
    connection does is in `retries`, see `http_stream_backoff`.
    """
    from huggingface_hub import constants, hf_raise_for_status
    from huggingface_hub.utils import get_token_to_send, http_stream_backoff

    headers = {"User-Agent": f"ovseg_ros/{__version__}", "Accept-Encoding": "identity"}
    if url.startswith(f"{_HUB}/"):
        url = constants.ENDPOINT + url.removeprefix(_HUB)
        if token := get_token_to_send(None):  # not handed on where a redirect leads to another host
            headers["Authorization"] = f"Bearer {token}"
    if start:
        headers["Range"] = f"bytes={start}-"
    _check_address(url)
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with http_stream_backoff("GET", url, headers=headers, timeout=timeout, **retries) as response:
        for hop in (*response.history, response):
            _check_address(str(hop.url))
        if response.status_code != 416:
            hf_raise_for_status(response)
        yield response


def _check_address(url: str) -> None:
    import httpx2

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _THIS_MACHINE):
        raise httpx2.InvalidURL(f"expected an https address, got {url}")


def _stated(file: KnownFile, url: str, folder: Path) -> tuple[str | None, int | None]:
    """What the hub says SHA-256 and size are, on its own answer or its redirect to the storage."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with _open(url, max_retries=_ATTEMPTS - 1) as response:
            answer = response
            if statement(answer)[0] is None:
                refuse_page(next(response.iter_bytes(), b""), file, folder)
    except HfHubHTTPError as error:
        if not is_expired(error):  # the redirect has said it all the same
            raise
        answer = error.response
    return statement(answer)


def _copy(response: httpx2.Response, file: KnownFile, stream: IO[bytes], bar: tqdm) -> None:
    """Appends the body to the part, which begins anew unless the answer continues it."""
    import httpx2

    if response.status_code == 416:  # nothing is left to send: the check decides whether this is the file
        return
    chunks = response.iter_bytes()
    first = next(chunks, b"")
    folder = Path(stream.name).parents[file.name.count("/")]
    if response.status_code == 200:  # before what has come is given up for it
        refuse_page(first, file, folder)
    continued = response.headers.get("Content-Range", "").startswith(f"bytes {stream.tell()}-")
    if response.status_code != 206 or not continued:
        stream.seek(0)
        stream.truncate()
    if response.status_code == 206 and not continued:
        raise httpx2.RemoteProtocolError("the server sent another range than asked for")
    length = response.headers.get("Content-Length", "")
    if length.isdigit():
        _check_length(file, stream.tell(), int(length), Path(stream.name))
        bar.total = stream.tell() + int(length)
    bar.n = stream.tell()
    for chunk in itertools.chain([first], chunks):
        stream.write(chunk)
        bar.update(len(chunk))
        if (
            file.size is not None and stream.tell() > file.size
        ):  # a server that does not say how much it sends
            _check_length(file, stream.tell(), 0, Path(stream.name))
    if file.size is not None and stream.tell() < file.size:  # one that does not say that it was cut
        raise httpx2.RemoteProtocolError(f"the answer ended {file.size - stream.tell()} bytes early")


def _check_length(file: KnownFile, have: int, to_come: int, part: Path) -> None:
    """Refuses what cannot be the file, or finds no room, before it is fetched."""
    if file.size not in (None, have + to_come):
        part.unlink()
        raise WeightsError(
            f"expected {file.name} with {file.size} bytes, {file.url} offers {have + to_come}: another file; "
            f"{cure(file, part.parents[file.name.count('/')])}"
        )
    needed, free = to_come + _SPARE_BYTES, shutil.disk_usage(part.parent).free
    if free < needed:
        raise WeightsError(
            f"expected {needed / 1e6:.0f} MB free in {part.parent} for {file.name}, got {free / 1e6:.0f} MB; "
            "make room, or choose another folder with --weights-dir"
        )
