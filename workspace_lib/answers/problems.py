"""Errors over HTTP: one shape for all of them (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from workspace_lib import errors

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

_STATUS: dict[type[errors.WorkspaceError], HTTPStatus] = {
    errors.ParameterError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.FormatError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DeviceBusy: HTTPStatus.CONFLICT,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str = Field(description="Where: query, path or body and the name.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """What every error answer holds (RFC 9457)."""

    type: str = Field("about:blank", description="Kind of the problem.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status code.")
    detail: str | None = Field(None, description="What happened and what to do.")
    instance: str | None = Field(None, description="Path of the request.")
    errors: list[FieldProblem] | None = Field(None, description="Each wrong field.")


class Refusal(Exception):
    """Raised by a route to answer with a problem."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems a route may answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        int(status): {
            "description": status.phrase,
            "content": {MEDIA_TYPE: schema},
        }
        for status in statuses
    }


#: What any route of the API may refuse, and what one that looks for something may beside it.
COMMON: Final = responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
NOT_FOUND: Final = responses(HTTPStatus.NOT_FOUND)


def describe(app: FastAPI) -> None:
    """Put the schema of problems into the application's description, which refers to it."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = {**schema.pop("$defs"), "Problem": schema}
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        found = plain()
        found["components"]["schemas"].update(schemas)
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def answer(
    request: Request,
    status: HTTPStatus,
    detail: str | None,
    *,
    fields: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return the answer that tells of a problem."""
    problem = Problem(
        title=status.phrase,
        status=int(status),
        detail=detail,
        instance=request.url.path,
        errors=fields,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=int(status),
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def add_handlers(app: FastAPI, page: Callable[[Request, HTTPStatus, str], Response | None]) -> None:
    """Make every error of the application answer as a problem, or as a page to a person.

    Parameters
    ----------
    page : callable
        Takes request, status and detail; returns the page, or None for programs.
    """

    @app.exception_handler(Refusal)
    async def _refusal(request: Request, error: Refusal) -> Response:
        shown = page(request, error.status, error.detail)
        return shown or answer(request, error.status, error.detail, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        detail = None if error.detail == status.phrase else str(error.detail)
        headers = dict(error.headers) if error.headers else None
        shown = page(request, status, detail or status.phrase)
        return shown or answer(request, status, detail, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fields = [
            FieldProblem(field=".".join(str(part) for part in e["loc"]), detail=e["msg"])
            for e in error.errors()
        ]
        detail = "The request has wrong values."
        return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, fields=fields)

    @app.exception_handler(errors.WorkspaceError)
    async def _workspace(request: Request, error: errors.WorkspaceError) -> Response:
        status = next(
            (code for kind, code in _STATUS.items() if isinstance(error, kind)),
            HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        log.warning("%s %s: %s", request.method, request.url.path, error)
        # Where the error stands (a path on the server) is for the log, not for the caller.
        detail = f"{error.what} {error.fix}" if error.fix else error.what
        return page(request, status, detail) or answer(request, status, detail)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = "An unexpected error; the log of the web front tells more."
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return page(request, status, detail) or answer(request, status, detail)
