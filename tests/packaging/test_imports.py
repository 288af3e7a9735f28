"""Imports run one way, within the package and within the benchmarks, as the design draws them."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the bottom to the top: a module may import those of lower layers, and of its own. The files
# of a folder are in its layer.
LAYERS = {
    "impsamp_fast": [
        {"_built_with", "_C"},
        {"_extension"},
        {"_checks", "_memory", "_readback", "_seeds", "_settings", "_watch"},
        {"ops"},
        {"_faults", "_fill_up", "_uniform"},
        {"distributed"},
        {"dataset"},
        {"batch"},
        {"strategies"},
        {"__init__"},
        {"integrations"},
        {"plot"},
    ],
    "bench": [
        {"arguments", "tasks"},
        {"report"},
        {"operators"},
        {"training"},
        {"papers"},
        {"__main__", "__init__"},
    ],
}
# What modules that are imported on demand are for.
PACKAGES = {
    "integrations": {"accelerate", "lightning", "transformers", "wandb"},
    "plot": {"matplotlib"},
}
FILES = [path for package in LAYERS for path in sorted((ROOT / package).rglob("*.py"))]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


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
    """The module or folder, directly within the package, that the file belongs to."""
    return path.relative_to(ROOT / package_of(path)).with_suffix("").parts[0]


def module_of(name: str) -> str:
    """The module or folder of its package that the dotted name belongs to."""
    package, *rest = name.split(".")
    known = set().union(*LAYERS[package])
    known |= {module_at(path) for path in FILES if package_of(path) == package}
    return rest[0] if rest and rest[0] in known else "__init__"


def height(package: str, module: str) -> int:
    for i, layer in enumerate(LAYERS[package]):
        if module in layer:
            return i
    raise AssertionError(f"say in LAYERS where {module} of {package} belongs")


@every_file
def test_imports_run_one_way(path: Path) -> None:
    package = package_of(path)
    for name in imports(path):
        if name.split(".")[0] == package:
            module = module_of(name)
            most = height(package, module_at(path))
            assert height(package, module) <= most, f"{path.name} imports {module}"


@every_file
def test_the_package_needs_only_torch_and_the_standard_library(path: Path) -> None:
    if package_of(path) == "impsamp_fast":
        allowed = {"torch", "impsamp_fast", *sys.stdlib_module_names}
        allowed |= PACKAGES.get(module_at(path), set())
        assert {name.split(".")[0] for name in imports(path)} <= allowed
