"""What training and judging cost around the network: its loader, decoding, a face."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mdcsd.augment_config import AugmentConfig
from mdcsd.backbones import fold_batch_norms
from mdcsd.bench import HD_WH, make_hd, median_of
from mdcsd.config import FrameSelection, NetworkConfig
from mdcsd.detector import Detector, iter_sampled_frames
from mdcsd.inference import ready_network
from mdcsd.judging_config import DetectConfig
from mdcsd.loader import cut_batches, iter_batches
from mdcsd.network import Network, build_network
from mdcsd.preprocess import PreprocessSpec
from mdcsd.settings import Settings
from mdcsd.training import open_training_faces
from mdcsd.training_setup import TrainJob, setup
from mdcsd.video import iter_frames, probe


def bench_loader(settings: Settings, n_samples: int) -> dict[str, float]:
    """Measure what training's loader delivers without any network: images a second.

    Args:
        settings: of a training; its validation set is not read. With `train.workers` 0 the
            figures are of the training process itself, else of that many beside it.
        n_samples: how many of each kind to load, the first batch not counted.

    Returns: samples a second as training draws them, of records as they are, and of real faces
        and their self-blends, where the settings have any.
    """
    alone = replace(settings.train, val_dataset=settings.train.train_dataset)
    settings = replace(settings, train=replace(alone, epoch_samples=n_samples))
    plain = replace(settings.blend, share=0.0)
    kinds = {"records as they are": replace(settings, blend=plain, augment=AugmentConfig())}
    if settings.blend.share:
        blends = replace(
            settings,
            blend=replace(settings.blend, share=1.0),
            train=replace(settings.train, unpaired_real=0.0),
        )
        kinds = {"as training draws them": settings, **kinds, "real faces and blends": blends}
    return {f"{name}: images/s": _loaded_per_s(setup(each)) for name, each in kinds.items()}


def _loaded_per_s(job: TrainJob) -> float:
    data, draw = open_training_faces(job)
    batches = cut_batches(draw(0).tolist(), job.config.batch_size, 1)
    loaded = iter_batches(data, batches, 0, job.config.workers)
    next(loaded)  # which waits for the loader processes to start
    began = time.perf_counter()
    n_loaded = sum(len(batch.label) for batch in loaded)
    return n_loaded / (time.perf_counter() - began)


@dataclass(frozen=True)
class DetectFigures:
    """What judging a clip costs over decoding it, and a face over two Xceptions.

    Seconds are medians of `n_runs`, with the network loaded: `decode_all_s` decodes the clip,
    every frame of it to RGB; `decode_sampled_s` the frames that are judged, and what these need.
    `face_ms` is the network
    alone on `threads` threads, a face of a batch; `xceptions_face_ms` two cross-stitched
    Xceptions at 224 px.
    """

    clip: str
    n_frames: int
    threads: int
    decode_all_s: float
    decode_sampled_s: float
    judge_s: float
    judge_over_decode_all: float
    judge_over_decode_sampled: float
    face_ms: float
    xceptions_face_ms: float
    times_faster: float


def bench_detect(
    video: Path, weights: str | None, seconds: float, n_runs: int = 3, n_faces: int = 32
) -> DetectFigures:
    """Measure judging a 1080p H.264 clip, made by scaling a real one, and faces in a batch."""
    detector = Detector(weights, "cpu")
    with tempfile.TemporaryDirectory(prefix="mdcsd-bench-") as name:
        clip = Path(name) / "clip.mp4"
        n_all = round(seconds * round(probe(video).fps))
        make_hd(video, clip, n_all)
        sampled = DetectConfig().frames
        judge_s = median_of(lambda: detector.judge(clip), n_runs)
        decode_all_s = median_of(lambda: _drain(iter_frames(clip, FrameSelection())), n_runs)
        decode_sampled_s = median_of(lambda: _drain(iter_sampled_frames(clip, sampled)), n_runs)
    checkpoint = detector.checkpoint
    sizes = n_runs, n_faces, detector.batch_size
    network = ready_network(checkpoint, torch.device("cpu"))
    face_ms = _face_ms(network, checkpoint.preprocess, *sizes)
    large = NetworkConfig(name="mdcsd", backbone="xception", frequency="residual")
    spec = replace(checkpoint.preprocess, image_size_px=224)
    xceptions_ms = _face_ms(fold_batch_norms(build_network(large, spec, 2).eval()), spec, *sizes)
    return DetectFigures(
        clip=f"{video.name} scaled to {HD_WH[0]}x{HD_WH[1]}, H.264, {seconds:g} s",
        n_frames=n_all,
        threads=torch.get_num_threads(),
        decode_all_s=decode_all_s,
        decode_sampled_s=decode_sampled_s,
        judge_s=judge_s,
        judge_over_decode_all=judge_s / decode_all_s,
        judge_over_decode_sampled=judge_s / decode_sampled_s,
        face_ms=face_ms,
        xceptions_face_ms=xceptions_ms,
        times_faster=xceptions_ms / face_ms,
    )


@torch.inference_mode()
def _face_ms(
    network: Network, spec: PreprocessSpec, n_runs: int, n_faces: int, batch_size: int
) -> float:
    """Milliseconds a face on this machine's CPU, in batches as `Detector` judges."""
    side = spec.image_size_px
    faces = torch.rand(n_faces, spec.channels, side, side) * 255
    network.to(memory_format=torch.channels_last)
    batches = torch.split(faces.to(memory_format=torch.channels_last), batch_size)
    return (
        1e3 * median_of(lambda: _drain(network.judge(each) for each in batches), n_runs) / n_faces
    )


def _drain(items: Iterator[Any]) -> None:
    for _ in items:
        pass
