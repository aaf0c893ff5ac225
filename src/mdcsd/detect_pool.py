"""Several files at once: processes that judge, each with a detector and its share of the cores.

What a file does to the process that judges it, a decoder that crashes or memory that runs out, ends
with that process: the files that it took along are judged again, each in a process by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from mdcsd.config import Device
from mdcsd.detect_file import Job, Judged, failed, judge_file
from mdcsd.errors import InputError
from mdcsd.judging_config import DetectConfig

if TYPE_CHECKING:  # a process that judges shares the cores before torch is imported
    from mdcsd.detector import Detector

_AHEAD = 4  # files given out for each process, while the first of them is waited for

_Given = deque[tuple[Job, Future[Judged]]]


def judge_at_once(jobs: Sequence[Job], config: DetectConfig, n_workers: int) -> Iterator[Judged]:
    """Judge files in several processes; yield them in order.

    Raises: DataError if the weights cannot be used, InputError if a page cannot be written or no
        process can be started.
    """
    rest, given = deque(jobs), _Given()
    while rest or given:
        try:
            with _Processes(n_workers, n_workers) as processes:
                yield from _judge_until_broken(processes, rest, given, config, n_workers)
        except BrokenProcessPool:
            for job, answer in given:
                yield _judge_alone(job, config, n_workers) if _is_lost(answer) else answer.result()
            given.clear()


def _judge_until_broken(
    processes: _Processes, rest: deque[Job], given: _Given, config: DetectConfig, n_workers: int
) -> Iterator[Judged]:
    """Give files out of `rest`, and yield the first answer of `given` until both are empty.

    Raises: BrokenProcessPool if a process ended; `given` holds what was not yielded.
    """
    while rest or given:
        while rest and len(given) < _AHEAD * n_workers:
            given.append((rest[0], processes.submit(rest[0], config)))
            rest.popleft()
        judged = given[0][1].result()
        given.popleft()
        yield judged


def _is_lost(answer: Future[Judged]) -> bool:
    if answer.cancelled() or not answer.done():
        return True
    return isinstance(answer.exception(), BrokenProcessPool)


def _judge_alone(job: Job, config: DetectConfig, n_shares: int) -> Judged:
    try:
        with _Processes(1, n_shares) as process:
            return process.submit(job, config).result()
    except BrokenProcessPool:
        return failed(
            job.path,
            f"{job.path}: judging it ended its process: a decoder crashed, or memory ran out. "
            "Copy the file again, or give fewer --workers, so that each has more memory.",
        )


class _Processes:
    """Processes that judge; leaving by an exception ends them whatever they are at."""

    def __init__(self, n_processes: int, n_shares: int) -> None:
        """Start one of them, the others as files are given out.

        Raises: InputError if it does not live.
        """
        context = multiprocessing.get_context("spawn")
        self._told, self._tells = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(n_processes, context, _begin, (n_shares, self._told))
        try:
            self._pool.submit(count_cores).result()
        except BrokenProcessPool:
            raise InputError(
                "no process to judge in can be started: memory is short, or a script that is run "
                'lacks `if __name__ == "__main__":`. Give --workers 1.'
            ) from None

    def submit(self, job: Job, config: DetectConfig) -> Future[Judged]:
        """Give a file out. Raises: BrokenProcessPool if a process has ended."""
        return self._pool.submit(_judge, job, config)

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._tells.close()  # they leave, at once
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        self._tells.close()
        self._told.close()


def _begin(n_shares: int, told: Connection) -> None:
    """Make a process ready: it goes with the terminal's Ctrl-C, with its parent, and when told."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=leave_with_parent, args=(told,), daemon=True).start()
    share_cores(n_shares)


def _judge(job: Job, config: DetectConfig) -> Judged:
    """Judge in this process; pictures of a page stay here."""
    judged = judge_file(job, _load(config.weights, config.device), config)
    verdict = judged.verdict
    return replace(judged, verdict=replace(verdict, evidence=None)) if verdict else judged


@lru_cache(maxsize=1)
def _load(weights: str | None, device: Device) -> Detector:
    """This process's detector."""
    from mdcsd.detector import Detector

    return Detector(weights, device)


def share_cores(n_processes: int) -> None:
    """Take a share of the cores for the network. Call before torch is imported."""
    n_threads = str(max(count_cores() // n_processes, 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = n_threads


def count_cores() -> int:
    """Cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def leave_with_parent(told: Connection | None = None) -> None:
    """Wait until the process that started this one is gone, or closes its end of a pipe; leave."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel, told] if told else [parent.sentinel])
        os._exit(1)
