"""docs/benchmarks.md names every command and every task."""

import argparse
import re
import shlex

import pytest

from bench.__main__ import parser
from bench.tasks import TASKS
from tests.pages.pages import DOCS, PAGES

PAGE = (DOCS / "benchmarks.md").read_text()


def test_every_command_is_named() -> None:
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name in commands.choices:
        assert f"`python -m bench {name}" in PAGE


COMMAND = re.compile(r"python -m bench ([a-z]+ [^`#\n]+)")
CONTINUED = re.compile(r"\\\n *")
COMMANDS = sorted(
    {found[1] for page in PAGES for found in COMMAND.finditer(CONTINUED.sub("", page.read_text()))}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_the_pages_are_understood(command: str) -> None:
    words = shlex.split(command.replace("TASK", "mnist"))
    parser().parse_args([word for word in words if word not in ("[DIR", "...]")])


def test_every_task_is_named() -> None:
    for name in TASKS:
        assert f"`{name}`" in PAGE
