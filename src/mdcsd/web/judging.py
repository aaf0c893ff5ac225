"""A file -> its report: what a worker does with one job, and the bounds it checks before."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mdcsd.errors import InputError, MediaError
from mdcsd.machine import count_cores
from mdcsd.web.settings import Limits, ServeSettings

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What is kept of a judged file; `score` 0..1, higher is more fake, or None."""

    verdict: str
    score: float | None
    json: str
    html: str


Judge = Callable[[Path, str, Progress], Report]
"""(file, the name to show, progress as frames done and in all) -> report; raises InputError."""

JudgeFactory = Callable[[ServeSettings], Judge]
"""Called once in each worker process: it loads the model."""


def load_judge(settings: ServeSettings) -> Judge:
    """Load the detector, once, and return the function that judges files with it."""
    from mdcsd.detector import Detector

    detector = Detector(settings.weights)

    def judge(path: Path, name: str, progress: Progress) -> Report:
        check_media(path, settings.limits)
        found = detector.judge(path, settings.frames, evidence=True, progress=progress)
        verdict = replace(found, path=name)
        return Report(verdict.verdict, verdict.score, verdict.to_json(), verdict.to_html())

    return judge


def check_media(path: Path, limits: Limits) -> None:
    """Refuse what is too long or too large, by the file's headers, before anything is decoded.

    Raises: MediaError.
    """
    from mdcsd.inputs import IMAGE_SUFFIXES
    from mdcsd.pictures import read_picture_size
    from mdcsd.video import count_frames, probe

    if path.suffix in IMAGE_SUFFIXES:
        _check_pixels(path, read_picture_size(path), limits)
        return
    info = probe(path)
    _check_pixels(path, (info.width_px, info.height_px), limits)
    duration_s = count_frames(path) / info.fps
    if info.duration_claimed_s is not None and info.duration_claimed_s > duration_s:
        duration_s = info.duration_claimed_s
    if duration_s > limits.duration_s:
        raise MediaError(
            f"{path}: lasts {duration_s:.0f} s; up to {limits.duration_s:.0f} s are taken here. "
            "Cut out the part in question."
        )


def _check_pixels(path: Path, size_wh: tuple[int, int], limits: Limits) -> None:
    width, height = size_wh
    if width * height > limits.frame_pixels:
        raise MediaError(
            f"{path}: {width} x {height} pixels; up to {limits.frame_pixels / 1e6:.0f} million are "
            "taken here. Scale it down."
        )


def count_workers(settings: ServeSettings, wanted: int | None) -> ServeSettings:
    """Try the checkpoint, and fill in what the machine has: a worker a GPU, else one a core.

    In a process that ends thereafter, so that the server itself stays small.

    Raises: InputError or DataError, as `Detector` does.
    """
    if not Path(settings.weights).is_file():
        raise InputError(f"{settings.weights}: no such file. Give the path that train printed.")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        n_gpus = pool.submit(_load_and_count, settings.weights).result()
    return replace(settings, gpus=n_gpus, workers=wanted or n_gpus or count_cores())


def _load_and_count(weights: str) -> int:
    from mdcsd.detector import Detector
    from mdcsd.inference import count_gpus

    Detector(weights, "cpu")
    return count_gpus("auto")
