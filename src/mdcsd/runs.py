"""The run folder: what a training leaves behind, enough to repeat it or to go on with it.

settings.json               every setting, and which of them were given
environment.json            versions, machine, git commit, command
log.csv                     one row an epoch
events.out.tfevents.*       the same for TensorBoard
best.safetensors            checkpoint of the best epoch, by train.choose_by
last.safetensors            checkpoint of the last epoch
training_state.safetensors  what --resume needs: weights, optimizer, history
"""

from __future__ import annotations

import csv
import io
import platform
import secrets
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mdcsd import storage
from mdcsd.checkpoint import Tensors, load_tensors, save_tensors
from mdcsd.errors import DataError, SettingError
from mdcsd.recipe import load_settings
from mdcsd.settings import Settings

# What may differ when a run goes on: the rest would make its numbers somebody else's.
_RESUMABLE = frozenset(
    f"train.{name}"
    for name in ("epochs", "early_stopping", "device", "workers", "train_dataset", "val_dataset",
                 "also", "resume")
)  # fmt: skip


Stage = dict[str, Any]
"""What a checkpoint says of a training that another started from: id, command, commit, ..."""


@dataclass(frozen=True)
class EpochRow:
    """Figures of one epoch; losses in nats, without regularisation.

    `val_loss` is cross-entropy, `train_loss` against what was learned: smoothed labels, a
    teacher's scores. `seconds` hold validation, `images_per_s` are of the training alone.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_auc: float
    val_eer: float
    seconds: float
    images_per_s: float


@dataclass(frozen=True)
class EpochPart:
    """What is done of the epoch in progress, over all processes; nothing at its start."""

    n_steps: int = 0
    loss_sum: float = 0.0
    n_samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands; `data` are its data sets' fingerprints.

    `rows` are of the whole epochs, `part` of the one in progress. `average` is the moving
    average of the weights, empty where none is kept. `stages` are the trainings before.
    """

    rows: tuple[EpochRow, ...]
    data: tuple[str, ...]
    network: Tensors
    optimizer: dict[int, Tensors]
    average: Tensors
    part: EpochPart = EpochPart()
    stages: tuple[Stage, ...] = ()


class RunFolder:
    """Reads and writes one run's files; see the module's list of them."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is made yet."""
        self.path = path
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self._state = path / "training_state.safetensors"
        self._events: Any = None

    @property
    def can_go_on(self) -> bool:
        """Whether the run was saved: at an epoch's end, or within its first."""
        return self._state.is_file()

    def check_new(self) -> None:
        """Refuse a folder that already holds a run that can go on, with a SettingError."""
        if self.can_go_on:
            raise SettingError(
                f"{self.path}: holds a run already. Go on with it by --resume {self.path}, or give "
                "another --output."
            )

    def begin(self, settings: Settings) -> None:
        """Write settings and environment of a new run; `check_new` before the work."""
        kept = asdict(settings)
        kept["given"] = sorted(settings.given)
        storage.write_json(self.path / "settings.json", kept)
        storage.write_json(self.path / "environment.json", environment())

    def resumed_settings(self, changes: dict[str, dict[str, Any]]) -> Settings:
        """Settings to go on with: the run's own, and those changes that leave its numbers be.

        Raises: DataError if the folder holds no run; SettingError if a change is not allowed.
        """
        if not (self.path / "settings.json").is_file():
            raise DataError(f"{self.path}: no run to resume (no settings.json). Check the path.")
        stored = storage.read_json(self.path / "settings.json")
        given = frozenset(stored.pop("given"))
        base = replace(load_settings(None, [], stored), given=given)
        resumed = load_settings(None, [], changes, base)
        for section, values in changes.items():
            before, after = getattr(base, section), getattr(resumed, section)
            for key in values:
                same = getattr(before, key) == getattr(after, key)
                moves_cosine = key == "epochs" and base.train.schedule == "cosine"
                if not same and (moves_cosine or f"{section}.{key}" not in _RESUMABLE):
                    raise SettingError(
                        f"{section}.{key} cannot change when a run is resumed. Start a new run."
                    )
        return resumed

    def save_state(self, state: TrainingState) -> None:
        """Write what --resume needs, whole or not at all."""
        tensors = {f"network.{name}": tensor for name, tensor in state.network.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.items()}
        for index, parts in state.optimizer.items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in parts.items()}
        header = {
            "rows": [asdict(row) for row in state.rows],
            "data": state.data,
            "part": asdict(state.part),
            "stages": state.stages,
        }
        save_tensors(tensors, header, self._state)

    def load_state(self) -> TrainingState | None:
        """Read where the run was saved last, or None if it never was."""
        if not self.can_go_on:
            return None
        tensors, header = load_tensors(self._state)
        optimizer: dict[int, Tensors] = {}
        network: Tensors = {}
        average: Tensors = {}
        for name, tensor in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                network[rest] = tensor
            elif kind == "average":
                average[rest] = tensor
            else:
                index, moment = rest.split(".", 1)
                optimizer.setdefault(int(index), {})[moment] = tensor
        rows = tuple(EpochRow(**row) for row in header["rows"])
        part, stages = EpochPart(**header.get("part", {})), tuple(header.get("stages", ()))
        data = tuple(header["data"])
        return TrainingState(rows, data, network, optimizer, average, part, stages)

    def write_log(self, rows: tuple[EpochRow, ...]) -> None:
        """Write log.csv, and the newest row for TensorBoard."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(asdict(rows[-1])), lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
        storage.write_text(self.path / "log.csv", text.getvalue())
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # 1 s

            self._events = SummaryWriter(str(self.path))
        for name, value in asdict(rows[-1]).items():
            self._events.add_scalar(name, value, rows[-1].epoch)
        self._events.flush()

    def close(self) -> None:
        """Close the file for TensorBoard."""
        if self._events is not None:
            self._events.close()
            self._events = None


def new_run_path(model: str) -> Path:
    """Name a folder for a run: runs/MODEL-DATE-TIME-XXXX, of two begun in one second, too."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{model}-{now}-{secrets.token_hex(2)}"


def environment() -> dict[str, Any]:
    """Describe this machine, the versions and the command, for the record."""
    packages = ("mdcsd", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version(name) for name in packages},
    }


def _command() -> str:
    """This process's command, quoted so that a shell takes it as it was given."""
    program, *words = sys.argv
    started = ["python", "-m", "mdcsd"] if Path(program).name == "__main__.py" else [program]
    return shlex.join([*started, *words])


def git_commit() -> str | None:
    """Commit of the checkout this package runs from, with "+" if it was changed, or None."""
    package = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True)
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel") or "/") / "src" / "mdcsd" != package:
            return None  # installed inside somebody else's checkout
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except OSError:
        return None  # no git on this machine
