"""Numbers of two floats keep the bounds that csrc/twofloat.h states, against 50 digits."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mpmath import mp, mpf

from tests.ops.test_headers import COMPILER, CSRC

PROGRAM = """
#include <stdio.h>
#include "twofloat.h"
using isf::Two;
int main() {
  Two<float> a, b;
  while (scanf("%a %a %a %a", &a.high, &a.low, &b.high, &b.low) == 4) {
    const isf::Exponential<float> e = isf::exponential(a);
    isf::LongSum<float> sum = {0, 0, 0};
    for (int i = 0; i < 1000; ++i) sum.add(i % 3 ? a : b);
    const Two<float> all[] = {a + b, a - b, a * b, a * b.high, a / b, sum.total(), e.mantissa};
    for (const Two<float> x : all) printf("%a %a ", x.high, x.low);
    printf("%a\\n", e.exponent);
  }
}
"""
U = mpf(2) ** -48
Pair = tuple[float, float]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Pair], list[Pair]], list]:
    """The program's results for pairs of numbers, each of two floats."""
    program = tmp_path_factory.mktemp("twofloat") / "program"
    flags = ["-std=c++14", "-O2", "-ffp-contract=off", f"-I{CSRC}", "-x", "c++"]
    command = [COMPILER, *flags, "-", "-o", str(program)]
    subprocess.run(command, input=PROGRAM, text=True, check=True)
    return lambda a, b: _results(program, a, b)


def _results(program: Path, a: list[Pair], b: list[Pair]) -> list[tuple[list[mpf], float]]:
    lines = [" ".join(x.hex() for x in (*one, *other)) for one, other in zip(a, b, strict=True)]
    process = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    found = []
    for line in process.stdout.splitlines():
        numbers = [float.fromhex(x) for x in line.split()]
        pairs = zip(numbers[:-1:2], numbers[1:-1:2], strict=True)
        found.append(([mpf(high) + mpf(low) for high, low in pairs], numbers[-1]))
    return found


def of_doubles(x: torch.Tensor) -> list[Pair]:
    """The two floats that are closest to each."""
    high = x.float()
    return list(zip(high.tolist(), (x - high.double()).float().tolist(), strict=True))


def test_arithmetic(run: Callable[[list[Pair], list[Pair]], list]) -> None:
    a = of_doubles(torch.randn(2000, dtype=torch.float64).exp())
    b = of_doubles(torch.randn(2000, dtype=torch.float64).exp())
    with mp.workdps(50):
        for x, y, (found, _) in zip(a, b, run(a, b), strict=True):
            p, q = mpf(x[0]) + mpf(x[1]), mpf(y[0]) + mpf(y[1])
            added, less, times, by_float, over, total, _ = found
            assert abs(added - (p + q)) <= 3 * U * (p + q)
            assert abs(less - (p - q)) <= 3 * U * (p + q)
            assert abs(times / (p * q) - 1) <= 8 * U
            assert abs(by_float / (p * mpf(y[0])) - 1) <= 8 * U
            assert abs(over * q / p - 1) <= 8 * U
            assert abs(total / (666 * p + 334 * q) - 1) <= 3 * U


def test_exponential(run: Callable[[list[Pair], list[Pair]], list]) -> None:
    near = torch.linspace(-1.1, 0, 2001, dtype=torch.float64)
    far = torch.linspace(-180, 0, 2003, dtype=torch.float64)
    d = of_doubles(torch.cat([near, far, torch.tensor([-1e-30, -1e-8, 0.0]).double()]))
    with mp.workdps(50):
        for x, (found, exponent) in zip(d, run(d, d), strict=True):
            truth = mp.exp(mpf(x[0]) + mpf(x[1]))
            bound = mpf(2) ** -44 + U * abs(x[0])
            assert abs(found[-1] * mpf(2) ** exponent / truth - 1) <= bound, x
    ((found, exponent), *_) = run([(float("-inf"), float("nan"))], [(1.0, 0.0)])
    assert float(found[-1]) * 2.0**exponent == pytest.approx(float(mp.exp(-180)))
