"""docs/trainers.md: its code runs as it is, and adds as many lines as it says."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

import impsamp_fast as isf
from tests.integrations.tiny import SIZE, Points, Sentences, classifier, language_model

PAGE = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()
MOST = 8

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*(num_workers|val_dataloader|set_vital|log_every).*"),
]


def sections() -> dict[str, list[str]]:
    """The code of each section."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    texts = zip(parts[::2], parts[1::2], strict=True)
    return {
        title: re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) for title, text in texts
    }


def added(code: str) -> int:
    return len(re.findall(r"  # \+", code))


def test_the_table_counts_the_lines() -> None:
    rows = re.findall(r"^\| (.*?) \| (\d+) \| (\d+) \|$", PAGE, flags=re.MULTILINE)
    code = sections()
    counted = {
        "Hugging Face's `Trainer`": (code["Hugging Face"][0], code["Hugging Face"][2]),
        "Lightning": tuple(code["Lightning"]),
        "accelerate": tuple(code["accelerate"]),
        "a loop of your own": (code["Streams"][0], code["Loops of your own, and torchdata"][0]),
    }
    found = [(name, *(str(added(part)) for part in parts)) for name, parts in counted.items()]
    assert rows == found
    assert max(added(part) for parts in code.values() for part in parts) <= MOST


@pytest.fixture
def names() -> dict[str, Any]:
    """What the page takes as given."""
    model = classifier()
    return {
        "isf": isf,
        "torch": torch,
        "F": F,
        "DataLoader": DataLoader,
        "data": Points(),
        "make_model": classifier,
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters()),
    }


def test_hugging_face(names: dict[str, Any], tmp_path: Path) -> None:
    from transformers import TrainingArguments

    names |= {
        "model": language_model("sequence"),
        "lm": language_model("causal"),
        "data": Sentences("sequence"),
        "texts": Sentences("causal"),
        "args": TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=32,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
    }
    for code in sections()["Hugging Face"]:
        exec(code, names)
        assert names["trainer"].state.global_step == 3 * SIZE // 32
    assert names["sampler"].memory.seen.min() > 0


def test_lightning(names: dict[str, Any], tmp_path: Path) -> None:
    from lightning import pytorch as lightning

    options = {"accelerator": "cpu", "logger": False, "default_root_dir": tmp_path}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    names |= {"lightning": lightning, "options": options | quiet}
    for code in sections()["Lightning"]:
        exec(code, names)
        assert names["trainer"].current_epoch == 2
        assert "impsamp_fast." in " ".join(torch.load(saved_in(tmp_path), weights_only=True))


def saved_in(folder: Path) -> Path:
    """The last checkpoint."""
    return max(folder.rglob("*.ckpt"), key=lambda path: path.stat().st_mtime)


def test_accelerate(names: dict[str, Any], tmp_path: Path) -> None:
    from accelerate import Accelerator

    names["accelerator"] = Accelerator(cpu=True)
    for code in sections()["accelerate"]:
        exec(code, names)
    names["accelerator"].save_state(str(tmp_path))
    assert names["batch"].y.shape == (32,) or SIZE % 128
    assert names["sampler"].memory.seen.min() > 0


def test_loops(names: dict[str, Any], tmp_path: Path) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    names |= {"StatefulDataLoader": StatefulDataLoader, "step": 0, "rate": 0.1}
    names["path"] = tmp_path / "state.pt"
    (code,) = sections()["Loops of your own, and torchdata"]
    exec(code, names)
    assert names["sampler"].memory.seen.min() > 0
    assert names["planned"] == names["step"]


class Stream(IterableDataset[Any]):
    """Dicts as webdataset yields them: with a key, and without an index."""

    def __iter__(self) -> Any:
        for number, (x, y) in enumerate(Points()[index] for index in range(SIZE)):
            yield {"__key__": f"sample{number}", "image": x, "label": y}


def test_streams(names: dict[str, Any]) -> None:
    (code,) = sections()["Streams"]
    exec(code.replace("batch_size=128", "batch_size=40"), names := names | {"stream": Stream()})
    assert names["batch"].y.shape == (SIZE % 40,)
    assert len(set(names["batch"].inputs["__key__"])) == SIZE % 40
