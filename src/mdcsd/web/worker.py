"""The processes that judge, and the thread that looks after them.

A worker process loads the model once and takes jobs one after the other. What a file can do to it
(crash it, stall it, eat its memory until the kernel kills it) ends with the process; the supervisor
starts another and the other jobs go on. Workers leave when the server is gone, however it went.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from pathlib import Path

from mdcsd import storage
from mdcsd.detect_pool import leave_with_parent
from mdcsd.errors import MdcsdError
from mdcsd.machine import take_share
from mdcsd.web.folder import DataFolder
from mdcsd.web.jobs import Job, JobStore
from mdcsd.web.judging import Judge, JudgeFactory, Report
from mdcsd.web.settings import ServeSettings

_IDLE_S = 0.2
_PROGRESS_S = 0.3
_SWEEP_S = 5.0
_RESTART_S = 2.0


class Abandoned(BaseException):
    """The job was deleted while it was judged; no decoder may swallow this."""


def work(settings: ServeSettings, slot: int, load: JudgeFactory) -> None:
    """Take jobs for ever: the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the server's to answer
    threading.Thread(target=leave_with_parent, daemon=True).start()
    os.umask(0o077)
    take_share(settings.workers, slot, settings.gpus)
    judge = load(settings)
    folder = DataFolder(settings.data)
    store = JobStore(folder.root)
    while True:
        job = store.claim(slot)
        if job is None:
            time.sleep(_IDLE_S)
        else:
            do_job(job, store, folder, judge)


def do_job(job: Job, store: JobStore, folder: DataFolder, judge: Judge) -> None:
    """Judge one claimed job: report files first, whole, then the state that shows them.

    The upload is deleted only while the claim stands: else it belongs to whoever has the job now.
    """
    path = folder.upload(job)
    told_s = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told_s
        if done == total or time.monotonic() - told_s >= _PROGRESS_S:
            told_s = time.monotonic()
            if not store.progress(job, done, total):
                raise Abandoned

    try:
        report = judge(path, job.name, progress)
    except MdcsdError as error:
        stands = store.fail(job, _without_path(str(error), path, job.name))
    except Abandoned:
        stands = store.fail(job, "deleted")
    except Exception:  # one file must not end the worker of all
        print(traceback.format_exc().replace(job.id, "(its id)"), file=sys.stderr)
        stands = store.fail(job, "judging this file failed: a bug of mdcsd, told in its log.")
    else:
        stands = _keep(job, report, store, folder)
    if stands:
        folder.forget_upload(job)


def _keep(job: Job, report: Report, store: JobStore, folder: DataFolder) -> bool:
    """Write a report and set its job done, or failed; False if the claim no longer stands."""
    try:
        storage.write_text(folder.report(job, ".html"), report.html)
        storage.write_text(folder.report(job, ".json"), report.json + "\n")
    except (MdcsdError, OSError) as error:
        told = str(error).replace(job.id, "(its id)")  # ids are keys to reports: none in logs
        print(f"error: a report cannot be written: {told}", file=sys.stderr)
        return store.fail(
            job, "the server could not write the report, through no fault of the file. Try later."
        )
    return store.finish(job, report.verdict, report.score)


def _without_path(text: str, path: Path, name: str) -> str:
    """Speak of the user's file by the user's name for it."""
    return text.replace(str(path), name).replace(path.name, name)


class Workers:
    """Starts the worker processes, ends those that stall, restarts those that die."""

    def __init__(
        self, settings: ServeSettings, store: JobStore, folder: DataFolder, load: JudgeFactory
    ) -> None:
        """Note what to run; nothing starts yet."""
        self._settings = settings
        self._store = store
        self._folder = folder
        self._load = load
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, multiprocessing.process.BaseProcess] = {}
        self._started_s: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="supervisor")
        self._swept_s = 0.0

    def start(self) -> None:
        """Queue again what a killed server left running, tidy up, and start."""
        for job in self._store.in_state("running"):
            self._give_back(job)
        self._folder.tidy(self._store)
        for slot in range(self._settings.workers):
            self._launch(slot)
        self._thread.start()

    def stop(self) -> None:
        """End the processes; what they were judging is queued again for the next start."""
        self._stop.set()
        self._thread.join()
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()
        for job in self._store.in_state("running"):
            self._store.requeue(job, counts=False)

    def count_alive(self) -> int:
        """Count the worker processes that live."""
        return sum(process.is_alive() for process in list(self._processes.values()))

    def _look_after(self) -> None:
        while not self._stop.wait(_IDLE_S):
            try:
                self._restart_dead()
                self._end_stalled()
                self._sweep()
            except (sqlite3.Error, OSError) as error:  # a full disk must not end the supervision
                told = getattr(error, "strerror", None) or error  # no path, for it may hold an id
                print(f"error: {self._folder.root}: {told}", file=sys.stderr)

    def _launch(self, slot: int) -> None:
        self._started_s[slot] = time.monotonic()
        process = self._context.Process(
            target=work, args=(self._settings, slot, self._load), name=f"worker-{slot}", daemon=True
        )
        process.start()
        self._processes[slot] = process

    def _end_stalled(self) -> None:
        limit_s = self._settings.limits.job_time_s
        for job in self._store.in_state("running"):
            if time.time() - job.started_s <= limit_s:
                continue
            said = f"judging took longer than {limit_s:.0f} s and was given up."
            if not self._store.fail(job, said):
                continue  # it ended meanwhile, and its worker may be at another
            self._folder.forget_upload(job)
            process = self._processes[job.slot]
            process.kill()
            process.join()
            for other in self._store.in_state("running"):
                if other.slot == job.slot:
                    self._store.requeue(other, counts=False)

    def _restart_dead(self) -> None:
        for slot, process in self._processes.items():
            if process.is_alive():
                continue
            for job in self._store.in_state("running"):
                if job.slot == slot:
                    self._give_back(job)
            if time.monotonic() - self._started_s[slot] > _RESTART_S:
                self._launch(slot)

    def _give_back(self, job: Job) -> None:
        """Queue a job again whose worker died, unless it has killed enough of them."""
        if job.attempts < self._settings.limits.attempts:
            self._store.requeue(job, counts=True)
            return
        self._store.fail(job, f"judging this file ended its process {job.attempts} times.")
        self._folder.forget_upload(job)

    def _sweep(self) -> None:
        """Delete everything about files whose time is over."""
        if time.monotonic() - self._swept_s < _SWEEP_S:
            return
        self._swept_s = time.monotonic()
        for job in self._store.expired():
            if self._store.delete(job):
                self._folder.forget(job)
