"""A verdict as a page: everything is said, nothing hostile runs, nothing comes from outside."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from mdcsd import Detector
from mdcsd.evidence import MAX_FACES, MAX_PERSONS, MAX_STRETCHES, collect_evidence, rank_persons
from mdcsd.frame_choice import spread_indices
from mdcsd.judging_nouns import (
    EvidenceFace,
    FrameScore,
    Heatmaps,
    MediaFacts,
    PersonEvidence,
    Stretch,
    TrackScore,
    Verdict,
    to_line,
)
from mdcsd.nouns import FaceCrop
from mdcsd.pictures import encode_jpeg, encode_png
from mdcsd.report import content_security_policy, read_asset, render_report
from mdcsd.report_index import index_row, other_rows, render_index

HOSTILE = '<script>alert("x")</script>\' onload=alert(1) \x1b[2J\u202e'
GREY = np.full((8, 8, 3), 90, np.uint8)
FACE = EvidenceFace(0, 0.0, 0.8, *[encode_jpeg(GREY)] * 3, encode_png(GREY))


class Page(HTMLParser):
    """Elements, attributes and text of a page; unclosed or crossed elements are an error."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside: list[str] = []
        self.feed(text)
        assert not self.inside

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), f"{tag} says an attribute twice"
        if tag not in self.VOID:
            self.inside.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_data(self, data):
        if not self.inside or self.inside[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def a_verdict(**changes) -> Verdict:
    """A video of two persons, 16 frames each, the second stretch of the first the worst."""
    frames = tuple(
        FrameScore(i * 5, i * 0.2, track, 0.9 if track == 0 and 4 <= i < 8 else 0.3, (0, 0, 9, 9))
        for i in range(16)
        for track in (0, 1)
    )
    stretches = tuple(
        Stretch(i * 0.8, i * 0.8 + 0.6, 4, 0.9 if i == 1 else 0.3, (FACE,) * 4) for i in range(4)
    )
    media = MediaFacts(
        "video", "mov,mp4", "QuickTime / MOV", "h264", "H.264", 640, 360, 123_456,
        duration_s=3.2, frame_rate=30000 / 1001, bit_rate_bps=300_000.0,
        tags={"encoder": "Lavf62", "title": "holiday"}, hints=("packed anew",), credentials="none",
    )  # fmt: skip
    verdict = Verdict(
        path="/some/where/clip.mp4",
        sha256="ab" * 32,
        score=0.45,
        verdict="uncertain",
        thresholds={"uncertain_from": 0.4, "manipulated_from": 0.6},
        reason="score 0.45 is between 0.4 and 0.6",
        checkpoint_id="0123456789ab",
        backend="torch cpu",
        pooling="mean over a person's frames",
        n_frames_sampled=16,
        tracks=(TrackScore(0, 0.45, 16, 0.0, 3.0), TrackScore(1, 0.3, 16, 0.0, 3.0)),
        frames=frames,
        warnings=("several people: 2 tracks", "strong compression: JPEG quality of about 40"),
        calibrated_on="val: 140 real, 560 manipulated videos",
        network="mdcsd, input 299 px",
        weights_licence="CC BY-NC 4.0",
        settings={"frames": 16, "pool": "track", "cropped": False},
        mdcsd="9.9.9",
        judged_at="2026-01-02T03:04:05+00:00",
        media=media,
        evidence=(PersonEvidence(0, stretches, 1),),
    )
    return replace(verdict, **changes)


def test_all_that_a_reader_needs_is_said():
    text = Page(render_report(a_verdict())).text
    for words in (
        "clip.mp4", "Uncertain", "Score 0.450 of 1", "Do not lean on it",
        "at most 5 % of real ones are called likely manipulated",
        "val: 140 real, 560 manipulated videos", "not the probability",
        "Several people: 2 tracks", "Strong compression: JPEG", "ab" * 32, "QuickTime / MOV",
        "H.264", "360 px", "3.20 s", "29.97 a second", "300 kbit/s", "holiday", "Packed anew",
        "None found", "a missing one is nothing", "0123456789ab", "frames 16, pool track",
        "mdcsd 9.9.9", "2026-01-02T03:04:05", "CC BY-NC 4.0", "What this method cannot do",
    ):  # fmt: skip
        assert words in text, words
    assert "hardly more than a guess" not in text


@pytest.mark.parametrize(
    ("fitted_on", "said"),
    [
        ("val: 12 real, 9 manipulated videos", "With only 12 real ones"),
        ("by hand", "is not known: the thresholds were not fitted on data (by hand)"),
        ("", "(nothing is stated)"),
    ],
)
def test_a_threshold_that_rests_on_little_says_so(fitted_on, said):
    assert said in Page(render_report(a_verdict(calibrated_on=fitted_on))).text


def test_the_time_line_is_a_link_a_stretch_with_the_worst_chosen():
    page = Page(render_report(a_verdict()))
    bands = [each for each in page.all("a") if each.get("class") == "band"]
    stretches = [each for each in page.all("section") if each.get("class") == "stretch"]
    assert [each["href"] for each in bands] == [f"#{each['id']}" for each in stretches]
    assert [each.get("aria-current") for each in bands] == [None, "true", None, None]
    assert bands[1]["aria-label"] == "0.80 to 1.40 s, mean score 0.900, the highest"
    assert not any("hidden" in each for each in stretches), "without a script all are seen"
    assert len(page.all("img")) == 4 * 4 * 4 and all(each["alt"] for each in page.all("img"))
    assert len([each for each in page.all("circle") if each["class"] == "dot"]) == 32 + 2
    high = next(each for each in page.all("line") if each["class"] == "threshold fake")
    assert float(high["y1"]) == pytest.approx(170 - 0.6 * 160)


def test_bands_lie_side_by_side_from_the_first_face_to_the_last():
    page = Page(render_report(a_verdict()))
    at = page.elements.index
    rects = [
        page.elements[at(("a", each)) + 1][1]
        for each in page.all("a")
        if each.get("class") == "band"
    ]
    edges = [float(rect["x"].rstrip("%")) for rect in rects]
    ends = [x + float(rect["width"].rstrip("%")) for x, rect in zip(edges, rects, strict=True)]
    np.testing.assert_allclose(edges[1:], ends[:-1], atol=0.02)
    assert edges[0] == 0 and ends[-1] == pytest.approx(100)


def curves(page: Page) -> list[dict[str, str | None]]:
    """The lines between dots, without those of the legend."""
    return [each for each in page.all("line") if each["class"] == "curve" and "%" in each["x1"]]


def test_no_line_is_drawn_where_a_frame_between_was_not_judged():
    whole = Page(render_report(a_verdict()))
    assert len(curves(whole)) == 2 * 15 and "no line where" not in whole.text
    frames = tuple(row for row in a_verdict().frames if row.track_id or row.frame_index != 25)
    page = Page(render_report(a_verdict(frames=frames)))
    dots = [each for each in page.all("circle") if each["class"] == "dot" and "%" in each["cx"]]
    assert len(dots) == 31 and len(curves(page)) == 13 + 15
    assert page.text.count("no line where a frame between was not judged") == 1
    joined = {(each["x1"], each["x2"]) for each in curves(page)[:13]}
    assert (dots[4]["cx"], dots[5]["cx"]) not in joined  # 0.8 and 1.2 s, without 1.0 s
    assert (dots[3]["cx"], dots[4]["cx"]) in joined


@pytest.mark.parametrize("n_frames", [2, 33, 40, 64, 101, 999])
@pytest.mark.parametrize("n_sampled", [2, 5, 32])
def test_frames_sampled_one_after_the_other_are_joined(n_frames, n_sampled):
    """However short the video, whatever its frame rate, and whether its length is known."""
    indices = spread_indices(n_frames, n_sampled)
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 1, n_frames))
    rows = [FrameScore(i, float(times[i]), 0, 0.5, (0, 0, 9, 9)) for i in indices]
    change = {"n_frames_sampled": n_sampled, "media": None, "tracks": a_verdict().tracks[:1]}
    page = Page(render_report(a_verdict(frames=tuple(rows), **change)))
    assert len(curves(page)) == len(rows) - 1
    if n_frames >= 2 * n_sampled and n_sampled > 2:
        page = Page(render_report(a_verdict(frames=(*rows[:2], *rows[3:]), **change)))
        assert len(curves(page)) == len(rows) - 3


def test_times_of_a_long_video_are_a_players():
    half = tuple(row for row in a_verdict().frames if row.time_s < 1.5)  # none is judged later
    frames = tuple(replace(row, time_s=row.time_s * 40) for row in half)
    stretch = Stretch(20.0, 55.5, 4, 0.9, (replace(FACE, time_s=55.5),))
    page = Page(render_report(a_verdict(
        frames=frames, media=replace(a_verdict().media, duration_s=128.0),
        evidence=(PersonEvidence(0, (stretch,), 0),),
    )))  # fmt: skip
    for words in ("0:20.00 to 0:55.50, mean score 0.900", "0:55.50, score 0.800", "2:08.00",
                  "0:00 0:28 0:56", "0:48.00 30 0.900"):  # fmt: skip
        assert words in page.text, words
    plot = next(each for each in page.all("svg") if each.get("class") == "plot")
    assert plot["aria-label"] == "Score over time, 0 to 1, from 0:00 to 0:56"


def test_what_is_not_there_is_left_out_and_said():
    blind = Page(render_report(a_verdict(evidence=None)))
    assert "without pictures" in blind.text and not blind.all("img")
    crop_only = replace(FACE, rgb_heat=None, frequency_heat=None, log_dct_difference=None)
    person = PersonEvidence(0, (Stretch(0, 3, 16, 0.45, (crop_only,)),), 0)
    plain = Page(render_report(a_verdict(evidence=(person,))))
    assert len(plain.all("img")) == 1 and "The spectrum compares" not in plain.text
    assert "The spectrum compares" in Page(render_report(a_verdict())).text
    unjudged = a_verdict(score=None, verdict="cannot_judge", reason="no face found in 16 frames",
                         tracks=(), frames=(), evidence=(), warnings=(), media=None)  # fmt: skip
    page = Page(render_report(unjudged))
    assert "Cannot judge No face found in 16 frames" in page.text
    assert "neither real nor manipulated" in page.text
    assert "Before you trust" not in page.text and "Score" not in page.text


def test_a_picture_has_no_time_line():
    one = FrameScore(0, 0.0, 0, 0.45, (0, 0, 9, 9))
    person = PersonEvidence(0, (Stretch(0.0, 0.0, 1, 0.45, (FACE,)),), 0)
    picture = a_verdict(
        tracks=(TrackScore(0, 0.45, 1, 0.0, 0.0),), frames=(one,), evidence=(person,)
    )
    page = Page(render_report(picture))
    assert not [each for each in page.all("circle") if each["class"] == "dot"]
    assert len(page.all("img")) == 4 and "1 of 1 frames" not in page.text


def hostile_verdict() -> Verdict:
    media = replace(
        a_verdict().media,
        tags={HOSTILE: HOSTILE}, hints=(HOSTILE,), container_description=HOSTILE,
        codec_description=HOSTILE,
    )  # fmt: skip
    return a_verdict(
        path=f"/tmp/{HOSTILE}.mp4", media=media, warnings=(HOSTILE,), calibrated_on=HOSTILE,
        weights_licence=HOSTILE,
    )  # fmt: skip


def test_hostile_names_and_metadata_are_text():
    plain, page = Page(render_report(a_verdict())), Page(render_report(hostile_verdict()))
    tags = [[tag for tag, _ in each.elements] for each in (plain, page)]
    assert tags[1].count("script") == tags[0].count("script") == 1
    assert '<script>alert("x")</script>' in page.text
    for char in ("\x1b", "\u202e"):
        assert char not in page.text
    row = index_row({**hostile_verdict().to_dict(), "reason": HOSTILE}, f"{HOSTILE}.html")
    table = Page(render_index([row, index_row(
        {"path": HOSTILE, "score": None, "verdict": "cannot_judge", "error": HOSTILE}, None
    )]))  # fmt: skip
    assert len(table.all("script")) == 1 and table.text.count("<script>") == 4
    for each in (*page.elements, *table.elements):
        assert not any(name.startswith("on") for name in each[1]), each


def outside_addresses(page: str) -> list[str]:
    return re.findall(r"(?:href|src|url\(|@import|action|data)\s*=?\s*[\"'(]?\s*(?:https?:)?//\S+",
                      page)  # fmt: skip


def test_the_page_is_self_contained_and_fits_its_policy():
    policy = content_security_policy()
    assert policy.startswith("default-src 'none'; img-src data:;")
    for verdict in (a_verdict(), hostile_verdict(), a_verdict(evidence=None)):
        text = render_report(verdict)
        page = Page(text)
        assert not outside_addresses(text)
        for tag, attributes in page.elements:
            assert tag not in ("link", "iframe", "object", "embed", "base", "form")
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
        assert all(each["src"].startswith("data:image/") for each in page.all("img"))
        for tag, kind in (("style", "style-src"), ("script", "script-src")):
            inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert len(inside) == 1
            digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
            assert f"{kind} 'sha256-{digest}'" in policy
    assert "http" not in read_asset("report.css") + read_asset("report.js")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_colours_have_the_contrast_of_wcag_aa():
    for theme in re.findall(r":root \{(.*?)\}", read_asset("report.css"), re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        pairs = [
            (ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("ground", "raised")
        ]
        for kind in ("real", "unsure", "fake", "none"):
            pairs += [(kind, f"{kind}-ground"), ("ink", f"{kind}-ground")]
        for ink, ground in pairs:
            low, high = sorted((luminance(colours[ink]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
        for graphic in ("real", "unsure", "fake", "axis"):
            low, high = sorted((luminance(colours[graphic]), luminance(colours["ground"])))
            assert (high + 0.05) / (low + 0.05) >= 3.0, graphic


def test_the_table_of_a_batch():
    rows = [
        index_row(a_verdict(score=score, verdict=word).to_dict(), f"{word} ?#.html")
        for score, word in ((0.1, "likely_real"), (0.9, "likely_manipulated"))
    ]
    failed = {"path": "bad.mp4", "score": None, "verdict": "cannot_judge", "error": "bad.mp4: cut"}
    page = Page(render_index([*rows, index_row(failed, None)]))
    assert "1 likely real, 1 likely manipulated, 1 could not be read" in page.text
    assert [each["href"] for each in page.all("a")] == [
        "likely_real%20%3F%23.html", "likely_manipulated%20%3F%23.html",
    ]  # fmt: skip
    assert len(page.all("tr")) == 4 and "bad.mp4: cut" in page.text


def test_what_a_page_tells_the_index_is_text(tmp_path):
    verdict = replace(hostile_verdict(), reason=HOSTILE)
    (tmp_path / "a ?.html").write_text(render_report(verdict), encoding="utf-8")
    (row,) = other_rows(tmp_path, ())
    assert row == index_row(verdict.to_dict(), "a ?.html")
    page = Page(render_index([row]))
    assert len(page.all("script")) == 1 and "\u202e" not in page.text
    assert [each["href"] for each in page.all("a")] == ["a%20%3F.html"]


def test_a_name_that_is_no_text_survives_json_and_html():
    odd = a_verdict(path="caf\udce9.mp4")
    assert to_line({"path": "caf\udce9é"}) == '{"path": "caf\\udce9é"}'
    render_report(odd).encode("utf-8")
    odd.to_json().encode("utf-8")


def test_evidence_is_bounded_and_the_worst_stretch_is_the_worst():
    def crop(track: int, index: int) -> FaceCrop:
        return FaceCrop("v", index, index / 10, track, (0, 0, 8, 8), 1.0, None, 1.3, GREY)

    frames = [(track, index) for index in range(100) for track in range(MAX_PERSONS + 2)]
    crops = [crop(*each) for each in frames]
    scores = [
        FrameScore(i, i / 10, t, 0.9 if 50 <= i < 60 else t / 100, (0, 0, 8, 8)) for t, i in frames
    ]
    tracks = [TrackScore(t, t / 100, 100, 0.0, 9.9) for t in range(MAX_PERSONS + 2)]
    asked: list[int] = []

    def explain(some: list[FaceCrop]) -> list[Heatmaps]:
        asked.append(len(some))
        return [Heatmaps(None, np.ones((8, 8), np.float32), None)] * len(some)

    evidence = collect_evidence(crops, scores, tracks, explain, 100)
    assert [person.track_id for person in evidence] == list(range(MAX_PERSONS + 1, 1, -1))
    assert sum(asked) == MAX_PERSONS * MAX_STRETCHES * MAX_FACES
    for person in evidence:
        assert sum(stretch.n_frames for stretch in person.stretches) == 100
        worst = person.stretches[person.worst]
        assert worst.first_s <= 5.5 <= worst.last_s
        assert worst.score == max(stretch.score for stretch in person.stretches)
        face = worst.faces[0]
        assert face.rgb_heat is None and face.log_dct_difference is None and face.frequency_heat


@pytest.fixture(scope="module")
def judged(demo, clip) -> Verdict:
    seen: list[tuple[int, int]] = []
    verdict = Detector(demo[0].checkpoint).judge(
        clip, n_frames=8, evidence=True, progress=lambda *at: seen.append(at)
    )
    assert seen == [(i, 8) for i in range(1, 9)]
    return verdict


def test_a_judged_clip_becomes_a_page_of_faces(judged, clip):
    page = Page(judged.to_html())
    assert len(page.all("img")) >= 8 * 3
    assert clip.name in page.text and judged.sha256 in page.text
    assert len([each for each in page.all("a") if each.get("class") == "band"]) == 2
    assert "evidence" not in judged.to_json() and len(judged.to_json()) < 10_000


def test_a_notebook_shows_the_page_in_a_frame(judged):
    frame = Page(judged._repr_html_()).all("iframe")
    assert [each["srcdoc"] for each in frame] == [judged.to_html()]
    assert frame[0]["sandbox"] == "allow-scripts"


def test_faces_as_arrays_are_scored_as_files_are(demo):
    from mdcsd.pictures import read_image

    detector = Detector(demo[0].checkpoint)
    crops = sorted((demo[1] / "crops" / "Deepfakes").glob("*.png"))[:3]
    scores = detector.score_faces(np.stack([read_image(crop) for crop in crops]))
    assert scores.dtype == np.float64
    alone = [detector.judge(crop, cropped=True).score for crop in crops]
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    assert detector.score_faces(np.empty((0, 8, 8, 3), np.uint8)).shape == (0,)
    with pytest.raises(Exception, match="expected uint8"):
        detector.score_faces(np.zeros((1, 8, 8, 3)))


def test_a_person_seen_too_seldom_does_not_lead():
    tracks = (TrackScore(0, 0.9, 1, 0.0, 0.0), TrackScore(1, 0.6, 90, 0.0, 9.0))
    assert [track.track_id for track in rank_persons(tracks, 100)] == [1, 0]
    page = render_report(a_verdict(tracks=tracks, n_frames_sampled=100, settings={"pool": "track"}))
    assert page.index("whose score is that of the file") < page.index("too few frames to count")


def test_thresholds_of_single_faces_claim_nothing_of_videos():
    single, many = "50 real, 50 manipulated videos, 1 frame each", "50 real videos, 32 frames each"
    video = a_verdict(calibrated_on=single)
    picture = replace(video, media=replace(video.media, kind="picture"))
    unknown = "How often it happens to real videos, each a mean of many faces, is not known."
    assert "5 % of single real faces" in render_report(video) and unknown in render_report(video)
    assert "5 % of single real faces" in render_report(picture)
    assert unknown not in render_report(picture)
    long = replace(video, calibrated_on=many, n_frames_sampled=32)
    assert "5 % of real ones" in render_report(long)
    few = render_report(replace(long, n_frames_sampled=31))
    assert "5 %" not in few and "fewer frames than were calibrated on" in few
    assert "is not known" in render_report(replace(picture, calibrated_on=many))
    highest = "With several people the highest score decides"
    assert highest in render_report(picture)
    assert highest not in render_report(replace(picture, tracks=picture.tracks[:1]))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"pool": "mean"}, "by person; its frames were pooled otherwise."),
        ({"cropped": True}, "by person; this was cropped before."),
        ({"pool": "topk", "cropped": True}, "cropped before and its frames were pooled otherwise."),
    ],
)
def test_the_false_alarms_are_not_claimed_for_other_settings(settings, why):
    fitted = "50 real and 50 fake videos"
    assert "False alarms:" in render_report(a_verdict(calibrated_on=fitted))
    page = render_report(a_verdict(calibrated_on=fitted, settings=settings))
    assert "False alarms:" not in page and "of this kind reaches" in page and why in page


def test_a_score_is_not_headed_by_the_limit_that_it_missed():
    limits = {"uncertain_from": 0.4, "manipulated_from": 0.8759952}
    for score, told in ((0.8756, "Score 0.8756 of 1"), (0.8759952, "Score 0.876 of 1")):
        page = Page(render_report(a_verdict(score=score, thresholds=limits)))
        assert told in page.text
