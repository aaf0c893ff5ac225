"""Shared material: small clips that the package itself can make, and one walk through all of it."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from pathlib import Path

# Two workers on two cores: one thread each, and none that waits by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                  "OPENCV_FOR_THREADS_NUM", "TORCHINDUCTOR_COMPILE_THREADS"):  # fmt: skip
        os.environ.setdefault(_name, "1")

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

# Cores may be shared: how long an example took tells nothing. New examples are for developers.
settings.register_profile(
    "mdcsd",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mdcsd")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# Files of few, long tests first: a worker that came to them last would finish alone.
LONG_FILES = (
    "test_reproduce", "test_training", "test_readme", "test_web_server", "test_distributed",
    "test_cli", "test_evaluate", "test_network", "test_masks", "test_evaluation",
    "test_detect_batch", "test_training_faces", "test_bench", "test_web_worker", "test_model_card",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, in the order above."""
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Draw the same numbers in a test whichever others ran before it."""
    torch.manual_seed(0)


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
    """The demo at a small size: (result, its folder, what it said).

    One run for all tests of all workers, none of which may change what lies in its folder.
    """
    from mdcsd.demo import DemoSize, run_demo

    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, note = root / "demo", root / "demo.pickle"
    with (root / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            shutil.rmtree(folder, ignore_errors=True)
            said: list[str] = []
            size = DemoSize(n_pairs=4, n_frames=16, epochs=10)
            result = run_demo(folder, say=said.append, size=size)
            note.write_bytes(pickle.dumps((result, folder, said)))
    return pickle.loads(note.read_bytes())


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


@pytest.fixture(scope="session")
def with_landmarks(demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's crops as training and validation sets whose real faces have landmarks."""
    from mdcsd.config import PrepareDatasetConfig
    from mdcsd.prepare_dataset import prepare_dataset
    from mdcsd.split_writer import dataset_folder

    config = PrepareDatasetConfig(
        directory=str(demo[1] / "crops"), raw=True, color=True, landmarks=True,
        output=str(tmp_path_factory.mktemp("landmarks")),
    )  # fmt: skip
    prepare_dataset(config)
    return dataset_folder(config, "train"), dataset_folder(config, "val")


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
