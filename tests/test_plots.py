"""Plots of a report written by hand: what is drawn, the same bytes again, and safe on a page."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from typing import Any

import matplotlib
import numpy as np
import pytest
from scipy.stats import norm

from mdcsd.plots import evaluation_plots, to_png, to_svg

FIGURES = (
    "auc", "eer", "ap", "balanced_accuracy", "false_alarm_rate", "tpr_at_fpr_1", "tpr_at_fpr_5",
    "ece", "brier", "log_loss",
)  # fmt: skip
ALL_PLOTS = ["roc", "det", "reliability", "histogram", "robustness", "tsne"]
DISTORTIONS = {
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "blocks": (16, 32, 48, 64, 80),
    "noise": (0.001, 0.002, 0.005, 0.01, 0.05),
    "blur": (7, 9, 13, 17, 21),
    "pixelation": (2, 3, 4, 5, 6),
    "h264": (30, 32, 35, 38, 40),
    "jpeg": (90, 75, 60, 45, 30),
}


def entry(
    value: float | None, width: float = 0.03, n: tuple[int, int] = (70, 280), reason: str = ""
) -> dict[str, Any]:
    is_known = value is not None
    return {
        "value": value,
        "low": value - width if is_known else None,
        "high": value + width if is_known else None,
        "n_real": n[0],
        "n_fake": n[1],
        "reason": None if is_known else reason or "undefined: one class only",
    }


def figures(start: float, n: tuple[int, int] = (70, 280)) -> dict[str, Any]:
    """All figures of both levels, at values told apart easily."""
    values = (start, 0.14, 0.96, 0.85, 0.07, 0.41, 0.63, 0.052, 0.101, 0.344)
    frames = (32 * n[0], 32 * n[1])
    return {
        **{f"frame_{f}": entry(v - 0.03, n=frames) for f, v in zip(FIGURES, values, strict=True)},
        **{f"video_{f}": entry(v, n=n) for f, v in zip(FIGURES, values, strict=True)},
    }


def curves(n: int, shift: float) -> dict[str, Any]:
    """Curves of two normal distributions `shift` apart: straight lines on a DET plot."""
    steps = np.linspace(-4, 4, 81)
    bins = np.linspace(0.05, 0.95, 10)
    fall = np.exp(-6 * np.linspace(0.025, 0.975, 20))
    return {
        "roc": {
            "fpr": [0.0, *norm.sf(steps)[::-1].tolist(), 1.0],
            "tpr": [0.0, *norm.sf(steps - shift)[::-1].tolist(), 1.0],
        },
        "reliability": {
            "mean_score": bins.tolist(),
            "share_manipulated": (bins ** (shift - 0.8)).tolist(),
            "n": [int(n * weight) for weight in (9, 5, 2, 1, 0, 1, 1, 2, 5, 9)],
        },
        "histogram": {
            "edges": np.linspace(0, 1, 21).tolist(),
            "counts": {
                "ffpp original": (n * fall).round().astype(int).tolist(),
                "ffpp Deepfakes": (n * fall[::-1]).round().astype(int).tolist(),
                "ffpp NeuralTextures": (n * (fall + 2 * fall[::-1])).round().astype(int).tolist(),
            },
        },
    }


def robustness() -> list[dict[str, Any]]:
    return [
        {
            "distortion": distortion,
            "level": level,
            "parameter": parameter,
            "metrics": {
                "frame_auc": entry(0.89 - 0.004 * number * level - 0.01 * level),
                "video_auc": entry(0.93 - 0.005 * number * level - 0.01 * level),
            },
        }
        for number, (distortion, parameters) in enumerate(DISTORTIONS.items())
        for level, parameter in enumerate(parameters, start=1)
    ]


def clusters() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    names = ["ffpp original", "ffpp Deepfakes", "ffpp NeuralTextures"]
    places = rng.normal(0, 4, (150, 2)) + np.repeat([[0, 0], [15, 5], [4, 12]], 50, axis=0)
    return {
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "name": np.repeat(names, 50).tolist(),
    }


def group(manipulation: str | None, auc: float, n: tuple[int, int] = (70, 70)) -> dict[str, Any]:
    return {
        "dataset": "ffpp",
        "manipulation": manipulation,
        "compression": "c23",
        "metrics": figures(auc, n),
    }


def sample_report() -> dict[str, Any]:
    """A whole report, written by hand."""
    return {
        "schema": 3,
        "checkpoint_id": "3f9a1c0be2d4",
        "source": "model.safetensors on ffpp=/data/ffpp",
        "datasets": ["ffpp"],
        "pooling": "mean over the frames of each person, then the highest person",
        "n_frames": 11200,
        "n_videos": 350,
        "n_videos_cannot_judge": 3,
        "n_videos_multi_face": 11,
        "frames_per_video": {"min": 7, "median": 32.0, "max": 32},
        "resampling": {"unit": "identities", "n_units": 70, "draws": 1000, "seed": 0},
        "threshold": {"value": 0.437, "source": "equal error on 140 validation videos of ffpp"},
        "overall": figures(0.934),
        "groups": [
            group(None, 0.934, (70, 280)),
            group("Deepfakes", 0.981),
            group("Face2Face", 0.952),
            group("FaceSwap", 0.944),
            group("NeuralTextures", 0.861),
        ],
        "curves": {"frame": curves(400, 1.9), "video": curves(12, 2.3)},
        "uncalibrated": {
            "temperature": 1.84,
            "frame_ece": entry(0.091),
            "frame_brier": entry(0.123),
            "frame_log_loss": entry(0.512),
        },
        "recoded": {"name": "jpeg 75", "overall": figures(0.907)},
        "robustness": robustness(),
        "against": {
            "name": "xception.csv",
            "threshold": None,
            "common": {"frame": 11000, "video": 352},
            "only_here": {"frame": 200, "video": 0},
            "only_there": {"frame": 15, "video": 1},
            "difference": {
                "frame_auc": entry(0.021, 0.012),
                "video_auc": entry(0.013, 0.020),
                "video_eer": entry(-0.052, 0.030),
            },
        },
        "tsne": clusters(),
        "warnings": ["/data/ffpp/c23/033_097.mp4: no frame can be decoded. Copy the file again."],
        "made": {
            "date": "2026-12-04T10:12:00+00:00",
            "mdcsd": "0.2.0",
            "command": "mdcsd evaluate --weights model.safetensors --data ffpp=/data/ffpp",
        },
    }


def one_class_report() -> dict[str, Any]:
    """Real videos only: rates of false alarms make sense, ranking does not."""
    report = sample_report()
    for metrics in (report["overall"], *(each["metrics"] for each in report["groups"])):
        for name in metrics:
            metrics[name] = entry(None, n=(70, 0))
    absent = ("uncalibrated", "recoded", "robustness", "against", "tsne", "threshold")
    return {**report, **dict.fromkeys(absent), "curves": {"frame": None, "video": None}}


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return {name: to_svg(figure) for name, figure in evaluation_plots(sample_report()).items()}


def test_every_plot_is_drawn(drawn: dict[str, str]):
    assert list(drawn) == ALL_PLOTS


@pytest.mark.parametrize("name", ALL_PLOTS)
def test_svg_is_one_element_with_text_and_clear_ground(drawn: dict[str, str], name: str):
    svg = drawn[name]
    assert svg.startswith("<svg") and svg.endswith("</svg>")
    root = ElementTree.fromstring(svg)
    assert root.findall(".//{http://www.w3.org/2000/svg}text")
    assert "currentColor" in svg
    assert "<script" not in svg and "url(http" not in svg


def test_ids_are_unique_over_all_plots(drawn: dict[str, str]):
    ids = [
        element.get("id")
        for svg in drawn.values()
        for element in ElementTree.fromstring(svg).iter()
        if element.get("id")
    ]
    assert len(set(ids)) == len(ids)


def test_axes_and_legends_say_what_and_how_many(drawn: dict[str, str]):
    for name in ("roc", "det"):
        assert "false alarms (% of real)" in drawn[name]
        assert "videos (n = 70 + 280)" in drawn[name]
        assert "faces (n = 2,240 + 8,960)" in drawn[name]
        assert "n = real + manipulated" in drawn[name]
    assert "level (0 untouched, 5 strongest)" in drawn["robustness"]
    assert all(f">{distortion}<" in drawn["robustness"] for distortion in DISTORTIONS)
    assert "ffpp NeuralTextures (n = 50)" in drawn["tsne"]
    assert "score (0 real, 1 manipulated)" in drawn["histogram"]
    assert "threshold 0.437" in drawn["histogram"]


def test_the_same_data_give_the_same_bytes():
    once, again = (evaluation_plots(sample_report()) for _ in range(2))
    for name in ("roc", "histogram"):
        assert to_svg(once[name]) == to_svg(again[name])
        assert to_png(once[name]) == to_png(again[name])


def test_png_has_the_size_asked_for():
    figure = evaluation_plots(sample_report())["roc"]
    small, large = to_png(figure, dpi=60), to_png(figure, dpi=120)
    assert small.startswith(b"\x89PNG") and b"Software" not in large
    width, height = (int.from_bytes(large[at : at + 4], "big") for at in (16, 20))
    assert [width, height] == [round(side * 120) for side in figure.get_size_inches()]


def test_settings_of_matplotlib_stay():
    before = dict(matplotlib.rcParams)
    to_svg(evaluation_plots(sample_report())["roc"])
    assert dict(matplotlib.rcParams) == before


def test_det_is_straight_for_normal_scores_and_ends_at_the_border():
    (axes,) = evaluation_plots(sample_report())["det"].axes
    video = next(line for line in axes.lines if str(line.get_label()).startswith("videos"))
    x, y = (np.asarray(part, float) for part in video.get_data())
    assert np.isfinite(x).all() and np.isfinite(y).all()
    inside = (np.abs(x) < 2.5) & (np.abs(y) < 2.5)
    np.testing.assert_allclose((x + y)[inside], -2.3, atol=1e-6)
    assert axes.get_xticks() == pytest.approx(norm.ppf([0.001, 0.01, 0.05, 0.2, 0.4, 0.6]))


def test_det_shows_a_detector_worse_than_chance():
    report = sample_report()
    report["curves"]["video"] = curves(10, -1.0)
    (axes,) = evaluation_plots(report)["det"].axes
    assert axes.get_xlim()[1] > norm.ppf(0.7)


def test_robustness_begins_at_the_untouched_figure_and_leaves_gaps():
    report = sample_report()
    report["robustness"][2]["metrics"]["video_auc"] = entry(None)
    axes = evaluation_plots(report)["robustness"].axes[0]
    video = next(line for line in axes.lines if line.get_label() == "video")
    x, y = (np.asarray(part, float) for part in video.get_data())
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    assert y[0] == 0.934 and np.isnan(y[3])


def test_robustness_without_intervals_or_of_one_distortion():
    report = sample_report()
    report["robustness"] = report["robustness"][:5]
    for row in (report["overall"], *(each["metrics"] for each in report["robustness"])):
        row["video_auc"] |= {"low": None, "high": None}
    figure = evaluation_plots(report)["robustness"]
    assert len(figure.axes) == 1
    assert to_svg(figure)


def test_one_class_draws_nothing():
    assert evaluation_plots(one_class_report()) == {}
    assert evaluation_plots({**one_class_report(), "curves": None}) == {}


def test_one_level_and_empty_bins_are_drawn():
    report = sample_report()
    report["curves"]["frame"] = None
    report["curves"]["video"]["reliability"]["mean_score"][4] = None
    assert [to_svg(figure)[:4] for figure in evaluation_plots(report).values()] == ["<svg"] * 6


def test_names_are_neither_markup_nor_formulas():
    report = copy.deepcopy(sample_report())
    wicked = "$\\nothing$ <script>alert(1)</script>"
    report["curves"]["video"]["histogram"]["counts"][wicked] = [1] * 20
    svg = to_svg(evaluation_plots(report)["histogram"])
    assert "<script>" not in svg
    assert "&lt;script&gt;alert(1)" in svg and "$\\nothing$" in svg
