"""Goodness of fit, for tests of what random draws come out as."""

from scipy.stats import chisquare
from torch import Tensor

# How often a test of a right sampler would fail, if its seed were not fixed.
FALSE_ALARM = 1e-6


def fits(counts: Tensor, probabilities: Tensor) -> bool:
    """Whether independent draws that were counted can come from these probabilities, up to scale.

    A false alarm once in a million.
    """
    expected = probabilities.double() / probabilities.double().sum() * counts.sum()
    possible = expected > 0
    if counts[~possible].any():
        return False
    return chisquare(counts[possible].numpy(), expected[possible].numpy()).pvalue > FALSE_ALARM
