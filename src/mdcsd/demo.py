"""The main job on media it makes itself: from clips to a verdict in minutes on a CPU.

A packaged portrait (NASA's of Eileen Collins, public domain, as scikit-image ships it) is
filmed by a moving camera under changing light: real clips. The same with a face that was
mirrored, resampled and blended in: manipulated clips. The folder looks as FaceForensics++
does: original/000.mp4, Deepfakes/000_001.mp4. It shows that every step works, and says
nothing about how well a network does on the faces of this world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from mdcsd import storage
from mdcsd.config import PrepareDatasetConfig, ProcessFramesConfig
from mdcsd.detector import Detector, iter_sampled_frames
from mdcsd.encoding import write_video
from mdcsd.evaluation import Evaluation, run_test
from mdcsd.faces import FaceFinder, resize
from mdcsd.judging_config import TestConfig
from mdcsd.judging_nouns import Verdict
from mdcsd.nouns import RgbArray
from mdcsd.pictures import decode_png, encode_png
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.process_frames import process_frames
from mdcsd.recipe import load_settings
from mdcsd.runs import new_run_path
from mdcsd.settings import Settings
from mdcsd.split_writer import dataset_folder
from mdcsd.training import Hooks, train

FPS = 25
_SIDE_PX = 320
_FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoSize:
    """How much the demo makes: pairs of clips (two real, two manipulated each) and frames."""

    n_pairs: int = 5
    n_frames: int = 30
    epochs: int | None = None


@dataclass(frozen=True)
class DemoResult:
    """What the demo ended with; `clips` and `verdicts` are of clips training never saw."""

    checkpoint: Path
    evaluation: Evaluation
    clips: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]
    sheet: Path


def run_demo(
    output: Path,
    say: Say = print,
    size: DemoSize | None = None,
    hooks: Hooks | None = None,
) -> DemoResult:
    """Make clips, crop, prepare, train, test and detect, saying where everything lies."""
    size = size or DemoSize()
    clips = output / "clips"
    say(f"1. clips: {size.n_pairs * 4} H.264 clips of a public-domain portrait -> {clips}")
    make_clips(clips, size.n_pairs, size.n_frames)
    frames = ProcessFramesConfig(video_path=str(clips), output_path=str(output / "crops"))
    summary = process_frames(frames)
    say(
        f"2. process-frames: {summary.n_crops} face crops out of {summary.n_frames} frames "
        f"-> {summary.faces_csv}"
    )
    prepare = PrepareDatasetConfig(directory=frames.output_path, raw=True, color=True)
    prepared = prepare_dataset(prepare)
    for split in prepared.splits:
        counts = ", ".join(f"{name} {count}" for name, count in split.counts.items())
        say(f"3. prepare-dataset: {split.split}: {counts} -> {split.folder}")
    settings = demo_settings(prepare, output, size)
    say(f"4. train: {settings.train.epochs} epochs on the CPU -> {settings.train.output}")
    trained = train(settings, hooks)
    test_folder = dataset_folder(prepare, "test")
    evaluation = run_test(TestConfig(model=str(trained.best), test_dataset=str(test_folder)))
    _, report_path = evaluation.write(trained.best.parent / f"test_{test_folder.name}")
    overall = evaluation.report["overall"]
    say(
        f"5. test: frame AUC {overall['frame_auc']['value']:.3f}, video AUC "
        f"{overall['video_auc']['value']:.3f} -> {report_path}"
    )
    unseen = unseen_clips(clips, evaluation)
    say("6. detect, on clips that training never saw:")
    detector = Detector(trained.best)
    verdicts = tuple(detector.judge(clip) for clip in unseen)
    sheet = output / "sheet.png"
    storage.write_bytes(sheet, encode_png(contact_sheet(unseen, verdicts)))
    return DemoResult(trained.best, evaluation, unseen, verdicts, sheet)


def demo_settings(prepare: PrepareDatasetConfig, output: Path, size: DemoSize) -> Settings:
    """The tiny recipe, pointed at the demo's data sets."""
    settings = load_settings(Path("tiny"), [], {})
    paths = {
        "train_dataset": str(dataset_folder(prepare, "train")),
        "val_dataset": str(dataset_folder(prepare, "val")),
        "output": str(output / new_run_path("mdcsd")),
        "device": "cpu",
        "epochs": size.epochs or settings.train.epochs,
    }
    return load_settings(None, [], {"train": paths}, settings)


def make_clips(folder: Path, n_pairs: int, n_frames: int) -> None:
    """Write original/AAA.mp4 and Deepfakes/AAA_BBB.mp4 for `n_pairs` pairs of sources.

    A clip that is there already is left as it is.
    """
    content = resources.files("mdcsd").joinpath("assets", "portrait.png").read_bytes()
    portrait = decode_png(content, channels=3)
    landmarks = FaceFinder().find(portrait)[0].landmarks_xy_px
    for source in range(2 * n_pairs):
        other = source ^ 1
        altered = alter_face(portrait, landmarks, seed=source)
        for name, picture in (
            (f"original/{source:03d}.mp4", portrait),
            (f"Deepfakes/{source:03d}_{other:03d}.mp4", altered),
        ):
            path = folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f"partial_{path.name}")
                write_video(partial, film(picture, source, n_frames), FPS)
                partial.rename(path)


def film(picture: RgbArray, seed: int, n_frames: int) -> Iterator[RgbArray]:
    """Move a camera over a picture under changing light; the path depends on the seed alone.

    Yields: uint8 (320, 320, 3) frames.
    """
    rng = np.random.default_rng(seed)
    phase, speed = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.5, 1.5, 5)
    middle = np.array(picture.shape[1::-1]) / 2
    for index in range(n_frames):
        wave = np.sin(phase + speed * 2 * np.pi * index / FPS / 2)
        zoom = 1.05 + 0.12 * wave[0]
        centre = np.array([6 + 18 * wave[1], -30 + 18 * wave[2]]) + middle
        turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 5 * wave[3], zoom)
        turn[:, 2] = turn[:, 2] + _SIDE_PX / 2 - centre
        seen = cv2.warpAffine(
            picture, turn, (_SIDE_PX, _SIDE_PX), borderMode=cv2.BORDER_REFLECT_101
        )
        lit = seen * (1.0 + 0.15 * wave[4]) + rng.normal(0.0, 2.0, seen.shape)
        yield lit.clip(0, 255).astype(np.uint8)


def alter_face(picture: RgbArray, landmarks: np.ndarray, seed: int) -> RgbArray:
    """Blend a mirrored, resampled and tinted face into a picture, inside the face's oval."""
    rng = np.random.default_rng(1000 + seed)
    oval = landmarks[list(_FACE_OVAL)]
    centre, radius = oval.mean(axis=0), np.ptp(oval, axis=0).max() / 2
    left, top = np.floor(centre - 1.2 * radius).astype(int)
    right, bottom = np.ceil(centre + 1.2 * radius).astype(int)
    patch = picture[top:bottom, left:right]
    side = (patch.shape[1], patch.shape[0])
    factor = rng.uniform(2.0, 3.0)
    small = resize(patch[:, ::-1], (int(side[0] / factor), int(side[1] / factor)))
    face = resize(small, side) + rng.uniform(-12, 12, 3)
    inside = np.zeros(patch.shape[:2], np.float32)
    cv2.fillConvexPoly(inside, (oval - (left, top)).round().astype(np.int32), 1.0)
    mask = cv2.GaussianBlur(inside, (0, 0), 3.0)[..., None]
    altered = picture.copy()
    altered[top:bottom, left:right] = (mask * face + (1 - mask) * patch).clip(0, 255)
    return altered


def unseen_clips(clips: Path, evaluation: Evaluation) -> tuple[Path, ...]:
    """One real and one manipulated clip of the test split."""
    chosen: dict[int, Path] = {}
    for key, label in zip(evaluation.predictions.keys, evaluation.predictions.label, strict=True):
        chosen.setdefault(int(label), clips / key.manipulation / f"{key.video_id}.mp4")
    return tuple(chosen[label] for label in sorted(chosen))


def contact_sheet(clips: tuple[Path, ...], verdicts: tuple[Verdict, ...]) -> RgbArray:
    """Lay four frames of each clip side by side, each face framed and marked with its score."""
    rows = []
    for clip, verdict in zip(clips, verdicts, strict=True):
        score_of = {row.frame_index: row for row in verdict.frames}
        row = []
        for frame in iter_sampled_frames(clip, 4):
            picture = np.ascontiguousarray(frame.rgb)
            nearest = min(score_of, key=lambda index: abs(index - frame.index), default=None)
            if nearest is not None:
                _mark(picture, score_of[nearest].score, score_of[nearest].box_xyxy_px)
            row.append(picture)
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def _mark(picture: RgbArray, score: float, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = (round(edge) for edge in box)
    cv2.rectangle(picture, (left, top), (right, bottom), (255, 255, 255), 1)
    place = (max(left, 2), max(top - 5, 14))
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width)
