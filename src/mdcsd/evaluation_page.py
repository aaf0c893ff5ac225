"""A report as one web page: plain data -> HTML, plots and all in one file.

The page needs no network and no script, so it can be mailed, printed and kept beside the
weights. What a number is called, and how it is written, is decided here; where it stands, in
`assets/evaluation.html.j2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from mdcsd.bootstrap import Entry
from mdcsd.evaluation_report import few_units
from mdcsd.plots import evaluation_plots, to_svg

_FIGURES = {
    "auc": ("AUC", "a manipulated one scores above a real one; 1 is best, 0.5 is guessing"),
    "eer": ("Equal error rate", "missed as often as falsely alarmed; 0 is best"),
    "ap": ("Average precision", "1 is best; guessing gives the share of manipulated"),
    "balanced_accuracy": ("Balanced accuracy", "at the threshold; 1 is best, 0.5 is guessing"),
    "false_alarm_rate": ("False alarms", "share of real ones at or above the threshold"),
    "tpr_at_fpr_1": ("Caught at 1 % false alarms", "share of manipulated; 1 is best"),
    "tpr_at_fpr_5": ("Caught at 5 % false alarms", "share of manipulated; 1 is best"),
    "ece": ("Calibration error (ECE)", "how far scores are from shares; 0 is best"),
    "brier": ("Brier score", "squared error of scores; 0 is best"),
    "log_loss": ("Log loss", "in nats; 0 is best"),
}
_HEADLINES = ("video_auc", "video_eer", "video_tpr_at_fpr_5", "frame_auc")
_GROUP_FIGURES = ("frame_auc", "video_auc", "video_eer", "video_tpr_at_fpr_5")
_LEVELS = {"frame": "Frame", "video": "Video"}
_STRENGTHS = {
    "saturation": "share of colour left",
    "contrast": "factor on every value",
    "blocks": "number of grey squares",
    "noise": "variance",
    "blur": "kernel in px",
    "pixelation": "shrunk by",
    "h264": "CRF",
    "jpeg": "quality",
}
_PLOTS = {
    "roc": ("ROC", "Caught over false alarms, at every threshold."),
    "det": (
        "DET",
        "Missed over false alarms, stretched where both are small; "
        "the dotted line is where they are equal.",
    ),
    "reliability": (
        "Reliability",
        "How many of those with a score are manipulated; below, where scores lie. "
        "On the dotted line a score can be read as a probability.",
    ),
    "histogram": ("Scores by class", "Hatched: manipulated. Dotted: the threshold, if any."),
    "robustness": ("AUC under distortion", "Frames are distorted, then judged as always."),
    "tsne": (
        "Features on a plane",
        "t-SNE of what the network sees, one face a video. Distances between groups mean little.",
    ),
}
_WIDE_PLOTS = frozenset({"histogram", "robustness", "tsne"})


@dataclass(frozen=True)
class _Cell:
    """Text, the interval and a hint below it, and the number of a note below the table."""

    text: str
    interval: str = ""
    hint: str = ""
    note: int | None = None


@dataclass(frozen=True)
class _Row:
    head: str
    hint: str
    cells: tuple[_Cell, ...]


@dataclass(frozen=True)
class _Table:
    """`columns` are the headings, the first one above the rows' heads."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plot:
    title: str
    caption: str
    description: str
    svg: str
    is_wide: bool


class _Notes:
    """Numbers the reasons below one table, each told once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1

    def cell(self, entry: Entry | None, hint: str = "", sign: str = "") -> _Cell:
        """Write an entry; one that is undefined is a dash with its reason as a note."""
        if entry is None:
            return _Cell("")
        if entry["value"] is None:
            reason = entry["reason"] or "undefined"
            return _Cell("-", hint=hint, note=self.number(reason))
        text = format(entry["value"], f"{sign}.3f")
        if entry["low"] is None or entry["high"] is None:
            return _Cell(text, hint=hint)
        low, high = (format(entry[side], f"{sign}.3f") for side in ("low", "high"))
        return _Cell(text, f"[{low}, {high}]", hint)


def render_page(report: dict[str, Any]) -> str:
    """Write a report (as report.json has it) as one self-contained HTML page."""
    headlines = _Notes()
    text = resources.files("mdcsd").joinpath("assets", "evaluation.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text).render(
        report=report,
        headlines=[(_title(name), headlines.cell(report["overall"][name])) for name in _HEADLINES],
        overall=_overall(report),
        uncalibrated=_uncalibrated(report),
        groups=_groups(report["groups"]),
        against=_against(report["against"]),
        recoded=_recoded(report),
        robustness=_robustness(report),
        plots=_plots(report),
        few=few_units(report["resampling"]),
    )


def _title(name: str) -> str:
    """Name a figure of a level: "video_auc" -> "Video AUC"."""
    level, figure = name.split("_", 1)
    title = _FIGURES[figure][0]
    return f"{_LEVELS[level]} {title if title[:2].isupper() else title[0].lower() + title[1:]}"


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[tuple[str, str, list[_Cell]]],
    notes: _Notes,
) -> _Table:
    built = tuple(_Row(head, hint, tuple(cells)) for head, hint, cells in rows)
    return _Table(caption, tuple(columns), built, tuple(notes.texts))


def _counts(entry: Entry) -> str:
    return f"{entry['n_real']:,} real, {entry['n_fake']:,} manipulated"


def _overall(report: dict[str, Any]) -> _Table:
    notes, overall = _Notes(), report["overall"]
    rows = [
        (title, hint, [notes.cell(overall[f"{level}_{figure}"]) for level in _LEVELS])
        for figure, (title, hint) in _FIGURES.items()
    ]
    columns = [
        "Figure",
        f"Frame ({_counts(overall['frame_auc'])} faces)",
        f"Video ({_counts(overall['video_auc'])})",
    ]
    return _table("Each figure with its 95 % interval", columns, rows, notes)


def _uncalibrated(report: dict[str, Any]) -> _Table | None:
    before = report["uncalibrated"]
    if before is None:
        return None
    notes = _Notes()
    rows = [
        (
            _FIGURES[name][0],
            "",
            [notes.cell(side[f"frame_{name}"]) for side in (before, report["overall"])],
        )
        for name in ("ece", "brier", "log_loss")
    ]
    caption = f"Calibration by frame, before and after temperature {before['temperature']:.3f}"
    return _table(caption, ("Figure", "Before", "After"), rows, notes)


def _groups(groups: list[dict[str, Any]]) -> _Table | None:
    """Several groups have the same real ones, so each row says how many there are."""
    if not groups:
        return None
    notes = _Notes()
    rows = [
        (
            group["manipulation"] or "all manipulations",
            " ".join(part for part in (group["dataset"], group["compression"]) if part),
            _group_cells(group["metrics"], notes),
        )
        for group in groups
    ]
    columns = ("Manipulation", "Videos (real + manipulated)", *map(_title, _GROUP_FIGURES))
    caption = "Each manipulation against the real videos of its data set and compression"
    return _table(caption, columns, rows, notes)


def _group_cells(metrics: dict[str, Entry], notes: _Notes) -> list[_Cell]:
    videos = metrics["video_auc"]
    counts = _Cell(f"{videos['n_real']:,} + {videos['n_fake']:,}")
    return [counts, *(notes.cell(metrics[name]) for name in _GROUP_FIGURES)]


def _against(against: dict[str, Any] | None) -> _Table | None:
    if against is None:
        return None
    notes, difference = _Notes(), against["difference"]
    rows = [
        (
            title,
            hint,
            [notes.cell(difference.get(f"{level}_{figure}"), sign="+") for level in _LEVELS],
        )
        for figure, (title, hint) in _FIGURES.items()
        if any(f"{level}_{figure}" in difference for level in _LEVELS)
    ]
    caption = f"This run minus {against['name']}, paired over the same draws"
    return _table(caption, ("Figure", *_LEVELS.values()), rows, notes)


def _recoded(report: dict[str, Any]) -> _Table | None:
    if report["recoded"] is None:
        return None
    notes, name = _Notes(), report["recoded"]["name"]
    sides = (report["overall"], report["recoded"]["overall"])
    rows = [
        (
            title,
            "",
            [notes.cell(side[f"{level}_{figure}"]) for level in _LEVELS for side in sides],
        )
        for figure, (title, _) in _FIGURES.items()
    ]
    columns = [f"{level}, {kind}" for level in _LEVELS.values() for kind in ("untouched", name)]
    return _table(f"All videos encoded anew: {name}", ("Figure", *columns), rows, notes)


def _robustness(report: dict[str, Any]) -> list[_Table]:
    """A table a level: a row a distortion, its strengths from left to right."""
    rows = report["robustness"]
    if not rows:
        return []
    steps = sorted({row["level"] for row in rows})
    by_place = {(row["distortion"], row["level"]): row for row in rows}
    tables = []
    for level in reversed(_LEVELS):
        notes, name = _Notes(), f"{level}_auc"
        lines = [
            (
                distortion,
                _STRENGTHS.get(distortion, ""),
                [_step_cell(by_place.get((distortion, step)), name, notes) for step in steps],
            )
            for distortion in dict.fromkeys(row["distortion"] for row in rows)
        ]
        caption = f"{_title(name)} by strength; untouched {_plain(report['overall'][name])}"
        columns = ("Distortion", *(f"Level {step}" for step in steps))
        tables.append(_table(caption, columns, lines, notes))
    return tables


def _step_cell(row: dict[str, Any] | None, name: str, notes: _Notes) -> _Cell:
    if row is None:
        return _Cell("")
    return notes.cell(row["metrics"][name], hint=f"at {row['parameter']:g}")


def _plain(entry: Entry) -> str:
    return "undefined" if entry["value"] is None else format(entry["value"], ".3f")


def _plots(report: dict[str, Any]) -> dict[str, _Plot]:
    """Draw the plots, each with words for those who cannot see it."""
    overall = report["overall"]
    areas = f"AUC {_plain(overall['video_auc'])} by video, {_plain(overall['frame_auc'])} by frame."
    drawn = {}
    for name, figure in evaluation_plots(report).items():
        title, caption = _PLOTS[name]
        words = f"{title}: {caption} {areas}"
        drawn[name] = _Plot(title, caption, words, to_svg(figure), name in _WIDE_PLOTS)
    return drawn
