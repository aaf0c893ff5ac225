"""The front page is true: every command in it runs, every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mdcsd import demo as demo_room
from mdcsd.cli import main
from mdcsd.evaluation import run_test
from mdcsd.judging_config import TestConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def in_bash(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=cwd, capture_output=True, text=True
    )


def test_make_demo_with_a_file_of_ones_own(clip, tmp_path, monkeypatch, capsys):
    """What `make demo VIDEO=my.mp4` calls, at a small size; the whole runs in .ci/run."""
    assert blocks("sh")[1].strip() == "make demo"
    assert "`make demo VIDEO=my.mp4`" in README
    folder = tmp_path / "demo"
    recipe = in_bash(
        f"make -n -C '{ROOT}' demo VENV='{sys.prefix}' DEMO_OUTPUT='{folder}' VIDEO='{clip}'",
        tmp_path,
    )
    assert recipe.returncode == 0, recipe.stderr
    last = [line for line in recipe.stdout.splitlines() if "mdcsd demo" in line][-1]
    program, *words = shlex.split(last)
    assert Path(program) == Path(sys.prefix) / "bin" / "mdcsd"
    small = partial(demo_room.run_demo, size=demo_room.DemoSize(3, 12, 4))
    monkeypatch.setattr(demo_room, "run_demo", small)
    with pytest.raises(SystemExit) as left:
        main(words)
    said = capsys.readouterr().out
    assert left.value.code in (0, None), said
    for step in "1234567":
        assert re.search(rf"^{step}\. ", said, re.MULTILINE), said
    assert f"{clip}: score" in said and (folder / "sheet.png").is_file()
    assert "make demo" in (ROOT / ".ci" / "run").read_text()


def test_the_first_command_needs_no_option(checkout, clip):
    """Its first line is the install, which made the environment that this test runs in."""
    install, *rest = blocks("sh")[0].splitlines()
    assert install == "make install" and rest == [".venv/bin/mdcsd detect my.mp4"]
    shutil.copy(clip, checkout / "my.mp4")
    done = in_bash("\n".join(rest), checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(likely|uncertain|cannot).*my\.mp4: ", done.stdout)


@pytest.fixture
def checkout(demo, tmp_path) -> Path:
    """A folder that looks like a checkout after `make demo`."""
    for name in ("process_frames.py", "prepare_dataset.py", "classifier.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "demo_output").symlink_to(demo[1])
    return tmp_path


def test_every_other_command_and_the_python_run(checkout, monkeypatch, capsys):
    for block in blocks("sh")[2:]:
        done = in_bash(block, checkout)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "verdicts.jsonl").read_text().count("\n") == 8
    monkeypatch.chdir(checkout)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert re.match(r"(likely|uncertain|cannot)", capsys.readouterr().out)


@pytest.fixture
def desk(demo, clip, test_set, tmp_path) -> Path:
    """What the pages for people take for granted: a checkpoint, a clip, a folder, a table."""
    shutil.copy(demo[0].checkpoint, tmp_path / "best.safetensors")
    (tmp_path / "inbox").mkdir()
    for path in (tmp_path / "clip.mp4", tmp_path / "inbox" / "one.mp4"):
        shutil.copy(clip, path)
    (tmp_path / "faces_color_raw_test_tf").symlink_to(test_set)
    settings = TestConfig(model=str(demo[0].checkpoint), test_dataset=str(test_set), draws=0)
    table, _ = run_test(settings).write(tmp_path)
    table.rename(tmp_path / "theirs.csv")
    return tmp_path


@pytest.mark.parametrize("reader", ["analysts", "researchers", "engineers"])
def test_every_command_of_the_pages_for_people_runs(reader, desk, monkeypatch, capsys):
    page = (ROOT / "docs" / f"for_{reader}.md").read_text(encoding="utf-8")
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:{os.environ['PATH']}")
    for block in blocks("sh", page):
        done = in_bash(block, desk)
        assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.chdir(desk)
    for block in blocks("python", page):
        exec(compile(block, page, "exec"), {})
    made = {
        "analysts": ("clip.html", "pages/index.html", "verdicts.csv", "strips"),
        "researchers": ("ours/report.json", "page.html"),
        "engineers": ("verdicts.jsonl", "one.jsonl"),
    }
    assert all((desk / name).exists() for name in made[reader])
    said = capsys.readouterr().out
    assert {"analysts": "", "researchers": "(2,)", "engineers": "missing.mp4: no such file"}[
        reader
    ] in said


def test_every_link_into_the_repository_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_paper_and_the_data_sets_are_credited():
    for text in (README, (ROOT / "CITATION.cff").read_text(encoding="utf-8")):
        flat = " ".join(text.split())
        assert "Multi-Domain Cross Stitched Network for Deepfake Detection" in flat
        assert "FG 2021" in flat
        for name in ("Agarwal", "Sinha", "Vatsa", "Singh"):
            assert name in flat
    for name in ("FaceForensics++", "Celeb-DF", "DeepFakeDetection"):
        assert name in README


def test_changelog_has_the_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()


def test_notice_names_the_files_as_they_are():
    import hashlib

    notice = (ROOT / "NOTICE").read_text()
    others = (
        p
        for p in (ROOT / "src" / "mdcsd" / "assets").iterdir()
        if p.suffix not in {".j2", ".css", ".js"}
    )
    for path in sorted(others):
        assert path.name in notice
        assert hashlib.sha256(path.read_bytes()).hexdigest() in notice
