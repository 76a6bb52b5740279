"""Files that visitors send and get: where they lie, under which names, how many, for how long."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ovseg_ros.errors import InvalidInputError, OvsegError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

PUBLIC = "/page"
"""What a visitor sees in place of the folder of this machine."""

MAX_UPLOAD_BYTES = 100 * 1024**2
MAX_TOTAL_BYTES = 1024**3
"""Of all uploads and answers together; what was unused for longest goes first."""
MAX_FILES = 1000
MAX_AGE_S = 3600.0
"""A file that nobody asked for in this time is deleted."""
SPARE_S = 60.0
"""A new upload never takes the place of a file that was used within this time: it is refused instead."""
FREE_BYTES = 512 * 1024**2
"""Room that the disk keeps, whatever the other limits say."""
MAX_AT_ONCE = 4
"""Uploads under way at a time."""
SWEEP_S = 10.0

_SHOWN = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".gif": "gif",
    ".bmp": "bmp",
    ".avif": "avif",
}
"""Pictures that a browser may show; whatever else was uploaded, HTML and SVG too, it may only save."""


class FullError(OvsegError):
    """There is no room for another upload just now."""


class Files:
    """The folder of one page: `uploads`, where Gradio keeps answers too, and `examples`."""

    def __init__(
        self,
        folder: Path,
        *,
        max_total: int = MAX_TOTAL_BYTES,
        max_files: int = MAX_FILES,
        max_age_s: float = MAX_AGE_S,
        spare_s: float = SPARE_S,
        free: int = FREE_BYTES,
    ) -> None:
        """`folder` exists; the rest is as the module's constants say."""
        self.folder = folder.resolve()
        self.uploads = self.folder / "uploads"
        self.examples = self.folder / "examples"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._limits = max_total, max_files
        self._max_age_s, self._spare_s, self._free = max_age_s, spare_s, free
        self._kept: frozenset[Path] = frozenset()
        self._lock = threading.Lock()
        self._under_way = 0

    def keep_all(self) -> None:
        """What lies here now belongs to the page itself and stays."""
        self._kept = frozenset(path for path, _ in self._found())

    def public(self, path: Path) -> str:
        """The name by which visitors know a file."""
        return f"{PUBLIC}/{path.relative_to(self.folder)}"

    def real(self, public: object) -> Path:
        """The file that a visitor names, an ordinary one that was uploaded, answered or is an example.

        Raises:
            InvalidInputError: anything else, whether it is there or not.
        """
        refused = InvalidInputError(
            "expected a file that was uploaded to this page and is still here; upload it again"
        )
        if not isinstance(public, str) or not public.startswith(f"{PUBLIC}/"):
            raise refused
        try:
            path = Path(os.path.realpath(self.folder / public.removeprefix(f"{PUBLIC}/")))
            inside = any(path.is_relative_to(root) for root in (self.uploads, self.examples))
            # By what it is, before anything opens it: a pipe or a device would never end.
            if not (inside and stat.S_ISREG(os.lstat(path).st_mode)):
                raise refused
            os.utime(path)  # in use: its age begins anew
        except (OSError, ValueError) as error:  # not there; a name with a zero byte, or too long
            raise refused from error
        return path

    def store(self, name: str, content: BinaryIO, size: int) -> str:
        """Writes an upload under a name that nobody can guess.

        Args:
            name: as the visitor calls it; its ending says what it is.
            content: read to its end.
            size: bytes that it holds.

        Returns:
            Its public name.

        Raises:
            FullError: no room.
        """
        if not self.make_room(size):
            raise FullError("the page holds as many uploads as it may; try again in a minute")
        folder = self.uploads / secrets.token_hex(16)
        folder.mkdir()
        path = folder / harmless(name)
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, 1024**2)
        return self.public(path)

    def make_room(self, size: int) -> bool:
        """Whether `size` bytes more may come, once old files have gone."""
        return self._shrink(size, 1, self._spare_s)

    def sweep(self) -> None:
        """Deletes what is too old and, oldest first, what is too much: answers are files too."""
        self._shrink(0, 0, 0.0)

    def _shrink(self, size: int, files: int, spare_s: float) -> bool:
        max_total, max_files = self._limits
        with self._lock:
            left = sorted(((info.st_mtime, info.st_size, path) for path, info in self._found()), reverse=True)
            total, now = size + sum(entry[1] for entry in left), time.time()

            def too_much() -> bool:
                full = shutil.disk_usage(self.uploads).free < size + self._free
                return total > max_total or len(left) + files > max_files or full

            while left and (now - left[-1][0] > self._max_age_s or too_much()):
                if now - left[-1][0] < spare_s:
                    break
                _, freed, path = left.pop()
                total -= freed
                path.unlink(missing_ok=True)
                if path.parent != self.uploads and not any(path.parent.iterdir()):
                    path.parent.rmdir()
            return not too_much()

    def _found(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.uploads.rglob("*"):
            try:
                info = path.lstat()
            except FileNotFoundError:  # gone meanwhile
                continue
            if not stat.S_ISDIR(info.st_mode) and path not in self._kept:
                yield path, info

    @asynccontextmanager
    async def swept(self, app: FastAPI) -> AsyncIterator[None]:
        """While the page is served, `sweep` now and then."""

        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_S)
                await asyncio.to_thread(self.sweep)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    def add_routes(self, app: FastAPI) -> None:
        """Uploads, and files by their public names: these go before Gradio's own addresses for them."""
        from starlette.routing import Route

        app.router.routes += [
            Route("/gradio_api/upload", self._upload, methods=["POST"]),
            Route("/gradio_api/upload_progress", _progress),
            Route("/gradio_api/file={name:path}", self._file),
        ]

    async def _upload(self, request: Request) -> Response:
        """One file in, its public name out, in the list that Gradio's script wants."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, PlainTextResponse

        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return PlainTextResponse("expected one file as multipart/form-data", 400)
        if self._under_way >= MAX_AT_ONCE:
            return PlainTextResponse("others are uploading; try again in a moment", 503)
        self._under_way += 1
        try:
            async with request.form(max_files=1, max_fields=0) as form:
                uploads: list[Any] = [value for value in form.getlist("files") if not isinstance(value, str)]
                if len(uploads) != 1:
                    return PlainTextResponse("expected one file, as files", 400)
                (upload,) = uploads
                if upload.size > MAX_UPLOAD_BYTES:
                    return PlainTextResponse(f"expected at most {MAX_UPLOAD_BYTES:,} bytes", 413)
                name = upload.filename or ""
                return JSONResponse([await asyncio.to_thread(self.store, name, upload.file, upload.size)])
        except FullError as error:
            return PlainTextResponse(str(error), 507)
        except ClientDisconnect:
            return PlainTextResponse("the upload broke off", 400)
        finally:
            self._under_way -= 1

    async def _file(self, request: Request) -> Response:
        from starlette.responses import FileResponse, PlainTextResponse

        try:
            path = await asyncio.to_thread(self.real, request.path_params["name"])
        except InvalidInputError as error:
            return PlainTextResponse(str(error), 404)
        shown = _SHOWN.get(path.suffix.lower())
        return FileResponse(
            path,
            media_type=f"image/{shown}" if shown else "application/octet-stream",
            filename=path.name,
            content_disposition_type="inline" if shown else "attachment",
            headers={"content-security-policy": "default-src 'none'; sandbox"},
        )


async def _progress(request: Request) -> Response:
    """Gradio's script asks how far an upload is, and is content to hear that there is no more to hear."""
    from starlette.responses import Response

    return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")


def harmless(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore, at most 100 long; the ending stays."""
    plain = re.sub(r"[^\w.-]", "_", name.replace("\\", "/").rsplit("/", 1)[-1], flags=re.ASCII).lstrip(".")
    return plain[-100:] or "upload"
