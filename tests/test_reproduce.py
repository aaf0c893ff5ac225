"""Protocols end to end on miniatures: a tree as downloaded in, a table out, on the CPU.

The clips are of real people where the folder of media is beside the checkout, else the
demo's; each test says which.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

from conftest import MEDIA
from mdcsd.cli import main
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.metrics import describe_pooling
from mdcsd.recipe import load_settings
from mdcsd.reproduce import make_plan
from mdcsd.runs import RunFolder
from trees import ClipMaker, make_celebdf, make_dfd, make_ffpp, tiny, words

PRETRAINED = "network.pretrained=none"


@pytest.fixture(scope="module")
def maker(portrait):
    made = ClipMaker(MEDIA if MEDIA.is_dir() else None, portrait)
    print(f"miniatures made of {made.source}")
    return made


@pytest.fixture(scope="module")
def ffpp(maker, tmp_path_factory):
    root = tmp_path_factory.mktemp("FaceForensics")
    make_ffpp(root, maker)
    make_dfd(root, maker)
    return root


@pytest.fixture(scope="module")
def celebdf(maker, tmp_path_factory):
    root = tmp_path_factory.mktemp("Celeb-DF-v2")
    make_celebdf(root, maker)
    return root


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["reproduce", *arguments])
    assert left.value.code in (0, None)


def table(output):
    return json.loads((output / "table.json").read_text())["rows"]


def test_ffpp_c23(ffpp, tmp_path, capsys, request):
    output = tmp_path / "out"
    arguments = ("ffpp_c23", "--data", f"ffpp={ffpp}", "--output", str(output),
                 *words(tiny(PRETRAINED, "test.pool=mean")))  # fmt: skip
    run(*arguments)
    rows = table(output)
    names = ["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"]
    assert [row["row"] for row in rows] == [
        *names, "all four, real or manipulated", "all four, five classes",
    ]  # fmt: skip
    for row, name in zip(rows, names, strict=False):
        auc = row["overall"]["video_auc"]
        assert (auc["n_real"], auc["n_fake"]) == (2, 2)  # one official test pair, one manipulation
        assert [group["manipulation"] for group in row["groups"]] == [name]
    for row in rows[4:]:
        assert row["overall"]["video_auc"]["n_fake"] == 8
        assert [group["manipulation"] for group in row["groups"]] == names
        assert row["resampling"]["unit"] == "identities"
    assert len({row["checkpoint_id"] for row in rows}) == 6
    five = rows[5]
    assert five["confusion"]["video"]["columns"] == ["original", *names]
    assert np.array(five["confusion"]["video"]["counts"]).sum(axis=1).tolist() == [2] * 5
    assert 0 <= five["accuracy"]["video"]["low"] <= five["accuracy"]["video"]["value"]
    text = (output / "table.md").read_text()
    assert "Classes: all four, five classes" in text and "Accuracy over 5 classes" in text
    for row in rows:
        assert row["row"] in text and row["checkpoint_id"] in text and row["command"] in text
    _check_commands_are_real(rows)
    trained = {path: path.stat().st_mtime_ns for path in output.rglob("best.safetensors")}
    run(*arguments)  # again: everything is there, nothing is trained anew
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert [row["checkpoint_id"] for row in table(output)] == [r["checkpoint_id"] for r in rows]


def _check_commands_are_real(rows):
    """The commands of the table, through the parser, give the settings of the run."""
    import typer

    from mdcsd.cli import app

    group = typer.main.get_command(app)
    for row in rows:
        for command in row["command"].split(" && "):
            _, name, *rest = shlex.split(command)
            context = group.commands[name].make_context(name, rest)
            given = context.params
            meant = load_settings(given["recipe"], given["assignments"], {})
            if name == "train":
                run = RunFolder(Path(given["output"])).resumed_settings({})
                assert given["model"] == run.network.name
                assert (meant.augment, meant.blend) == (run.augment, run.blend)
                known = replace(meant.train, **{
                    each: getattr(run.train, each)
                    for each in ("train_dataset", "val_dataset", "output", "seed")
                })  # fmt: skip
                assert known == run.train
            else:
                assert row["pooling"] == describe_pooling(meant.test.pool)


def test_cross(ffpp, celebdf, tmp_path):
    output = tmp_path / "out"
    run("cross", "--data", f"ffpp={ffpp}", "--data", f"dfd={ffpp}", "--data",
        f"celebdf2={celebdf}", "--output", str(output),
        *words(tiny(PRETRAINED, "protocol.seeds=[0,1]",
                    "protocol.reference=Xception, RGB only")))  # fmt: skip
    rows = table(output)
    names, data = ("MD-CSDNetwork", "Xception, RGB only"), ("ffpp", "celebdf2", "dfd")
    assert [(row["row"], row["seed"], row["dataset"]) for row in rows] == [
        (name, seed, each) for name in names for seed in (0, 1) for each in data
    ]
    _check_means(json.loads((output / "table.json").read_text()), names[0])
    assert "## Over seeds" in (output / "table.md").read_text()
    counts = {row["dataset"]: row["overall"]["video_auc"] for row in rows}
    assert (counts["celebdf2"]["n_real"], counts["celebdf2"]["n_fake"]) == (2, 2)  # its list
    assert (counts["dfd"]["n_real"], counts["dfd"]["n_fake"]) == (2, 2)  # no list: all of it


def _check_means(table, compared):
    """A row's means over seeds are those of its lines; the reference differs from nothing."""
    assert len(table["over_seeds"]) == 6
    for mean in table["over_seeds"]:
        mine = [r for r in table["rows"]
                if (r["row"], r["dataset"]) == (mean["row"], mean["dataset"])]  # fmt: skip
        assert mean["seeds"] == [row["seed"] for row in mine] == [0, 1]
        aucs = [row["overall"]["frame_auc"]["value"] for row in mine]
        assert mean["frame_auc"] == pytest.approx(sum(aucs) / 2)
        if mean["row"] != compared:
            assert mean["difference"] is None
            continue
        differences = [row["difference"]["difference"]["frame_auc"]["value"] for row in mine]
        entry = mean["difference"]["frame_auc"]
        assert entry["value"] == pytest.approx(sum(differences) / 2)
        assert entry["low"] <= entry["value"] <= entry["high"]


def test_ablation(ffpp, tmp_path):
    """Rows start from ImageNet: here from a file in timm's names, of random numbers."""
    output, weights = tmp_path / "out", tmp_path / "weights.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), weights)
    sets = tiny(f"network.pretrained_file={weights}", "train.manipulations=Deepfakes,FaceSwap")
    run("ablation", "--data", f"ffpp={ffpp}", "--output", str(output), *words(sets))
    rows = table(output)
    assert len(rows) == 10
    assert rows[0]["difference"] is None
    for row in rows[1:]:
        none = {"frame": 0, "video": 0}
        assert row["difference"]["only_here"] == row["difference"]["only_there"] == none
        both = row["overall"]["frame_auc"]["value"], rows[0]["overall"]["frame_auc"]["value"]
        entry = row["difference"]["difference"]["frame_auc"]
        assert entry["value"] == pytest.approx(both[0] - both[1])
    assert "Over seeds" not in (output / "table.md").read_text()  # of one seed there is no mean


def test_dry_run_says_steps_sizes_and_an_estimate_and_does_nothing(ffpp, tmp_path, capsys):
    output = tmp_path / "out"
    run("leave_one_out", "--data", f"ffpp={ffpp}", "--output", str(output), "--dry-run",
        *words(tiny(PRETRAINED)))  # fmt: skip
    said = capsys.readouterr().out
    assert "train 4 real 16 manipulated, val 2 real 8 manipulated, test 2 real 8" in said
    assert "3 frames of each" in said and "images/s, measured now" in said
    assert said.count("train: without") == 4
    assert "of at most 60 images" in said  # 20 videos of three frames
    assert [path.name for path in output.iterdir()] == ["ffpp.csv"]
    run("leave_one_out", "--data", f"ffpp={ffpp}", "--output", str(output), "--dry-run",
        *words(tiny(PRETRAINED, "train.epoch_samples=10")))  # fmt: skip
    assert "of at most 10 images" in capsys.readouterr().out


def test_what_is_missing_is_said(ffpp, celebdf, tmp_path):
    with pytest.raises(InputError, match="cross needs celebdf2"):
        make_plan(Path("cross"), [], [("ffpp", ffpp)], tmp_path)
    with pytest.raises(SettingError, match="no protocol"):
        make_plan(Path("tiny"), [], [("ffpp", ffpp)], tmp_path)
    with pytest.raises(DataError, match="compression c40"):
        # c40 was not downloaded: its recipe must not quietly take c23
        make_plan(Path("ffpp_c40"), [], [("ffpp", ffpp)], tmp_path)


def test_what_the_data_lacks_stands_in_plan_and_table(ffpp, tmp_path, capsys):
    """Trap: of half a download, "the paper's table"."""
    sets = tiny(PRETRAINED, 'protocol.tests=["ffpp"]')
    arguments = ("cross", "--data", f"ffpp={ffpp}", "--output", str(tmp_path), *words(sets))
    run(*arguments, "--dry-run")
    planned = capsys.readouterr().out
    run(*arguments)
    missing = json.loads((tmp_path / "table.json").read_text())["missing"]["ffpp"]
    assert any("videos are not there" in line for line in missing)
    assert any(line.startswith("masks of ") for line in missing)
    text = (tmp_path / "table.md").read_text()
    assert all(f"missing: {line}" in planned and f"- ffpp: {line}" in text for line in missing)


def test_a_manipulation_that_was_not_downloaded_is_said_before_anything_runs(ffpp, tmp_path):
    sets = ['protocol.manipulations=["Deepfakes", "FaceShifter"]']
    with pytest.raises(DataError, match=r"no videos of Face2Face, FaceShifter, FaceSwap"):
        make_plan(Path("ffpp_c23"), sets, [("ffpp", ffpp)], tmp_path)


def test_another_training_in_the_same_folder_is_refused(ffpp, tmp_path):
    output = tmp_path / "out"
    base = ("cross", "--data", f"ffpp={ffpp}", "--output", str(output))
    sets = tiny(PRETRAINED, 'protocol.tests=["ffpp"]', "protocol.reference=null")
    sets = [each for each in sets if "reference" not in each]
    run(*base, *words(sets))
    with pytest.raises(SystemExit) as left:
        main(["reproduce", *base, *words([*sets, "train.learning_rate=1e-5"])])
    assert left.value.code == 2
    with pytest.raises(SystemExit) as left:
        main(["reproduce", *base, *words([*sets, "augment.enabled=true"])])
    assert left.value.code == 2


def test_another_selection_in_the_same_folder_is_no_old_table(celebdf, ffpp, tmp_path):
    """Trap: the crops of videos that a later plan leaves out stay in the folder and the table."""
    fewer = tmp_path / "Celeb-DF-v2"
    shutil.copytree(celebdf, fewer)
    output = tmp_path / "out"
    sets = tiny(PRETRAINED, 'protocol.tests=["celebdf2"]', "protocol.rows=[{name='one'}]")
    arguments = ("cross", "--data", f"ffpp={ffpp}", "--data", f"celebdf2={fewer}",
                 "--output", str(output), *words(sets))  # fmt: skip
    run(*arguments)
    auc = table(output)[0]["overall"]["video_auc"]
    assert (auc["n_real"], auc["n_fake"]) == (2, 2)
    listed = fewer / "List_of_testing_videos.txt"
    listed.write_text("\n".join(listed.read_text().splitlines()[:2]) + "\n")
    run(*arguments)
    auc = table(output)[0]["overall"]["video_auc"]
    assert (auc["n_real"], auc["n_fake"]) == (1, 1)


def test_a_data_set_is_given_once(ffpp, tmp_path):
    with pytest.raises(InputError, match=r"--data ffpp=\.\.\. is given twice"):
        make_plan(Path("ffpp_c23"), [], [("ffpp", ffpp), ("ffpp", tmp_path)], tmp_path / "out")
