"""A training run with the package that is installed, which `make wheel-check` does elsewhere."""

import sys
from importlib.metadata import requires, version
from pathlib import Path

import torch
import torch.nn.functional as F

import impsamp_fast as isf

minor = ".".join(torch.__version__.split(".")[:2])
variant = "pt" + minor.replace(".", "")
info = isf.build_info()
assert Path(isf.__file__).is_relative_to(sys.prefix), isf.__file__
assert info["version"] == version("impsamp_fast")
assert info["version"].startswith(f"{isf.__version__}+{variant}"), info["version"]
assert f"torch=={minor}.*" in requires("impsamp_fast")
assert (Path(isf.__file__).parent / "csrc" / "metal").is_dir()

torch.manual_seed(0)
x = torch.rand(100_000, 2) * 2 - 1
y = (x.norm(dim=1) < 0.8).long()
model = torch.nn.Sequential(torch.nn.Linear(2, 50), torch.nn.ReLU(), torch.nn.Linear(50, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
selector = isf.strategies.make("kf18", model, n=128)
for large_x, large_y in zip(x.split(1000), y.split(1000), strict=True):
    batch = selector(large_x, large_y)
    loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
accuracy = (model(x).argmax(dim=1) == y).float().mean().item()
assert accuracy > 0.9, accuracy  # always guessing the larger class: 0.5
print(f"impsamp_fast {info['version']} beside torch {torch.__version__}: {accuracy:.1%} correct")
