"""README.md: its example runs as it stands, and its numbers are those of bench/results."""

import re
import runpy
from pathlib import Path

import pytest
import torch

import impsamp_fast as isf
from bench.report import readme

README = Path(__file__).parents[2] / "README.md"


def examples():
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_example_runs_and_learns(tmp_path):
    example = examples()[0]
    script = tmp_path / "example.py"
    script.write_text(example)
    torch.manual_seed(0)
    names = runpy.run_path(str(script))
    with torch.no_grad():
        accuracy = (names["model"](names["x"]).argmax(dim=1) == names["y"]).float().mean()
    assert accuracy > 0.9  # always guessing the larger class: 0.5


def test_the_scoring_pass_is_made_as_described(capsys):
    example = next(text for text in examples() if "isf.ScoringPass" in text)
    model = torch.nn.Linear(5, 3)
    names = {"isf": isf, "torch": torch, "model": model}
    names |= {"x": torch.randn(1024, 5), "y": torch.randint(3, (1024,))}
    # What is fastest is found out elsewhere, with a limit of time.
    exec(example.replace("y[:1024])", "y[:1024], seconds=0.1)"), names)
    assert names["selector"].scoring.compile is True
    assert "taken: ScoringPass(" in capsys.readouterr().out


def test_the_operators_are_called_as_described():
    example = next(text for text in examples() if "isf.row_stats" in text)
    logits, target = torch.randn(64, 3), torch.randint(3, (64,))
    names = {"isf": isf, "logits": logits, "target": target, "n": 8, "weights": torch.rand(64)}
    exec(example, names)
    assert names["stats"]._fields == ("loss", "grad_norm", "p_true", "margin", "entropy")
    assert names["draw"].index.shape == names["chosen"].index.shape == (8,)


def test_the_quoted_loss_is_what_comes_out():
    loss = isf.row_stats(torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([0])).loss
    assert f"{loss.item():.3g}" == "4.12e-09"


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, parts in readme.PARTS.items() for name in parts]
)
def test_the_tables_are_those_of_the_committed_results(page, name):
    text = (readme.ROOT / page).read_text()
    assert readme.replace_part(text, name, readme.PARTS[page][name]()) == text
