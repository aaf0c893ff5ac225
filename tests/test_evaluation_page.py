"""The page of a report: whole, self-contained, safe, and honest about what is undefined."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mdcsd.evaluation_page import render_page
from test_plots import one_class_report, sample_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that elements close in order, and collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text"):
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(sample_report())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_page_needs_nothing_from_outside(html: str, page: Page):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not page.all("script") and not page.all("link")
    assert "@import" not in html and not re.search(r"url\((?!['\"]?#)", html)


def test_page_can_be_read_by_everyone(html: str, page: Page):
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("title")) == len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) == 7
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    labels = [each["aria-label"] for each in page.all("div") if each.get("role") == "img"]
    assert len(labels) == len(page.all("figure")) == 6 and all(labels)


def test_ids_are_unique_and_links_lead_somewhere(page: Page):
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(set(ids)) == len(ids)
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= set(ids)


def test_what_was_judged_and_how(page: Page):
    for words in (
        "model.safetensors on ffpp=/data/ffpp",
        "3f9a1c0be2d4",
        "350 videos, 11,200 faces",
        "32 (median; 7 to 32)",
        "mean over the frames of each person, then the highest person",
        "0.437, equal error on 140 validation videos of ffpp",
        "95 %, 1,000 bootstrap draws of 70 identities (seed 0)",
        "mdcsd evaluate --weights model.safetensors",
        "mdcsd 0.2.0",
    ):
        assert words in page.text


def test_figures_have_three_decimals_and_intervals(page: Page):
    assert "0.934 [0.904, 0.964]" in page.text
    assert "Frame (2,240 real, 8,960 manipulated faces)" in page.text
    assert "Video (70 real, 280 manipulated)" in page.text
    assert "temperature 1.840" in page.text


def test_groups_comparison_and_recoding(page: Page):
    assert "NeuralTextures ffpp c23 70 + 70 0.831 [0.801, 0.861] 0.861" in page.text
    assert "all manipulations ffpp c23 70 + 280" in page.text
    assert "+0.013 [-0.007, +0.033]" in page.text
    assert "11,000 faces that both judged, and the 352 videos that both know" in page.text
    assert "0 videos only here and 1 only there are left out" in page.text
    assert "Video, jpeg 75" in page.text and "0.907 [0.877, 0.937]" in page.text


def test_robustness_has_a_row_a_distortion(page: Page):
    assert "Video AUC by strength; untouched 0.934" in page.text
    assert "jpeg quality 0.885 [0.855, 0.915] at 90 0.840" in page.text


def test_warnings_are_told(page: Page):
    assert "3 of 350 videos cannot be judged" in page.text
    assert "11 manipulated videos show several people" in page.text
    assert "033_097.mp4: no frame can be decoded" in page.text


def test_no_warnings_no_section():
    clean = {"warnings": [], "n_videos_cannot_judge": 0, "n_videos_multi_face": 0}
    assert "arnings" not in Page(render_page({**sample_report(), **clean})).text


def test_undefined_is_a_dash_with_its_reason_told_once():
    report = sample_report()
    reason = "undefined: 4 real videos are too few for 1 %"
    for level in ("frame", "video"):
        report["overall"][f"{level}_tpr_at_fpr_1"] |= {"value": None, "reason": reason}
    text = Page(render_page(report)).text
    assert "Caught at 1 % false alarms share of manipulated; 1 is best - 1 - 1" in text
    assert text.count(reason) == 2  # below the overall table and the recoded one


def test_one_class_renders_without_plots():
    page = Page(render_page(one_class_report()))
    assert not page.all("figure")
    assert "undefined: one class only" in page.text
    assert 'href="#plots"' not in render_page(one_class_report())


@pytest.mark.parametrize(
    "absent",
    [
        "checkpoint_id", "frames_per_video", "threshold", "curves", "uncalibrated", "recoded",
        "robustness", "against", "tsne",
    ],
)  # fmt: skip
def test_what_may_be_absent_may_be_absent(absent: str):
    assert Page(render_page({**sample_report(), absent: None})).text


def test_no_intervals():
    report = sample_report()
    report["resampling"]["draws"] = 0
    for metrics in (report["overall"], *(each["metrics"] for each in report["groups"])):
        for each in metrics.values():
            each |= {"low": None, "high": None}
    text = Page(render_page(report)).text
    assert "none were drawn" in text and "None" not in text


def test_names_cannot_become_markup():
    report = sample_report()
    evil = "<script>alert(1)</script>"
    attribute = '" onload="alert(1)'
    report |= {"source": evil, "pooling": evil, "warnings": [evil], "datasets": [evil]}
    report["against"]["name"] = report["recoded"]["name"] = attribute
    report["groups"][1] |= {"dataset": evil, "manipulation": evil, "compression": evil}
    report["tsne"]["name"] = [evil] * len(report["tsne"]["x"])
    report["curves"]["frame"]["histogram"]["counts"][evil] = [1] * 20
    report["made"]["command"] = evil
    html = render_page(report)
    page = Page(html)
    assert "<script" not in html
    assert not page.all("script")
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_page_comes_from_report_json_alone(html: str):
    through_json: dict[str, Any] = json.loads(json.dumps(sample_report()))
    assert render_page(through_json) == html
