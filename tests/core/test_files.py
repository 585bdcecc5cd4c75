"""Files are complete or absent, and digests change with the content."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cnnvis_lab.core import FileError, files

ROOT = Path(__file__).parents[2]
SIZE = 2_000_000
# Rewrites one file forever, each time filled with the next letter.
WRITER = f"""
import itertools, sys
from cnnvis_lab.core.files import write_atomically
for letter in itertools.cycle("abcdefgh"):
    write_atomically(sys.argv[1], letter * {SIZE})
"""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_successful_block_replaces_the_content(tmp_path):
    path = tmp_path / "new" / "folder" / "weights.safetensors"
    for content in (b"first", b"second, and longer"):
        with files.replace_atomically(path) as partial:
            assert partial.parent == path.parent and partial.suffix == ".safetensors"
            partial.write_bytes(content)
        assert path.read_bytes() == content and _names(path.parent) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("below", ["", "deeper"])
def test_an_unwritable_folder_is_refused_with_advice(tmp_path, below):
    taken = tmp_path / "taken"
    taken.write_text("a file where a folder was expected")
    for write in (
        lambda folder: files.write_atomically(folder / "a.txt", "a"),
        files.check_writable,
    ):
        with pytest.raises(FileError, match=r"cannot write to .*taken.*choose another folder"):
            write(taken / below)
    assert _names(tmp_path) == ["taken"]


def test_checking_a_folder_creates_nothing(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new" / "folder")
    assert not _names(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # as for who is not root
    with pytest.raises(FileError, match=r"cannot write to .*new .Permission denied"):
        files.check_writable(tmp_path / "new")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_failed_block_leaves_the_old_file_or_none(tmp_path, failure, old):
    path = tmp_path / "table.json"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(failure), files.replace_atomically(path) as partial:
        partial.write_bytes(b"half of the new con")
        raise failure
    assert _names(tmp_path) == ([] if old is None else ["table.json"])
    assert old is None or path.read_bytes() == old


def test_the_old_content_is_read_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")
    with files.replace_atomically(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_two_writers_of_one_file_do_not_interfere(tmp_path):
    path = tmp_path / "a.txt"
    with files.replace_atomically(path) as one:
        with files.replace_atomically(path) as two:
            one.write_text("one")
            two.write_text("two")
        assert path.read_text() == "two"
    assert path.read_text() == "one" and _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("content", ["", "Zeichen: äöü — λ\n", b"\x00\xff\r\n" * 3])
def test_write_atomically_writes_the_given_bytes_and_text_as_utf_8(tmp_path, content):
    path = tmp_path / "deeper" / "file.bin"
    files.write_atomically(str(path), content)
    expected = content if isinstance(content, bytes) else content.encode("utf-8")
    assert path.read_bytes() == expected


def test_names_of_files_that_are_no_text_can_be_written_and_are_part_of_a_digest(tmp_path):
    name = "caf\udce9"  # as Python gives one of another encoding
    files.write_atomically(tmp_path / "list.txt", name)
    assert (tmp_path / "list.txt").read_text() == r"caf\udce9"
    before = files.digest(tmp_path)
    (tmp_path / name).touch()
    assert files.digest(tmp_path) != before


def test_a_killed_writer_leaves_complete_content_and_readers_never_see_a_part(tmp_path):
    path = tmp_path / "big.txt"
    files.write_atomically(path, "z" * SIZE)
    contents = set()
    for kill_after in (3, 7, 11, 16):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT)
        try:
            seen: list[bytes] = []
            while len(seen) < kill_after:
                content = path.read_bytes()
                assert content == content[:1] * SIZE
                if not seen or content[:1] != seen[-1]:
                    seen.append(content[:1])
                assert writer.poll() is None
        finally:
            writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
        content = path.read_bytes()
        assert content == content[:1] * SIZE
        contents.add(content[:1])
    assert contents <= {letter.encode() for letter in "abcdefgh"}
    assert len(_names(tmp_path)) <= 1 + 4  # at most one partial file for each kill


def test_a_files_digest_is_the_sha_256_of_its_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 1000)
    assert files.digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    # the empty message's digest, FIPS 180-4 example
    (tmp_path / "empty").touch()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.digest(str(tmp_path / "empty")) == empty


def _folder(root: Path, names: list[str]) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name.upper())
        os.utime(file, ns=(1_000, 2_000))
    return root


NAMES = ["a.txt", "sub/b.txt", "sub/deep/c.txt"]


def test_a_folders_digest_depends_neither_on_its_path_nor_on_the_order_of_its_listing(
    tmp_path, monkeypatch
):
    one = _folder(tmp_path / "one", NAMES)
    two = _folder(tmp_path / "elsewhere" / "two", NAMES)
    expected, listing = files.digest(one), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *given: reversed(list(listing(*given))))
    assert files.digest(two) == expected


CHANGES = {
    "another file": lambda root: (root / "sub" / "new.txt").touch(),
    "one file less": lambda root: (root / "a.txt").unlink(),
    "renamed": lambda root: (root / "a.txt").rename(root / "b.txt"),
    "moved": lambda root: (root / "a.txt").rename(root / "sub" / "a.txt"),
    "longer": lambda root: _append(root / "sub" / "b.txt"),
    "touched": lambda root: os.utime(root / "sub" / "deep" / "c.txt", ns=(1_000, 2_001)),
}


def _append(path: Path) -> None:
    path.write_text(path.read_text() + "!")
    os.utime(path, ns=(1_000, 2_000))


@pytest.mark.parametrize("change", CHANGES)
def test_a_folders_digest_changes_with_any_file_in_it(tmp_path, change):
    root = _folder(tmp_path / "data", NAMES)
    before = files.digest(root)
    _folder(root / ".hidden", NAMES)
    assert files.digest(root) == before
    CHANGES[change](root)
    assert files.digest(root) != before


def test_a_missing_path_is_named_in_the_error(tmp_path):
    for call in (files.digest, files.record_input):
        with pytest.raises(FileError, match=r"no file or folder at .*gone\.pt") as caught:
            call(tmp_path / "gone.pt")
        assert "\n" not in str(caught.value)


def test_inputs_are_recorded_by_full_path_with_the_digest_of_their_content(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_inputs", {})
    monkeypatch.chdir(_folder(tmp_path / "data", NAMES))
    files.record_input("a.txt")
    files.record_input(Path("sub") / ".." / "a.txt")
    files.record_input("sub")
    (tmp_path / "data" / "a.txt").write_text("changed afterwards")
    recorded = files.recorded_inputs()
    assert list(recorded) == [
        str((tmp_path / "data" / name).resolve()) for name in ("a.txt", "sub")
    ]
    assert recorded[str(Path("a.txt").resolve())] == hashlib.sha256(b"A.TXT").hexdigest()
    recorded.clear()
    assert len(files.recorded_inputs()) == 2


def test_a_file_written_by_the_process_is_not_an_input(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_inputs", {})
    files.write_atomically(tmp_path / "own.txt", "mine")
    (tmp_path / "other.txt").write_text("given")
    for name in ("own.txt", "other.txt"):
        files.record_input(tmp_path / name)
    assert [Path(path).name for path in files.recorded_inputs()] == ["other.txt"]
