"""The metrics page: what this process counts, and at a scrape what the judge, the registry and the link say now.

Counters live here as plain numbers behind one collector of prometheus_client: its own labelled counters cost 3 us for
every observation, arrays filled a batch at a time a fifth of that. The names are in `metric_table`.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from importlib.metadata import version
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

from comparator.events import Columns, Decision, DecisionKind
from comparator.title import Title
from router.control import metric_table as names
from router.control.metric_page import Page
from router.control.metric_view import count_decisions, count_tally, label_results, serving_roles, show_title, totals
from router.control.processes import Processes
from router.control.tally import Joins, Tally, began_anew, growth
from router.control.tokens import TokenTally
from router.link.messages import Counters, Span

_NEW_BREAKER = frozenset(
    {
        DecisionKind.START,
        DecisionKind.ROLL_BACK,
        DecisionKind.REJECT,
        DecisionKind.ABORT,
        DecisionKind.SUPERSEDE,
        DecisionKind.FOREIGN_MOVE,
        DecisionKind.MOVED,
        DecisionKind.FINISH,
    }
)
"""After these another version is on trial, or none: its breaker begins closed, and no proxy says so."""


class Controlled(Protocol):
    """One model under control, as its controller has it."""

    title: Title
    last_tick: float
    lost_rows: int


class Queue(Protocol):
    """What waits for one target of notifications."""

    @property
    def waiting(self) -> Sized:
        """What it has yet to be told."""

    @property
    def counts(self) -> Mapping[str, int]:
        """By outcome: what is over."""


class Metrics:
    """Everything that /metrics tells. All calls come from the control process's event loop."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._tokens: dict[str, TokenTally] = {}
        self._joins: dict[str, Joins] = {}
        self._last_labels: dict[str, Counter[str]] = {}
        self._last_lost: Counter[str] = Counter()
        self._lost_here = 0
        self._registry_read: dict[str, float] = {}
        self._registry_up: dict[str, bool] = {}
        self._breakers: dict[str, dict[int, str]] = defaultdict(dict)
        self._workers: dict[int, Counters] = {}
        self._refused: Counter[str] = Counter()
        self._access_refused: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()
        self._acts_refused: Counter[str] = Counter()
        self._refusals_lost = 0
        self._spans: Counter[str] = Counter()
        self._lost_by_proxies = 0
        self._lost_races = 0
        self._reload = (time.time(), True)
        self._ledger_up = True
        self._ledger_errors = 0
        self._controlled: Mapping[str, Controlled] | None = None
        self._ready: Callable[[str], frozenset[int]] = lambda _: frozenset()
        self._proxies: Callable[[], Sequence[int]] = lambda: sorted(self._workers)
        self._revision: Callable[[], int] = lambda: 0
        self._notifications: Callable[[], Mapping[str, Queue]] = dict
        self._unrecorded: Callable[[str], tuple[int, float]] = lambda _: (0, 0.0)
        self._pids: Callable[[], Mapping[int, int]] = dict
        self._processes = Processes()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def watch(
        self,
        controlled: Mapping[str, Controlled],
        *,
        ready: Callable[[str], frozenset[int]],
        proxies: Callable[[], Sequence[int]],
        revision: Callable[[], int],
        notifications: Callable[[], Mapping[str, Queue]] = dict,
        unrecorded: Callable[[str], tuple[int, float]] = lambda _: (0, 0.0),
        pids: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        """Tell what a scrape reads.

        Args:
            controlled: the models, live: one that joins or leaves it joins or leaves the page.
            ready: model -> the versions whose endpoint answered its last probe.
            proxies: the workers that are linked now.
            revision: of the routes as published last.
            notifications: by target, as they are now.
            unrecorded: model -> observations that the ledger does not have yet, and the seconds that the oldest waits.
            pids: of the workers that are linked now.
        """
        self._controlled, self._ready, self._proxies, self._revision = controlled, ready, proxies, revision
        self._notifications, self._unrecorded, self._pids = notifications, unrecorded, pids
        for model in controlled:
            self._begin(model)

    # ---- what happens

    def add_model(self, model: str) -> None:
        """A model is under control: all its counters are there from now on."""
        self._tally(model)
        self._begin(model)

    def observe(self, model: str, columns: Columns) -> None:
        """Count a batch of observations: dtype OBSERVATION, shape (n,)."""
        self._tally(model).observe(columns)

    def unpredicted(self, model: str, *, unreadable: int, unread: int) -> None:
        """So many answers had no prediction that could be read, and in so many none was looked for."""
        tally = self._tally(model)
        tally.unreadable += unreadable
        tally.unread += unread

    def tokens(self, model: str, columns: Columns) -> None:
        """Count what answers took: dtype TOKENS."""
        self._tokens.setdefault(model, TokenTally()).observe(columns)

    def clamped(self, model: str, count: int) -> None:
        """So many observations had a time that is not yet, and count as of when they came."""
        self._tally(model).clamped += count

    def decided(self, model: str, decision: Decision) -> None:
        """A decision is in force."""
        self._tally(model).decisions[decision.kind.value, decision.trigger or names.NO_TRIGGER] += 1
        if decision.kind in _NEW_BREAKER:
            self._breakers.pop(model, None)
        self._sync(model)  # labels joined so far count for the roles before this decision

    def counters(self, worker: int, message: Counters) -> None:
        """Running totals of a proxy worker.

        The first ones of a worker are where counting begins: a worker outlives the control process, and what it did
        before would look like a burst. Those of retiring workers (worker -1) are left out, being of several at once.
        """
        if worker < 0:
            return
        last, self._workers[worker] = self._workers.get(worker), message
        if last is None:
            return
        totals_now, totals_then = _flat(message), _flat(last)
        anew = began_anew(totals_now, totals_then)
        if anew:
            for states in self._breakers.values():
                states.pop(worker, None)
        for (kind, model, reason), count in growth(totals_now, totals_then).items():
            if kind == "refused":
                self._refused[reason] += count
            elif kind == "shadow":
                self._tally(model).dropped[reason] += count
            elif kind == "rows":
                self._lost_by_proxies += count
            elif kind == "races":
                self._lost_races += count
        for model, overhead in message.overhead.items():
            self._tally(model).hold(overhead, None if anew else last.overhead.get(model))

    def breaker(self, model: str, worker: int, state: str) -> None:
        """The breaker of one model's challenger changed in one worker: open, half_open or closed."""
        if worker < 0:
            return  # retiring: nobody would say that it is gone
        if state == "closed":
            self._breakers[model].pop(worker, None)
        else:
            self._breakers[model][worker] = state

    def registry_read(self, model: str, at: float, ok: bool) -> None:  # noqa: FBT001 - callers name it
        """The registry was asked at `at` (seconds since the epoch), and answered or not."""
        self._registry_up[model] = ok
        if ok:
            self._registry_read[model] = at
        else:
            self._tally(model).registry_errors += 1

    def reloaded(self, at: float, ok: bool) -> None:  # noqa: FBT001 - callers name it
        """The settings file changed at `at` (seconds since the epoch), and was taken over or not."""
        self._reload = (at if ok else self._reload[0], ok)

    def access_refused(self, reason: str) -> None:
        """The admin port refused a request: unauthenticated or forbidden."""
        self._access_refused[reason] += 1

    def act_refused(self, act: str) -> None:
        """Somebody was refused who would have changed something."""
        self._acts_refused[act] += 1

    def refusals_lost(self, count: int) -> None:
        """So many refused attempts to act are not in the ledger."""
        self._refusals_lost += count

    def alerted(self, results: Mapping[str, int]) -> None:
        """So many alerts of Alertmanager's came to this."""
        self._alerts.update(results)

    def traced(self, span: Span) -> None:
        """A traced request, or an exchange of one, has ended."""
        if span.model in self._tallies:
            self._tallies[span.model].exemplars.take(span)

    def spanned(self, outcome: str, count: int) -> None:
        """So many spans were exported, failed to be, or were dropped."""
        self._spans[outcome] += count

    def ledger(self, ok: bool) -> None:  # noqa: FBT001 - the one thing that it tells
        """The ledger took a write, or did not."""
        self._ledger_up = ok
        self._ledger_errors += not ok

    # ---- what Prometheus asks

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that the Accept header asks for, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """Every family with its samples; called by prometheus_client."""
        page = Page()
        for model in sorted(self._tallies if self._controlled is None else self._controlled):
            self._sync(model)
            self._show_model(page, model)
        self._show_process(page)
        return page.families()

    # ---- inside

    def _tally(self, model: str) -> Tally:
        tally = self._tallies.get(model)
        if tally is None:
            tally = self._tallies[model] = Tally()
        return tally

    def _of(self, model: str) -> Controlled | None:
        return self._controlled.get(model) if self._controlled is not None else None

    def _begin(self, model: str) -> None:
        """What the ledger brought back was counted by the process before this one."""
        controlled = self._of(model)
        if controlled is None or model in self._joins:
            return
        title = controlled.title
        self._joins[model] = Joins()
        self._joins[model].begin(totals(title), serving_roles(title))
        self._last_labels[model] = label_results(title)

    def _sync(self, model: str) -> None:
        """Add what joined and was lost since the last time."""
        controlled = self._of(model)
        if controlled is None:
            return
        self._begin(model)
        tally, title = self._tally(model), controlled.title
        tally.joined += self._joins[model].take(totals(title), serving_roles(title))
        results = label_results(title)
        tally.labels += growth(results, self._last_labels[model])
        self._last_labels[model] = results
        lost = controlled.lost_rows
        self._lost_here += lost - (self._last_lost[model] if lost >= self._last_lost[model] else 0)
        self._last_lost[model] = lost

    def _show_model(self, page: Page, model: str) -> None:
        count_tally(page, model, self._tally(model))
        if model in self._tokens:
            self._tokens[model].show(page, model)
        rows, seconds = self._unrecorded(model)
        page.add(names.UNRECORDED, rows, model)
        page.add(names.LEDGER_LAG, seconds, model)
        up = self._registry_up.get(model)
        page.add(names.REGISTRY_UP, bool(up), model)
        if model in self._registry_read:
            page.add(names.REGISTRY_READ, self._registry_read[model], model)
        controlled = self._of(model)
        on_trial = controlled is None or controlled.title.serving.other is not None
        states = Counter(self._breakers.get(model, {}).values() if on_trial else ())
        for state in names.BREAKER_STATES:
            page.add(names.BREAKER, states[state], model, state)
        count_decisions(page, model, self._tally(model), controlled.title if controlled is not None else None)
        if controlled is not None:
            show_title(page, model, controlled.title, controlled.last_tick, self._ready(model))

    def _show_process(self, page: Page) -> None:
        linked = self._proxies()
        workers = [self._workers[worker] for worker in linked if worker in self._workers]
        page.add(names.PROXIES, len(linked))
        page.add(names.REVISION, self._revision())
        if workers:
            page.add(names.REVISION_IN_USE, min(message.revision for message in workers))
        page.add(names.CLIENTS, sum(message.client_connections for message in workers))
        page.add(names.UPSTREAMS, sum(message.upstream_connections for message in workers))
        for reason in (*names.REFUSALS, *sorted(self._refused.keys() - set(names.REFUSALS))):
            page.add(names.REFUSED, self._refused[reason], reason)
        for reason in names.ACCESS_REFUSALS:
            page.add(names.ACCESS_REFUSED, self._access_refused[reason], reason)
        for act in names.ACTS:
            page.add(names.ACT_REFUSED, self._acts_refused[act], act)
        page.add(names.REFUSALS_LOST, self._refusals_lost)
        for result in names.ALERT_RESULTS:
            page.add(names.ALERTS, self._alerts[result], result)
        page.add(names.LOST_RACES, self._lost_races)
        for outcome in names.SPAN_OUTCOMES:
            page.add(names.SPANS, self._spans[outcome], outcome)
        for where, count in zip(names.DROPPED_BY, (self._lost_by_proxies, self._lost_here), strict=True):
            page.add(names.LOST_ROWS, count, where)
        for target, queue in self._notifications().items():
            page.add(names.NOTIFICATIONS_WAITING, len(queue.waiting), target)
            for outcome, count in queue.counts.items():
                page.add(names.NOTIFIED, count, target, outcome)
        page.add(names.RELOAD_AT, self._reload[0])
        page.add(names.RELOAD_OK, self._reload[1])
        page.add(names.LEDGER_UP, self._ledger_up)
        page.add(names.LEDGER_ERRORS, self._ledger_errors)
        workers_pids = {f"proxy-{worker}": pid for worker, pid in self._pids().items()}
        for process, usage in self._processes.usage({"control": os.getpid(), **workers_pids}).items():
            page.add(names.CPU, usage.cpu_seconds, process)
            page.add(names.MEMORY, usage.resident_bytes, process)
            page.add(names.OPEN_FILES, usage.open_files, process)
            page.add(names.STARTED, usage.started_at, process)
        page.add(names.BUILD, 1, version("titleshot"))


def _flat(message: Counters) -> dict[tuple[str, str, str], int]:
    """The running totals of a worker under (what, model, reason)."""
    flat = {("refused", "", reason): count for reason, count in message.refused.items()}
    for model, reasons in message.shadow_dropped.items():
        flat.update({("shadow", model, reason): count for reason, count in reasons.items()})
    flat.update({("held", model, ""): sum(overhead.counts) for model, overhead in message.overhead.items()})
    flat["rows", "", ""] = message.rows_dropped
    flat["races", "", ""] = message.lost_races
    return flat
