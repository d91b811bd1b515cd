"""`request:` of a model: what its requests look like, where the protocol does not say."""

from __future__ import annotations

from pydantic import Field

from router.settings.block import Block, Text


class RequestSettings(Block):
    """What `skew` and the gate in staging have to know of requests; proxies read none."""

    rows: Text | None = Field(
        default=None,
        description="With json: where a request has its rows, a JSON pointer: a list of records, columns, or one "
        "record. # is the whole.",
        examples=["/rows"],
    )
