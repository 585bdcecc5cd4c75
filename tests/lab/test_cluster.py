"""Commands on a cluster of several processes give the bytes of the plain run, whatever dies."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnvis_lab.core import scratch
from cnnvis_lab.lab import cli
from cnnvis_lab.lab.cli import analyses

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
DISSECT = ("dissect", "alexnet_mini", "--layers", "CL2", "CL5", "--images", "600", "--threads", "1")


def _contents(out: Path) -> dict[str, bytes]:
    files = [file for file in out.rglob("*") if file.is_file() and file.name != ".cnnvis-lock"]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def _cluster(workers: int):
    dask = pytest.importorskip("distributed", reason="Dask is not installed")
    return dask.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address="localhost:0"
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("plain")
    assert cli.main([*DISSECT, "--out", str(out)]) == 0
    return _contents(out)


def _when_done(monkeypatch, images: int, action: Callable[[], object]) -> list[int]:
    """Call an action once, when a dissection has done some images; return the progress to come."""
    progress: list[int] = []

    def update(done: int, total: int) -> None:
        if done >= images and not any(before >= images for before in progress):
            action()
        progress.append(done)

    monkeypatch.setattr(analyses, "progress_bar", lambda label: update)
    return progress


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_dissection(workers, plain, tmp_path):
    with _cluster(workers) as local:
        words = [*DISSECT, "--out", str(tmp_path), "--cluster", local.scheduler_address]
        assert cli.main(words) == 0
    assert _contents(tmp_path) == plain


def test_a_worker_that_is_killed_is_replaced(plain, tmp_path, monkeypatch):
    with _cluster(2) as local:
        nanny = next(iter(local.workers.values()))
        before = nanny.pid
        _when_done(monkeypatch, 64, lambda: os.kill(before, signal.SIGKILL))
        words = [*DISSECT, "--out", str(tmp_path), "--cluster", local.scheduler_address]
        assert cli.main(words) == 0
        assert nanny.pid != before
    assert _contents(tmp_path) == plain


def test_after_the_scheduler_is_gone_the_same_command_goes_on(plain, tmp_path, monkeypatch, capfd):
    with _cluster(1) as local, monkeypatch.context() as patched:
        _when_done(patched, 650, local.close)
        words = [*DISSECT, "--out", str(tmp_path), "--cluster", local.scheduler_address]
        assert cli.main(words) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("cnnvis:")]
    assert "was lost; the same command resumes" in line
    assert not (tmp_path / "index.html").exists()
    assert len(list(tmp_path.glob(f".cnnvis-*/{scratch.MARK}"))) == 1
    progress = _when_done(monkeypatch, 10**6, print)
    assert cli.main([*DISSECT, "--out", str(tmp_path), "--jobs", "2"]) == 0
    assert progress[0] > 600 and progress[-1] == 1200  # the first pass was done
    assert _contents(tmp_path) == plain
