"""What a protocol will do, before it does it: steps, sizes, and how long they may take."""

from __future__ import annotations

import time

import numpy as np
import torch

from mdcsd.inference import choose_device
from mdcsd.network import build_network
from mdcsd.nouns import SPLITS
from mdcsd.optim import parameter_groups
from mdcsd.preprocess import PreprocessSpec
from mdcsd.reproduce import DataSource, Plan
from mdcsd.settings import Settings


def estimate(plan: Plan) -> list[str]:
    """Say in lines what a plan will do, how much that is, and how long it may take here.

    The time is that of a few training steps measured now, on this machine, times the images;
    early stopping may end sooner; cropping, loading, blending, validating and testing come on top.
    """
    lines = [line for source in plan.sources for line in _describe(plan, source)]
    for row, seed in plan.trainings:
        lines.append(f"train: {row.name}, seed {seed}: {' '.join(row.set) or 'the recipe itself'}")
    train, n_records = plan.train_source, _records_per_video(plan, plan.train_source)
    n_images = (n_records or 0) * (train.count("train", 0) + train.count("train", 1))
    n_drawn = plan.settings.train.epoch_samples or n_images
    if n_drawn:
        epochs = plan.settings.train.epochs
        rate = _images_per_second(plan.settings)
        hours = n_drawn * epochs * len(plan.trainings) / rate / 3600
        device = choose_device(plan.settings.train.device)
        lines.append(
            f"{len(plan.trainings)} training(s) of at most {epochs} epochs of at most {n_drawn} "
            f"images: at most {hours:.1f} h at {rate:.3g} images/s, measured now on this "
            f"machine's {device}; validation, and waiting for the loader, come on top"
        )
    lines.append(f"tested on: {', '.join(source.name for source in plan.test_sources)}")
    lines.append(f"everything goes to {plan.output}; interrupted, the same command goes on")
    return lines


def _records_per_video(plan: Plan, source: DataSource) -> int | None:
    """Faces a video, if one face is found in each frame; None where all frames are taken.

    Of crops that lie in a folder a video it is not known without looking into every folder.
    """
    if source.is_crops:
        return None if any(entry.path.is_dir() for entry in source.entries) else 1
    return plan.settings.process_frames.frames


def _describe(plan: Plan, source: DataSource) -> list[str]:
    """What becomes of one data set."""
    settings, n_records = plan.settings, _records_per_video(plan, source)
    n_videos = sum(entry.split is not None for entry in source.entries)
    counts = ", ".join(
        f"{split} {source.count(split, 0)} real {source.count(split, 1)} manipulated"
        for split in SPLITS
        if source.count(split, 0) + source.count(split, 1)
    )
    lines = [f"{source.name}: {counts}", *(f"  missing: {line}" for line in source.missing)]
    if not source.is_crops:
        frames = f"{n_records} frames of each" if n_records else "every frame of each"
        lines.append(f"  process-frames: {n_videos} videos, {frames}")
    if n_records:
        side = settings.process_frames.size
        n_bytes = n_videos * n_records * side * side * 3
        size = "" if source.is_crops else f", crops of less than {n_bytes / 1e9:.1f} GB"
        lines.append(f"  prepare-dataset: about {n_videos * n_records} records{size}")
    return lines


def _images_per_second(settings: Settings) -> float:
    """Time training steps of the recipe's network on noise."""
    config, device = settings.train, torch.device(choose_device(settings.train.device))
    side = config.image_size[0]
    spec = PreprocessSpec(side, 3, "raw", settings.process_frames.scale)
    network = build_network(settings.network, spec, 2).to(device).train()
    optimizer = torch.optim.Adam(parameter_groups(network, 1e-4, 1.0))
    n_images = min(config.batch_size, 8 if device.type == "cpu" else config.batch_size)
    noise = np.random.default_rng(0).uniform(0, 255, (n_images, 3, side, side))
    image = torch.tensor(noise, dtype=torch.float32, device=device)
    began = 0.0
    for step in range(3):
        if step == 1:  # the first warms up
            began = time.perf_counter()
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    passes = 2 if config.sam_radius else 1
    return 2 * n_images / (time.perf_counter() - began) / passes
