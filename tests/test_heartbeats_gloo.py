"""Processes that wait for each other in gloo's collectives end when one of them is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alexnet.heartbeats import EXIT_LOST, LIMIT

SLOW = 60.0
"""Seconds that a busy machine may take longer."""
Job = list[subprocess.Popen[str]]
SIZES_AND_LOST = [(2, 0), (2, 1), (4, 0), (4, 3)]


def find_port() -> int:
    """A port that is free now."""
    with socket.create_server(("localhost", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def start_reducers(size: int, seconds: float, **more: str) -> Iterator[Job]:
    """Start so many processes that add tensors, and wait for the first sum."""
    place = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(find_port())}
    common = os.environ | place | more | {LIMIT: str(seconds), "OMP_NUM_THREADS": "1"}
    job = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.reducer"],
            env=common | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        for process in job:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready"), process.communicate()[1]
        yield job
    finally:
        for process in job:
            process.kill()
            process.communicate()


def check_others(job: Job, lost: int, words: str) -> float:
    """All others end with the status of a loss and name the lost one; how long that took."""
    began = time.monotonic()
    for rank, process in enumerate(job):
        if rank != lost:
            _, errors = process.communicate(timeout=SLOW)
            assert process.returncode == EXIT_LOST, errors
            assert f"rank {lost} on host {socket.gethostname()} (process {job[lost].pid})" in errors
            assert words in errors
            assert "Traceback" not in errors
    return time.monotonic() - began


@pytest.mark.parametrize(("size", "lost"), SIZES_AND_LOST)
def test_a_killed_rank_ends_those_who_wait_for_it(size: int, lost: int) -> None:
    with start_reducers(size, seconds=300) as job:
        job[lost].send_signal(signal.SIGKILL)
        assert check_others(job, lost, "it was killed, or it crashed") < SLOW


@pytest.mark.parametrize(("size", "lost"), SIZES_AND_LOST)
def test_a_frozen_rank_ends_those_who_wait_for_it(size: int, lost: int) -> None:
    with start_reducers(size, seconds=4) as job:
        job[lost].send_signal(signal.SIGSTOP)
        assert 3 < check_others(job, lost, "has not answered for 4 seconds") < SLOW


@pytest.mark.parametrize(("size", "lost"), [(2, 1), (4, 0)])
def test_the_error_of_a_rank_reaches_those_who_wait_for_it(size: int, lost: int) -> None:
    with start_reducers(size, seconds=300, FAIL=str(lost)) as job:
        check_others(job, lost, "ended with an error: step 10 failed")
        assert job[lost].wait(SLOW) == 1


def test_torchrun_ends_and_names_the_process_that_froze(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.reducer"]
    environment = os.environ | {LIMIT: "4", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        ready = [run.stdout.readline().split() for _ in range(2)]
        pids = {int(rank): int(pid) for _, rank, pid in ready}
        os.kill(pids[1], signal.SIGSTOP)
        _, errors = run.communicate(timeout=3 * SLOW)
    assert run.returncode == 1
    assert f"(process {pids[1]}) has not answered for 4 seconds" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(pids[1], 0)


def test_torchrun_starts_the_processes_again_and_they_meet_again() -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "1"]
    command += ["--nproc-per-node", "2", "-m", "tests.reducer"]
    environment = os.environ | {"FAIL": "1", "STEPS": "20", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "step 10 failed" in done.stderr
    assert done.stdout.count("ready") == 4
