"""Samples on their way to prometheus_client: added family by family, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from prometheus_client import Metric
from prometheus_client.samples import Exemplar

from router.control.metric_family import Family, Kind
from router.control.metric_table import TABLE


@lru_cache
def _labels(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """The values of `le`."""
    return (*map(str, bounds), "+Inf")


class Page:
    """One scrape. A family without a sample is left out."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, family: Family, value: float, *labels: str) -> None:
        """One sample of a counter or gauge; `labels` are the values in the family's order."""
        sample = dict(zip(family.labels, labels, strict=True))
        self._metric(family).add_sample(family.name, sample, float(value))

    def add_histogram(
        self,
        family: Family,
        counts: Sequence[int],
        total: float,
        *labels: str,
        exemplars: Sequence[Exemplar | None] | None = None,
    ) -> None:
        """One histogram: how many fell into each bucket and beyond all bounds, and their sum in the family's unit.

        `exemplars` are of the buckets, None where one has none.
        """
        metric, own = self._metric(family), dict(zip(family.labels, labels, strict=True))
        reached = 0
        told = exemplars if exemplars is not None else [None] * len(counts)
        for bound, count, exemplar in zip(_labels(family.bounds), counts, told, strict=True):
            reached += count
            shown = exemplar if count else None  # its row may yet be on its way
            metric.add_sample(f"{family.name}_bucket", {**own, "le": bound}, reached, exemplar=shown)
        metric.add_sample(f"{family.name}_count", own, reached)
        metric.add_sample(f"{family.name}_sum", own, total)

    def families(self) -> Iterator[Metric]:
        """In the order of the table."""
        return (self._metrics[family.name] for family in TABLE if family.name in self._metrics)

    def _metric(self, family: Family) -> Metric:
        metric = self._metrics.get(family.name)
        if metric is None:
            name = family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
            unit = family.unit if name.endswith(f"_{family.unit}") else ""
            metric = self._metrics[family.name] = Metric(name, family.help, family.kind.value, unit)
        return metric
