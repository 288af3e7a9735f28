"""What a measurement was made on."""

from pathlib import Path

import pytest

import impsamp_fast
from bench.report import machine


def test_the_extension_is_known_by_the_bytes_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extension").write_bytes(b"abc")  # the example of FIPS 180-2
    monkeypatch.setattr(impsamp_fast._C, "__file__", str(tmp_path / "extension"))
    assert machine.extension_hash.__wrapped__() == "ba7816bf8f01cfea"
