"""Timing on a GPU: inputs in turns, peers that fail."""

from bench.operators.gpu.timing import failure_of, rotating, usable


def test_inputs_take_turns() -> None:
    seen: list[int] = []
    function = rotating(seen.append, [(1,), (2,), (3,)])
    for _ in range(5):
        function()
    assert seen == [1, 2, 3, 1, 2]


def test_a_peer_that_fails_is_a_peer_less() -> None:
    def fails() -> None:
        raise RuntimeError("not here\nand a trace")

    works, missing = usable({"a": fails, "b": lambda: 1})
    assert list(works) == ["b"]
    assert missing == {"a": "not here"}
    assert failure_of(lambda: [][1]) == "list index out of range"
