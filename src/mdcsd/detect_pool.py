"""Several files at once: processes that judge, each with a detector and its share of the machine.

What a file does to the process that judges it, a decoder that crashes or hangs, or memory that runs
out, ends with that process, and the others go on. Memory is everybody's, so that a file whose
process ended is judged once more, with no other beside it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from mdcsd.detect_file import Job, Judged, failed, judge_file
from mdcsd.errors import InputError, MdcsdError
from mdcsd.judging_config import DetectConfig
from mdcsd.machine import take_share

_AHEAD = 256  # files judged for each process while the first of them is waited for
_PATIENCE_S = 3600.0  # of one look at who has had his time; no system waits for years
_END_S = 5.0  # that a killed process may take to end: one that reads from a lost disk does not

_spawn = multiprocessing.get_context("spawn")


def judge_at_once(
    jobs: Sequence[Job],
    config: DetectConfig,
    n_workers: int,
    n_gpus: int = 0,
    on_done: Callable[[Judged], None] = lambda _: None,
) -> Iterator[Judged]:
    """Judge files in several processes, dealt to the GPUs in turn; yield them in order.

    Args:
        on_done: called with each file as soon as it is done, in whatever order.

    Raises: DataError if the weights cannot be used, InputError if a page cannot be written or no
        process can be started.
    """
    team = _Team(jobs, config, n_workers, n_gpus, on_done)
    try:
        yield from team.judge()
    finally:
        team.end()


class _Worker:
    """A process, and the place of the file that it is at."""

    def __init__(self, slot: int, config: DetectConfig, n_workers: int, n_gpus: int) -> None:
        self.slot = slot
        self.place: int | None = None
        self.began_s = 0.0
        self.is_ready = False
        self.pipe, its_end = _spawn.Pipe()
        args = (its_end, _load, config, n_workers, slot, n_gpus)
        self._process = _spawn.Process(target=_work, args=args, daemon=True)
        with _interrupts_held():
            self._process.start()
        its_end.close()
        self.speaks = (self.pipe, self._process.sentinel)

    @property
    def is_idle(self) -> bool:
        """Whether it could take a file."""
        return self.is_ready and self.place is None

    def give(self, place: int, job: Job) -> None:
        """Have a file judged."""
        self.place, self.began_s = place, time.monotonic()
        with suppress(OSError):  # it has ended: its pipe will say so
            self.pipe.send(job)

    def hear(self) -> Judged | MdcsdError | None:
        """What it says, None that it is ready. Raises: EOFError or OSError if it has ended."""
        if not self.pipe.poll():
            raise EOFError
        answer: Judged | MdcsdError | None = self.pipe.recv()
        return answer

    def has_spoken(self) -> bool:
        """Whether it has answered, or ended: that is to be heard first."""
        try:
            return self.pipe.poll() or not self._process.is_alive()
        except OSError:
            return True

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join(_END_S)
        self.pipe.close()


class _Team:
    """The processes, what each is at, and what is left to do."""

    def __init__(
        self,
        jobs: Sequence[Job],
        config: DetectConfig,
        n_workers: int,
        n_gpus: int,
        on_done: Callable[[Judged], None],
    ) -> None:
        self._jobs = jobs
        self._on_done = on_done
        self._config = config
        self._n_gpus = n_gpus
        self._n_workers = n_workers
        self._workers: list[_Worker] = []
        self._slots = list(range(n_workers))  # of processes that may be started
        self._has_begun = False
        self._todo = deque(range(len(jobs)))
        self._once_more: deque[int] = deque()  # their processes ended
        self._ended: set[int] = set()
        self._answers: dict[int, Judged | MdcsdError] = {}

    def judge(self) -> Iterator[Judged]:
        """Judge everything; yield in order, and raise in its turn what ends the batch."""
        for place in range(len(self._jobs)):
            while place not in self._answers:
                n_open = self._count_open(place + _AHEAD * self._n_workers)
                self._start(n_open)
                self._give(n_open)
                self._listen()
                self._give_up()
            answer = self._answers.pop(place)
            if isinstance(answer, MdcsdError):
                raise answer
            yield answer

    def end(self) -> None:
        """End all processes."""
        for worker in list(self._workers):
            self._let_go(worker)

    def _count_open(self, end: int) -> int:
        """Count the files that may be given out now: of places before `end`."""
        if not self._todo or self._has_one_alone():
            return 0
        return max(min(end, len(self._jobs)) - self._todo[0], 0)

    def _start(self, n_open: int) -> None:
        """Start as many processes as can be used; one alone until it is known to live."""
        n_busy = sum(worker.place is not None for worker in self._workers)
        n_wanted = max(min(n_busy + n_open, self._n_workers), 1) if self._has_begun else 1
        while len(self._workers) < n_wanted and self._slots:
            slot = self._slots.pop(0)
            self._workers.append(_Worker(slot, self._config, self._n_workers, self._n_gpus))

    def _give(self, n_open: int) -> None:
        """Give files out; one whose process ended when no other can be, and all are idle."""
        idle = [worker for worker in self._workers if worker.is_idle]
        for worker in idle[:n_open]:
            self._give_to(worker, self._todo)
        if not n_open and self._once_more and idle and len(idle) == len(self._workers):
            for other in idle[1:]:
                self._let_go(other)
            self._give_to(idle[0], self._once_more)

    def _has_one_alone(self) -> bool:
        return any(worker.place in self._ended for worker in self._workers)

    def _give_to(self, worker: _Worker, places: deque[int]) -> None:
        place = places.popleft()
        worker.give(place, self._jobs[place])

    def _listen(self) -> None:
        """Wait for what processes say, for their end, or until one has had its time."""
        heard = set(wait([each for w in self._workers for each in w.speaks], self._patience_s()))
        for worker in [worker for worker in self._workers if heard & set(worker.speaks)]:
            try:
                answer = worker.hear()
            except (EOFError, OSError):
                self._mourn(worker)
                continue
            if isinstance(answer, MdcsdError) and not worker.is_ready:
                raise answer
            if answer is not None and worker.place is not None:
                self._note(worker.place, answer)
                worker.place = None
            worker.is_ready = self._has_begun = True

    def _patience_s(self) -> float | None:
        """How long the process that is nearest to its limit still has."""
        limit_s = self._config.time_limit_s
        began_s = [worker.began_s for worker in self._workers if worker.place is not None]
        if limit_s is None or not began_s:
            return None
        return min(max(min(began_s) + limit_s - time.monotonic(), 0.0), _PATIENCE_S)

    def _mourn(self, worker: _Worker) -> None:
        """Note what a process took along that ended by itself.

        Raises: InputError if there is none left, and none can be started.
        """
        self._let_go(worker)
        place = worker.place
        if place is None:
            if not worker.is_ready:  # another would not live either
                self._slots.remove(worker.slot)
            if not self._workers and not (self._has_begun and self._slots):
                raise InputError(
                    "no process to judge in can be started: memory is short, or a script that is "
                    'run lacks `if __name__ == "__main__":`. Give --workers 1.'
                )
        elif place in self._ended:
            self._tell(
                place,
                "judging it ended its process: a decoder crashed, or memory ran out. Copy the "
                "file again, or give fewer --workers, so that each has more memory.",
            )
        else:
            self._ended.add(place)
            self._once_more.append(place)

    def _give_up(self) -> None:
        """End processes that have had their time for a file."""
        limit_s = self._config.time_limit_s
        for worker in list(self._workers):
            if limit_s is None or worker.place is None or worker.has_spoken():
                continue
            if time.monotonic() - worker.began_s >= limit_s:
                self._let_go(worker)
                self._tell(
                    worker.place,
                    f"judging it took longer than {limit_s:g} s and was given up. Give a longer "
                    "--time-limit, fewer --frames, or the part of it that is in question.",
                )

    def _tell(self, place: int, error: str) -> None:
        path = self._jobs[place].path
        self._note(place, failed(path, f"{path}: {error}"))

    def _note(self, place: int, answer: Judged | MdcsdError) -> None:
        self._answers[place] = answer
        if not isinstance(answer, MdcsdError):
            self._on_done(answer)

    def _let_go(self, worker: _Worker) -> None:
        """End a process, so that another may be started in its place."""
        worker.end()
        self._workers.remove(worker)
        self._slots.append(worker.slot)


def _work(
    pipe: Connection,
    load: Callable[[DetectConfig], Callable[[Job], Judged]],
    config: DetectConfig,
    n_workers: int,
    slot: int,
    n_gpus: int,
) -> None:
    """Judge what comes through the pipe: the body of a process.

    It says None when it is ready, a `Judged` a file, and the error that ends the batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it goes with the terminal's Ctrl-C
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=leave_with_parent, daemon=True).start()
    take_share(n_workers, slot, n_gpus)
    try:
        judge = load(config)
    except MdcsdError as error:
        _say(pipe, error)
        return
    job = _say(pipe, None)
    while job is not None:
        try:
            answer: Judged | MdcsdError = judge(job)
        except MdcsdError as error:
            answer = error
        job = _say(pipe, answer)


def _say(pipe: Connection, answer: Judged | MdcsdError | None) -> Job | None:
    """Say an answer and wait for the next file; None when the parent is gone."""
    try:
        pipe.send(answer)
        job: Job = pipe.recv()
    except (EOFError, OSError):
        return None
    return job


def _load(config: DetectConfig) -> Callable[[Job], Judged]:
    """Load the detector; return what judges with it. Pictures of a page stay in this process."""
    from mdcsd.detector import Detector  # a process shares the cores before torch is imported

    detector = Detector(config.weights, config.device)
    detector.warm_up()

    def judge(job: Job) -> Judged:
        judged = judge_file(job, detector, config)
        verdict = judged.verdict
        return replace(judged, verdict=replace(verdict, evidence=None)) if verdict else judged

    return judge


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold a Ctrl-C back: it must not reach a process that cannot answer it yet."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would end the hold
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_with_parent() -> None:
    """Wait until the process that started this one is gone, and leave."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
