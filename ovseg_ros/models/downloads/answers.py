"""What servers answer when a file is asked for, and what it means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.downloads.files import KnownFile, cure

if TYPE_CHECKING:
    import httpx2

_PAGE = (b"<!doctype", b"<html", b"<?xml")  # begins what comes in place of a file


def reason(error: Exception) -> str:
    """Why nothing can be fetched, for people."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and forbids it (unset it)"
    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        hint = ""
        if is_expired(error):
            hint = " to the address that the hub has signed: it expired, or this machine's clock is wrong"
        elif code in (401, 403):
            hint = " (where the page asks you to log in, set HF_TOKEN)"
        elif code == 429:
            hint = " (wait before the next try; with HF_TOKEN set the hub allows more)"
        return f"the server answered {code} {error.response.reason_phrase}{hint}"
    return f"no connection ({str(error) or type(error).__name__})"  # or none through a SOCKS proxy


def is_expired(error: Exception) -> bool:
    """Whether the storage refused an address to which it was redirected."""
    from huggingface_hub.errors import HfHubHTTPError

    refused = isinstance(error, HfHubHTTPError) and error.response.status_code == 403
    return refused and bool(error.response.history)


def statement(response: httpx2.Response) -> tuple[str | None, int | None]:
    """SHA-256 and size of a file as the hub states them, on its answer or its redirect to the storage."""
    for hop in (*response.history, response):
        if match := re.fullmatch('"?([0-9a-f]{64})"?', hop.headers.get("X-Linked-ETag", "")):
            size = hop.headers.get("X-Linked-Size", "")
            return str(match[1]), int(size) if size.isdigit() else None
    return None, None


def refuse_page(start: bytes, file: KnownFile, folder: Path) -> None:
    """Refuses an answer that begins as a web page does.

    Raises:
        WeightsError: it does; says what to do about it.
    """
    if start.lstrip().lower().startswith(_PAGE):
        raise WeightsError(
            f"expected {file.name} from {file.url}, got a web page: a log-in page of this network or of a "
            f"proxy, "
            f"or an error page; open the address in a browser, then try again, or {cure(file, folder)}"
        )
