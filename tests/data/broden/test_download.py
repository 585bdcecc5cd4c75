"""A download is complete or absent. The tests fetch from this machine, never the network."""

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.broden_items import count_readable
from support.server import Served, serve

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.core.files import digest
from cnnvis_lab.data import broden
from cnnvis_lab.data.broden import download, fetch, write_scenes
from cnnvis_lab.lab import cli

NAME = "broden1_227"


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    """A Broden folder of two images, packed like Broden 1.0."""
    folder = tmp_path_factory.mktemp("made") / NAME
    write_scenes(folder, 2)
    names = {file.relative_to(folder.parent).as_posix(): file for file in _files(folder)}
    return _zipped({name: file.read_bytes() for name, file in names.items()})


def _zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def served(packed) -> Iterator[Served]:
    with serve(packed, f"{NAME}.zip") as state:
        yield state


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CNNVIS_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_download_with_the_right_hash_is_complete_and_opens_by_name(served, packed, home):
    lines: list[str] = []
    folder = fetch(NAME, url=served.url, sha256=_sha(packed).upper(), on_progress=lines.append)
    assert lines[0] == f"{len(packed) / 1e6:.1f} MB from {served.url}"
    assert folder == home / NAME and list(home.iterdir()) == [folder]
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    assert {f.relative_to(home).as_posix(): f.read_bytes() for f in _files(home)} == entries
    assert count_readable(broden.open_folder(folder)) == 2
    assert len(data.open_labelled(NAME, 64, 9)) == len(data.open_images(NAME, 64, 9)) == 2
    assert data.has_labels(NAME)


def test_the_size_is_reported_before_a_byte_is_written(served, home):
    records: list[tuple[str, int]] = []

    def record_size(line: str) -> None:
        records.append((line, sum(file.stat().st_size for file in _files(home))))

    fetch(NAME, url=served.url, on_progress=record_size)
    assert "MB from" in records[0][0] and records[0][1] == 0


def test_a_wrong_hash_leaves_nothing(served, home):
    with pytest.raises(FileError, match=rf"sha256 {_sha(served.content)}, expected {'0' * 64}"):
        fetch(NAME, url=served.url, sha256="0" * 64)
    assert not list(home.iterdir())


def test_an_interrupted_download_resumes_where_it_ended(served, packed, home):
    served.cut_after = len(packed) // 3
    for part in (1, 2):
        with pytest.raises(FileError, match=r"was cut off after .* run the command again"):
            fetch(NAME, url=served.url, sha256=_sha(packed))
        assert not (home / NAME).exists() and len(_files(home)) == 1
        assert _files(home)[0].read_bytes() == packed[: part * served.cut_after]
    served.cut_after = 0
    lines: list[str] = []
    folder = fetch(NAME, url=served.url, sha256=_sha(packed), on_progress=lines.append)
    third = len(packed) // 3
    assert served.requests == ["", f"bytes={third}-", f"bytes={2 * third}-"]
    assert lines[0].endswith(f", {2 * third / 1e6:.1f} MB already downloaded")
    assert list(home.iterdir()) == [folder] and len(broden.open_folder(folder)) == 2


def test_a_stalled_download_times_out_and_leaves_no_folder(served, home, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    served.cut_after, served.stalls = 1000, True
    with pytest.raises(FileError, match=r"cannot be loaded: timed out; try later"):
        fetch(NAME, url=served.url)
    assert not (home / NAME).exists()


def test_without_range_support_the_download_starts_again(served, packed):
    served.cut_after, served.supports_ranges = 1000, False
    with pytest.raises(FileError, match="cut off"):
        fetch(NAME, url=served.url)
    served.cut_after = 0
    assert len(broden.open_folder(fetch(NAME, url=served.url, sha256=_sha(packed)))) == 2


def test_an_interrupt_while_unpacking_leaves_no_partial_folder_and_repeats_no_download(
    served, packed, home, monkeypatch
):
    def stop(archive: zipfile.ZipFile, path: Path) -> None:
        archive.extract(archive.namelist()[0], path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(zipfile.ZipFile, "extractall", stop)
        fetch(NAME, url=served.url)
    assert not (home / NAME).exists()
    folder = fetch(NAME, url=served.url, sha256=_sha(packed))
    assert served.requests == ["", f"bytes={len(packed)}-"] and list(home.iterdir()) == [folder]


def test_without_a_known_hash_the_first_one_is_recorded_and_required_later(served, packed, home):
    lines: list[str] = []
    folder = fetch(NAME, url=served.url, on_progress=lines.append)
    note = home / f"{NAME}.sha256"
    assert note.read_text() == f"{_sha(packed)}  {NAME}.zip\n"
    assert lines[-1].startswith("no published hash exists") and _sha(packed) in lines[-1]
    shutil.rmtree(folder)
    served.content = _zipped({f"{NAME}/index.csv": b"another file"})
    with pytest.raises(FileError, match=f"expected {_sha(packed)}"):
        fetch(NAME, url=served.url)
    assert _files(home) == [note]
    served.content = packed
    again: list[str] = []
    fetch(NAME, url=served.url, on_progress=again.append)
    assert not any("published" in line for line in again)


def test_an_existing_folder_is_not_downloaded_again(served):
    fetch(NAME, url=served.url)
    lines: list[str] = []
    fetch(NAME, url=served.url, on_progress=lines.append)
    assert len(served.requests) == 1 and len(lines) == 1 and "already exists" in lines[0]


ESCAPES = ["../out.txt", "broden1_227/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:\\out.txt"]


@pytest.mark.parametrize("name", ESCAPES)
def test_an_entry_that_leaves_the_folder_is_refused_and_nothing_unpacked(
    name, served, home, tmp_path
):
    served.content = _zipped({f"{NAME}/index.csv": b"image", name: b"out"})
    with pytest.raises(FileError, match=r"not a packed Broden folder \(.* leaves the folder\)"):
        fetch(NAME, url=served.url)
    assert not list(home.iterdir()) and not list(tmp_path.rglob("*out.txt*"))


def _damaged(packed: bytes) -> bytes:
    """Flip bytes in the middle of the first entry."""
    return packed[:200] + bytes(255 - byte for byte in packed[200:260]) + packed[260:]


@pytest.mark.parametrize("kind", ["no archive", "no index", "damaged", "LZMA", "half"])
def test_a_file_that_is_no_packed_broden_folder_is_refused(kind, served, packed, home):
    served.content = {
        "no archive": b"<html>not found</html>",
        "no index": _zipped({f"{NAME}/readme": b"hello"}),
        "damaged": _damaged(packed),
        "LZMA": _damaged(_zipped({f"{NAME}/index.csv": os.urandom(999)}, zipfile.ZIP_LZMA)),
        "half": packed[: len(packed) // 2],
    }[kind]
    with pytest.raises(FileError, match=rf"{NAME}\.zip is not a packed Broden folder") as caught:
        fetch(NAME, url=served.url)
    assert "\n" not in str(caught.value) and not list(home.iterdir())


def test_a_local_copy_is_fetched_by_its_file_url(packed, tmp_path, home, capsys):
    (tmp_path / "copy.zip").write_bytes(packed)
    address = (tmp_path / "copy.zip").as_uri()
    assert cli.main(["fetch", NAME, "--url", address, "--out", str(home / "there")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{home / 'there' / NAME}\n" and "MB from file:///" in captured.err
    assert digest(tmp_path / "copy.zip") == _sha(packed)


def test_a_source_without_end_is_refused_at_once(tmp_path):
    with pytest.raises(FileError, match="zero sends more than the 0 bytes that it states"):
        broden.fetch(NAME, tmp_path, url="file:///dev/zero", on_progress=str)
    assert not list(tmp_path.iterdir())


def test_invalid_requests_are_refused_before_anything_is_downloaded(served, home, monkeypatch):
    with pytest.raises(NameNotFound, match="no dataset named 'broden'; did you mean broden1_"):
        fetch("broden", url=served.url)
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        fetch(NAME, url=served.url, sha256="abc")
    with pytest.raises(InputError, match="expected http"):
        fetch(NAME, url="ftp://127.0.0.1/x.zip")
    assert not served.requests
    with pytest.raises(FileError, match=r"404.*; try later, or another url"):
        fetch(NAME, url=served.url.replace(NAME, "missing"))
    with pytest.raises(FileError, match="cannot be loaded"):
        fetch(NAME, url=(home / "none.zip").as_uri())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(FileError, match=r"MB needed in .*, only 0\.0 MB free"):
        fetch(NAME, url=served.url)
    assert not _files(home)


def test_the_error_for_a_name_not_fetched_yet_says_how_to_fetch_it(home, capsys):
    with pytest.raises(FileError, match=f"not downloaded yet; run `cnnvis fetch {NAME}`"):
        data.open_labelled(NAME, 64, 2)
    assert cli.main(["dissect", "alexnet_mini", "--layers", "CL1", "--data", NAME]) == 2
    assert f"cnnvis fetch {NAME}" in capsys.readouterr().err and not home.exists()
