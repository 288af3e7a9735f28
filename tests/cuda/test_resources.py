"""The report of what CUDA kernels take, from ptxas's words to a verdict."""

import pytest

from tests.cuda.cuda_resources import main, parse, report

KERNEL = """
ptxas info    : Compiling entry function '{name}' for '{architecture}'
ptxas info    : Function properties for {name}
    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 400 bytes smem, 384 bytes cmem[0]
ptxas info    : Compile time = 8.288 ms
"""
FILL, DRAW = "_ZN3isf4cuda4fillEPlil", "_ZN3isf4cuda12_GLOBAL__N_14drawIfEEvPT_"
DOUBLE = "_ZN3isf4cuda12_GLOBAL__N_14drawIdEEvPT_"


def kernel(name, architecture="sm_90", registers=40, stack=0, stores=0, loads=0):
    return KERNEL.format(**locals())


@pytest.fixture
def verdict(tmp_path):
    def of(log):
        (tmp_path / "log").write_text(log)
        return main(str(tmp_path / "log"))

    return of


def test_kernels_are_found_among_other_output():
    log = "[1/9] nvcc -c a.cu\nptxas info    : 0 bytes gmem\n" + kernel(FILL) + "c++ -c b.cpp\n"
    log += kernel(DRAW, "sm_80", registers=63, stack=16, stores=8, loads=4)
    first, second = parse(log)
    assert (first.name, first.architecture, first.registers) == ("isf::cuda::fill", "sm_90", 40)
    assert second.name == "isf::cuda::draw<float>"
    assert (second.stack, second.spilled) == (16, 12)
    assert (first.is_fine, second.is_fine) == (True, False)


def test_functions_that_a_kernel_calls_do_not_stand_for_it():
    called = "ptxas info    : Function properties for called\n    32 bytes stack frame, "
    called += "0 bytes spill stores, 0 bytes spill loads\n"
    log = kernel(FILL).replace("ptxas info    : Used", called + "ptxas info    : Used")
    (found,) = parse(log)
    assert found.stack == 0


def test_one_line_for_a_kernel_on_all_architectures():
    lines = report(parse(kernel(DRAW) + kernel(FILL, "sm_80", 10) + kernel(FILL, stack=8)))
    assert lines.splitlines()[1:] == [
        "sm_80  sm_90  kernel",
        "    -     40  isf::cuda::draw<float>",
        "   10  40 (8 + 0)  isf::cuda::fill",
    ]


def test_a_stack_frame_fails(verdict, capsys):
    assert verdict(kernel(FILL) + kernel(DRAW)) is None
    assert verdict(kernel(FILL) + kernel(DRAW, stack=8)) == (
        "a stack frame in isf::cuda::draw<float>"
    )
    assert verdict(kernel(DOUBLE, stack=8)) is None, "float64 is in no hurry"
    assert "isf::cuda::draw<double>" in capsys.readouterr().out


def test_a_log_without_kernels_fails(verdict):
    assert "names no kernel" in verdict("c++ -c b.cpp\n")
