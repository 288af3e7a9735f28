"""No barrier of the kernels can be left out: without it some order of threads shows it."""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from impsamp_fast.ops import _metal
from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS
from tests.shim.building import ROOT

METAL = ROOT / "csrc" / "metal"
BARRIER = re.compile(r"threadgroup_barrier\([^;]*\);")
BARRIERS = [
    (path.name, number)
    for path in sorted(METAL.glob("*"))
    for number in range(len(BARRIER.findall(path.read_text())))
]
ORDERS = [0, 1, 17]


def wide_rows(device: MetalDevice) -> list[Tensor]:
    logits = torch.arange(9000.0).sin().reshape(3, 3000)
    return [device.row_statistics(logits, torch.tensor([1, 2, 2999]), ["loss"])["loss"]]


def draws(device: MetalDevice) -> list[Tensor]:
    weights = torch.arange(1.0, 301.0)
    found = [device.draw(weights, 90, method, 3) for method in ("multinomial", "race")]
    return [value for drawn in found for value in drawn[:2]]


def selections(device: MetalDevice) -> list[Tensor]:
    logits, target = torch.arange(1000.0).sin().reshape(100, 10), torch.arange(100) % 10
    options = {"correction": "normalized", "seed": 3}
    return list(device.select(logits, target, 30, method="pps", **options))


# What needs the barriers of a file.
NEEDED_BY: dict[str, Callable[[MetalDevice], list[Tensor]]] = {
    "team.h": lambda device: wide_rows(device) + draws(device),
    "stripes.h": draws,
    "draw.h": selections,
    "select.metal": selections,
}


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Tensor]]:
    with closing(FakeMPS(sanitized=False)) as mps:
        device = MetalDevice(mps)
        return {name: run(device) for name, run in NEEDED_BY.items()}


@pytest.mark.parametrize(("name", "number"), BARRIERS)
def test_every_barrier_is_needed(
    name: str,
    number: int,
    expected: dict[str, list[Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc", ignore=shutil.ignore_patterns("c[pu]*"))
    mutant = tmp_path / "csrc" / "metal" / name
    text = mutant.read_text()
    barrier = list(BARRIER.finditer(text))[number]
    mutant.write_text(text[: barrier.start()] + text[barrier.end() :])
    monkeypatch.setattr(_metal, "_CSRC", tmp_path / "csrc")
    assert any(_differs(name, order, expected[name]) for order in ORDERS)


def _differs(name: str, order: int, expected: list[Tensor]) -> bool:
    with closing(FakeMPS(order=order, sanitized=False)) as mps:
        try:
            found = NEEDED_BY[name](MetalDevice(mps))
        except (RuntimeError, AssertionError):
            return True
    same = (
        torch.equal(value.nan_to_num(-7), wanted.nan_to_num(-7))
        for value, wanted in zip(found, expected, strict=True)
    )
    return not all(same)
