"""The floor of the API: lists in pages, files with validators, problems, and who may do what."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from workspace_lib.store.annotations import annotation_rows
from workspace_lib.store.engines import read
from workspace_lib.store.triggers import triggers

API = "/api/v1"


def test_a_list_is_read_whole_page_by_page(front) -> None:
    client = front.client("read")
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        answer = client.get(
            f"{API}/runs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        cursor, pages = page["next"], pages + 1
    assert seen == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert pages == 3


def test_publications_are_listed_by_name_and_prefix(front) -> None:
    page = front.client("read").get(f"{API}/publications", params={"prefix": "rain."}).json()
    assert [item["name"] for item in page["items"]] == ["rain.sums/Mse", "rain.total"]
    assert page["items"][0]["unit"] == "mm"
    assert page["items"][0]["stale"] is False


def test_a_publication_becomes_stale_with_its_age(front) -> None:
    front.clock.advance(601)
    assert front.client("read").get(f"{API}/publications/rain.total").json()["stale"] is True


def test_a_file_comes_with_its_validator_and_is_not_sent_twice(front) -> None:
    client = front.client("read")
    first = client.get(f"{API}/publications/rain.sums/Mse/data")
    assert first.json() == {"value": 1} or json.loads(first.content)
    again = client.get(
        f"{API}/publications/rain.sums/Mse/data", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_a_part_of_a_file_is_sent(front) -> None:
    client = front.client("read")
    whole = client.get(f"{API}/publications/rain.total/data").content
    part = client.get(f"{API}/publications/rain.total/data", headers={"Range": "bytes=2-5"})
    assert part.status_code == 206
    assert part.content == whole[2:6]
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole)}"


def test_a_part_of_an_older_version_is_not_mixed_with_the_new_one(front) -> None:
    client = front.client("read")
    headers = {"Range": "bytes=2-5", "If-Range": '"another"'}
    whole = client.get(f"{API}/publications/rain.total/data", headers=headers)
    assert whole.status_code == 200


def test_a_part_beyond_the_end_is_refused(front) -> None:
    headers = {"Range": "bytes=100000-"}
    answer = front.client("read").get(f"{API}/publications/rain.total/data", headers=headers)
    assert answer.status_code == 416


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/publications/rain.unknown", 404),
        ("/publications/Not.A.Name", 422),
        ("/publications/rain.sums/../../etc/passwd", 404),
        ("/runs/absent", 404),
        ("/runs?limit=0", 422),
        ("/runs?cursor=!!", 404),
        ("/nothing/here", 404),
    ],
)
def test_every_error_is_a_problem_body(front, path: str, status: int) -> None:
    answer = front.client("read").get(API + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]


def test_a_misspelt_filter_is_refused_and_the_known_ones_are_named(front) -> None:
    answer = front.client("read").get(f"{API}/runs", params={"jobs": "rain_sums"})
    assert answer.status_code == 422
    assert "job, limit, state" in answer.json()["errors"][0]["detail"]


def test_a_wrong_field_is_named(front) -> None:
    body = front.client("read").get(f"{API}/runs", params={"limit": "many"}).json()
    assert body["errors"][0]["field"] == "query.limit"


def test_an_annotation_says_who_and_is_kept(front) -> None:
    answer = front.client("write").post(
        f"{API}/annotations",
        json={"target": "machine:DEM12", "kind": "stop_reason", "value": "tool"},
    )
    assert answer.status_code == 201
    with read(front.store.control) as connection:
        row = connection.execute(select(annotation_rows)).one()
    assert row.id == answer.json()["id"]
    assert (row.who, row.target, row.value) == ("write", "machine:DEM12", "tool")


def test_asking_for_a_run_twice_with_one_key_asks_once(front) -> None:
    client = front.client("write")
    answers = [client.post(f"{API}/jobs/rain_sums/runs", json={"key": "test:42"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {"slot": "event:test:42"}
    with read(front.store.control) as connection:
        assert len(connection.execute(select(triggers)).all()) == 1


def test_asking_for_a_run_of_an_unknown_job_is_refused(front) -> None:
    answer = front.client("write").post(f"{API}/jobs/absent/runs", json={"key": "k"})
    assert answer.status_code == 404


def test_a_body_that_is_too_large_is_refused_unread(make_front: Callable) -> None:
    front = make_front(web={"max_body_megabytes": 0.001})
    body = {"target": "t", "kind": "note", "value": "x" * 2000}
    answer = front.client("write").post(f"{API}/annotations", json=body)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_unsaid_length_is_refused(front) -> None:
    answer = front.client("write").post(f"{API}/annotations", content=iter([b"{}"]))
    assert answer.status_code == 411


def test_a_revoked_token_is_refused_at_the_next_request(front) -> None:
    reader = front.client("read")
    assert reader.get(f"{API}/runs").status_code == 200
    assert front.client("admin").delete(f"{API}/tokens/read").status_code == 204
    assert reader.get(f"{API}/runs").status_code == 401


def test_tokens_are_listed_without_themselves(front) -> None:
    answer = front.client("admin").get(f"{API}/tokens")
    assert {item["name"] for item in answer.json()} == {"view", "read", "write", "admin"}
    assert not any(token in answer.text for token in front.tokens.values())


def test_answers_tell_how_much_is_left_and_the_limit_holds_in_parallel(make_front) -> None:
    front = make_front(web={"requests_per_minute": 20})
    client = front.client("read")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get(f"{API}/runs"), range(60)))
    assert sum(answer.status_code == 200 for answer in answers) == 20
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 40
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].headers["ratelimit-limit"] == "20"
    assert refused[0].headers["content-type"] == "application/problem+json"


def test_guessing_tokens_is_slowed_down(make_front) -> None:
    front = make_front(web={"failed_logins_per_minute": 3})
    client = front.client()
    statuses = [
        client.get(f"{API}/runs", headers={"Authorization": f"Bearer fw_{n}"}).status_code
        for n in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_the_store_being_away_is_a_problem_not_a_traceback(front, monkeypatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("workspace_lib.web.api.list_published", gone)
    answer = front.client("read").get(f"{API}/publications")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
