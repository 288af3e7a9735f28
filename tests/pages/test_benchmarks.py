"""docs/benchmarks.md names every command and every task."""

import argparse

from bench.__main__ import parser
from bench.tasks import TASKS
from tests.pages.pages import DOCS

PAGE = (DOCS / "benchmarks.md").read_text()


def test_every_command_is_named() -> None:
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name in commands.choices:
        assert f"`python -m bench {name}" in PAGE


def test_every_task_is_named() -> None:
    for name in TASKS:
        assert f"`{name}`" in PAGE
