"""Results of a protocol -> a table, in Markdown for people and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdcsd import storage
from mdcsd.bootstrap import Entry
from mdcsd.reproduce import Outcome, Plan
from mdcsd.reproduce_compare import Mean, Result
from mdcsd.runs import environment

_COLUMNS = (
    "row", "seed", "tested on", "videos real / manipulated", "frame AUC", "video AUC", "video EER",
    "video AP", "checkpoint",
)  # fmt: skip


def write_tables(plan: Plan, outcome: Outcome) -> tuple[Path, Path]:
    """Write table.md and table.json into the plan's folder."""
    markdown, data = plan.output / "table.md", plan.output / "table.json"
    storage.write_text(markdown, to_markdown(plan, outcome))
    storage.write_json(data, to_data(plan, outcome))
    return markdown, data


def to_data(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """The table as plain data: every figure with interval and counts."""
    return {
        "title": plan.settings.protocol.title,
        "recipe": plan.recipe,
        "made": environment(),
        "rows": [
            {
                "row": result.row,
                "seed": result.seed,
                "dataset": result.dataset,
                "checkpoint_id": result.report["checkpoint_id"],
                "n_frames": result.report["n_frames"],
                "n_videos": result.report["n_videos"],
                "n_videos_cannot_judge": result.report["n_videos_cannot_judge"],
                "n_videos_multi_face": result.report["n_videos_multi_face"],
                "pooling": result.report["pooling"],
                "resampling": result.report["resampling"],
                "overall": result.report["overall"],
                "groups": result.report["groups"],
                "accuracy": result.report["accuracy"],
                "classes": result.report["classes"],
                "confusion": result.report["confusion"],
                "difference": result.difference,
                "command": result.command,
            }
            for result in outcome.results
        ],
        "missing": {source.name: source.missing for source in plan.sources if source.missing},
        "over_seeds": [asdict(mean) for mean in outcome.means],
    }


def to_markdown(plan: Plan, outcome: Outcome) -> str:
    """The table for people: figures with 95 % intervals, and how each row was made."""
    protocol, results = plan.settings.protocol, outcome.results
    columns = [*_COLUMNS]
    if protocol.reference:
        columns.append(f"video AUC minus that of {protocol.reference}")
    lines = [f"# {protocol.title}", "", _line(columns), _line(["---"] * len(columns))]
    lines += [_line(_cells(result, bool(protocol.reference))) for result in results]
    first = results[0].report
    drawn = first["resampling"]
    frames = first["frames_per_video"]
    lines += [
        "",
        f"In brackets: 95 % bootstrap intervals, {drawn['draws']} draws of {drawn['unit']}. They "
        "are of the test videos alone; what another seed of training would change is not in them.",
        f"Video score: {first['pooling']}; frames a video: {frames['min']} to {frames['max']}.",
        "",
    ]
    lines += _missing(plan)
    lines += _over_seeds(outcome.means, protocol.reference)
    lines += _groups(results)
    lines += _classes(results)
    lines += ["## Commands", ""]
    lines += [
        f"- {result.row}, seed {result.seed}, {result.dataset}: `{result.command}`"
        for result in results
    ]
    return "\n".join(lines) + "\n"


def _missing(plan: Plan) -> list[str]:
    """What the data lacked: without it the table is another than its title says."""
    told = [f"- {source.name}: {line}" for source in plan.sources for line in source.missing]
    return ["## Missing from the data", "", *told, ""] if told else []


def _cells(result: Result, compared: bool) -> list[str]:
    overall = result.report["overall"]
    auc = overall["video_auc"]
    unjudged = result.report["n_videos_cannot_judge"]
    cells = [
        result.row, str(result.seed), result.dataset,
        f"{auc['n_real']} / {auc['n_fake']}" + (f", {unjudged} not judged" if unjudged else ""),
        *(_figure(overall[name]) for name in ("frame_auc", "video_auc", "video_eer", "video_ap")),
        result.report["checkpoint_id"],
    ]  # fmt: skip
    if compared:
        difference = result.difference
        cells.append(_figure(difference["difference"]["video_auc"], True) if difference else "")
    return cells


def _over_seeds(means: Sequence[Mean], reference: str | None) -> list[str]:
    """Each row over its seeds: what another seed changes is in the mean, not in the interval."""
    if not means:
        return []
    columns = ["row", "seeds", "tested on", "mean frame AUC", "mean video AUC"]
    if reference:
        columns.append(f"mean video AUC minus that of {reference}")
    lines = ["## Over seeds", "", _line(columns), _line(["---"] * len(columns))]
    for mean in means:
        cells = [mean.row, ", ".join(map(str, mean.seeds)), mean.dataset]
        cells += ["" if auc is None else f"{auc:.3f}" for auc in (mean.frame_auc, mean.video_auc)]
        if reference:
            cells.append(_figure(mean.difference["video_auc"], True) if mean.difference else "")
        lines.append(_line(cells))
    told = (
        "Intervals are of the test videos, at these seeds; what other seeds change is not in them."
    )
    return [*lines, "", told, ""]


def _groups(results: Sequence[Result]) -> list[str]:
    """Each manipulation by itself, where a row was tested on several."""
    several = [result for result in results if len(result.report["groups"]) > 1]
    if not several:
        return []
    lines = ["## By manipulation", "",
             _line(["row", "seed", "tested on", "frame AUC", "video AUC"]),
             _line(["---"] * 5)]  # fmt: skip
    for result in several:
        for group in result.report["groups"]:
            parts = (group["dataset"], group["compression"], group["manipulation"])
            name = " ".join(part for part in parts if part)
            figures = [_figure(group["metrics"][f"{level}_auc"]) for level in ("frame", "video")]
            lines.append(_line([result.row, str(result.seed), name, *figures]))
    return [*lines, ""]


def _classes(results: Sequence[Result]) -> list[str]:
    """Accuracy and who is taken for whom, where a network tells several manipulations apart."""
    lines: list[str] = []
    for result in results:
        confusion = result.report["confusion"]["video"]
        if len(confusion["columns"]) < 3:
            continue
        accuracy = result.report["accuracy"]
        lines += [
            f"## Classes: {result.row}, seed {result.seed}, {result.dataset}",
            "",
            f"Accuracy over {len(confusion['columns'])} classes: frames "
            f"{_figure(accuracy['frame'])}, videos {_figure(accuracy['video'])}. Videos by what "
            "they are (rows) and what they were taken for (columns):",
            "",
            _line(["", *confusion["columns"]]),
            _line(["---"] * (len(confusion["columns"]) + 1)),
            *(_line([name, *map(str, counts)])
              for name, counts in zip(confusion["rows"], confusion["counts"], strict=True)),
            "",
        ]  # fmt: skip
    return lines


def _figure(entry: Entry, signed: bool = False) -> str:
    """Write a figure with its interval; what is undefined is a dash with its reason."""
    if entry["value"] is None:
        return f"- ({entry['reason']})"
    form = "+.3f" if signed else ".3f"
    text = f"{entry['value']:{form}}"
    if entry["low"] is None:
        return text
    return f"{text} [{entry['low']:{form}}, {entry['high']:{form}}]"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
