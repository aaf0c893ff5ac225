"""`mdcsd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, Weights, print_table

app = typer.Typer(
    help="Measure what the docs quote.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def faces(
    video: Annotated[Path, typer.Argument(help="A clip with a face; scaled to 1080p H.264.")],
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of the clip.")] = 150,
    loop_s: Annotated[
        float, typer.Option("--loop", help="Seconds to loop the clip to, for peak memory.")
    ] = 600.0,
) -> None:
    """Crops per second against OpenCV + dlib's HOG, and peak memory on a long clip."""
    from mdcsd.bench import as_rows, bench_faces

    print_table("bench faces", ["figure", "value"], as_rows(bench_faces(video, frames, loop_s)))


@app.command()
def start(
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each command.")] = 5,
) -> None:
    """Time from start to help text, in fresh processes."""
    from mdcsd.bench import bench_start

    rows = [[name, f"{seconds:.3f}"] for name, seconds in bench_start(runs).items()]
    print_table("bench start", ["command", "median seconds"], rows)


@app.command()
def evaluate(
    frames: Annotated[int, typer.Option("--frames", min=100, help="Faces.")] = 100_000,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Bootstrap draws.")] = 1000,
) -> None:
    """Time and memory of a report with intervals, on made-up scores."""
    from mdcsd.bench import bench_evaluate

    rows = [[name, f"{value:.4g}"] for name, value in bench_evaluate(frames, draws).items()]
    print_table("bench evaluate", ["figure", "value"], rows)


@app.command()
def blend(
    picture: Annotated[Path, typer.Argument(help="A picture or video with a face.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Blends of each kind.")] = 300,
    autoencoder: Annotated[
        str | None, typer.Option("--autoencoder", help="What mdcsd autoencoder wrote: its blends.")
    ] = None,
) -> None:
    """Pseudo-fakes per second and milliseconds a degradation, on one core."""
    from mdcsd.bench import bench_blend

    figures = bench_blend(picture, count, autoencoder)
    rows = [[name, f"{value:.4g}"] for name, value in figures.items()]
    print_table("bench blend", ["figure", "value"], rows)


@app.command()
def loader(
    dataset: Annotated[str, typer.Argument(help="*_tf folder or .tfrecords file.")],
    recipe: Recipe = Path("default"),
    assignments: Assignments = None,
    samples: Annotated[int, typer.Option("--samples", min=64, help="Of each kind.")] = 2000,
) -> None:
    """Images a second that training's loader delivers, without any network."""
    from mdcsd.bench_network import bench_loader
    from mdcsd.recipe import load_settings

    given = {"train": {"train_dataset": dataset}}
    figures = bench_loader(load_settings(recipe, assignments or [], given), samples)
    print_table("bench loader", ["figure", "value"], [[k, f"{v:.1f}"] for k, v in figures.items()])


@app.command()
def detect(
    video: Annotated[Path, typer.Argument(help="A clip with a face; scaled to 1080p H.264.")],
    weights: Weights = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Of the clip.")] = 10.0,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each figure.")] = 3,
) -> None:
    """Judging over decoding, and the network over two Xceptions, on the CPU."""
    from mdcsd.bench import as_rows
    from mdcsd.bench_network import bench_detect

    rows = as_rows(bench_detect(video, weights, seconds, runs))
    print_table("bench detect", ["figure", "value"], rows)


@app.command()
def serve(
    clip: Annotated[Path, typer.Argument(help="A short mp4 clip with a face.")],
    weights: Weights = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Files.")] = 200,
    clients: Annotated[int, typer.Option("--clients", min=1, help="Who post them.")] = 50,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes.", show_default="one a GPU or core")
    ] = None,
) -> None:
    """Load a server of its own: do all reports arrive, and does memory stay?"""
    from mdcsd.bench import as_rows
    from mdcsd.bench_serve import bench_serve
    from mdcsd.default_weights import weights_path

    figures = bench_serve(clip, weights_path(weights), jobs, clients, workers)
    print_table("bench serve", ["figure", "value"], as_rows(figures))
