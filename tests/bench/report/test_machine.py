"""What a measurement was made on."""

import subprocess
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


def test_the_commit_is_that_of_the_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = machine.commit.__wrapped__
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "bench" / "report" / "machine.py"))
    (tmp_path / "file").write_text("one")
    assert commit() is None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    head = git("rev-parse", "HEAD")
    assert commit() == head
    (tmp_path / "file").write_text("two")
    assert commit() == f"{head}-dirty"
    # A source tree that is a folder of another repository has no commit of its own.
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "sub" / "bench" / "report" / "x.py"))
    (tmp_path / "sub").mkdir()
    assert commit() is None


def test_a_table_says_at_which_commit() -> None:
    assert (
        machine.commits_of({}) == machine.commits_of({"commits": [None]}) == "commit not recorded"
    )
    assert machine.commits_of({"commit": 40 * "a"}) == "commit aaaaaaaaaa"
    two = {"commits": [40 * "a", None, 40 * "b" + "-dirty"]}
    assert machine.commits_of(two) == "commits aaaaaaaaaa, bbbbbbbbbb-dirty"
