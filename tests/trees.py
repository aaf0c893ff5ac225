"""Miniatures of data sets as downloaded, made of a few real frames each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from mdcsd.config import FrameSelection
from mdcsd.demo import alter_face, film
from mdcsd.encoding import write_video
from mdcsd.faces import FaceFinder
from mdcsd.source_lists import read_ffpp_split
from mdcsd.video import iter_frames

MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
N_FRAMES = 5


class ClipMaker:
    """Makes short H.264 clips, real and altered, of several people.

    The people are those of the real clips at hand, or, without any, the packaged portrait
    filmed from different sides.
    """

    def __init__(self, media: Path | None, portrait: np.ndarray) -> None:
        paths = sorted(media.glob("grid/*.mpg")) if media else []
        self.source = "real clips" if paths else "the demo's clips"
        if paths:
            self._people = [self._frames(path) for path in paths]
        else:
            self._people = [list(film(portrait, seed, N_FRAMES)) for seed in range(8)]
        finder = FaceFinder()
        self._landmarks = [
            [finder.find(frame)[0].landmarks_xy_px for frame in frames] for frames in self._people
        ]

    @staticmethod
    def _frames(path: Path) -> list[np.ndarray]:
        frames = iter_frames(path, FrameSelection(n_evenly=N_FRAMES))
        return [frame.rgb for frame in islice(frames, N_FRAMES)]

    def real(self, path: Path, number: int) -> None:
        """Write a real clip of one of the people."""
        self._write(path, self._people[number % len(self._people)])

    def fake(self, path: Path, number: int, seed: int) -> None:
        """Write the same with an altered face."""
        person = number % len(self._people)
        pairs = zip(self._people[person], self._landmarks[person], strict=True)
        self._write(path, [alter_face(frame, points, seed) for frame, points in pairs])

    @staticmethod
    def _write(path: Path, frames: list[np.ndarray]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, 25)


def make_ffpp(root: Path, maker: ClipMaker, n_pairs: int = 1) -> None:
    """FaceForensics++ c23: pairs of the official train, val and test lists, all four fakes."""
    for split, pairs in official_pairs(n_pairs).items():
        for a, b in pairs:
            for target, source in ((a, b), (b, a)):
                number = int(target)
                real = root / "original_sequences/youtube/c23/videos" / f"{target}.mp4"
                maker.real(real, number)
                for seed, name in enumerate(MANIPULATIONS):
                    folder = root / "manipulated_sequences" / name / "c23/videos"
                    maker.fake(folder / f"{target}_{source}.mp4", number, 10 * number + seed)
        assert split


def official_pairs(n_pairs: int) -> dict[str, list[tuple[str, str]]]:
    """The first pairs of each official list; one more for training."""
    pairs: dict[str, list[tuple[str, str]]] = {"train": [], "val": [], "test": []}
    for name, split in read_ffpp_split().items():
        a, _, b = name.partition("_")
        if b and a < b and len(pairs[split]) < n_pairs + (split == "train"):
            pairs[split].append((a, b))
    return pairs


def make_dfd(root: Path, maker: ClipMaker) -> None:
    """DFD, which lives in the tree of FaceForensics++."""
    for number in (1, 2):
        folder = root / "original_sequences/actors/c23/videos"
        maker.real(folder / f"{number:02d}__talking.mp4", number)
        folder = root / "manipulated_sequences/DeepFakeDetection/c23/videos"
        maker.fake(folder / f"{number:02d}_{3 - number:02d}__talking__ABCD1234.mp4", number, number)


def make_celebdf(root: Path, maker: ClipMaker) -> None:
    """Celeb-DF v2 with a test list, in which 1 means real."""
    lines = []
    for number in range(2):
        maker.real(root / f"Celeb-real/id{number}_0000.mp4", number)
        maker.fake(root / f"Celeb-synthesis/id{number}_id{1 - number}_0000.mp4", number, number)
        lines += [f"1 Celeb-real/id{number}_0000.mp4",
                  f"0 Celeb-synthesis/id{number}_id{1 - number}_0000.mp4"]  # fmt: skip
    maker.real(root / "YouTube-real/00000.mp4", 5)
    (root / "List_of_testing_videos.txt").write_text("\n".join(lines) + "\n")


def tiny(*assignments: str) -> list[str]:
    """Settings that make a protocol a matter of seconds."""
    sets = (
        "network.backbone=efficientnet_lite0", "train.image_size=64", "train.epochs=1",
        "train.workers=0", "train.batch_size=16", "process_frames.frames=3",
        "process_frames.size=96", "process_frames.workers=1", "protocol.seeds=[0]",
        "test.draws=40", *assignments,
    )  # fmt: skip
    return list(sets)


def words(assignments: list[str]) -> Iterator[str]:
    """The same as words of a command line."""
    for each in assignments:
        yield from ("--set", each)
