"""Rate limits: a moving window per token, or per address where no token came."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, and what its headers tell the client."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        """``RateLimit-*`` fields, and ``Retry-After`` when refused."""
        fields = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f"{self.limit};w=60",
        }
        if not self.allowed:
            fields["Retry-After"] = str(max(1, self.reset_s))
        return fields


class RateLimiter:
    """Counts requests of each kind per client over the last minute, in this process."""

    def __init__(self, per_minute: dict[str, int]) -> None:
        self._items = {kind: RateLimitItemPerMinute(n) for kind, n in per_minute.items()}
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, kind: str, client: str) -> Verdict:
        """Count one request of ``client`` and say whether it may pass."""
        item = self._items[kind]
        return self._verdict(kind, client, self._limiter.hit(item, kind, client))

    def peek(self, kind: str, client: str) -> Verdict:
        """Say whether a request of ``client`` would pass, without counting one."""
        item = self._items[kind]
        return self._verdict(kind, client, self._limiter.test(item, kind, client))

    def _verdict(self, kind: str, client: str, allowed: bool) -> Verdict:
        item = self._items[kind]
        stats = self._limiter.get_window_stats(item, kind, client)
        reset = max(0, math.ceil(stats.reset_time - time.time()))
        return Verdict(allowed, item.amount, max(0, stats.remaining), reset)
