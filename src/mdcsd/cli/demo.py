"""`mdcsd demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option("--output", help="Folder for everything the demo makes.")
    ] = Path("demo_output"),
    video: Annotated[
        Path | None, typer.Option("--video", help="A file of yours to judge as well.")
    ] = None,
) -> None:
    """Run the whole pipeline on clips it makes itself: crop, prepare, train, test, detect."""
    from mdcsd.cli.detect import judge_files, say_verdict
    from mdcsd.cli.train import TrainingReport
    from mdcsd.demo import run_demo
    from mdcsd.detect_batch import Outputs
    from mdcsd.errors import InputError
    from mdcsd.judging_config import DetectConfig

    if video is not None and not video.exists():
        raise InputError(f"{video}: no such file. Check the path.")
    result = run_demo(output, hooks=TrainingReport().hooks())
    config = DetectConfig(weights=str(result.checkpoint))
    for clip, verdict in zip(result.clips, result.verdicts, strict=True):
        say_verdict(verdict)
        print(f"       (in truth {'real' if clip.parent.name == 'original' else 'manipulated'})")
    print(f"   a look at both: {result.sheet}")
    if video is not None:
        print(f"7. detect {video}: this network has seen one portrait only; do not trust it.")
        judge_files([video], config, Outputs())
    print(f"Judge files of yours: mdcsd detect FILE --weights {result.checkpoint}")
