"""``/api/v1``: what every wing shares — publications, runs, requests for runs, annotations, tokens.

Lists come in pages by keyset; files with validators and ranges; every error as a problem.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, tuple_

from workspace_lib.answers.downloads import FILE, send_file
from workspace_lib.answers.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from workspace_lib.answers.problems import COMMON, NOT_FOUND, Refusal
from workspace_lib.answers.site import now_of, store_of
from workspace_lib.clock import to_us
from workspace_lib.errors import PublishError
from workspace_lib.runs.tables import job_states, runs
from workspace_lib.store.annotations import annotate
from workspace_lib.store.engines import read, write
from workspace_lib.store.publications import Published, list_published, load_published
from workspace_lib.store.triggers import request_run
from workspace_lib.web.access import Administrator, Reader, Writer
from workspace_lib.web.tokens import list_tokens, revoke_token

router = APIRouter(responses=COMMON)

MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
NAME = r"^[a-z][a-z0-9_]*\.[a-z0-9_]+(/[A-Za-z0-9_.-]+)?$"
KEY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$"


class PublicationOut(BaseModel):
    """One publication."""

    name: str = Field(description="<wing>.<thing>[/<key>].")
    kind: str = Field(description="frame, figure, value or file.")
    as_of: datetime = Field(description="The instant its content speaks for (UTC).")
    run_id: str = Field(description="The run that made it.")
    stale: bool = Field(description="Whether it is older than it may be.")
    fresh_for_s: float | None = Field(description="Age up to which it counts as fresh [s].")
    unit: Any = Field(description="Unit of the value, or of each column.")
    sha256: str = Field(description="Hash of the file under `/data`, its ETag.")
    bytes: int = Field(description="Size of that file.")


class RunOut(BaseModel):
    """One run of the ledger."""

    id: str
    job: str
    slot: str = Field(description="UTC instant, manual:<id> or event:<key>.")
    state: str
    cause: str | None = Field(description="Why it ended so.")
    message: str | None
    partial: bool = Field(description="Whether only a part of the data is there.")
    attempt: int
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None = Field(description="Wall time [s].")
    files: int | None
    bytes: int | None
    rows: int | None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RunRequest(_Body):
    """Asks for a run of a job."""

    key: str = Field(pattern=KEY, description="The same key asks for the same run only once.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the job's notebook that shall differ."
    )


class Accepted(BaseModel):
    """A request that was taken; the scheduler will act on it."""

    slot: str = Field(description="Slot under which the run will stand in the ledger.")


class AnnotationIn(_Body):
    """What a person adds to a thing; it is never changed afterwards."""

    target: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]{0,49}$", description="For instance stop_reason.")
    value: str | int | float | bool | list[str] | dict[str, str] | None = Field(
        description="What is said of the target."
    )


class AnnotationOut(BaseModel):
    """An annotation that was added."""

    id: int


class TokenOut(BaseModel):
    """One token, without the token itself."""

    name: str
    scopes: list[str]
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: bool


@router.get("/publications", tags=["publications"], responses=NOT_FOUND)
def publications(
    request: Request,
    token: Reader,
    prefix: Annotated[str, Query(max_length=100, description="Names that begin so.")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[PublicationOut]:
    """List what is published, by name."""
    after = str(decode_cursor(cursor, str)[0]) if cursor is not None else ""
    found = list_published(store_of(request), prefix=prefix, now=now_of(request))
    rows = [p for p in found if p.name > after]
    more = encode_cursor(rows[limit - 1].name) if len(rows) > limit else None
    return Page(items=[_publication(p) for p in rows[:limit]], next=more)


@router.get(
    "/publications/{name:path}/data",
    tags=["publications"],
    response_class=Response,
    responses={**FILE, **NOT_FOUND},
)
def publication_data(
    request: Request, token: Reader, name: Annotated[str, Path(pattern=NAME, max_length=200)]
) -> Response:
    """Download the content of one publication: Parquet, JSON, PNG or the file itself."""
    found = _find(request, name)
    path = found.path
    if not path.is_file():
        raise Refusal(HTTPStatus.NOT_FOUND, f"The file of {name} is gone.")
    return send_file(
        request,
        path,
        content_hash=str(found.manifest["sha256"]),
        media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        filename=f"{name.replace('/', '-')}{path.suffix}",
    )


@router.get("/publications/{name:path}", tags=["publications"], responses=NOT_FOUND)
def publication(
    request: Request, token: Reader, name: Annotated[str, Path(pattern=NAME, max_length=200)]
) -> PublicationOut:
    """Describe one publication."""
    return _publication(_find(request, name))


@router.get("/runs", tags=["runs"], responses=NOT_FOUND)
def list_runs(
    request: Request,
    token: Reader,
    job: Annotated[str | None, Query(max_length=100, description="Only this job.")] = None,
    state: Annotated[str | None, Query(max_length=20, description="Only this state.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RunOut]:
    """List the ledger, newest first."""
    query = select(runs).order_by(runs.c.due_at.desc(), runs.c.id.desc()).limit(limit + 1)
    if job is not None:
        query = query.where(runs.c.job == job)
    if state is not None:
        query = query.where(runs.c.state == state)
    if cursor is not None:
        due, run_id = decode_cursor(cursor, int, str)
        query = query.where(tuple_(runs.c.due_at, runs.c.id) < tuple_(due, run_id))
    with read(store_of(request).control) as connection:
        rows = connection.execute(query).all()
    items = [RunOut.model_validate(row._mapping, extra="ignore") for row in rows[:limit]]
    more = encode_cursor(to_us(items[-1].due_at), items[-1].id) if len(rows) > limit else None
    return Page(items=items, next=more)


@router.get("/runs/{run_id}", tags=["runs"], responses=NOT_FOUND)
def run(request: Request, token: Reader, run_id: Annotated[str, Path(pattern=KEY)]) -> RunOut:
    """Describe one run."""
    with read(store_of(request).control) as connection:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no run {run_id}.")
    return RunOut.model_validate(row._mapping, extra="ignore")


@router.post("/jobs/{job}/runs", tags=["runs"], status_code=202, responses=NOT_FOUND)
def ask_for_run(
    request: Request, token: Writer, job: Annotated[str, Path(pattern=KEY)], body: RunRequest
) -> Accepted:
    """Ask for a run of a job; the same key twice asks once."""
    store = store_of(request)
    with read(store.control) as connection:
        known = select(job_states.c.job).where(
            job_states.c.job == job, job_states.c.valid, job_states.c.present
        )
        if connection.execute(known).first() is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"There is no job {job}.")
    with write(store.control) as connection:
        request_run(connection, job, body.key, parameters=body.parameters, now=now_of(request))
    return Accepted(slot=f"event:{body.key}")


@router.post("/annotations", tags=["annotations"], status_code=201)
def add_annotation(request: Request, token: Writer, body: AnnotationIn) -> AnnotationOut:
    """Add an annotation; the token's name says who."""
    with write(store_of(request).control) as connection:
        number = annotate(
            connection, token.name, body.target, body.kind, body.value, now_of(request)
        )
    return AnnotationOut(id=number)


@router.get("/tokens", tags=["tokens"])
def tokens(request: Request, token: Administrator) -> list[TokenOut]:
    """List tokens; the tokens themselves are not known to anybody but their users."""
    return [
        TokenOut(
            name=t.name,
            scopes=sorted(t.scopes),
            created=t.created,
            expires=t.expires,
            last_used=t.last_used,
            revoked=t.revoked,
        )
        for t in list_tokens(store_of(request))
    ]


@router.delete("/tokens/{name}", tags=["tokens"], status_code=204, responses=NOT_FOUND)
def delete_token(
    request: Request, token: Administrator, name: Annotated[str, Path(max_length=100)]
) -> Response:
    """Revoke a token at once."""
    if not revoke_token(store_of(request), name):
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no token of that name.")
    return Response(status_code=204)


def _find(request: Request, name: str) -> Published:
    try:
        return load_published(store_of(request), name, now=now_of(request))
    except PublishError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"{name} was never published.") from error


def _publication(found: Published) -> PublicationOut:
    return PublicationOut(
        name=found.name,
        kind=found.kind,
        as_of=found.as_of,
        run_id=found.run_id,
        stale=found.stale,
        fresh_for_s=found.fresh_for_s,
        unit=found.unit,
        sha256=str(found.manifest["sha256"]),
        bytes=int(found.manifest["bytes"]),
    )
