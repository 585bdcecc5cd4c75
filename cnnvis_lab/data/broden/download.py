"""Downloads Broden 1.0 (Bau et al. 2017) by name, when asked to and never by itself.

No hash of these files is published. Whoever has one gives it; else the first download's is noted
and demanded from later ones.
"""

import http.client
import os
import re
import shutil
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ...core import FileError, InputError, files, not_found

# As NetDissect's script/dlbroden.sh has them; the number is the side of the pictures in pixels.
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


def cache_dir() -> Path:
    """Return the folder downloads go to: CNNVIS_DATA, or one in the user's cache."""
    given = os.environ.get("CNNVIS_DATA")
    return Path(given) if given else Path.home() / ".cache" / "cnnvis_lab" / "data"


def resolve(source: str | Path) -> Path:
    """Return the folder meant by a path, or by the name of a data set downloaded before.

    Raises:
        FileProblem: the name of one that is not there yet; says how to get it.
    """
    path = Path(source)
    if str(source) not in SOURCES or path.exists():
        return path
    if not (cache_dir() / path).is_dir():
        raise FileError(f"{source} is not here yet; `cnnvis fetch {source}` downloads it")
    return cache_dir() / path


def fetch(
    name: str,
    folder: str | Path = "",
    *,
    url: str = "",
    sha256: str = "",
    on_progress: Progress = print,
) -> Path:
    """Download and unpack a data set; what was cut off before goes on from there.

    Args:
        name: one of `SOURCES`.
        folder: where to put it; `home()` without.
        url: another place that has the same file: http, https or file.
        sha256: what the file's hash must be, in hexadecimal.
        on_progress: takes the size before anything is loaded, then progress, one line each.

    Returns:
        The data set's folder, whole.

    Raises:
        NameNotFound: no such data set.
        InputError: a hash or an address that is none.
        FileProblem: it cannot be reached, was cut off, has another hash, or is no Broden folder;
            nothing but the part already loaded stays.
    """
    if name not in SOURCES:
        raise not_found("data set", name, SOURCES)
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"sha256 {sha256!r}: expected 64 hexadecimal digits")
    folder, url = Path(folder or cache_dir()), url or SOURCES[name]
    target, note = folder / name, folder / f"{name}.sha256"
    if target.exists():
        on_progress(f"{name} is here already: {target}")
        return target
    archive = folder / f".{name}.zip.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, archive, on_progress)
        noted = note.read_text().split()[:1] if note.is_file() else []
        expected = sha256.lower() or "".join(noted)
        found = _verify_hash(archive, expected, url)
        _unpack(archive, target)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{name} could not be stored in {folder} ({error}); choose another"
        ) from None
    archive.unlink()
    if not expected:
        files.write_atomically(note, f"{found}  {name}.zip\n")
        on_progress(
            f"no hash of it is published: its own, {found}, is noted and demanded from now on"
        )
    return target


def _download(url: str, part: Path, on_progress: Progress) -> None:
    """Load a file, going on behind what is there; a mixture of two is found by hash or checksum."""
    have = part.stat().st_size if part.exists() else 0
    try:
        with _request(url, have) as answer:
            have, total = _parse_extent(answer, have)
            on_progress(
                f"{_format_size(total)} from {url}"
                + (f", {_format_size(have)} of it here" if have else "")
            )
            _check_free_space(part.parent, (total or 0) - have)
            with part.open("r+b" if have else "wb") as stream:
                stream.seek(have)
                for done in _write_chunks(answer, stream, have):
                    if total and done * 10 // total > (done - CHUNK_BYTES) * 10 // total:
                        on_progress(f"{done / total:.0%}")
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # all of it was loaded before
        if error.code == 416:
            part.unlink()  # it is no part of that file
        raise FileError(f"{url} cannot be loaded: {error}; try later, or another url") from None
    except CONNECTION_ERRORS as error:
        reason = getattr(error, "reason", error)
        raise FileError(f"{url} cannot be loaded: {reason}; try later, or another url") from None
    if total and part.stat().st_size != total:
        loaded = f"{_format_size(part.stat().st_size)} of {_format_size(total)}"
        raise FileError(f"{url} was cut off after {loaded}; the same command goes on from there")


def _request(url: str, have: int):
    """Open an address, asking for what lies behind the first so many bytes."""
    if not re.match("(https?|file)://", url):
        raise InputError(f"url {url!r}: expected one that begins with http://, https:// or file://")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _parse_extent(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the answer begins in the file, and how long the file is, if it says so."""
    spans = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if spans and int(spans[1]) == have:
        return have, int(spans[2])
    length = answer.headers.get("Content-Length")  # all from the beginning, whatever was asked for
    return 0, int(length) if length else None


def _write_chunks(answer: http.client.HTTPResponse, stream, done: int):
    """Write what arrives, yielding how many bytes of the file are there."""
    while piece := answer.read(CHUNK_BYTES):
        stream.write(piece)
        done += len(piece)
        yield done


def _format_size(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else f"{count / 1e6:,.1f} MB"


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{_format_size(needed)} are needed in {folder}, {_format_size(free)} are free"
        )


def _verify_hash(archive: Path, expected: str, url: str) -> str:
    """Return the hash of what was loaded; throw it away if another was expected."""
    found = files.digest(archive)
    if expected and found != expected:
        archive.unlink()
        raise FileError(f"{url} gave a file of sha256 {found}, expected {expected}; nothing kept")
    return found


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside the target, and put it in place only when all of it is there."""
    staging = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            _check_free_space(target.parent, sum(entry.file_size for entry in packed.infolist()))
            for entry in packed.infolist():
                _check_member_path(entry.filename)
            packed.extractall(staging)
        inner = staging / target.name
        root = inner if inner.is_dir() else staging
        if not (root / "index.csv").is_file():
            raise _InvalidArchive("it holds no index.csv")
        os.replace(root, target)
    except (
        _InvalidArchive,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        archive.unlink()
        raise FileError(f"{target.name}.zip is no packed Broden folder ({error})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _InvalidArchive(Exception):
    """Why an archive is not unpacked."""


def _check_member_path(name: str) -> None:
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            raise _InvalidArchive(f"{name!r} leaves the folder")
