"""`mdcsd test` and `classifier.py test`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    interval,
    number,
    print_table,
    settings_of,
)

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
    from mdcsd.evaluation import output_folder, run_test

    config = settings_of(ctx, recipe, assignments, _NAMES).test
    evaluation = run_test(config)
    report = evaluation.report
    _print(report)
    for path in evaluation.write(
        output_folder(config.model, config.output, f"test_{report['dataset']}")
    ):
        print(path)


def _print(report: dict[str, Any]) -> None:
    overall = report["overall"]
    print_table(
        f"{report['dataset']}, checkpoint {report['checkpoint_id']}",
        ["level", "n", "loss", "accuracy", "AUC", "95 % interval", "EER"],
        [
            [level, str(report[f"n_{level}s"]), number(report["loss"][level]),
             number(report["accuracy"][level]["value"]), number(overall[f"{level}_auc"]["value"]),
             interval(overall[f"{level}_auc"]), number(overall[f"{level}_eer"]["value"])]
            for level in ("frame", "video")
        ],
    )  # fmt: skip
    for reason in sorted({overall[f"{level}_auc"]["reason"] or "" for level in report["loss"]}):
        if reason:
            print(f"- : {reason}")
    for level in ("frame", "video"):
        _print_classes(level, report["classes"][level], report["confusion"][level])
    if report["n_videos_cannot_judge"]:
        print(f"{report['n_videos_cannot_judge']} video(s) cannot be judged and count as .5")
    print(f"video score: {report['pooling']}")


def _print_classes(level: str, rows: list[dict[str, Any]], confusion: dict[str, Any]) -> None:
    figures = ("recall", "loss", "mean_score", "auc", "eer")
    print_table(
        f"By class, {level}s (AUC and EER against the real ones)",
        ["class", "n", "recall", "loss", "mean score", "AUC", "EER"],
        [[row["class_name"], str(row["n"]), *(number(row[f]) for f in figures)] for row in rows],
    )
    columns = [f"{i} {name}" for i, name in enumerate(confusion["columns"])]
    counts = [
        [name, *map(str, row)]
        for name, row in zip(confusion["rows"], confusion["counts"], strict=True)
    ]
    print_table(f"Taken for, {level}s", ["class", *columns], counts)
