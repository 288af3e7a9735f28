"""Imports within the package run one way, as the design draws them."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "impsamp_fast"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the bottom to the top: a module may import those of lower layers, and of its own. The files
# of a folder are in its layer.
LAYERS = [
    {"_built_with", "_C"},
    {"_extension"},
    {"_checks", "_readback", "_seeds", "_watch"},
    {"ops"},
    {"_uniform"},
    {"dataset"},
    {"batch"},
    {"strategies"},
    {"__init__"},
]


def imports(path: Path) -> list[str]:
    """The dotted names that a file imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_at(path: Path) -> str:
    """The module or package, directly within the package, that the file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def module_of(name: str) -> str:
    """The module of the package that the dotted name belongs to."""
    _, *rest = name.split(".")
    known = set().union(*LAYERS) | {module_at(path) for path in FILES}
    return rest[0] if rest and rest[0] in known else "__init__"


def height(module: str) -> int:
    for i, layer in enumerate(LAYERS):
        if module in layer:
            return i
    raise AssertionError(f"say in LAYERS where the module {module} belongs")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    for name in imports(path):
        if name.split(".")[0] == "impsamp_fast":
            module = module_of(name)
            assert height(module) <= height(module_at(path)), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_needs_only_torch_and_the_standard_library(path: Path) -> None:
    allowed = {"torch", "impsamp_fast", *sys.stdlib_module_names}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
