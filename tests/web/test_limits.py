"""Limits let through exactly what they say, per client and kind, also under parallel load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from workspace_lib.web.limits import RateLimiter


def test_the_headers_count_down_and_say_when_to_come_back() -> None:
    limiter = RateLimiter({"requests": 2})
    first, second, third = (limiter.hit("requests", "a") for _ in range(3))
    assert [v.headers["RateLimit-Remaining"] for v in (first, second, third)] == ["1", "0", "0"]
    assert "Retry-After" not in second.headers
    assert not third.allowed
    assert 1 <= int(third.headers["Retry-After"]) <= 60


def test_clients_and_kinds_are_counted_apart() -> None:
    limiter = RateLimiter({"requests": 1, "writes": 1})
    limiter.hit("requests", "a")
    assert not limiter.hit("requests", "a").allowed
    assert limiter.hit("requests", "b").allowed
    assert limiter.hit("writes", "a").allowed


def test_parallel_clients_get_no_more_than_the_limit() -> None:
    limiter = RateLimiter({"requests": 50})
    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(lambda _: limiter.hit("requests", "a"), range(400)))
    assert sum(verdict.allowed for verdict in verdicts) == 50


def test_peeking_counts_nothing() -> None:
    limiter = RateLimiter({"logins": 1})
    assert all(limiter.peek("logins", "a").allowed for _ in range(5))
    limiter.hit("logins", "a")
    assert not limiter.peek("logins", "a").allowed
