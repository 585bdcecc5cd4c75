"""Tasks run in this process, in others, or on a Dask cluster, and mistakes are one line."""

import gc
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch

from cnnvis_lab.core import InputError, LabError, files, prefixed, tasks
from cnnvis_lab.data.scenes import SceneSet
from cnnvis_lab.lab import executors, premises
from cnnvis_lab.lab.executors import Lost, open_executor
from cnnvis_lab.lab.shared_scenes import SharedScenes, shared_scenes, sharing_notebooks

STARTED, ENDED = Event(), Event()
FAILED: list[int] = []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _square(number: int) -> int:
    return number**2


def _fail(number: int) -> None:
    FAILED.append(number)
    raise InputError(f"task {number} cannot be done")


def _square_later(number: int) -> int:
    STARTED.wait(60)
    return number**2


def _run_until_cancelled() -> None:
    STARTED.set()
    try:
        while True:
            executors.stop_if_cancelled()
            time.sleep(0.02)
    finally:
        ENDED.set()


@pytest.fixture
def cluster():
    """The address of a Dask scheduler whose worker is four threads of this process."""
    dask = pytest.importorskip("distributed", reason="Dask is not installed")
    STARTED.clear()
    ENDED.clear()
    with dask.LocalCluster(
        n_workers=1,
        threads_per_worker=4,
        processes=False,
        protocol="tcp://",
        dashboard_address="localhost:0",
    ) as local:
        yield local.scheduler_address


def test_tasks_of_two_commands_on_a_cluster_are_apart_and_mistakes_are_made_once(cluster):
    FAILED.clear()
    with open_executor(1, cluster) as one:
        with open_executor(1, cluster) as other:
            mine, _ = one.submit(_square_later, 3), other.submit(_square_later, 3)
            with pytest.raises(InputError, match="task 2 cannot be done"):
                other.submit(_fail, 2).result()
        assert not mine.done()  # nor cancelled with the other's
        STARTED.set()
        assert mine.result() == 9 and FAILED == [2]


def test_tasks_of_an_interrupted_command_stop(cluster):
    with pytest.raises(KeyboardInterrupt), open_executor(1, cluster) as executor:
        executor.submit(_run_until_cancelled)
        assert STARTED.wait(10)
        raise KeyboardInterrupt
    assert ENDED.wait(10)


def test_a_cluster_without_workers_ends_in_one_line(monkeypatch):
    dask = pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr(executors, "LOST_SECONDS", 0.4)
    with (
        dask.LocalCluster(
            n_workers=0, processes=False, protocol="tcp://", dashboard_address="localhost:0"
        ) as local,
        pytest.raises(Lost, match=r"has had no workers for 0\.4 s; start some; the same command"),
        open_executor(1, local.scheduler_address) as executor,
    ):
        executor.submit(_square, 3).result()


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_named():
    dask = pytest.importorskip("distributed", reason="Dask is not installed")
    from dask import config

    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),
        dask.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="localhost:0"
        ) as local,
        pytest.raises(Lost, match="the third notebook: its workers were killed"),
        open_executor(1, local.scheduler_address) as executor,
    ):
        list(tasks.completed({executor.submit(os._exit, 1): 3}, lambda _: "the third notebook"))


def test_what_a_worker_lacks_is_named_with_the_worker(tmp_path, monkeypatch):
    weights, folder = tmp_path / "weights.pt", tmp_path / "images"
    folder.mkdir()
    torch.save({}, weights)
    (folder / "1.txt").write_text("one")
    monkeypatch.setattr(files, "_inputs", {})
    files.record_input(weights)
    files.record_input(folder / "1.txt")  # which the folder stands for
    needed = premises.find_premises("from cnnvis_lab.core import tasks\ntasks.completed", folder)
    assert {file for file, _ in needed.inputs} == {str(weights), str(folder)}
    premises.check(needed)
    worker = re.escape(premises.worker_name())
    for change, message in (
        (lambda: (folder / "2.txt").write_text("two"), f"{folder} differs there in names"),
        (lambda: weights.write_bytes(b"other"), f"{weights} differs there in content"),
        (weights.unlink, f"{weights} is missing there"),
    ):
        premises.check.cache_clear()
        change()
        with pytest.raises(LabError, match=f"^{worker}: {message}"):
            premises.check(needed._replace(inputs=needed.inputs[::-1]))
    with pytest.raises(LabError, match=f"^{worker}: the code of cnnvis_lab, or the version"):
        premises.check(needed._replace(digest="other", inputs=()))
    with pytest.raises(LabError, match=f"^{worker}: no such"), prefixed(premises.worker_name()):
        raise InputError("no such")


@pytest.mark.parametrize("cluster", ["", "local"])
@pytest.mark.slow
def test_tasks_give_their_results_and_errors_wherever_they_run(cluster):
    if cluster:
        pytest.importorskip("distributed", reason="Dask is not installed")
    with open_executor(2, cluster) as executor:
        futures = [executor.submit(_square, number) for number in range(5)]
        assert [future.result() for future in futures] == [0, 1, 4, 9, 16]
        with pytest.raises(InputError, match="task 3 cannot be done"):
            executor.submit(_fail, 3).result()


@pytest.mark.slow
def test_a_killed_worker_of_this_machine_ends_in_one_line():
    with (
        pytest.raises(LabError, match="a worker process was killed; is there enough memory"),
        open_executor(2) as executor,
    ):
        executor.submit(os._exit, 1).result()


@pytest.mark.parametrize(
    "address",
    [pytest.param("tcp://127.0.0.1:", marks=pytest.mark.slow), "tcp://", "ucx://a:1", "here"],
)
def test_an_address_where_nobody_listens_is_one_line_within_ten_seconds(address, capfd):
    pytest.importorskip("distributed", reason="Dask is not installed")
    address += str(_free_port()) if address.endswith(":") else ""
    start = time.monotonic()
    with (
        pytest.raises(InputError, match=f"no Dask scheduler answers at {address}; check"),
        open_executor(1, address),
    ):
        pass
    gc.collect()
    assert capfd.readouterr().err == ""
    assert time.monotonic() - start < 10 + float(os.environ.get("CNNVIS_PATIENCE", 0))


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="the GNU C library only")
def test_a_worker_of_dask_reuses_memory_that_it_frees():
    code = """
import os, resource
import numpy as np
from cnnvis_lab.lab import executors
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(2**17)  # a megabyte
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
executors.forget_dask_memory_setting()
faults()
print(faults(), os.environ.get("MALLOC_TRIM_THRESHOLD_"))
"""
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as Dask sets it
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    before, after, left = printed.split()
    assert int(before) > 50 * 200 and int(after) < 500 and left == "None"


def test_scenes_are_shared_by_processes_of_one_machine_while_the_command_runs():
    with shared_scenes() as scenes:
        assert scenes.here() == scenes.folder and Path(scenes.folder).is_dir()
        assert scenes._replace(machine="elsewhere").here() == ""
    assert scenes.here() == "" and SharedScenes().here() == ""


def test_notebooks_share_scenes_while_they_are_rendered_if_there_is_space(monkeypatch):
    monkeypatch.setenv("CNNVIS_SCENES", "before")
    with sharing_notebooks():
        folder = Path(os.environ["CNNVIS_SCENES"])
        SceneSet(5, 2).batch([0])
        assert (folder / "images-5").stat().st_size == 2 * 128 * 128 * 3
    assert os.environ["CNNVIS_SCENES"] == "before" and not folder.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30))
    with sharing_notebooks():
        assert os.environ["CNNVIS_SCENES"] == "before"


def test_one_worker_is_this_process():
    with open_executor() as executor:
        assert executor.submit(os.getpid).result() == os.getpid()
