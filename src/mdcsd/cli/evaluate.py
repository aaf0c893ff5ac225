"""`mdcsd evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    Seed,
    Weights,
    interval,
    number,
    print_table,
    progress_bar,
    settings_of,
)

if TYPE_CHECKING:
    from mdcsd.evaluation import Evaluation
    from mdcsd.judging_config import EvaluateConfig

_NAMES = {
    name: f"evaluate.{name}"
    for name in ("weights", "data", "predictions", "against", "against_threshold", "split",
                 "compression", "frames", "limit", "pool", "recode", "robustness", "threshold",
                 "draws", "seed", "output", "batch_size", "device")
}  # fmt: skip
_FIGURES = {
    "auc": "AUC",
    "eer": "EER",
    "ap": "AP",
    "balanced_accuracy": "balanced accuracy",
    "false_alarm_rate": "false alarms",
    "tpr_at_fpr_1": "TPR at 1 % FPR",
    "tpr_at_fpr_5": "TPR at 5 % FPR",
    "ece": "ECE",
    "brier": "Brier",
    "log_loss": "log loss",
}


Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="NAME=ROOT",
        help="A data set as downloaded, a catalogue.csv, or a *_tf folder; may be repeated.",
    ),
]
PredictionsTable = Annotated[
    str | None,
    typer.Option("--predictions", help="Scores of any detector instead (predictions.csv)."),
]
Against = Annotated[
    str | None,
    typer.Option("--against", help="predictions.csv to compare with, paired by face."),
]
AgainstThreshold = Annotated[
    float | None,
    typer.Option("--against-threshold", help="The other detector's own, for the same figures."),
]
Split = Annotated[
    str | None,
    typer.Option("--split", help="train, val, test or all.", show_default="test"),
]
Compression = Annotated[str | None, typer.Option("--compression", help="Only this one, e.g. c23.")]
Frames = Annotated[
    int | None,
    typer.Option("--frames", help="Frames sampled evenly over a video.", show_default="32"),
]
Limit = Annotated[int | None, typer.Option("--limit", help="At most so many videos of each class.")]
PoolRule = Annotated[
    str | None,
    typer.Option("--pool", help="Video score: track, mean or topk.", show_default="track"),
]
Recode = Annotated[
    str | None,
    typer.Option("--recode", help="All videos encoded anew as well: jpeg[=75], h264[=28]."),
]
Robustness = Annotated[
    bool, typer.Option("--robustness", help="Eight distortions at five levels as well.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="For balanced accuracy and false alarms.",
        show_default="the checkpoint's",
    ),
]
Draws = Annotated[int | None, typer.Option("--draws", help="Bootstrap draws.", show_default="1000")]
JsonPath = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help="Write the report as JSON.")
]
HtmlPath = Annotated[
    Path | None, typer.Option("--html", metavar="OUT", help="Write it as one HTML page.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="Folder for predictions.csv, report.json and plots.",
        show_default="beside the checkpoint, or in runs",
    ),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch_size", "-b", help="Faces a step.", show_default="32")
]


def evaluate(
    ctx: typer.Context,
    weights: Weights = None,
    data: Data = None,
    predictions: PredictionsTable = None,
    against: Against = None,
    against_threshold: AgainstThreshold = None,
    split: Split = None,
    compression: Compression = None,
    frames: Frames = None,
    limit: Limit = None,
    pool: PoolRule = None,
    recode: Recode = None,
    robustness: Robustness = False,
    threshold: Threshold = None,
    draws: Draws = None,
    json_path: JsonPath = None,
    html_path: HtmlPath = None,
    output: Output = None,
    batch_size: BatchSize = None,
    device: DeviceOption = None,
    seed: Seed = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Judge a detector by frame and by video, with 95 % intervals, by data set and manipulation.

    Interrupted, the same command goes on after the videos that it has judged.
    """
    from mdcsd.evaluation import evaluate as run

    config = settings_of(ctx, recipe, assignments, _NAMES).evaluate
    folder, *pages = _open_outputs(config, json_path, html_path)
    with progress_bar("videos") as progress:
        evaluation = run(config, progress, folder)
    journal = evaluation.journal
    if journal and journal.n_found:
        print(f"{journal.n_found} video(s) were judged before the interruption", file=sys.stderr)
    _print(evaluation.report)
    for path in _write(evaluation, folder, *pages):
        print(path)
    if journal:
        journal.remove()
    if evaluation.n_unread:
        print(f"{evaluation.n_unread} video(s) could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _print(report: dict[str, Any]) -> None:
    overall = report["overall"]
    print_table(
        f"{report['source']}: {report['n_videos']} videos, {report['n_frames']} faces",
        ["figure", "frame", "95 % interval", "video", "95 % interval"],
        [
            [title, *(text for level in ("frame", "video")
                      for text in _cells(overall[f"{level}_{name}"]))]
            for name, title in _FIGURES.items()
        ],
    )  # fmt: skip
    for reason in sorted({entry["reason"] for entry in overall.values() if entry["reason"]}):
        print(f"- : {reason}")
    if report["groups"]:
        print_table(
            "by group, against the real ones of the same data set and compression",
            ["group", "real", "fake", "frame AUC", "video AUC", "95 % interval", "video EER"],
            [_group_row(group) for group in report["groups"]],
        )
    _print_verdicts("verdicts, in videos", report["verdicts"])
    for title, part in (("recoded", report["recoded"]), ("against", report["against"])):
        if part:
            _print_part(title, part)
    if report["recoded"]:
        name = report["recoded"]["name"]
        _print_verdicts(f"verdicts, encoded anew as {name}", report["recoded"]["verdicts"])
    for row in report["robustness"] or ():
        entry = row["metrics"]["video_auc"]
        name = f"{row['distortion']} {row['parameter']:g}"
        print(f"{name:<18} video AUC {number(entry['value'])}  {interval(entry)}")
    _print_notes(report)


def _print_verdicts(title: str, rows: list[dict[str, Any]] | None) -> None:
    """How often each verdict falls; of real videos "likely manipulated" is a false alarm."""
    if not rows:
        return
    words = ("likely_real", "uncertain", "likely_manipulated", "cannot_judge")
    print_table(
        title,
        ["group", "videos", *(word.replace("_", " ") for word in words), "share manipulated",
         "95 % interval"],
        [
            [" ".join(filter(None, (row["dataset"], row["compression"], row["manipulation"]))),
             str(row["n"]), *(str(row[word]) for word in words), *_cells(row["share_manipulated"])]
            for row in rows
        ],
    )  # fmt: skip


def _print_part(title: str, part: dict[str, Any]) -> None:
    """Figures of the recoded videos, or differences to another table."""
    entries = part["overall"] if title == "recoded" else part["difference"]
    columns = ["frame AUC", "video AUC", "frame EER", "video EER"]
    names = ("frame_auc", "video_auc", "frame_eer", "video_eer")
    heading = f"encoded anew as {part['name']}" if title == "recoded" else (
        f"this minus {part['name']}, {part['common']['frame']} faces and "
        f"{part['common']['video']} videos in common"
    )  # fmt: skip
    cells = [" ".join(_cells(entries[name])) for name in names]
    print_table(heading, columns, [cells])


def _print_notes(report: dict[str, Any]) -> None:
    if report["n_videos_cannot_judge"]:
        print(f"{report['n_videos_cannot_judge']} video(s) cannot be judged and count as .5")
    if report["n_videos_multi_face"]:
        print(
            f"{report['n_videos_multi_face']} manipulated video(s) show several people and no "
            "mask tells which is manipulated: all count as manipulated"
        )
    frames = report["frames_per_video"]
    if frames:
        print(
            f"frames a video: {frames['min']} to {frames['max']}, median {frames['median']:g}; "
            f"video score: {report['pooling']}"
        )
    from mdcsd.evaluation_report import few_units

    drawn = report["resampling"]
    print(
        f"intervals: {drawn['draws']} draws of {drawn['n_units']} {drawn['unit']}, seed "
        f"{drawn['seed']}{few_units(drawn)}"
    )
    for warning in report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


def _cells(entry: dict[str, Any]) -> tuple[str, str]:
    return number(entry["value"]), interval(entry)


def _group_row(group: dict[str, Any]) -> list[str]:
    metrics = group["metrics"]
    parts = (group["dataset"], group["compression"], group["manipulation"])
    auc = metrics["video_auc"]
    return [
        " ".join(part for part in parts if part), str(auc["n_real"]), str(auc["n_fake"]),
        number(metrics["frame_auc"]["value"]), *_cells(auc), number(metrics["video_eer"]["value"]),
    ]  # fmt: skip


def _open_outputs(
    config: EvaluateConfig, json_path: Path | None, html_path: Path | None
) -> tuple[Path | None, Path | None, Path | None]:
    """Say where everything goes, and refuse what could not be written after hours of judging.

    Returns: the folder of table, report and plots, where there is one; of a checkpoint the rows
        are kept in any case.

    Raises: InputError if a folder takes no file, or an input would be overwritten.
    """
    from mdcsd import storage
    from mdcsd.errors import InputError
    from mdcsd.evaluation import name_folder

    folder = name_folder(config) if config.output or not config.predictions else None
    inputs = {Path(each).resolve() for each in (config.predictions, config.against, config.weights)
              if each}  # fmt: skip
    for path in (folder and folder / "predictions.csv", folder and folder / "report.json",
                 json_path, html_path):  # fmt: skip
        if path is None:
            continue
        if path.resolve() in inputs:
            raise InputError(
                f"{path}: is read here, and would be overwritten. Give another --output, --json or "
                "--html."
            )
        storage.check_writable(path)
    return folder, json_path, html_path


def _write(
    evaluation: Evaluation, folder: Path | None, json_path: Path | None, html_path: Path | None
) -> list[Path]:
    """Write what was asked for."""
    from mdcsd import storage
    from mdcsd.evaluation_page import render_page
    from mdcsd.plots import evaluation_plots, to_png, to_svg

    written: list[Path] = []
    if folder:
        written += evaluation.write(folder)
        for plot, figure in evaluation_plots(evaluation.report).items():
            storage.write_bytes(folder / "plots" / f"{plot}.png", to_png(figure))
            storage.write_text(folder / "plots" / f"{plot}.svg", to_svg(figure))
        written.append(folder / "plots")
    if json_path:
        storage.write_json(json_path, evaluation.report)
        written.append(json_path)
    if html_path:
        storage.write_text(html_path, render_page(evaluation.report))
        written.append(html_path)
    return written
