"""Downloads Broden 1.0 (Bau et al. 2017) by name, when asked to and never by itself.

No hash of these files is published. Whoever has one gives it; else the first download's is noted
and demanded from later ones.
"""

import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..core.errors import FileProblem, InputError, not_found
from ..core.files import digest, write_whole

# As NetDissect's script/dlbroden.sh has them; the number is the side of the pictures in pixels.
SOURCES = {
    name: f"http://netdissect.csail.mit.edu/data/{name}.zip"
    for name in ("broden1_224", "broden1_227", "broden1_384")
}
PIECE = 2**20  # bytes read at once
PATIENCE = 60  # seconds without a byte
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)

Say = Callable[[str], None]


def home() -> Path:
    """Return the folder downloads go to: CNNVIS_DATA, or one in the user's cache."""
    given = os.environ.get("CNNVIS_DATA")
    return Path(given) if given else Path.home() / ".cache" / "cnnvis_lab" / "data"


def located(source: str | Path) -> Path:
    """Return the folder meant by a path, or by the name of a data set downloaded before.

    Raises:
        FileProblem: the name of one that is not there yet; says how to get it.
    """
    path = Path(source)
    if str(source) not in SOURCES or path.exists():
        return path
    if not (home() / path).is_dir():
        raise FileProblem(f"{source} is not here yet; `cnnvis fetch {source}` downloads it")
    return home() / path


def fetch(
    name: str, folder: str | Path = "", *, url: str = "", sha256: str = "", say: Say = print
) -> Path:
    """Download and unpack a data set; what was cut off before goes on from there.

    Args:
        name: one of `SOURCES`.
        folder: where to put it; `home()` without.
        url: another place that has the same file: http, https or file.
        sha256: what the file's hash must be, in hexadecimal.
        say: takes the size before anything is loaded, then progress, one line each.

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
    folder, url = Path(folder or home()), url or SOURCES[name]
    target, note = folder / name, folder / f"{name}.sha256"
    if target.exists():
        say(f"{name} is here already: {target}")
        return target
    archive = folder / f".{name}.zip.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _load(url, archive, say)
        noted = note.read_text().split()[:1] if note.is_file() else []
        expected = sha256.lower() or "".join(noted)
        found = _checked(archive, expected, url)
        _unpack(archive, target)
    except FileProblem:
        raise
    except OSError as error:
        raise FileProblem(
            f"{name} could not be stored in {folder} ({error}); choose another"
        ) from None
    archive.unlink()
    if not expected:
        write_whole(note, f"{found}  {name}.zip\n")
        say(f"no hash of it is published: its own, {found}, is noted and demanded from now on")
    return target


def _load(url: str, part: Path, say: Say) -> None:
    """Load a file, going on behind what is there; a mixture of two is found by hash or checksum."""
    have = part.stat().st_size if part.exists() else 0
    try:
        with _opened(url, have) as answer:
            have, total = _extent(answer, have)
            say(f"{_size(total)} from {url}" + (f", {_size(have)} of it here" if have else ""))
            _room(part.parent, (total or 0) - have)
            with part.open("r+b" if have else "wb") as stream:
                stream.seek(have)
                for done in _pieces(answer, stream, have):
                    if total and done * 10 // total > (done - PIECE) * 10 // total:
                        say(f"{done / total:.0%}")
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # all of it was loaded before
        if error.code == 416:
            part.unlink()  # it is no part of that file
        raise FileProblem(f"{url} cannot be loaded: {error}; try later, or another url") from None
    except BROKEN as error:
        reason = getattr(error, "reason", error)
        raise FileProblem(f"{url} cannot be loaded: {reason}; try later, or another url") from None
    if total and part.stat().st_size != total:
        loaded = f"{_size(part.stat().st_size)} of {_size(total)}"
        raise FileProblem(f"{url} was cut off after {loaded}; the same command goes on from there")


def _opened(url: str, have: int):
    """Open an address, asking for what lies behind the first so many bytes."""
    if not re.match("(https?|file)://", url):
        raise InputError(f"url {url!r}: expected one that begins with http://, https:// or file://")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    return urllib.request.urlopen(request, timeout=PATIENCE)


def _extent(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the answer begins in the file, and how long the file is, if it says so."""
    spans = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if spans and int(spans[1]) == have:
        return have, int(spans[2])
    length = answer.headers.get("Content-Length")  # all from the beginning, whatever was asked for
    return 0, int(length) if length else None


def _pieces(answer: http.client.HTTPResponse, stream, done: int):
    """Write what arrives, yielding how many bytes of the file are there."""
    while piece := answer.read(PIECE):
        stream.write(piece)
        done += len(piece)
        yield done


def _size(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else f"{count / 1e6:,.1f} MB"


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FileProblem(f"{_size(needed)} are needed in {folder}, {_size(free)} are free")


def _checked(archive: Path, expected: str, url: str) -> str:
    """Return the hash of what was loaded; throw it away if another was expected."""
    found = digest(archive)
    if expected and found != expected:
        archive.unlink()
        raise FileProblem(f"{url} gave a file of sha256 {found}, expected {expected}; nothing kept")
    return found


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside the target, and put it in place only when all of it is there."""
    staging = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            _room(target.parent, sum(entry.file_size for entry in packed.infolist()))
            for entry in packed.infolist():
                _refuse_outside(entry.filename)
            packed.extractall(staging)
        inner = staging / target.name
        root = inner if inner.is_dir() else staging
        if not (root / "index.csv").is_file():
            raise _Unfit("it holds no index.csv")
        os.replace(root, target)
    except (_Unfit, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        archive.unlink()
        raise FileProblem(f"{target.name}.zip is no packed Broden folder ({error})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Unfit(Exception):
    """Why an archive is not unpacked."""


def _refuse_outside(name: str) -> None:
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            raise _Unfit(f"{name!r} leaves the folder")
