"""Result files: a reader never sees one half written, however the writer died."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"  # those that pages show


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it into place in one operation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: numpy appends its own to a name that lacks it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """One key of the outermost level per line: a result is diffed, but seldom read."""
    if isinstance(value, dict):
        rows = (f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
        text = "{\n" + ",\n".join(rows) + "\n}\n"
    else:
        text = json.dumps(value) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))


def digest(*paths: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of what files hold, one after the other."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
