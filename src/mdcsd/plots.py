"""A report's plots: plain data -> figures -> SVG text or PNG bytes.

Pure functions: no pyplot, no window, no setting of matplotlib's is changed for good, and the
same data give the same bytes. Every line differs from its neighbours by its style, too, so
that colour is never needed to tell them apart.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from mdcsd.nouns import ORIGINAL, FloatArray

# Okabe and Ito's colours that are readable on white and on black alike.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_COLOURS = (_BLUE, _ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX"  # one more than colours, so pairs repeat late
_INK = "#1b1c1d"  # stands for the page's text colour, see `to_svg`
_LEVELS: dict[str, dict[str, Any]] = {
    "video": {"color": _BLUE, "linestyle": "-", "linewidth": 2.0},
    "frame": {"color": _ORANGE, "linestyle": "--", "linewidth": 1.5},
}
_LEGEND_TITLE = "n = real + manipulated"
_UNITS = {"video": "videos", "frame": "faces"}
_GUIDE: dict[str, Any] = {"color": _INK, "linestyle": ":", "linewidth": 1.0, "alpha": 0.7}
_DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_DET_LOW = 0.0005
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 3.0,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,  # a data set may have dollar signs in its name
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def evaluation_plots(report: dict[str, Any]) -> dict[str, Figure]:
    """Draw whatever a report has data for.

    Returns: name -> figure: roc, det, reliability and histogram with both classes, robustness
        and tsne where they were asked for.
    """
    curves = {level: data for level, data in (report["curves"] or {}).items() if data}
    with matplotlib.rc_context(_STYLE):
        figures = {}
        if curves:
            figures["roc"] = _roc(report, curves)
            figures["det"] = _det(report, curves)
            figures["reliability"] = _reliability(report, curves)
            figures["histogram"] = _histogram(report, curves)
        if report["robustness"]:
            figures["robustness"] = _robustness(report)
        if report["tsne"]:
            figures["tsne"] = _tsne(report["tsne"])
    for name, figure in figures.items():
        figure.set_label(name)
    return figures


def to_svg(figure: Figure) -> str:
    """Draw a figure as one <svg> element for a page.

    Text stays text, the background is clear, and what is black takes the colour of the page's
    text. Ids differ from one figure to the next, so several fit on a page.
    """
    text = io.StringIO()
    style = {**_STYLE, "svg.hashsalt": f"mdcsd {figure.get_label()}"}
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(style):
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to them, and each figure has them
    return svg.replace(_INK, "currentColor")


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """Draw a figure as a PNG file on white."""
    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(
            content, format="png", dpi=dpi, facecolor="white", metadata={"Software": None}
        )
    return content.getvalue()


def _new_figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), layout="constrained")


def _named(report: dict[str, Any], level: str) -> str:
    """A level with its numbers, for a legend under `_LEGEND_TITLE`."""
    entry = report["overall"][f"{level}_auc"]
    return f"{_UNITS[level]} (n = {entry['n_real']:,} + {entry['n_fake']:,})"


def _legend_below(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), title=_LEGEND_TITLE)


def _roc(report: dict[str, Any], curves: dict[str, Any]) -> Figure:
    figure = _new_figure(3.6, 4.4)
    axes = figure.subplots()
    for level, data in curves.items():
        roc = data["roc"]
        axes.plot(
            _percent(roc["fpr"]),
            _percent(roc["tpr"]),
            label=_named(report, level),
            **_LEVELS[level],
        )
    axes.plot([0, 100], [0, 100], label="chance", **_GUIDE)
    axes.set(
        xlabel="false alarms (% of real)",
        ylabel="caught (% of manipulated)",
        xlim=(-1, 101),
        ylim=(-1, 101),
        aspect="equal",
    )
    _legend_below(axes)
    return figure


def _det(report: dict[str, Any], curves: dict[str, Any]) -> Figure:
    """Misses over false alarms; scores of two normal distributions give a straight line."""
    figure = _new_figure(3.6, 4.4)
    axes = figure.subplots()
    equal_errors = []
    for level, data in curves.items():
        false_alarms = np.array(data["roc"]["fpr"], float)
        misses = 1.0 - np.array(data["roc"]["tpr"], float)
        equal_errors.append(np.maximum(false_alarms, misses).min())
        axes.plot(
            _deviate(false_alarms), _deviate(misses), label=_named(report, level), **_LEVELS[level]
        )
    high = min(max(0.6, *(error + 0.1 for error in equal_errors)), 0.99)
    limits = (float(ndtri(_DET_LOW)), float(ndtri(high)))
    axes.plot(limits, limits, label="equal error", **_GUIDE)
    ticks = [tick for tick in _DET_TICKS if tick <= high]
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ndtri(ticks), names)
    axes.set_yticks(ndtri(ticks), names)
    axes.set(
        xlabel="false alarms (% of real)",
        ylabel="missed (% of manipulated)",
        xlim=limits,
        ylim=limits,
        aspect="equal",
    )
    axes.grid(alpha=0.25)
    _legend_below(axes)
    return figure


def _deviate(rate: FloatArray) -> FloatArray:
    """Normal deviates; none and all, which are infinite, are laid on the border."""
    deviate: FloatArray = ndtri(np.clip(rate, _DET_LOW, 1.0 - _DET_LOW))
    return deviate


def _reliability(report: dict[str, Any], curves: dict[str, Any]) -> Figure:
    """Share of manipulated over mean score a bin; below, how many stand behind each point."""
    figure = _new_figure(3.6, 4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for level, data in curves.items():
        bins = data["reliability"]
        filled = np.array(bins["n"]) > 0
        score, share, n = (
            np.array(bins[name], float)[filled] for name in ("mean_score", "share_manipulated", "n")
        )
        marker = {"marker": "o" if level == "video" else "s", "markersize": 4, **_LEVELS[level]}
        above.plot(score, _percent(share), label=_named(report, level), **marker)
        below.plot(score, _percent(n / n.sum()), **marker)
    above.plot([0, 1], [0, 100], label="as often as the score says", **_GUIDE)
    above.set(ylabel="manipulated (% of those scored so)", ylim=(-2, 102))
    below.set(xlabel="score (0 real, 1 manipulated)", ylabel="share (%)", xlim=(-0.02, 1.02))
    below.set_ylim(bottom=0)
    below.legend(
        *above.get_legend_handles_labels(),
        loc="upper center", bbox_to_anchor=(0.5, -0.7), title=_LEGEND_TITLE,
    )  # fmt: skip
    return figure


def _histogram(report: dict[str, Any], curves: dict[str, Any]) -> Figure:
    """A row a class, a column a level; the threshold is dotted."""
    classes = list(
        dict.fromkeys(name for data in curves.values() for name in data["histogram"]["counts"])
    )
    figure = _new_figure(8.4, 1.1 + 0.9 * len(classes))
    grid = figure.subplots(len(classes), len(curves), sharex=True, squeeze=False)
    for column, (level, data) in zip(grid.T, curves.items(), strict=True):
        column[0].set_title(_UNITS[level], loc="left")
        column[-1].set_xlabel("score (0 real, 1 manipulated)")
        edges = np.array(data["histogram"]["edges"], float)
        for axes, name in zip(column, classes, strict=True):
            counts = np.array(data["histogram"]["counts"].get(name, np.zeros(len(edges) - 1)))
            _draw_class(axes, edges, counts, is_real=name.endswith(ORIGINAL))
    for axes, name in zip(grid[:, 0], classes, strict=True):
        axes.set_ylabel(f"{name}\n(% a bin)", rotation=0, ha="right", va="center")
    if report["threshold"]:
        value = report["threshold"]["value"]
        lines = [axes.axvline(value, **{**_GUIDE, "linewidth": 1.5}) for axes in grid.flat]
        figure.legend(lines[:1], [f"threshold {value:.3f}"], loc="outside upper right")
    return figure


def _draw_class(axes: Axes, edges: FloatArray, counts: FloatArray, is_real: bool) -> None:
    total = int(counts.sum())
    axes.stairs(
        _percent(counts / max(total, 1)),
        edges,
        fill=True,
        facecolor=_BLUE if is_real else _ORANGE,
        alpha=0.85,
        hatch=None if is_real else "////",
        edgecolor=_BLUE if is_real else "white",
        linewidth=0,
    )
    axes.set(xlim=(edges[0], edges[-1]))
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=2)
    axes.set_title(f"n = {total:,}", loc="right", fontsize="small")


def _robustness(report: dict[str, Any]) -> Figure:
    """A panel a distortion: AUC over strength, from the untouched videos on."""
    rows = report["robustness"]
    names = list(dict.fromkeys(row["distortion"] for row in rows))
    n_columns = min(4, len(names))
    n_lines = -(-len(names) // n_columns)
    figure = _new_figure(max(2.2 * n_columns, 5.8), 1.9 * n_lines + 0.7)
    grid = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    untouched = {"level": 0, "metrics": report["overall"]}
    for axes, name in zip(grid, names, strict=False):
        steps = sorted(
            [untouched, *(row for row in rows if row["distortion"] == name)],
            key=lambda row: int(row["level"]),
        )
        _draw_distortion(axes, steps)
        axes.set_title(name)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    grid[0].set(xticks=range(6), xlim=(-0.2, 5.2))
    figure.supxlabel("level (0 untouched, 5 strongest)", fontsize="medium")
    figure.supylabel("AUC", fontsize="medium")
    handles, _ = grid[0].get_legend_handles_labels()
    labels = [_named(report, "video"), _named(report, "frame"), "95 % interval of videos", "chance"]
    figure.legend(
        handles, labels, loc="outside upper center", ncols=max(n_columns, 2), title=_LEGEND_TITLE
    )
    return figure


def _draw_distortion(axes: Axes, steps: list[dict[str, Any]]) -> None:
    levels = [int(step["level"]) for step in steps]
    for level, marker in (("video", "o"), ("frame", "s")):
        value = _values(steps, level, "value")
        axes.plot(levels, value, marker=marker, markersize=3.5, label=level, **_LEVELS[level])
    low, high = (_values(steps, "video", side) for side in ("low", "high"))
    axes.fill_between(levels, low, high, color=_BLUE, alpha=0.2, linewidth=0, label="interval")
    axes.axhline(0.5, label="chance", **_GUIDE)


def _values(steps: list[dict[str, Any]], level: str, part: str) -> FloatArray:
    """One part of the AUC's entry at each step; what is undefined becomes NaN, a gap."""
    return np.array([step["metrics"][f"{level}_auc"][part] for step in steps], float)


def _tsne(data: dict[str, Any]) -> Figure:
    figure = _new_figure(8.4, 4.6)
    axes = figure.subplots()
    x, y, names = np.array(data["x"], float), np.array(data["y"], float), np.array(data["name"])
    for number, name in enumerate(dict.fromkeys(data["name"])):
        chosen = names == name
        axes.scatter(
            x[chosen],
            y[chosen],
            s=14,
            marker=_MARKERS[number % len(_MARKERS)],
            color=_COLOURS[number % len(_COLOURS)],
            alpha=0.75,
            linewidths=0,
            label=f"{name} (n = {chosen.sum():,})",
        )
    axes.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[])
    figure.legend(loc="outside right upper", markerscale=1.6)
    return figure


def _percent(share: Any) -> FloatArray:
    return 100.0 * np.asarray(share, np.float64)
