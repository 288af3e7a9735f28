"""No two threads race for memory, and no barrier of the kernels, nor any of its flags, is too many.

Races are found whatever order the threads run in (tests/metal/shim/races.h).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import torch

from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS
from tests.methods import METHODS
from tests.shim.building import ROOT

CSRC = ROOT / "csrc"
FLAGS = {"mem_device": 1, "mem_threadgroup": 2}
BARRIER = re.compile(r"threadgroup_barrier\((.*)\);")


def what_to_leave_out() -> Iterator[str]:
    """Each barrier by its place, and each flag of one that has several."""
    for path in sorted((CSRC / "metal").glob("*")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if barrier := BARRIER.search(line):
                place = f"{path.relative_to(CSRC)}:{number}"
                flags = [bit for name, bit in FLAGS.items() if name in barrier[1]]
                yield from [place, *(f"{place} {bit}" for bit in flags if len(flags) > 1)]


def rows(device: MetalDevice) -> None:
    """With and without several threads and threadgroups for a row."""
    for count, classes in ((9, 3), (5, 40), (1, 1100), (1, 8200)):
        logits, target = torch.randn(count, classes), torch.zeros(count).long()
        device.row_statistics(logits, target, ["loss"])
        if classes < 2000:
            device.row_statistics(logits, target, ["loss"], label_smoothing=0.1)
    device.last_layer(torch.randn(5, 40), torch.rand(5))


def draws(device: MetalDevice) -> None:
    """In a threadgroup's memory, and of more rows than that sorts."""
    for count in (300, 2500):
        for method in METHODS:
            device.draw(torch.arange(1.0, count + 1), 90, method, 3)


def selections(device: MetalDevice) -> None:
    logits, target = torch.randn(100, 10), torch.arange(100) % 10
    for method in METHODS:
        for correction in ("normalized", 0.5):
            device.select(logits, target, 30, method=method, correction=correction, smoothing=0.1)


def weights(device: MetalDevice) -> None:
    device.smoothed(torch.rand(300), 0.2)
    device.corrected(torch.rand(300), torch.rand(300), 900, "with replacement", 0.5)


def stages(device: MetalDevice) -> None:
    part, largest, count = torch.rand(300), torch.ones(()), torch.tensor(300)
    known, zero = (part, largest, count), torch.tensor(0)
    device.draw_scan(part)
    total = device.draw_total(*known)
    device.draw_part(*known, total, zero, 40, "multinomial", zero)
    device.draw_first(*known, zero, 40, "race", zero)
    device.draw_arrival_prob(*known, zero)
    found = device.draw_certain(*known, torch.stack([zero - 1, total[0], zero]), 40)
    device.draw_by_size(*known, found, torch.tensor([0, 0]), 40, zero)


RUNS = [rows, draws, selections, weights, stages]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_no_kernel_has_a_race(run: Callable[[MetalDevice], None]) -> None:
    with closing(FakeMPS(races=True)) as mps:
        run(MetalDevice(mps))


@pytest.mark.parametrize("without", list(what_to_leave_out()))
def test_every_barrier_is_needed(without: str) -> None:
    def races(run: Callable[[MetalDevice], None]) -> bool:
        with closing(FakeMPS(races=True, without=without)) as mps:
            try:
                run(MetalDevice(mps))
            except RuntimeError as error:
                assert "a race with a" in str(error)
                return True
        return False

    assert any(map(races, (draws, selections, stages)))
