"""The sources that a Mac compiles have nothing that Metal has not."""

import pytest

from impsamp_fast.ops import _metal
from tests.metal.checker import complaints
from tests.shim.building import ROOT

LIBRARIES = sorted(path.stem for path in (ROOT / "csrc" / "metal").glob("*.metal"))


@pytest.mark.parametrize("name", LIBRARIES)
def test_is_metal(name: str) -> None:
    assert complaints(_metal.source(name)) == []


FINE = "#include <metal_stdlib>\nstruct S { int64_t x; int64_t twice() const { return x + x; } };\n"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("float f(float* x) { return *x; }", "x refers to no address space"),
        ("float f(thread const float& x) { return x; }", ""),
        ("struct R { float& x; };", "x refers to no address space"),
        ("void f(device float* x) { thread float* y = x; }", "cannot initialize a variable"),
        ("float g(thread float& x); void f(device float* x) { g(*x); }", "no matching function"),
        ("long f(device S* s) { return s->twice(); }", "cannot initialize object parameter"),
        ("S f(device S* s) { return *s; }", "no matching constructor"),
        ("double f() { return 0; }", "double"),
        ("int f() { int half = 1; return half; }", "expected unqualified-id"),
        ("float f(float x) { return 2.0 * x; }", "double"),
        ("ulong f() { return 1ull; }", "long long"),
        ("int f(int n) { return n ? f(n - 1) : 0; }", "recursion"),
        ("int g(int n); int f(int n) { return g(n); } int g(int n) { return f(n); }", "recursion"),
        ("void f() { throw 1; }", "an exception"),
        ("void f() { auto g = [] {}; g(); }", "a lambda"),
        ("template <int n> int f() { if constexpr (n) return 1; return 0; }", "constexpr"),
        ("ulong f(ulong x) { return metal::simd_shuffle(x, 0); }", "ambiguous"),
        ("int printf(constant char* x); void f() { printf(0); }", "printf"),
        ("int f() { static int n; return n; }", "a static variable"),
        ("struct V { virtual void f(); };", "a virtual function"),
    ],
)
def test_refuses(source: str, complaint: str) -> None:
    found = complaints(FINE + source)
    assert found == [] if not complaint else any(complaint in line for line in found), found
