"""The arithmetic of choice.h, correction.h and power.h against 60 digits, within their own bounds.

The headers are compiled for the host, as C++14: every device reads the same text.
"""

import ctypes
import math
import subprocess
import sysconfig
from collections.abc import Iterator
from ctypes import c_double, c_float, c_int, c_int64, c_uint64
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

ROOT = Path(__file__).resolve().parents[2]
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]
SIGNATURES = {
    "log2_of_float": (c_int64, c_float),
    "log2_of_double": (c_int64, c_double),
    "power_of_ratio": (c_double, c_double, c_double, c_double),
    "arrival_probability_of": (c_float, c_uint64, c_float),
    "draw_probability_of": (c_float, c_uint64, c_uint64),
    "inclusion_probability_of": (c_float, c_uint64, c_uint64, c_uint64),
    "systematic_point": (c_uint64, c_uint64, c_uint64, c_uint64, c_uint64),
    "systematic_points_below": (c_uint64, c_uint64, c_uint64, c_uint64, c_uint64),
    "float_of": (c_float, c_uint64, c_int),
    "double_of": (c_double, c_uint64, c_int),
    "mean_of_floats": (c_float, ctypes.c_void_p, c_int64),
    "tau_of_floats": (c_float, ctypes.c_void_p, c_int64),
}

# All positive finite numbers, subnormal ones included.
floats = st.integers(1, 0x7F7FFFFF).map(lambda bits: float(np.uint32(bits).view(np.float32)))
doubles = st.integers(1, 0x7FEFFFFFFFFFFFFF).map(lambda b: float(np.uint64(b).view(np.float64)))


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("choice") / "choice.so"
    flags = ["-std=c++14", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    source = Path(__file__).with_name("choice_functions.cpp")
    subprocess.run([COMPILER, *flags, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:
    with mp.workdps(60):
        yield


def relative_error(actual: float, truth: mpf) -> float:
    return float(abs(mpf(actual) / truth - 1))


def exact(value: Fraction) -> mpf:
    return mpf(value.numerator) / value.denominator


def log2_error(found: int, x: float) -> mpf:
    return abs(mpf(found) / 2**51 - mp.log(mpf(x), 2))


@given(floats)
def test_log2_of_floats(choice, x):
    assert log2_error(choice.log2_of_float(x), x) < 2**-49


@given(doubles)
def test_log2_of_doubles(choice, x):
    assert log2_error(choice.log2_of_double(x), x) < 2**-49


def test_log2_where_its_pieces_meet(choice):
    for fraction in np.linspace(0.5, 2.0, 3 * 2**9 + 1):
        for x in (math.nextafter(fraction, 0), fraction):
            assert log2_error(choice.log2_of_double(x), x) < 2**-49


@given(doubles, doubles, st.floats(-40, 40))
def test_powers(choice, x, y, k):
    x, largest = sorted((x, y), reverse=k < 0)
    truth = (mpf(x) / mpf(largest)) ** mpf(k)
    found = choice.power_of_ratio(x, largest, k)
    if truth < mpf(2) ** -1022:
        assert found <= 2.0**-1021
    else:
        assert relative_error(found, truth) < (abs(k) + 1) * 2**-48


@given(st.integers(1, 2**62), st.floats(2.0**-75, 2.0**8))
def test_the_probability_of_an_arrival(choice, rate, scale):
    time = float(np.float32(scale / rate))
    truth = -mp.expm1(-mpf(rate) * mpf(time))
    assert relative_error(choice.arrival_probability_of(rate, time), truth) < 2e-6


def test_an_arrival_before_the_end_of_time_is_certain(choice):
    assert choice.arrival_probability_of(1, math.inf) == 1


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_the_probability_of_a_draw(choice, a, b):
    fixed, total = sorted((a, b))
    truth = exact(Fraction(fixed, total))
    assert relative_error(choice.draw_probability_of(fixed, total), truth) < 2**-22


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**31 - 1), st.data())
def test_the_probability_of_an_inclusion(choice, rest, left, data):
    fixed = data.draw(st.integers(1, max(1, rest // left)))
    truth = exact(min(Fraction(1), Fraction(left * fixed, rest)))
    found = choice.inclusion_probability_of(fixed, rest, left)
    assert found <= 1
    assert relative_error(found, truth) < 2**-21


@given(st.integers(1, 2**31 - 1), st.data())
def test_systematic_points(choice, count, data):
    total = data.draw(st.integers(count, 2**63 - 1))
    offset = data.draw(st.integers(0, total - 1))
    i = data.draw(st.integers(0, count - 1))
    point = (i * total + offset) // count
    assert choice.systematic_point(i, offset, total, count) == point
    for x in (0, point, point + 1, data.draw(st.integers(0, total))):
        # floor((j total + offset) / count) < x for the j below this.
        below = max(0, min(count, -((offset - x * count) // total)))
        assert choice.systematic_points_below(x, offset, total, count) == below


@given(st.integers(1, 2**63 - 1), st.integers(-300, 100))
def test_composed_floats(choice, mantissa, exponent):
    truth = mpf(mantissa) * mpf(2) ** exponent
    found = choice.float_of(mantissa, exponent)
    if truth >= mpf(2) ** 128:
        assert found == math.inf or found > 3.4e38
    else:
        assert abs(mpf(found) - truth) <= max(truth * 2**-24, mpf(2) ** -149)


@given(st.integers(1, 2**63 - 1), st.integers(-1200, 900))
def test_composed_doubles(choice, mantissa, exponent):
    truth = mpf(mantissa) * mpf(2) ** exponent
    found = choice.double_of(mantissa, exponent)
    assert abs(mpf(found) - truth) <= max(truth * mpf(2) ** -53, mpf(2) ** -1074)


def arrays(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(count)
    for scale in (1e-44, 1e-30, 1.0, 3.3e38):
        yield (scale * random.random(count)).astype(np.float32)
    yield np.full(count, 3.4028235e38, np.float32)
    yield (10.0 ** random.uniform(-30, 30, count)).astype(np.float32)
    lone = np.full(count, 1e-10, np.float32)
    lone[0] = 1
    yield lone


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1024, 2**17 + 1])
def test_means_and_tau_of_scores(choice, count):
    bits = (count - 1).bit_length()
    for x in arrays(count):
        if not x.any():
            continue
        values = [Fraction(float(v)) for v in x]
        total = sum(values)
        mean = exact(total / count)
        found = choice.mean_of_floats(x.ctypes.data, count)
        bound = mpf(2) ** (2 * bits - 62) + mpf(2) ** -22
        assert abs(mpf(found) - mean) <= max(mean * bound, mpf(2) ** -149)
        assert found <= x.max()
        tau = mp.sqrt(exact(count * sum(v * v for v in values) / total**2))
        bound = 2.0 ** (2 * bits - 63) + 2.0 ** (bits / 2 - 30) + 2.0**-22
        assert relative_error(choice.tau_of_floats(x.ctypes.data, count), tau) < bound
