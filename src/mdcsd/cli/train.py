"""`mdcsd train` and `classifier.py train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    Seed,
    flags_named,
    given_flags,
    progress_bar,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdcsd.runs import EpochRow, RunFolder
    from mdcsd.settings import Settings
    from mdcsd.training import Hooks
    from mdcsd.training_setup import TrainJob

_NAMES = {
    "model": "network.name",
    **{
        name: f"train.{name}"
        for name in ("train_dataset", "val_dataset", "epochs", "image_size", "early_stopping",
                     "classes", "grayscale", "batch_size", "l1", "l2", "output", "resume",
                     "device", "seed", "workers")
    },
}  # fmt: skip


Model = Annotated[str | None, typer.Argument(help="cnn, xception or mdcsd.")]
TrainDataset = Annotated[str | None, typer.Argument(help="*_tf folder or .tfrecords file.")]
ValDataset = Annotated[str | None, typer.Argument(help="The same, for validation.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs at most.", show_default="50")]
ImageSize = Annotated[
    str | None, typer.Option("--image_size", help="128 or 128,128,3.", show_default="[128, 128, 3]")
]
EarlyStopping = Annotated[
    int | None,
    typer.Option(
        "--early_stopping",
        help="Stop after so many epochs without a better one; 0 never.",
        show_default="5",
    ),
]
ClassesBound = Annotated[
    int | None,
    typer.Option("--classes", help="Upper bound on the data's classes.", show_default="5"),
]
Grayscale = Annotated[bool, typer.Option("--grayscale", "-g", help="Turn colour into luma.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch_size", "-b", help="Over all processes.", show_default="32")
]
L1 = Annotated[float | None, typer.Option("--l1", help="Times mean |w|.", show_default="0.01")]
L2 = Annotated[float | None, typer.Option("--l2", help="Times mean w^2.", show_default="0.01")]
Output = Annotated[
    str | None,
    typer.Option("--output", help="Run folder.", show_default="runs/MODEL-DATE-TIME-XXXX"),
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run folder.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Loader processes.", show_default="0")
]


def train(
    ctx: typer.Context,
    model: Model = None,
    train_dataset: TrainDataset = None,
    val_dataset: ValDataset = None,
    epochs: Epochs = None,
    image_size: ImageSize = None,
    early_stopping: EarlyStopping = None,
    classes: ClassesBound = None,
    grayscale: Grayscale = False,
    batch_size: BatchSize = None,
    l1: L1 = None,
    l2: L2 = None,
    output: Output = None,
    resume: Resume = None,
    device: DeviceOption = None,
    seed: Seed = None,
    workers: Workers = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Train a network; the last line printed is the path of the best checkpoint.

    --l1 and --l2 act on the kernels of cnn; given explicitly they act on the head of the
    other networks.
    """
    from mdcsd.training import train as run

    settings = _settings(ctx, recipe, assignments, resume)
    with progress_bar("training") as progress:
        report = TrainingReport(progress)
        try:
            result = run(settings, report.hooks())
        except KeyboardInterrupt:
            print(report.how_to_go_on(), file=sys.stderr)
            raise typer.Exit(130) from None
    if not report.begun:
        return  # not the main process of several
    if result.stopped_early:
        print(f"stopped early after epoch {len(result.rows)}", file=sys.stderr)
    print(result.best)


def _settings(
    ctx: typer.Context, recipe: Path | None, assignments: list[str] | None, resume: str | None
) -> Settings:
    if resume is None:
        return settings_of(ctx, recipe, assignments, _NAMES)
    from mdcsd.errors import SettingError
    from mdcsd.runs import RunFolder

    if recipe or assignments:
        raise SettingError(
            "--resume goes on with the run's own settings. Leave --recipe and --set."
        )
    with flags_named(ctx, _NAMES):
        return RunFolder(Path(resume)).resumed_settings(given_flags(ctx, _NAMES))


class TrainingReport:
    """Says on standard error how training goes."""

    def __init__(self, progress: Callable[..., None] = lambda *_: None) -> None:
        """Report steps to a progress bar too, if there is one."""
        self._progress = progress
        self._folder: RunFolder | None = None
        self._n_epochs = 0

    @property
    def begun(self) -> bool:
        """Whether training began in this process, the main one of several."""
        return self._folder is not None

    def hooks(self) -> Hooks:
        """What training is to call."""
        from mdcsd.training import Hooks

        return Hooks(self._on_begin, self._on_step, self._on_epoch)

    def how_to_go_on(self) -> str:
        """Say what an interrupted run can do."""
        if self._folder is None or not self._folder.can_go_on:
            return "nothing was saved yet"
        return f"go on with: mdcsd train --resume {self._folder.path}"

    def _on_begin(self, folder: RunFolder, job: TrainJob) -> None:
        self._folder, self._n_epochs = folder, job.config.epochs
        spec, classes = job.spec, ", ".join(job.classes.names)
        print(
            f"{job.network.name}: {classes}; {sum(job.class_counts)} images of "
            f"{spec.image_size_px} px x {spec.channels}; run folder {folder.path}",
            file=sys.stderr,
        )

    def _on_step(self, epoch: int, step: int, n_steps: int) -> None:
        self._progress(step, n_steps, f"epoch {epoch} of {self._n_epochs}")

    def _on_epoch(self, row: EpochRow, is_best: bool) -> None:
        print(
            f"epoch {row.epoch:3d}  rate {row.learning_rate:.1e}  loss {row.train_loss:.4f}  "
            f"val loss {row.val_loss:.4f}  val AUC {row.val_auc:.4f}  "
            f"{row.images_per_s:.0f} images/s"
            f"{'  *best' if is_best else ''}",
            file=sys.stderr,
        )
