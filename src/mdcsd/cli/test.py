"""`mdcsd test` and `classifier.py test`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mdcsd.cli.options import Assignments, DeviceOption, Recipe, print_table, settings_of

_NAMES = {
    name: f"test.{name}"
    for name in ("model", "test_dataset", "image_size", "grayscale", "batch_size", "pool", "output",
                 "device", "workers")
}  # fmt: skip


def test(
    ctx: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="Checkpoint: the path that train printed last.")
    ] = None,
    test_dataset: Annotated[
        str | None, typer.Argument(help="*_tf folder or .tfrecords file.")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option("--image_size", help="Checked only.", show_default="the checkpoint's"),
    ] = None,
    grayscale: Annotated[
        bool, typer.Option("--grayscale", "-g", help="Checked against the checkpoint.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option("--batch_size", "-b", help="Samples a step.", show_default="32")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Video score: track, mean or topk.", show_default="track"),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            help="Folder for report.json and predictions.csv.",
            show_default="beside MODEL",
        ),
    ] = None,
    device: DeviceOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Loader processes.", show_default="0")
    ] = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Measure a checkpoint on a data set: loss, accuracy, AUC, EER, by frame and by video."""
    from mdcsd.evaluation import evaluate

    evaluation = evaluate(settings_of(ctx, recipe, assignments, _NAMES).test)
    _print(evaluation.report)
    print(evaluation.predictions_path)
    print(evaluation.report_path)


def _print(report: dict[str, Any]) -> None:
    overall = report["overall"]

    def figure(name: str) -> str:
        value = overall[name]["value"]
        return f"{value:.4f}" if value is not None else overall[name]["reason"]

    print_table(
        f"{report['dataset']}, checkpoint {report['checkpoint_id']}, loss {figure('loss')}, "
        f"class accuracy {figure('class_accuracy')}",
        ["level", "n", "AUC", "EER", "accuracy", "log loss"],
        [
            [level, str(report[f"n_{level}s"]),
             *(figure(f"{level}_{name}") for name in ("auc", "eer", "accuracy", "log_loss"))]
            for level in ("frame", "video")
        ],
    )  # fmt: skip
    if report["n_videos_cannot_judge"]:
        print(f"{report['n_videos_cannot_judge']} video(s) cannot be judged and count as .5")
    names = [row["class_name"] for row in report["classes"]]
    rows = [
        [row["class_name"], str(row["n_frames"]),
         *(_number(row[name]) for name in ("recall", "mean_score", "auc_against_real")),
         *(str(count) for count in counts)]
        for row, counts in zip(report["classes"], report["confusion"], strict=True)
    ]  # fmt: skip
    columns = ["class", "n", "recall", "mean score", "AUC", *(f"-> {name}" for name in names)]
    print_table("By class (frames), and what they were taken for", columns, rows)
    print(f"video score: {report['pooling']}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
