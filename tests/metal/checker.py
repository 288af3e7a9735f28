"""What Metal's compiler would refuse, found by clang: no public compiler for Metal runs here.

A source is compiled as C++14 with declarations of what Metal has (tests/metal/strict), in which
``device``, ``constant`` and ``threadgroup`` memory are types of their own. Then its syntax tree is
searched for what C++14 has and Metal has not.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shim.building import COMPILER

STRICT = Path(__file__).parent / "strict"
SPACES = {"thread", "device", "constant", "threadgroup"}
ARGUMENTS = [
    "-xc++",
    "-std=c++14",
    "-pedantic-errors",
    "-Wall",
    "-Wno-unused-function",
    "-Wno-unused-const-variable",
    "-Wno-unknown-attributes",
    "-Wno-ignored-attributes",
    "-Wno-unknown-pragmas",
    "-ferror-limit=0",
    "-Dthread=",
    "-Ddevice=__attribute__((address_space(1)))",
    "-Dconstant=__attribute__((address_space(2)))",
    "-Dthreadgroup=__attribute__((address_space(3)))",
]
FORBIDDEN = {
    "CXX_THROW_EXPR": "an exception",
    "CXX_TRY_STMT": "an exception",
    "LAMBDA_EXPR": "a lambda",
    "CXX_NEW_EXPR": "new",
    "CXX_DELETE_EXPR": "delete",
    "CXX_DYNAMIC_CAST_EXPR": "dynamic_cast",
    "CXX_TYPEID_EXPR": "typeid",
    "GOTO_STMT": "goto",
}
TYPES = {
    "DOUBLE": "double",
    "LONGDOUBLE": "long double",
    "LONGLONG": "long long",
    "ULONGLONG": "long long",
    "INT128": "__int128",
    "UINT128": "__int128",
}


def complaints(source: str) -> list[str]:
    """What is wrong with a source, one line each; skips the test where there is no libclang."""
    cindex = pytest.importorskip("clang.cindex", reason="pip install libclang")
    text = _preprocessed(source)
    unit = cindex.Index.create().parse(
        "source.cpp", args=ARGUMENTS, unsaved_files=[("source.cpp", text)]
    )
    severe = cindex.Diagnostic.Warning
    found = [str(d) for d in unit.diagnostics if d.severity >= severe]
    calls: dict[str, set[str]] = {}
    for cursor, function in _walk(unit.cursor, ""):
        found += _wrong(cursor, function, text)
        if cursor.kind.name == "CALL_EXPR" and function and cursor.referenced is not None:
            calls.setdefault(function, set()).add(cursor.referenced.get_usr())
    found += [f"recursion in {name}" for name in calls if _reaches(calls, name, name, set())]
    return sorted(set(found))


def _preprocessed(source: str) -> str:
    """Without macros, but for the names of address spaces."""
    # A local variable of an address space is none for clang unless it is static.
    source = re.sub(r"(#define ISF_SHARED\(.*\) )threadgroup", r"\1static threadgroup", source)
    # Nor has it attributes where a template is instantiated.
    source = re.sub(r"template \[\[host_name.*\]\] decltype", "template decltype", source)
    command = [COMPILER, "-E", "-P", "-nostdinc", "-D__METAL_VERSION__=310", f"-I{STRICT}"]
    process = subprocess.run(
        [*command, "-x", "c++", "-"], input=source, capture_output=True, text=True, check=True
    )
    return process.stdout


def _walk(cursor: Any, function: str) -> Iterator[tuple[Any, str]]:
    """All cursors, each with the function that it is in."""
    kinds = {"FUNCTION_DECL", "FUNCTION_TEMPLATE", "CXX_METHOD", "CONSTRUCTOR"}
    for child in cursor.get_children():
        inside = child.get_usr() if child.kind.name in kinds else function
        yield child, inside
        yield from _walk(child, inside)


def _wrong(cursor: Any, function: str, text: str) -> Iterator[str]:
    kind, where = cursor.kind.name, f"line {cursor.location.line}"
    if kind in FORBIDDEN:
        yield f"{FORBIDDEN[kind]}, {where}"
    if cursor.type.kind.name in TYPES:
        yield f"{TYPES[cursor.type.kind.name]}, {where}"
    if kind == "CXX_METHOD" and cursor.is_virtual_method():
        yield f"a virtual function, {where}"
    if kind == "CALL_EXPR" and cursor.spelling == "printf":
        yield f"printf, {where}"
    if kind in ("VAR_DECL", "PARM_DECL", "FIELD_DECL"):
        words = _words(cursor, text)
        if _refers(cursor.type) and not words & SPACES:
            yield f"{cursor.spelling} refers to no address space, {where}"
        if "static" in words and "threadgroup" not in words and function:
            yield f"a static variable, {where}"


def _words(cursor: Any, text: str) -> set[str]:
    """Those of a declaration. What a macro stands for is not in its extent, if it comes first."""
    begin, end = cursor.extent.start.offset, cursor.extent.end.offset
    while begin > 0 and text[begin - 1] not in "(,;{}":
        begin -= 1
    return set(re.findall(r"\w+", text[begin:end]))


def _refers(kind: Any) -> bool:
    while kind.kind.name.endswith("ARRAY"):
        kind = kind.element_type
    return kind.kind.name in ("POINTER", "LVALUEREFERENCE", "RVALUEREFERENCE")


def _reaches(calls: dict[str, set[str]], start: str, goal: str, seen: set[str]) -> bool:
    for called in calls.get(start, ()):
        if called == goal:
            return True
        if called not in seen:
            seen.add(called)
            if _reaches(calls, called, goal, seen):
                return True
    return False
