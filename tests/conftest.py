"""Shared material: small clips that the package itself can make, and one walk through all of it."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# Cores may be shared: how long an example took tells nothing. New examples are for developers.
settings.register_profile("mdcsd", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mdcsd")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(scope="session")
def media() -> Path:
    """Real clips and portraits, where the checkout has them beside it."""
    if not MEDIA.is_dir():
        pytest.skip("no folder of real media beside this checkout")
    return MEDIA


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """The packaged portrait, uint8 RGB."""
    from importlib import resources

    with resources.files("mdcsd").joinpath("assets", "portrait.png").open("rb") as file:
        return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory):
    """The demo at a small size: (result, its folder, what it said). One run for all tests."""
    from mdcsd.demo import DemoSize, run_demo

    folder = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    result = run_demo(folder, say=said.append, size=DemoSize(n_pairs=4, n_frames=16, epochs=10))
    return result, folder, said


@pytest.fixture(scope="session")
def clip(demo) -> Path:
    """A real H.264 clip with one face."""
    return demo[1] / "clips" / "original" / "000.mp4"


@pytest.fixture(scope="session")
def train_set(demo) -> Path:
    return demo[1] / "crops_color_raw_train_tf"


@pytest.fixture(scope="session")
def val_set(demo) -> Path:
    return demo[1] / "crops_color_raw_val_tf"


@pytest.fixture(scope="session")
def test_set(demo) -> Path:
    return demo[1] / "crops_color_raw_test_tf"


def save_noise(path: Path, seed: int, side: int = 64) -> None:
    """Write a picture of smooth noise, which survives no detector but fills a data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)


def save_sound(path: Path) -> None:
    """Write a video container that holds sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        stream.layout = "mono"
        silence = np.zeros((1, 4096), np.float32)
        sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


@pytest.fixture
def noise_classes(tmp_path: Path) -> Path:
    """A folder of class folders: two real-world-shaped classes of ten one-frame videos."""
    folder = tmp_path / "faces"
    for number, name in enumerate(("original", "Deepfakes")):
        for video in range(10):
            save_noise(folder / name / f"v{video}_0000.png", seed=100 * number + video)
    return folder
