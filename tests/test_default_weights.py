"""The embedded default detector: made by `mdcsd embed`, found without an option, named by all."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mdcsd import Detector
from mdcsd.checkpoint import compact_checkpoint, load_checkpoint, save_checkpoint
from mdcsd.cli import main
from mdcsd.default_weights import read_default, shelf, weights_path
from mdcsd.errors import CheckpointError, InputError
from mdcsd.web.judging import load_judge
from mdcsd.web.settings import ServeSettings

TERMS = "For research use only: a test.\n\nThe rest of the file."


def call(*words) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code or 0


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A package that comes without weights."""
    monkeypatch.setattr("mdcsd.default_weights.shelf", lambda: tmp_path / "shelf")
    return tmp_path / "shelf"


@pytest.fixture
def embedded(demo, bare, tmp_path, capsys):
    """A package whose default detector is the demo's; its checkpoint id."""
    (tmp_path / "terms.txt").write_text(TERMS)
    output = bare / "default.safetensors"
    assert call("embed", demo[0].checkpoint, "--licence", tmp_path / "terms.txt",
                "--data", "made clips", "--output", output) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert str(output) == said.splitlines()[-1]
    return said.split(",")[0]


def test_without_default_weights_everything_says_so_in_one_line(bare, clip, capsys):
    for words in (
        ("detect", clip),
        ("explain", clip, "--output", bare / "strips"),
        ("serve",),
        ("evaluate", "--data", f"mine={clip.parent}"),
        ("bench", "serve", clip),
    ):
        assert call(*words) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: no weights given") and "--weights" in error
        assert "\n" not in error
    with pytest.raises(InputError, match="none embedded"):
        Detector()
    assert call("--version") == 0
    version, weights = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mdcsd \d+\.\d+\.\d+, code under Apache-2\.0", version)
    assert weights == "default weights: none embedded, give --weights CHECKPOINT"


def test_the_default_needs_no_option(embedded, demo, clip, test_set, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("detect", clip, "--json", "out.jsonl", "--frames", 5, "--report", "page.html") == 0
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert line["checkpoint_id"] == embedded
    assert line["weights_licence"] == "For research use only: a test."
    assert "For research use only: a test." in (tmp_path / "page.html").read_text()
    assert call("explain", clip, "--output", "strips", "--frames", 1) == 0
    assert call("evaluate", "--data", f"demo={test_set}", "--draws", 0) == 0
    (path,) = (tmp_path / "runs").glob("evaluate_*/report.json")
    report = json.loads(path.read_text())
    assert report["checkpoint_id"] == embedded
    judge = load_judge(ServeSettings(weights=str(weights_path(None))))
    assert json.loads(judge(clip, "a.mp4", lambda *_: None).json)["checkpoint_id"] == embedded
    given = Detector(demo[0].checkpoint)
    assert given.checkpoint_id != embedded
    default = Detector().judge(clip, 5).score
    assert default == pytest.approx(given.judge(clip, 5).score, abs=0.02)


def test_version_reads_the_header_alone(embedded, capsys):
    assert call("--version") == 0
    weights = capsys.readouterr().out.splitlines()[1]
    assert weights == f"default weights: {embedded}, For research use only: a test."


def test_rounding_keeps_the_id_through_files(demo, tmp_path):
    compact = compact_checkpoint(load_checkpoint(demo[0].checkpoint))
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_checkpoint(compact, first)
    once = load_checkpoint(first)
    save_checkpoint(once, second)
    assert first.stat().st_size < 0.55 * second.stat().st_size
    assert compact.checkpoint_id == once.checkpoint_id == load_checkpoint(second).checkpoint_id
    floats = [each for each in once.state_dict.values() if each.is_floating_point()]
    assert {each.dtype for each in floats} == {torch.float32}


def test_embedding_again_what_was_calibrated_anew_keeps_what_it_was_rounded_from(embedded, bare):
    output = bare / "default.safetensors"
    first = load_checkpoint(output)
    calibration = replace(first.calibration, temperature=2 * first.calibration.temperature)
    save_checkpoint(replace(first, calibration=calibration), bare / "again.safetensors")
    assert call("embed", bare / "again.safetensors", "--licence", "a test", "--data", "made clips",
                "--output", output) == 0  # fmt: skip
    again = load_checkpoint(output)
    assert again.checkpoint_id == first.checkpoint_id == embedded
    assert again.calibration == calibration
    source = first.provenance["compacted_from"]
    assert again.provenance["compacted_from"] == source != embedded


def test_running_statistics_are_kept_and_what_does_not_fit_is_named(demo, tmp_path, capsys):
    whole = load_checkpoint(demo[0].checkpoint)
    state = dict(whole.state_dict)
    variance = next(name for name in state if name.endswith("running_var"))
    state[variance] = torch.full_like(state[variance], 1e6)  # no number of 16 bits
    compact = compact_checkpoint(replace(whole, state_dict=state))
    assert torch.equal(compact.state_dict[variance], state[variance])
    matrix = next(name for name, tensor in state.items() if tensor.ndim > 1)
    state[matrix] = torch.full_like(state[matrix], 1e6)
    diverged = replace(whole, state_dict=state)
    with pytest.raises(CheckpointError, match=f"do not fit 16 bits.*{re.escape(matrix)}"):
        compact_checkpoint(diverged)
    save_checkpoint(diverged, tmp_path / "diverged.safetensors")
    words = ("embed", tmp_path / "diverged.safetensors", "--licence", "x", "--data", "y")
    assert call(*words, "--output", tmp_path / "out.safetensors") == 2
    assert not (tmp_path / "out.safetensors").exists()


def test_too_large_a_file_and_empty_terms_are_refused(demo, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out.safetensors"
    words = ("embed", demo[0].checkpoint, "--output", output, "--data", "made clips", "--licence")
    assert call(*words, " ") == 2
    assert "--licence is empty" in capsys.readouterr().err
    assert call(*words, "research only", "--data", "") == 2
    assert "--data is empty" in capsys.readouterr().err
    monkeypatch.setattr("mdcsd.embedding.MAX_EMBEDDED_BYTES", 1_000_000)
    assert call(*words, "research only") == 2
    assert "the package carries up to 1 MB" in capsys.readouterr().err
    assert not output.exists()


def test_what_the_package_carries_is_small_and_has_its_terms():
    licence = (shelf() / "LICENSE").read_text(encoding="utf-8")
    assert "research use only" in licence and "Apache License" in licence
    default, path = read_default(), weights_path(None)
    assert default is not None and path.stat().st_size <= 20_000_000
    assert "research use only" in default.licence
    checkpoint = load_checkpoint(path)
    assert checkpoint.checkpoint_id == default.checkpoint_id
    assert "DFDC" in checkpoint.provenance["data"]
    assert not re.search(r"[=\s]/", checkpoint.provenance["command"])  # nobody's folders
    assert checkpoint.network.pretrained_file is None
    card = (Path(__file__).resolve().parents[1] / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# Model card: {default.checkpoint_id}\n")
    fitted = checkpoint.calibration
    assert f"temperature {fitted.temperature:.4g}." in card
    assert f"| likely manipulated | from {fitted.manipulated_from:.4f} |" in card
