"""Judges for the server's tests that need no model; worker processes import them by name.

What a file's shown name says is what happens to it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from mdcsd.errors import MediaError
from mdcsd.judging_nouns import Verdict
from mdcsd.media_facts import read_media_facts
from mdcsd.storage import sha256_of
from mdcsd.web.judging import Judge, Progress, Report
from mdcsd.web.settings import Limits, ServeSettings

GIF = b"GIF89a" + bytes(40)


def settings_for(folder: Path, token: str | None = None, workers: int = 1, **limits: float):
    """Settings of a server of fakes."""
    return ServeSettings(
        weights="none", data=folder / "serve", token=token, workers=workers,
        limits=replace(Limits(), **limits),
    )  # fmt: skip


def load_fake(settings: ServeSettings) -> Judge:
    """A judge that calls everything likely real, but for what the name asks for."""

    def judge(path: Path, name: str, progress: Progress) -> Report:
        progress(0, 2)
        if "crash" in name:
            os._exit(9)
        if "slow" in name:
            time.sleep(30)
        if "bug" in name:
            raise RuntimeError("a bug")
        if "broken" in name:
            raise MediaError(f"{path}: the file is cut off.")
        progress(2, 2)
        found = {"path": name, "sha256": sha256_of(path), "score": 0.25, "verdict": "likely_real"}
        return Report("likely_real", 0.25, json.dumps(found), "<!DOCTYPE html><p>likely real</p>")

    return judge


def load_real_report(settings: ServeSettings) -> Judge:
    """A judge that needs no model, and writes the real report with the file's real facts."""

    def judge(path: Path, name: str, progress: Progress) -> Report:
        verdict = Verdict(
            path=name, sha256=sha256_of(path), score=0.25, verdict="likely_real",
            thresholds={"uncertain_from": 0.4, "manipulated_from": 0.6}, reason="below 0.4",
            checkpoint_id="none", backend="none", pooling="none", n_frames_sampled=1,
            media=read_media_facts(path),
        )  # fmt: skip
        return Report(verdict.verdict, verdict.score, verdict.to_json(), verdict.to_html())

    return judge
