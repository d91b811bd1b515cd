"""What answers of language models took: tokens by role, and the time for each token after the first."""

from __future__ import annotations

from typing import Final

import numpy as np

from comparator.events import Columns, Role
from router.control.metric_page import Page
from router.control.metric_table import BOUNDS, OUTPUT_TOKEN, TOKEN_KINDS, TOKENS_USED
from router.protocols.protocol import Usage

TOKENS: Final = np.dtype([("role", "u1"), ("prompt", "<i8"), ("completion", "<i8"), ("per_token", "<f8")])
"""One answer; `per_token`: seconds for each token after the first, of a streamed one (NaN: it tells nothing)."""

_MOST: Final = 1 << 40  # beyond what an answer can take: a server's word is not trusted
_ROLES: Final = len(Role)
_BOUNDS: Final = np.array(BOUNDS)
_BUCKETS: Final = len(BOUNDS) + 1


def token_columns(rows: Columns, usages: list[tuple[int, Usage]]) -> Columns:
    """Dtype TOKENS.

    Args:
        rows: the exchanges, dtype EXCHANGE.
        usages: (index of the exchange, what its answer took).
    """
    which = [index for index, _ in usages]
    columns = np.empty(len(usages), TOKENS)
    columns["role"] = rows["role"][which]
    columns["prompt"] = [min(usage.prompt, _MOST) for _, usage in usages]
    columns["completion"] = [min(usage.completion, _MOST) for _, usage in usages]
    after = np.where([usage.streamed for _, usage in usages], columns["completion"] - 1, 0)
    seconds = rows["latency"][which].astype(np.float64) - rows["first_byte"][which]
    told = (after > 0) & (seconds >= 0)
    columns["per_token"] = np.where(told, seconds / np.where(told, after, 1.0), np.nan)
    return columns


class TokenTally:
    """What has been counted of one model since this process began."""

    def __init__(self) -> None:
        self.tokens = np.zeros((_ROLES, len(TOKEN_KINDS)), dtype=np.int64)
        self.durations = np.zeros((_ROLES, _BUCKETS), dtype=np.int64)
        self.duration_seconds = np.zeros(_ROLES)

    def observe(self, columns: Columns) -> None:
        """Count answers, dtype TOKENS."""
        columns = columns[columns["role"] < _ROLES]
        for kind, name in enumerate(TOKEN_KINDS):
            np.add.at(self.tokens[:, kind], columns["role"], columns[name])
        timed = columns[~np.isnan(columns["per_token"])]
        role = timed["role"].astype(np.intp)
        bucket = role * _BUCKETS + np.searchsorted(_BOUNDS, timed["per_token"], side="left")
        self.durations += np.bincount(bucket, minlength=self.durations.size).reshape(self.durations.shape)
        self.duration_seconds += np.bincount(role, weights=timed["per_token"], minlength=_ROLES)

    def show(self, page: Page, model: str) -> None:
        """Its samples."""
        for role in Role:
            name = role.name.lower()
            for kind, count in zip(TOKEN_KINDS, self.tokens[role].tolist(), strict=True):
                page.add(TOKENS_USED, count, model, name, kind)
            seconds = float(self.duration_seconds[role])
            page.add_histogram(OUTPUT_TOKEN, self.durations[role].tolist(), seconds, model, name)
