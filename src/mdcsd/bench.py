"""Every speed figure that the docs quote, measured in one run side by side.

Machines differ and are noisy: quote the ratios, not the seconds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from mdcsd.augment import degrade
from mdcsd.augment_config import (
    AUTOENCODER,
    KINDS,
    OTHER_PERSON,
    AugmentConfig,
    BlendConfig,
)
from mdcsd.autoencoder import open_repainter
from mdcsd.blend import blend_face
from mdcsd.blend_preview import find_faces
from mdcsd.config import FrameSelection, ProcessFramesConfig
from mdcsd.donors import Donor
from mdcsd.encoding import loop_video, write_video
from mdcsd.errors import InputError
from mdcsd.nouns import RgbArray
from mdcsd.process_frames import process_frames
from mdcsd.video import iter_frames, probe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HD_WH = (1920, 1080)
_LOOP_S = 600.0


@dataclass(frozen=True)
class FacesFigures:
    """Crops per second of process_frames and of the field's usual pair, on one clip.

    `ours_faces`, `dlib_faces`: frames with a face found, of `n_frames`. `peak_mb`: peak
    memory of process_frames on the clip looped to `loop_s` seconds.
    """

    clip: str
    n_frames: int
    ours_crops_per_s: float
    ours_faces: int
    dlib_crops_per_s: float
    dlib_faces: int
    ratio: float
    loop_s: float
    loop_seconds: float
    peak_mb: float


def bench_faces(video: Path, n_frames: int = 150, loop_s: float = _LOOP_S) -> FacesFigures:
    """Measure face cropping on a 1080p H.264 clip made by scaling a real one.

    Ours: process_frames, every frame decoded, searched, cropped at 299 px and written as
    PNG. Theirs: OpenCV decoding, dlib's HOG detector on the full frame without upsampling,
    the same crop written as PNG. One process each, one after the other.
    """
    dlib = _import_dlib()
    with tempfile.TemporaryDirectory(prefix="mdcsd-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        make_hd(video, clip, n_frames)
        began = time.perf_counter()
        ours = process_frames(
            ProcessFramesConfig(video_path=str(clip), output_path=str(folder / "ours"), workers=1)
        )
        ours_s = time.perf_counter() - began
        began = time.perf_counter()
        dlib_faces = _crop_with_dlib(dlib, clip, folder / "dlib")
        dlib_s = time.perf_counter() - began
        looped = folder / "looped.mp4"
        loop_video(clip, looped, loop_s)
        loop = _measure_process(looped, folder / "looped")
    return FacesFigures(
        clip=f"{video.name} scaled to {HD_WH[0]}x{HD_WH[1]}, H.264",
        n_frames=ours.n_frames,
        ours_crops_per_s=ours.n_crops / ours_s,
        ours_faces=ours.n_frames - ours.n_frames_without_face,
        dlib_crops_per_s=dlib_faces / dlib_s,
        dlib_faces=dlib_faces,
        ratio=(ours.n_crops / ours_s) / (dlib_faces / dlib_s) if dlib_faces else float("inf"),
        loop_s=loop_s,
        **loop,
    )


def bench_start(n_runs: int = 5) -> dict[str, float]:
    """Time `mdcsd --help` and `import mdcsd` in fresh processes: median seconds of `n_runs`."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import mdcsd": ["-c", "import mdcsd"],
        "mdcsd --help": ["-m", "mdcsd", "--help"],
    }
    return {name: _median_seconds(words, n_runs) for name, words in commands.items()}


def bench_evaluate(n_frames: int = 100_000, draws: int = 1000) -> dict[str, float]:
    """Measure a whole report of made-up scores: seconds, and peak memory of its process in MB.

    The rows are those of a data set of two classes, ten faces a video, five videos an
    identity; scores overlap and hold ties. In a process of its own, start-up not counted.
    """
    words = [sys.executable, "-c", _EVALUATE, str(n_frames), str(draws)]
    run = subprocess.run(words, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


_EVALUATE = """
import json, resource, sys, time
import numpy as np
from mdcsd.evaluation_report import Rules, build_report
from mdcsd.judging_nouns import Predictions
from mdcsd.nouns import FrameKey, Origin
n_frames, draws = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
label = (np.arange(n_frames) // 10) % 2
score = np.round(1 / (1 + np.exp(-rng.normal(2.0 * label - 1.0, 1.5))), 4)
origins = tuple(
    Origin(FrameKey("made", ("original", "fake")[label[i]], str(i // 10), 0, i % 10),
           ("original", "fake")[label[i]], "", str(i // 50))
    for i in range(n_frames)
)
predictions = Predictions(origins, label, score)
began = time.perf_counter()
report = build_report(predictions, Rules(threshold=0.5, draws=draws))
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
auc = report["overall"]["video_auc"]
print(json.dumps({"faces": n_frames, "videos": report["n_videos"], "draws": draws,
                  "seconds": seconds, "peak_mb": peak, "video_auc": auc["value"],
                  "low": auc["low"], "high": auc["high"]}))
"""


def bench_blend(
    picture: Path, count: int = 300, autoencoder: str | None = None
) -> dict[str, float]:
    """Measure blends per second and milliseconds a degraded face, on one core.

    The first face of a picture or video, at 256 px for blends and 224 px for degradations; the
    default mixture of kinds, each kind alone, that of an autoencoder if one is given, and a face
    laid over itself. Processor time.
    """
    nothing_else: dict[str, Any] = dict.fromkeys(KINDS, 0.0)
    painted = BlendConfig(autoencoder=1.0, autoencoder_file=autoencoder, **nothing_else)
    repaint = open_repainter(painted) if autoencoder else None
    (face,) = find_faces([picture], 1)
    rgb, landmarks = face.rgb, face.landmarks_xy_px
    alone: dict[str, dict[str, Any]] = {
        kind: {name: float(name == kind) for name in KINDS} for kind in KINDS
    }
    mixtures = {"all kinds": BlendConfig()}
    mixtures |= {kind: BlendConfig(**weights) for kind, weights in alone.items()}
    figures = {
        f"{name}: blends/s": 1 / _cpu_seconds(partial(blend_face, rgb, landmarks, config), count)
        for name, config in mixtures.items()
    }
    if repaint:
        painting = partial(blend_face, rgb, landmarks, painted, repaint=repaint)
        figures[f"{AUTOENCODER}: blends/s"] = 1 / _cpu_seconds(painting, count)
    laying = partial(blend_face, rgb, landmarks, BlendConfig(), donor=Donor(rgb, landmarks))
    figures[f"{OTHER_PERSON}: blends/s"] = 1 / _cpu_seconds(laying, count)
    small = cv2.resize(rgb, (224, 224)).astype(np.uint8)
    degrading = partial(degrade, [small, small], AugmentConfig(enabled=True))
    return figures | {"degrade: ms a face": 1e3 * _cpu_seconds(degrading, count) / 2}


def median_of(work: Callable[[], Any], n_runs: int) -> float:
    """Median seconds of some work, after a first time that is not counted."""
    seconds = []
    for _ in range(n_runs + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _cpu_seconds(work: Callable[[np.random.Generator], Any], count: int) -> float:
    """Mean processor time of some work on one thread, in seconds, its first time not counted."""
    rng, threads = np.random.default_rng(0), cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):  # threads that wait take time too
            work(rng)
            began = time.process_time()
            for _ in range(count):
                work(rng)
            return (time.process_time() - began) / count
    finally:
        cv2.setNumThreads(threads)


def _median_seconds(words: list[str], n_runs: int) -> float:
    command = [sys.executable, *words]
    return median_of(lambda: subprocess.run(command, check=True, capture_output=True), n_runs)


def _import_dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise InputError(
            "bench faces compares with dlib. Install the extra 'bench': pip install '.[bench]' in "
            "mdcsd's folder"
        ) from None
    return dlib


def make_hd(video: Path, clip: Path, n_frames: int) -> None:
    """Scale a video to 1080p, repeated or cut to a number of frames, and encode it as H.264."""

    def frames() -> Iterator[RgbArray]:
        n_made = 0
        while n_made < n_frames:
            for frame in iter_frames(video, FrameSelection(end=n_frames - n_made)):
                yield _letterboxed(frame.rgb)
                n_made += 1

    write_video(clip, frames(), round(probe(video).fps))


def _letterboxed(rgb: RgbArray) -> RgbArray:
    """Scale a picture to 1080p, bars left and right where it is narrower."""
    width, height = HD_WH
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    shown = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    right, below = width - shown.shape[1], height - shown.shape[0]
    bars = (below // 2, below - below // 2, right // 2, right - right // 2)
    return cast(RgbArray, cv2.copyMakeBorder(shown, *bars, cv2.BORDER_CONSTANT))


def _crop_with_dlib(dlib: Any, clip: Path, output: Path) -> int:
    """What the field's scripts do: decode with OpenCV, dlib's HOG on the full frame, crop."""
    output.mkdir()
    detector = dlib.get_frontal_face_detector()
    reader = cv2.VideoCapture(str(clip))
    n_faces = index = 0
    while True:
        there, bgr = reader.read()
        if not there:
            return n_faces
        found = detector(bgr[..., ::-1].copy(), 0)
        if found:
            box = max(found, key=lambda each: each.area())
            half = round(box.width() * 1.3 / 2)
            x, y = box.center().x, box.center().y
            crop = bgr[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
            cv2.imwrite(str(output / f"{index:04d}.png"), cv2.resize(crop, (299, 299)))
            n_faces += 1
        index += 1


_CHILD = """
import json, resource, sys, time
from mdcsd.config import ProcessFramesConfig
from mdcsd.process_frames import process_frames
began = time.perf_counter()
process_frames(ProcessFramesConfig(video_path=sys.argv[1], output_path=sys.argv[2], workers=1))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"loop_seconds": time.perf_counter() - began, "peak_mb": peak}))
"""


def _measure_process(video: Path, output: Path) -> dict[str, float]:
    """Run process_frames in a process of its own: seconds, and peak resident memory in MB."""
    words = [sys.executable, "-c", _CHILD, str(video), str(output)]
    run = subprocess.run(words, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def as_rows(figures: DataclassInstance) -> list[list[str]]:
    """Lay the figures of a dataclass out as (name, value) rows."""
    return [
        [name, f"{value:.2f}" if isinstance(value, float) else str(value)]
        for name, value in asdict(figures).items()
    ]
