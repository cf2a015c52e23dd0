"""The whole API against its own description: every route, every role, and hostile requests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import schemathesis
from fastapi import APIRouter
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

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


@pytest.mark.slow
def test_generated_requests_never_break_the_description(make_front) -> None:
    """Every check of schemathesis, on valid and on hostile requests of every operation."""
    front = make_front(
        wings={"rain": {}},
        web={"requests_per_minute": 10**6, "writes_per_minute": 10**6,
             "failed_logins_per_minute": 10**6}
    )  # fmt: skip
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", front.app)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
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
            case.call_and_validate(headers={"Authorization": f"Bearer {front.tokens['admin']}"})

        check()
        tried.add(f"{operation.method.upper()} {operation.path}")
    assert tried == set(LEAST_SCOPE)
