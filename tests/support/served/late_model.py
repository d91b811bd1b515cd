"""The model that the real servers of tests serve: how often it is wrong is its version's."""

import os

import numpy as np

CUT = float(os.environ["TITLESHOT_TEST_CUT"])
"""Below this noise it is wrong."""


def answers(truth, noise):
    """(predictions, probabilities of both classes) of columns."""
    truth, noise = np.ravel(truth).astype(float), np.ravel(noise).astype(float)
    value = np.where(noise > CUT, truth, 1.0 - truth)
    return value.astype(np.int64), np.stack([1.0 - 0.5 - 0.25 * (2 * value - 1), 0.5 + 0.25 * (2 * value - 1)], axis=1)
