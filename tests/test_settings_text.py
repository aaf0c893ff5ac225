"""`mdcsd settings`: every setting with its meaning, and a recipe that says the same again."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from mdcsd.cli import main
from mdcsd.judging_config import RowConfig
from mdcsd.recipe import load_settings
from mdcsd.settings import Settings
from mdcsd.settings_text import meanings, write_settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_what_is_printed_of_a_recipe_is_that_recipe(path, tmp_path):
    settings = load_settings(path, [], {})
    again = tmp_path / "again.toml"
    again.write_text(write_settings(settings, []), encoding="utf-8")
    assert replace(load_settings(again, [], {}), given=frozenset()) == replace(
        settings, given=frozenset()
    )


def test_every_setting_has_a_meaning():
    sections = [getattr(Settings(), each.name) for each in fields(Settings)]
    for kind in (*map(type, filter(is_dataclass, sections)), RowConfig):
        assert set(meanings(kind)) == {each.name for each in fields(kind)}


def test_the_command_prints_the_sections_asked_for(capsys):
    with pytest.raises(SystemExit) as left:
        main(
            [
                "settings",
                "blend",
                "train",
                "train",
                "--recipe",
                "without_fakes",
                "--set",
                "blend.eyes=.25",
            ]
        )
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert [line for line in text.splitlines() if line.startswith("[")] == ["[blend]", "[train]"]
    lines = text.splitlines()
    assert lines[lines.index("eyes = 0.25") - 1] == "# Weight of the eyes with their brows."
    assert "other_person = 0.4" in lines and "# teacher =" in lines


def test_a_section_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as left:
        main(["settings", "blends"])
    assert left.value.code == 2
    assert "error: no section [blends]. Did you mean 'blend'?" in capsys.readouterr().err
