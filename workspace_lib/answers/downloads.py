"""Files over HTTP: validators, ranges, and a name that cannot do harm."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import FileResponse, Response

from workspace_lib.answers.problems import responses
from workspace_lib.files import safe_name


def file_of(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of what a route may answer that sends files of these types."""
    content = {one: {"schema": {"type": "string", "format": "binary"}} for one in media_types}
    return {
        200: {"content": content, "description": "The file."},
        206: {"content": content, "description": "A part of the file (Range)."},
        304: {"description": "The client has it already (If-None-Match)."},
        **responses(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    }


#: What a route that sends a file may answer.
FILE: Final = file_of("application/octet-stream")


def etag_of(content_hash: str) -> str:
    """Return the strong validator of a content hash."""
    return f'"{content_hash}"'


def matches(request: Request, etag: str) -> bool:
    """Return whether the client holds this content already (``If-None-Match``)."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    candidates = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in candidates or etag in candidates


def not_modified(etag: str, cache_control: str) -> Response:
    """Return the answer to a client that holds the content already."""
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": cache_control})


def send_file(
    request: Request,
    path: Path,
    *,
    content_hash: str,
    media_type: str,
    filename: str | None = None,
    cache_control: str = "private, no-cache",
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a file, a part of it (``Range``), or only that it did not change.

    Parameters
    ----------
    content_hash : str
        SHA-256 of the file; it is the validator, so it must be that of these bytes.
    filename : str, optional
        Offered as the name to save under; without it the browser shows the file.
    """
    etag = etag_of(content_hash)
    if matches(request, etag):
        return not_modified(etag, cache_control)
    return FileResponse(
        path,
        media_type=media_type,
        filename=safe_name(filename) if filename else None,
        headers={"ETag": etag, "Cache-Control": cache_control, **(headers or {})},
    )
