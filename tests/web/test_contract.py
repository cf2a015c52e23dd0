"""The whole API against its own description: every route, every role, and hostile requests."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from fastapi import APIRouter
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, FailureGroup

from workspace_lib.web import app
from workspace_lib.web.tokens import SCOPES

ROLES = (None, *SCOPES)
#: Route -> the least scope that may use it (None: open); a route that is not here fails.
LEAST_SCOPE = {
    "GET /api/v1/publications": "read",
    "GET /api/v1/publications/{name}": "read",
    "GET /api/v1/publications/{name}/data": "read",
    "GET /api/v1/runs": "read",
    "GET /api/v1/runs/{run_id}": "read",
    "POST /api/v1/jobs/{job}/runs": "write",
    "POST /api/v1/annotations": "write",
    "GET /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/{name}": "admin",
    "GET /api/v1/rain/gauges": "read",
    "GET /api/v1/rain/gauges/{gauge}": "read",
    "GET /api/v1/rain/gauges/{gauge}/series": "read",
    "GET /api/v1/rain/gauges/{gauge}/coverage": "read",
    "GET /api/v1/rain/sums": "read",
    "GET /api/v1/rain/totals": "read",
    "GET /api/v1/rain/maxima": "read",
    "GET /api/v1/rain/products": "read",
    "GET /api/v1/rain/products/{gauge}/{year}/{kind}": "read",
    "GET /api/v1/reclosers": "read",
    "GET /api/v1/reclosers/offenders": "read",
    "GET /api/v1/reclosers/{recloser}": "read",
    "GET /api/v1/events": "read",
    "GET /api/v1/events/{event}": "read",
    "GET /api/v1/events/{event}/raw": "read",
    "GET /api/v1/events/{event}/comtrade": "read",
    "GET /api/v1/events/{event}/plot.png": "read",
    "GET /api/v1/incidents": "read",
    "GET /api/v1/disturbances": "read",
    "GET /health": None,
    "GET /metrics": "read",
}
_PATHS = {
    "name": "rain.total",
    "run_id": "run-1",
    "job": "rain_sums",
    "gauge": "mse",
    "year": "2026",
    "kind": "sparse_npz",
    "recloser": "LAV-101",
    "event": "1",
}
_FROM = {"from": "2026-11-20T00:00:00Z"}
_QUERIES = {
    "/api/v1/rain/gauges/{gauge}/series": _FROM,
    "/api/v1/rain/gauges/{gauge}/coverage": _FROM,
    "/api/v1/rain/totals": _FROM,
    "/api/v1/rain/maxima": _FROM,
}
_BODIES = {
    "/api/v1/jobs/{job}/runs": {"key": "matrix"},
    "/api/v1/annotations": {"target": "t", "kind": "note", "value": "x"},
}


def test_every_route_is_in_the_matrix(front) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in front.app.openapi()["paths"].items()
        for method in methods
    }
    assert described == set(LEAST_SCOPE)


def test_the_page_about_the_api_names_every_route_and_its_scope(front, repository) -> None:
    page = (repository / "docs" / "web.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) [^`]+)` \| `?(\w+)`? \|", page, re.M)
    assert dict(found) == {route: least or "open" for route, least in LEAST_SCOPE.items()}
    assert len(found) == len(LEAST_SCOPE)


def test_a_wings_routes_are_closed_without_its_doing(make_front, monkeypatch) -> None:
    router = APIRouter(prefix="/rain")
    router.add_api_route("/gauges", lambda: ["Mse"], methods=["GET"])
    router.add_api_route("/gauges", lambda: "made", methods=["POST"])
    monkeypatch.setattr(app, "wing_routers", lambda: [router])
    front = make_front()
    path = "/api/v1/rain/gauges"
    looked = {role: front.client(role).get(path).status_code for role in ROLES}
    assert looked == {None: 401, "view": 403, "read": 200, "write": 200, "admin": 200}
    made = {role: front.client(role).post(path).status_code for role in ROLES}
    assert made == {None: 401, "view": 403, "read": 403, "write": 200, "admin": 200}
    assert front.client("read").get(f"{path}?gauge=Mse").status_code == 422
    assert "ratelimit-limit" in front.client("read").get(path).headers


def test_the_description_refers_to_nothing_that_is_missing(front) -> None:
    described = front.app.openapi()
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)))
    assert "Problem" in named
    assert named <= set(described["components"]["schemas"])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role or "nobody")
@pytest.mark.parametrize("route", LEAST_SCOPE)
def test_a_route_lets_in_exactly_the_roles_it_names(front, route: str, role: str | None) -> None:
    method, path = route.split(" ")
    least = LEAST_SCOPE[route]
    answer = front.client(role).request(
        method, path.format(**_PATHS), json=_BODIES.get(path), params=_QUERIES.get(path)
    )
    if least is None or (role and SCOPES.index(role) >= SCOPES.index(least)):
        # The token to delete does not exist: refused for that, not for the role.
        assert answer.status_code in {200, 201, 202, 204} or (
            answer.status_code == 404 and method == "DELETE"
        )
    else:
        assert answer.status_code == (403 if role else 401)


def sent_as_described(operation: dict[str, Any], url: str) -> bool:
    """Return whether a query is valid once it is written into an address.

    A list, null or nothing in place of a text becomes a text there, and a right one; the header
    with the token is always sent.
    """
    described = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
    sent = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    required = {name for name, one in described.items() if one.get("required")}
    if not required <= {name for name, _ in sent} <= set(described):
        return False
    return all(reads_as(described[name]["schema"], value) for name, value in sent)


def reads_as(schema: dict[str, Any], text: str) -> bool:
    """Return whether a text of an address is a value that the schema takes."""
    kinds = schema.get("anyOf", [schema])
    values: list[Any] = [text, [text]]
    if re.fullmatch(r"-?\d+", text):
        values.append(int(text))
    elif re.fullmatch(r"-?\d*\.?\d+(e[-+]?\d+)?", text, re.IGNORECASE):
        values.append(float(text))
    values += {"true": [True], "false": [False]}.get(text.lower(), [])
    checker = Draft202012Validator.FORMAT_CHECKER
    return any(
        Draft202012Validator(kind, format_checker=checker).is_valid(value)
        for kind in kinds
        for value in values
    )


def test_what_an_address_cannot_say_otherwise_is_no_wrong_request() -> None:
    text = {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}
    assert reads_as(text, "")
    assert not reads_as(text, "long")
    assert not reads_as({"type": "integer", "minimum": 1}, "0")
    assert reads_as({"type": "array", "items": {"type": "string"}}, "a")
    assert reads_as({"type": "number", "maximum": 2}, "1.5")
    assert not reads_as({"type": "number", "maximum": 2}, "2.5")
    assert reads_as({"type": "boolean"}, "true")


@pytest.mark.slow
def test_generated_requests_never_break_the_description(make_front) -> None:
    """Every check of schemathesis, on valid and on hostile requests of every operation."""
    front = make_front(
        wings={"rain": {}, "reclosers": {}},
        web={"requests_per_minute": 10**6, "writes_per_minute": 10**6,
             "failed_logins_per_minute": 10**6}
    )  # fmt: skip
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", front.app)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    paths = front.app.openapi()["paths"]
    tried: set[str] = set()
    for result in schema.get_all_operations():
        operation: Any = result.ok()

        hostile = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

        @given(case=operation.as_strategy() | hostile)
        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {front.tokens['admin']}"})
            try:
                case.validate_response(answer)
            except FailureGroup as group:
                _, rest = group.split(AcceptedNegativeData)
                described = paths[case.operation.path]["get"] if case.method == "GET" else None
                if rest or not described or not sent_as_described(described, answer.request.url):
                    raise

        check()
        tried.add(f"{operation.method.upper()} {operation.path}")
    assert tried == set(LEAST_SCOPE)
