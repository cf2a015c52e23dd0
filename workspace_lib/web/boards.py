"""Sending the dashboards' twins: as cheap as it can be, because everybody looks at the same moment.

The answers that carry a twin are made once and kept in memory until its files change; what is left
for a request is to ask who looks, to look at one file's time, and to send. The route stands in
front of all others and takes no part in what the routes of the API need.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response

from workspace_lib.answers.downloads import etag_of, matches
from workspace_lib.files import sha256_bytes
from workspace_lib.settings import Settings
from workspace_lib.views.site import has_board
from workspace_lib.views.twins import Twin, read_twin, twins_folder
from workspace_lib.web.access import admit
from workspace_lib.web.frame import language_of, page, policy, sentence, site_for

#: Somebody who comes before a twin was made is shown it as soon as it is there [s].
LOOK_AGAIN_S = 15
_REVALIDATE = "private, no-cache"
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Kept:
    """A twin in memory: what is known of it and the answers that carry it."""

    twin: Twin
    packed_content: bytes

    @cached_property
    def etag(self) -> str:
        """The validator of its content."""
        return etag_of(self.twin.sha256)

    @cached_property
    def packed(self) -> Response:
        """The answer to a browser that unpacks gzip, as all of them do."""
        return self._answer(self.packed_content, {"Content-Encoding": "gzip"})

    @cached_property
    def plain(self) -> Response:
        """The answer to what does not unpack."""
        return self._answer(gzip.decompress(self.packed_content), {})

    @cached_property
    def unchanged(self) -> Response:
        """The answer to who holds this content already."""
        answer = self._answer(b"", {})
        answer.status_code = HTTPStatus.NOT_MODIFIED
        answer.raw_headers = [
            (name, value)
            for name, value in answer.raw_headers
            if name not in (b"content-length", b"content-type")
        ]
        return answer

    def _answer(self, content: bytes, headers: dict[str, str]) -> Response:
        return Response(
            content,
            media_type="text/html; charset=utf-8",
            headers={
                "ETag": self.etag,
                "Cache-Control": _REVALIDATE,
                "Vary": "Accept-Encoding, Cookie",
                "X-Workspace-Made": self.twin.made,
                "Content-Security-Policy": policy(f"'{self.twin.script_hash}' blob:"),
                **headers,
            },
        )


class Shelf:
    """The twins of a site, kept in memory as long as their files do not change."""

    def __init__(self, settings: Settings) -> None:
        self._folder = twins_folder(settings)
        self._notebooks = settings.notebooks_dir / "dashboards"
        self._kept: dict[str, tuple[Stamp, Kept]] = {}

    def find(self, name: str, language: str) -> Kept | None:
        """Return a dashboard's twin, or None if it was never made or its dashboard is gone.

        While a twin is written anew the one before is returned.
        """
        key = f"{name}.{language}"
        facts = self._folder / f"{key}.json"
        stamp = _stamp(facts) if has_board(self._notebooks, name) else None
        if stamp is None:
            self._kept.pop(key, None)
            return None
        before, kept = self._kept.get(key, (None, None))
        if stamp == before:
            return kept
        found = _read(facts)
        if found is not None:
            self._kept[key] = (stamp, found)
        return found or kept


async def dashboard(request: Request) -> Response:
    """Send a dashboard's twin in the reader's language."""
    await admit(request)
    shelf: Shelf = request.app.state.shelf
    name = request.path_params["name"]
    language = language_of(request)
    kept = shelf.find(name, language)
    if kept is not None:
        if matches(request, kept.etag):
            return kept.unchanged
        return kept.packed if "gzip" in request.headers.get("accept-encoding", "") else kept.plain
    site = site_for(request)
    if not site.has(name):
        return sentence(site, "page.missing_title", "page.missing", HTTPStatus.NOT_FOUND)
    text = site.texts("front.no_twin")
    html = site.sentence(site.board_title(name), text, refresh_s=LOOK_AGAIN_S)
    return page(html, HTTPStatus.SERVICE_UNAVAILABLE)


def _stamp(path: Path) -> Stamp | None:
    """Return what changes when a file is written anew, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(facts: Path) -> Kept | None:
    """Read a twin's files, or return None where they do not belong together (yet)."""
    twin = read_twin(facts)
    if twin is None:
        return None
    try:
        packed = facts.with_suffix(".html.gz").read_bytes()
        whole = sha256_bytes(gzip.decompress(packed)) == twin.sha256
    except (OSError, EOFError, zlib.error):
        return None
    return Kept(twin, packed) if whole else None
