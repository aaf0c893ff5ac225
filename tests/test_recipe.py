"""Settings: defaults < recipe < --set < flags; nothing unknown, nothing unread."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mdcsd.config import parse_image_size
from mdcsd.errors import SettingError
from mdcsd.recipe import find_recipe, load_settings
from mdcsd.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_understood(path):
    settings = load_settings(path, [], {})
    assert settings.given
    assert find_recipe(Path(path.stem)) == path


def test_precedence(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[train]\nepochs = 7\nbatch_size = 8\nseed = 3\n")
    sets = ["train.batch_size=9", "train.seed=4"]
    settings = load_settings(recipe, sets, {"train": {"seed": 5}})
    train = settings.train
    assert (train.early_stopping, train.epochs, train.batch_size, train.seed) == (5, 7, 9, 5)
    assert settings.given == {"train.epochs", "train.batch_size", "train.seed"}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.epoch=2", "unknown setting train.epoch. Did you mean 'epochs'?"),
        ("trian.epochs=2", "unknown section [trian]. Did you mean 'train'?"),
        ("train.epochs=two", "train.epochs = 'two': expected int."),
        ("train.epochs=true", "train.epochs = True: expected int."),
        ("network.stitch=maybe", "expected one of scalar, channel, none."),
        ("train.epochs=0", "--epochs 0: expected 1 or more."),
        ("epochs=2", "expected section.key=value"),
        ("given.x=1", "unknown section [given]"),
    ],
)
def test_wrong_settings_say_what_is_right(assignment, words):
    with pytest.raises(SettingError, match=re.escape(words)):
        load_settings(None, [assignment], {})


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(SettingError, match=r"no such recipe file\. Did you mean 'tiny'"):
        load_settings(Path("tini"), [], {})


def test_a_recipe_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("[train\nepochs")
    with pytest.raises(SettingError, match="not a TOML file"):
        load_settings(tmp_path / "bad.toml", [], {})


@pytest.mark.parametrize("text", ["128", "128,128,3", "[128, 128, 3]", "128, 128"])
def test_image_sizes_as_users_write_them(text):
    assert parse_image_size(text)[0] == 128


@pytest.mark.parametrize("text", ["", "big", "128,64,3", "128,128,4", "8", "1,2,3,4"])
def test_impossible_image_sizes(text):
    with pytest.raises(SettingError, match="--image_size"):
        parse_image_size(text)


@pytest.mark.parametrize(
    ("text", "value"), [(".5", 0.5), ("5.", 5.0), ("+.25", 0.25), ("1e-4", 1e-4)]
)
def test_numbers_are_read_as_people_type_them(text, value):
    assert load_settings(None, [f"train.learning_rate={text}"], {}).train.learning_rate == value


@pytest.mark.parametrize("turn", [1, -1])
def test_settings_that_bound_each_other_come_in_any_order(turn, tmp_path):
    """They are checked together, a recipe's with those laid over it."""
    wanted = ["augment.h264_lowest=42", "augment.h264_highest=45"][::turn]
    assert load_settings(None, wanted, {}).augment.h264_highest == 45
    recipe = tmp_path / "r.toml"
    recipe.write_text("[augment]\nh264_lowest = 42\n")
    with pytest.raises(SettingError, match=r"augment\.h264_highest 38: expected 42"):
        load_settings(recipe, [], {})
    settings = load_settings(recipe, ["augment.h264_highest=44"], {"augment": {"h264": 0.3}})
    assert (settings.augment.h264_lowest, settings.augment.h264_highest) == (42, 44)
    assert settings.given == {"augment.h264", "augment.h264_highest", "augment.h264_lowest"}


def test_every_setting_is_read_somewhere():
    """A field that no room mentions would be a flag that nothing reads."""
    package = ROOT / "src" / "mdcsd"
    rooms = [path.read_text() for path in package.glob("*.py") if path.name != "config.py"]
    config = (package / "config.py").read_text()
    derived = [config.split(f"def {name}(", 1)[1].split("\n\n")[0]
               for name in ("selection", "representation")]  # fmt: skip
    text = "\n".join(rooms + derived)
    for section in fields(Settings):
        if section.name == "given":
            continue
        for each in fields(getattr(Settings(), section.name)):
            owner = rf"(config|network|self|{section.name})"
            assert re.search(rf"\b{owner}\.{each.name}\b", text), f"{section.name}.{each.name}"


def test_the_paper_and_every_stage_of_the_detector_tell_real_from_manipulated():
    """One sigmoid, as the paper has it; a stage of five classes would be none to go on from."""
    for recipe in ("paper", "warm_up"):
        assert load_settings(Path(recipe), [], {}).train.binary
    for recipe in ("half_size", "full_size", "default", "taught"):
        assert load_settings(Path(recipe), [], {}).blend.share > 0  # which makes two classes
