"""Tasks run in this process, in others, or on a Dask cluster, and mistakes are one line."""

import os
import socket
import time

import pytest

from cnnvis_lab.core import InputError, LabError
from cnnvis_lab.lab.executors import open_executor


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _square(number: int) -> int:
    return number**2


def _fail(number: int) -> None:
    raise InputError(f"task {number} cannot be done")


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


@pytest.mark.slow
def test_an_address_where_nobody_listens_is_one_line_within_ten_seconds():
    pytest.importorskip("distributed", reason="Dask is not installed")
    address, start = f"tcp://127.0.0.1:{_free_port()}", time.monotonic()
    with (
        pytest.raises(InputError, match=f"no Dask scheduler answers at {address}"),
        open_executor(1, address),
    ):
        pass
    assert time.monotonic() - start < 10 + float(os.environ.get("CNNVIS_PATIENCE", 0))


def test_one_worker_is_this_process():
    with open_executor() as executor:
        assert executor.submit(os.getpid).result() == os.getpid()
