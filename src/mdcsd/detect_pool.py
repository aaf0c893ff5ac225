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
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from mdcsd.config import Device
from mdcsd.detect_file import Job, Judged, failed, judge_file
from mdcsd.judging_config import DetectConfig

if TYPE_CHECKING:  # a process that judges shares the cores before torch is imported
    from mdcsd.detector import Detector

_AHEAD = 2  # files given out for each process, so that none waits for the slowest


def judge_at_once(jobs: Sequence[Job], config: DetectConfig, n_workers: int) -> Iterator[Judged]:
    """Judge files in several processes; yield them in order.

    Raises: DataError if the weights cannot be used, or a page cannot be written.
    """
    rest, given = deque(jobs), deque[tuple[Job, Future[Judged]]]()
    pool = _start(n_workers, n_workers)
    try:
        while rest or given:
            while rest and len(given) < _AHEAD * n_workers:
                given.append((rest[0], pool.submit(_judge, rest.popleft(), config)))
            job, answer = given.popleft()
            try:
                yield answer.result()
            except BrokenProcessPool:
                lost = [job, *(each for each, _ in given)]
                given.clear()
                yield from (_judge_alone(each, config, n_workers) for each in lost)
                pool = _start(n_workers, n_workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _start(n_processes: int, n_shares: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_processes, context, _begin, (n_shares,))


def _begin(n_shares: int) -> None:
    """Make a process ready: it goes with the terminal's Ctrl-C, and with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    share_cores(n_shares)


def _judge(job: Job, config: DetectConfig) -> Judged:
    """Judge in this process; pictures of a page stay here."""
    judged = judge_file(job, _load(config.weights, config.device), config)
    verdict = judged.verdict
    return replace(judged, verdict=replace(verdict, evidence=None)) if verdict else judged


def _judge_alone(job: Job, config: DetectConfig, n_shares: int) -> Judged:
    with _start(1, n_shares) as pool:
        try:
            return pool.submit(_judge, job, config).result()
        except BrokenProcessPool:
            return failed(
                job.path,
                f"{job.path}: judging it ended its process: a decoder crashed, or memory ran out. "
                "Copy the file again, or give fewer --workers, so that each has more memory.",
            )


@lru_cache(maxsize=1)
def _load(weights: str | None, device: Device) -> Detector:
    """This process's detector."""
    from mdcsd.detector import Detector

    return Detector(weights, device)


def share_cores(n_processes: int) -> None:
    """Take a share of the cores. Call before torch is imported."""
    n_threads = str(max(count_cores() // n_processes, 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = n_threads


def count_cores() -> int:
    """Cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def leave_with_parent() -> None:
    """Wait until the process that started this one is gone, and leave."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
