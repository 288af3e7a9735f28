"""A selector picks the same rows by the same seed, and where a saved run goes on."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import select
from tests.toy import K, N, seed_of_step


class TestSeed:
    def test_decides_the_rows_and_leaves_the_generator_alone(self, model, data):
        before = torch.get_rng_state()
        first, second = Selector(model, N, seed=9), Selector(model, N, seed=9)
        for _ in range(3):
            torch.rand(5)
            assert torch.equal(first(*data).index, second(*data).index)
        torch.set_rng_state(before)
        Selector(model, N, seed=9)(*data)
        assert torch.equal(torch.get_rng_state(), before)

    def test_is_taken_from_torchs_generator_when_not_given(self, model, data):
        picks = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            picks.append(Selector(model, N)(*data).index.tolist())
        assert picks[0] == picks[1] != picks[2]

    def test_neighbours_share_no_step(self, model, data):
        picks = set()
        for seed in range(5):
            selector = Selector(model, N, seed=seed)
            picks |= {tuple(selector(*data).index.tolist()) for _ in range(5)}
        assert len(picks) == 25

    @pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
    def test_may_be_any_64_bit_integer(self, model, data, seed):
        selector = Selector(model, N, seed=seed)
        rows = [selector(*data).index.tolist() for _ in range(2)]
        assert rows[0] != rows[1]

    def test_may_be_numpys(self, model, data):
        seed = np.int32(9)
        selector = Selector(model, N, seed=seed)
        assert selector.seed is seed
        assert type(selector.state_dict()["seed"]) is int
        for step in range(2):
            expected = select(model(data[0]), data[1], N, seed=seed_of_step(9, step))
            assert torch.equal(selector(*data).index, expected.index)

    @pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
    def test_but_no_larger(self, model, seed):
        with pytest.raises(ValueError, match=f"seed is {seed}, expected"):
            Selector(model, N, seed=seed)


RUN = textwrap.dedent(
    """
    import os, signal, sys
    import torch
    import torch.nn.functional as F
    from torch import nn
    from impsamp_fast.dataset.pick_counts import PickCounts
    from impsamp_fast.batch.selector import Selector
    from impsamp_fast.batch.start import LossRatio

    checkpoint, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(first)  # another process starts with other random numbers
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    selector = Selector(model, 16, start=LossRatio(0.8), counts=PickCounts(200), dropout=True)
    parts = {"model": model, "optimizer": optimizer, "selector": selector}
    if first:
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
    for step in range(first, last):
        data = torch.Generator().manual_seed(step)
        index = torch.randint(200, (64,), generator=data)
        x = torch.randn(64, 2, generator=data)
        y = (x.norm(dim=1) > 1.2).long()
        batch = selector(x, y, index)
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        optimizer.step()
        print(step, batch.importance, *batch.index.tolist(), flush=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    print(selector.counts.counts.tolist(), flush=True)
    torch.save(state | {"random": torch.get_rng_state()}, checkpoint)
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


class TestResuming:
    def test_a_killed_run_picks_the_same_rows_in_a_new_process(self, tmp_path):
        def start(checkpoint: str, first: int, last: int) -> subprocess.Popen:
            return subprocess.Popen(
                [sys.executable, "-c", RUN, tmp_path / checkpoint, str(first), str(last)],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                text=True,
            )

        whole, killed = start("whole", 0, 60), start("killed", 0, 25)
        first_part = killed.communicate()[0].splitlines()
        second_part = start("killed", 25, 60).communicate()[0].splitlines()
        expected = whole.communicate()[0].splitlines()
        assert len(expected) == 61
        assert first_part[:-1] + second_part == expected
        # It was killed in the uniform phase, so that the start rule's memory mattered.
        assert "False" in second_part[0]
        assert "True" in second_part[-2]

    def test_loading_changes_nothing_unless_all_fits(self, model, data):
        def make(**arguments) -> Selector:
            return Selector(model, N, **{"start": LossRatio(0.5), "seed": 0} | arguments)

        selector = make(counts=PickCounts(K))
        selector(*data).mean(torch.ones(N))
        state = selector.state_dict()
        misfits = [
            (make(counts=PickCounts(K), start=VarianceReduction()), KeyError, "VarianceReduction"),
            (make(counts=PickCounts(K + 1)), ValueError, "has size 65"),
            (make(), ValueError, "the state counts picks and this selector does not"),
        ]
        for other, error, message in misfits:
            before = other.state_dict()
            with pytest.raises(error, match=message):
                other.load_state_dict(state)
            after = other.state_dict()
            for saved in (before, after):
                if saved["counts"] is not None:
                    saved["counts"] = saved["counts"]["counts"].tolist()
            assert after == before

        with pytest.raises(ValueError, match="this selector counts picks and the state does not"):
            selector.load_state_dict(make().state_dict())
        with pytest.raises(KeyError, match="expected seed, step, faulty_rows, pool, start and "):
            selector.load_state_dict(model.state_dict())

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"seed": 1.5}, TypeError, "the state's seed is 1.5, expected an int"),
            ({"seed": None}, TypeError, "the state's seed is None, expected an int"),
            ({"step": "3"}, TypeError, "the state's step is '3', expected an int"),
            ({"step": -1}, ValueError, "the state's step is -1, expected at least 0"),
        ],
    )
    def test_a_state_with_another_seed_or_step_changes_nothing(
        self, model, data, change, error, message
    ):
        selector, other = (Selector(model, N, start=LossRatio(0.5), seed=seed) for seed in (0, 1))
        other(*data).mean(torch.ones(N))
        before = selector.state_dict()
        with pytest.raises(error, match=message):
            selector.load_state_dict(other.state_dict() | change)
        assert selector.state_dict() == before
