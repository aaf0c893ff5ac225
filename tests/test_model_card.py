"""The card says what checkpoint and reports say, and nothing else in figures."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest

from mdcsd.checkpoint import load_checkpoint
from mdcsd.cli import main
from mdcsd.errors import DataError
from mdcsd.evaluation import evaluate
from mdcsd.judging_config import EvaluateConfig
from mdcsd.model_card import write_card


@pytest.fixture(scope="module")
def checkpoint(demo):
    known = load_checkpoint(demo[0].checkpoint)
    told = {"licence": "for research only", "data": "made clips", "hours": 1.25, "seed": 7,
            "git_commit": "abc123", "cuda": None, "cpu_threads": 2,
            "command": "/somewhere/bin/mdcsd train mdcsd /somewhere/a_tf",
            "settings": {"train": {"ema": 0.999}}}  # fmt: skip
    return replace(known, provenance={**known.provenance, **told})


@pytest.fixture(scope="module")
def reports(demo, test_set, tmp_path_factory):
    weights = str(demo[0].checkpoint)
    records = evaluate(EvaluateConfig(weights=weights, data=(f"home={test_set}",), draws=20))
    folder = tmp_path_factory.mktemp("real")
    (folder / "original").mkdir()
    shutil.copy(demo[1] / "clips" / "original" / "000.mp4", folder / "original")
    config = EvaluateConfig(weights=weights, data=(f"clips={folder}",), split="all", frames=2,
                            draws=0, recode="jpeg=50", robustness=True, tsne=False)  # fmt: skip
    plain = [json.loads(json.dumps(each.report)) for each in (records, evaluate(config))]
    return dict(zip(("test faces", "real clips"), plain, strict=True))


def test_every_figure_of_the_reports_is_there(checkpoint, reports):
    card = write_card(checkpoint, reports)
    home, real = reports["test faces"], reports["real clips"]
    auc = home["overall"]["video_auc"]
    assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in card
    assert "| AUC | undefined: one class only | undefined: one class only |" in card
    assert "All encoded anew as jpeg 50" in card
    assert sum(line.startswith("| saturation |") for line in card.splitlines()) == 5
    (row,) = real["verdicts"]
    assert (row["n"], row["manipulation"]) == (1, "original")
    share = row["share_manipulated"]
    assert f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]" in card
    manipulated_from = f"{checkpoint.calibration.manipulated_from:.4f}"
    for text in ("for research only", "made clips", "1.25", "abc123", "CPU, 2 threads", "7,398,417",
                 "`mdcsd train mdcsd a_tf`", "train.ema=0.999", manipulated_from,
                 checkpoint.calibration.fitted_on):  # fmt: skip
        assert text in card
    assert "/somewhere" not in card


def test_nothing_is_claimed_that_is_not_there(checkpoint, reports):
    """Without reports no figure is left; what provenance lacks is said to be unknown."""
    bare = replace(checkpoint, provenance={})
    card = write_card(bare, {})
    measured = card[card.index("## What was measured") : card.index("## Where it fails")]
    assert "no report was given" in measured and not re.search(r"\d", measured)
    assert card.count("not stated") == 17
    other = {**reports["test faces"], "checkpoint_id": "0" * 12}
    with pytest.raises(DataError, match=f"of checkpoint {'0' * 12}, the card is of"):
        write_card(checkpoint, {"other": other})
    old = {**reports["test faces"], "uncalibrated": {**reports["test faces"]["uncalibrated"]}}
    del old["calibration"], old["uncalibrated"]["frame_ece_at_even_odds"]
    assert "weighing alike" not in write_card(checkpoint, {"of an earlier version": old})
    assert "weighing alike" in write_card(checkpoint, reports)
    moved = replace(checkpoint, calibration=replace(checkpoint.calibration, temperature=9.0))
    with pytest.raises(DataError, match="made with another temperature"):
        write_card(moved, {"old": reports["test faces"]})


def test_the_hardware_is_what_the_training_ran_on(checkpoint):
    both = {"cuda": "a GPU", "cpu_threads": 16}
    for known, told in (
        ({**both, "device": "cpu"}, "| hardware | CPU, 16 threads |"),
        ({**both, "device": "cuda", "processes": 4}, "| hardware | 4 x a GPU |"),
    ):
        changed = replace(checkpoint, provenance={**checkpoint.provenance, **known})
        assert told in write_card(changed, {})


def test_every_stage_is_told(checkpoint):
    stage = {"checkpoint_id": "0123456789ab", "command": "/x/mdcsd train a_tf", "hours": 0.5,
             "teacher": None}  # fmt: skip
    changed = replace(checkpoint, provenance={**checkpoint.provenance, "stages": [stage]})
    row = "checkpoint id 0123456789ab, command `mdcsd train a_tf`, hours 0.5"
    assert f"| earlier training 1 of 1, the oldest | {row} |" in write_card(changed, {})
    stage |= {"averaged_from": ["ab12", "cd34"], "averaged_share": 0.5}
    mean = "mean of the weights of (ab12 and cd34, 50% of the second's, which is told here)"
    assert f"hours 0.5, {mean} |" in write_card(changed, {})


def test_the_teacher_is_told_where_there_was_one(checkpoint):
    changed = replace(checkpoint, provenance={**checkpoint.provenance, "teacher": "0123456789ab"})
    assert "| taught by checkpoint | 0123456789ab |" in write_card(changed, {})
    assert "taught by" not in write_card(checkpoint, {})


def test_what_painted_blends_is_told_without_its_folder(checkpoint):
    settings = {"blend": {"autoencoder_file": "/x/y/faces.safetensors"}}
    told = {"autoencoder": {"sha256": "0123", "data": "a + b"}, "settings": settings}
    card = write_card(replace(checkpoint, provenance={**checkpoint.provenance, **told}), {})
    assert "| autoencoder of blends | sha256 0123, data a + b |" in card
    assert "blend.autoencoder_file=faces.safetensors" in card and "/x/y" not in card
    assert "autoencoder of blends" not in write_card(checkpoint, {})


def test_a_mean_of_two_is_told_as_one(checkpoint):
    told = {**checkpoint.provenance, "averaged_from": ["aaa", "bbb"], "averaged_share": 0.5}
    assert "mean of the weights" not in write_card(checkpoint, {})
    card = write_card(replace(checkpoint, provenance=told), {})
    assert "| mean of the weights of | aaa and bbb, 50% of the second's" in card


def test_no_figure_is_written_by_hand(checkpoint, reports):
    """Other figures in a report are other figures in the card, everywhere."""
    report = json.loads(json.dumps(reports["test faces"]))
    for entry in report["overall"].values():
        if entry["value"] is not None:
            entry |= {"value": 0.12345, "low": 0.1, "high": 0.2}
    card = write_card(checkpoint, {"changed": report})
    assert "| AUC | 0.123 [0.100, 0.200] | 0.123 [0.100, 0.200] |" in card


def test_the_command(demo, reports, tmp_path, capsys):
    path, output = tmp_path / "report.json", tmp_path / "MODEL_CARD.md"
    path.write_text(json.dumps(reports["test faces"]))
    words = ["card", "--weights", str(demo[0].checkpoint), "--output", str(output), "--report"]
    for text, code in ((f"faces={path}", 0), (str(path), 2), (f"faces={tmp_path}/gone.json", 2)):
        with pytest.raises(SystemExit) as left:
            main([*words, text])
        assert (left.value.code or 0) == code, capsys.readouterr().err
    assert output.read_text(encoding="utf-8").startswith("# Model card: ")
    assert "### faces" in output.read_text(encoding="utf-8")
