"""How a demo went, and its summary table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from router.demo.acts import Happened
from router.demo.servers import Addresses
from router.demo.telling import interval, plain
from router.demo.traffic import Tally


@dataclass(slots=True)
class Outcome:
    """How the demo went.

    Args:
        acts_in_all: how many there should be.
        acts: those that happened, by title.
        trouble: why it ended early; "": it did not.
        tally: of the traffic.
        seconds: of its parts, in order: (what, seconds).
        promised: version -> its offline precision.
        versions: version -> what was last said of it.
        addresses: where everything listens.
    """

    acts_in_all: int
    acts: dict[str, Happened] = field(default_factory=dict)
    trouble: str = ""
    tally: Tally = field(default_factory=Tally)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    promised: dict[int, float] = field(default_factory=dict)
    versions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    addresses: Addresses | None = None

    @property
    def good(self) -> bool:
        """All acts really happened, and no request failed."""
        tally = self.tally
        return len(self.acts) == self.acts_in_all and not self.trouble and tally.answered > 0 and tally.failed == 0

    @property
    def links(self) -> list[tuple[str, str]]:
        """What can be looked at while it runs."""
        if self.addresses is None:
            return []
        return [
            ("requests", self.addresses.requests),
            ("console", self.addresses.console),
            ("metrics", self.addresses.metrics),
        ]

    def take(self, tally: Tally, versions: Mapping[int, Mapping[str, Any]]) -> None:
        """What the traffic came to."""
        self.tally = tally
        self.versions = versions

    def table(self) -> Table:
        """The summary."""
        table = Table(title="titleshot demo", title_justify="left", show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        for what, seconds in self.seconds:
            table.add_row(what, f"{seconds:.1f} s")
        table.add_section()
        for title, act in self.acts.items():
            table.add_row(title, f"{act.what}, {act.seconds:.1f} s", style="bold")
            for what, value in act.lines:
                table.add_row(f"  {what}", plain(value))
        table.add_section()
        for version, promised in sorted(self.promised.items()):
            live = interval((self.versions.get(version) or {}).get("precision"))
            table.add_row(f"precision of version {version}", f"offline {promised:.3f}, live {live}")
        table.add_section()
        tally = self.tally
        table.add_row("requests", f"{tally.sent:,} sent, {tally.answered:,} answered, {tally.failed:,} failed")
        for what, times in tally.failures.items():
            table.add_row("  failed", f"{times} x {plain(what)}", style="red")
        table.add_row("labels", f"{tally.labels_sent:,} sent, {tally.labels_accepted:,} accepted")
        for what, url in self.links:
            table.add_row(what, url)
        if self.trouble:
            table.add_section()
            table.add_row("not done", self.trouble, style="bold red")
        return table
