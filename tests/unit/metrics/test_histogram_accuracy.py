"""How far p99 that Prometheus reads from our buckets is off, for latencies of many shapes and scales."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from router.control.metric_table import BOUNDS

COUNT = 20_000
P99 = 0.99
_RANKS = (np.arange(COUNT) + 0.5) / COUNT
_NORMAL = np.array([NormalDist().inv_cdf(rank) for rank in _RANKS])


def histogram_quantile(q, latencies):
    """As Prometheus computes it (promql/quantile.go, bucketQuantile): a straight line through the bucket."""
    reached = np.searchsorted(latencies, BOUNDS, side="right")
    rank = q * len(latencies)
    bucket = int(np.searchsorted(reached, rank))
    below = reached[bucket - 1]
    start, end = BOUNDS[bucket - 1], BOUNDS[bucket]
    return start + (end - start) * (rank - below) / (reached[bucket] - below)


def lognormal(spread):
    return np.exp(spread * _NORMAL)


def gamma(shape):
    return np.sort(np.random.default_rng(7).gamma(shape, 1 / shape, 10 * COUNT))


def pareto(tail):
    return (1 - _RANKS) ** (-1 / tail)


def bimodal(share, distance, spread):
    """A share of the answers takes so many times as long, as with a cold cache."""
    slow = distance * lognormal(spread)[:: max(1, round((1 - share) / share))]
    return np.sort(np.concatenate([lognormal(spread), slow]))


SHAPES = {
    **{f"lognormal {spread}": lognormal(spread) for spread in (0.1, 0.25, 0.5, 1, 1.5)},
    **{f"gamma {shape}": gamma(shape) for shape in (0.5, 1, 2, 5, 20, 90)},
    **{f"pareto {tail}": pareto(tail) for tail in (1.5, 2, 3, 5)},
    **{
        f"bimodal {share} {distance} {spread}": bimodal(share, distance, spread)
        for share in (0.005, 0.02, 0.05, 0.1, 0.3)
        for distance in (3, 10)
        for spread in (0.1, 0.3)
    },
}


def worst(latencies):
    """Over all places that p99 can have within a bucket, and small and large latencies."""
    found = 0.0
    for p99 in (0.004, 0.1, 2.0):
        for place in np.linspace(0, math.log(BOUNDS[1] / BOUNDS[0]), 12, endpoint=False):
            scaled = latencies * (p99 * math.exp(place) / latencies[int(P99 * len(latencies))])
            found = max(found, abs(histogram_quantile(P99, scaled) / scaled[int(P99 * len(scaled))] - 1))
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_p99_from_the_buckets_is_within_5_percent(shape):
    assert worst(SHAPES[shape]) < 0.05


def test_whatever_the_latencies_it_is_within_13_percent():
    assert 0.05 < worst(np.full(COUNT, 1.0)) < 0.13
    assert worst(bimodal(0.02, 3, 0.001)) < 0.13
