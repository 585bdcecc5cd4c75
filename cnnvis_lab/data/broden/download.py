"""Download Broden 1.0 (Bau et al. 2017) by name, on request only.

The authors publish no hash of these files. A known hash can be given; otherwise the hash of the
first download is stored, and later downloads must match it.
"""

import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO
from urllib.response import addinfourl

from ...core import FileError, InputError, files, not_found, scratch

# From NetDissect's script/dlbroden.sh; the number is the size of the images in pixels.
SOURCES = {
    name: f"http://netdissect.csail.mit.edu/data/{name}.zip"
    for name in ("broden1_224", "broden1_227", "broden1_384")
}
CHUNK_BYTES = 2**20  # bytes read at once
TIMEOUT = 60  # seconds without a byte
CONNECTION_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)
Progress = Callable[[str], None]
Response = http.client.HTTPResponse | addinfourl


def cache_dir() -> Path:
    """Return the folder for downloads: CNNVIS_DATA, or one in the user's cache."""
    given = os.environ.get("CNNVIS_DATA")
    return Path(given) if given else Path.home() / ".cache" / "cnnvis_lab" / "data"


def resolve(source: str | Path) -> Path:
    """Return the folder of a path, or of the name of a downloaded dataset.

    Raises:
        FileError: the dataset is not downloaded yet; the message says how to get it.
    """
    path = files.expand(source)
    if str(source) not in SOURCES or path.exists():
        return path
    if not (cache_dir() / path).is_dir():
        raise FileError(f"{source} is not downloaded yet; run `cnnvis fetch {source}`")
    return cache_dir() / path


def fetch(
    name: str,
    folder: str | Path = "",
    *,
    url: str = "",
    sha256: str = "",
    on_progress: Progress = print,
) -> Path:
    """Download and unpack a dataset; an interrupted download resumes.

    Args:
        name: a key of `SOURCES`.
        folder: parent folder of the dataset; `cache_dir()` by default.
        url: another URL of the same file (http, https or file).
        sha256: the expected hash of the file, in hexadecimal.
        on_progress: called with one line of text: first the size, then the progress.

    Returns:
        The complete folder of the dataset.

    Raises:
        NameNotFound: no such dataset.
        InputError: the hash or the URL is malformed.
        FileError: the file cannot be reached, is incomplete, has another hash, or contains no
            Broden folder; only the part already downloaded is kept.
    """
    if name not in SOURCES:
        raise not_found("dataset", name, SOURCES)
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"sha256 {sha256!r}: expected 64 hexadecimal digits")
    folder, url = files.expand(folder or cache_dir()), url or SOURCES[name]
    if not re.match("(https?|file)://", url):
        raise InputError(f"url {url!r}: expected http://, https:// or file://")
    target, note = folder / name, folder / f"{name}.sha256"
    if target.exists():
        on_progress(f"{name} already exists: {target}")
        return target
    archive = folder / f".{name}.zip.part"
    try:
        download_file(url, archive, on_progress)
        stored = note.read_text().split()[:1] if note.is_file() else []
        expected = sha256.lower() or "".join(stored)
        actual = _verify_hash(archive, expected, url)
        _unpack(archive, target)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{name} could not be stored in {folder} ({error}); choose another folder"
        ) from None
    archive.unlink()
    if not expected:
        files.write_atomically(note, f"{actual}  {name}.zip\n")
        on_progress(
            f"no published hash exists: its hash {actual} is stored, and expected from now on"
        )
    return target


def download_file(url: str, part: Path, on_progress: Progress) -> None:
    """Download a file, resuming after the existing part; a hash detects a mixture of files.

    Args:
        url: an http, https or file URL.
        part: where to write; what is there already is taken for the beginning of the file.
        on_progress: called with one line of text: first the size, then the progress.

    Raises:
        InputError: the URL is malformed.
        FileError: the file cannot be reached, or is incomplete.
    """
    have = part.stat().st_size if part.exists() else 0
    try:
        with _request(url, have) as response:
            have, total = _parse_extent(response, have)
            on_progress(
                f"{_format_size(total)} from {url}"
                + (f", {_format_size(have)} already downloaded" if have else "")
            )
            part.parent.mkdir(parents=True, exist_ok=True)
            _check_free_space(part.parent, (total or 0) - have)
            with part.open("r+b" if have else "wb") as stream:
                stream.seek(have)
                for done in _write_chunks(response, stream, have):
                    if total is not None and done > total:  # such as a device, which has no end
                        part.unlink()
                        raise FileError(f"{url} sends more than the {total} bytes that it states")
                    if total and done * 10 // total > (done - CHUNK_BYTES) * 10 // total:
                        on_progress(f"{done / total:.0%}")
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # the file is complete already
        if error.code == 416:
            part.unlink()  # it is not a part of that file
        raise FileError(f"{url} cannot be loaded: {error}; try later, or another url") from None
    except CONNECTION_ERRORS as error:
        reason = getattr(error, "reason", error)
        raise FileError(f"{url} cannot be loaded: {reason}; try later, or another url") from None
    except ValueError as error:  # of its host
        raise InputError(f"url {url!r}: {error}; expected https://host/path") from None
    if total and part.stat().st_size != total:
        loaded = f"{_format_size(part.stat().st_size)} of {_format_size(total)}"
        raise FileError(f"{url} was cut off after {loaded}; run the command again to resume")


def _request(url: str, have: int) -> Response:
    """Open a URL, requesting the bytes after the first `have`."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _parse_extent(response: Response, have: int) -> tuple[int, int | None]:
    """Return the offset of the response in the file, and the size of the file if it is stated."""
    spans = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if spans and int(spans[1]) == have:
        return have, int(spans[2])
    length = response.headers.get("Content-Length")  # the whole file, despite the requested range
    return 0, int(length) if length else None


def _write_chunks(response: Response, stream: BinaryIO, done: int) -> Iterator[int]:
    """Write the response in chunks, yielding the number of bytes of the file so far."""
    while piece := response.read(CHUNK_BYTES):
        stream.write(piece)
        done += len(piece)
        yield done


def _format_size(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else f"{count / 1e6:,.1f} MB"


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{_format_size(needed)} needed in {folder}, only {_format_size(free)} free"
        )


def _verify_hash(archive: Path, expected: str, url: str) -> str:
    """Return the hash of the download; delete the file if another hash was expected."""
    actual = files.digest(archive)
    if expected and actual != expected:
        archive.unlink()
        raise FileError(f"{url} has sha256 {actual}, expected {expected}; the download is deleted")
    return actual


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside the target, and move it into place only when it is complete."""
    scratch.remove_all(target.parent, "unpack")  # the leftovers of killed runs
    staging = scratch.make(target.parent, "unpack")
    try:
        with zipfile.ZipFile(archive) as packed:
            _check_free_space(target.parent, sum(entry.file_size for entry in packed.infolist()))
            for entry in packed.infolist():
                _check_member_path(entry.filename)
            packed.extractall(staging / "content")
        inner = staging / "content" / target.name
        root = inner if inner.is_dir() else staging / "content"
        if not (root / "index.csv").is_file():
            raise _InvalidArchive("it contains no index.csv")
        os.replace(root, target)
    except OSError:
        raise
    except Exception as error:  # each way to compress has errors of its own
        archive.unlink()
        raise FileError(f"{target.name}.zip is not a packed Broden folder ({error})") from None
    finally:
        scratch.remove(staging)


class _InvalidArchive(Exception):
    """The reason why an archive cannot be unpacked."""


def _check_member_path(name: str) -> None:
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            raise _InvalidArchive(f"{name!r} leaves the folder")
