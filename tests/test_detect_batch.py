"""Many files: which they are, what is written of each, what is not done twice, what is refused."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from mdcsd import Detector, detect_batch, storage
from mdcsd.cli.options import standard_input
from mdcsd.detect_batch import Batch, Outputs
from mdcsd.detect_file import judge_file
from mdcsd.errors import DataError, InputError, MediaError
from mdcsd.inputs import find_inputs
from mdcsd.judging_config import DetectConfig
from mdcsd.report_index import index_row, other_rows
from mdcsd.storage import sha256_of
from test_cli import call

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[1] / "docs" / "schema.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def detector(demo) -> Detector:
    return Detector(demo[0].checkpoint)


@pytest.fixture
def folder(clip, portrait, tmp_path) -> Path:
    """A clip, a picture, and a file that is neither."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "in" / "deep" / "a.mp4")
    Image.fromarray(portrait).save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "c.mp4").write_text("no video")
    return tmp_path / "in"


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The names of the files that were judged."""
    names: list[str] = []
    judge = Detector.judge

    def counting(self, path, *words, **named):
        names.append(Path(path).name)
        return judge(self, path, *words, **named)

    monkeypatch.setattr(Detector, "judge", counting)
    return names


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_words_become_files(folder, monkeypatch):
    monkeypatch.chdir(folder)
    a, b, c = Path("deep/a.mp4"), Path("b.png"), Path("c.mp4")
    assert find_inputs(["."], ()) == [b, c, a]
    assert find_inputs(["**/*.mp4"], ()) == [c, a]
    assert find_inputs(["b.*", "b.png", "b.png"], ()) == [b]
    assert find_inputs(["-"], io.StringIO("deep/a.mp4\n\nb.png\n")) == [a, b]
    assert find_inputs(["gone.mp4", "*.gone"], ()) == [Path("gone.mp4"), Path("*.gone")]
    with pytest.raises(InputError, match="no file is named on standard input"):
        find_inputs(["-"], io.StringIO("\n"))
    too_long = Path("x" * 300)
    assert find_inputs(["b.png", str(too_long)], ()) == [b, too_long]
    Path("[x].png").write_bytes(b.read_bytes())
    assert find_inputs(["[x].png"], ()) == [Path("[x].png")]


def test_a_batch_goes_on_past_a_bad_file(demo, folder, tmp_path, capsys):
    """Pages, index, table and lines; the lines are as docs/schema.json says."""
    out = tmp_path / "out"
    words = ["detect", folder, "--weights", demo[0].checkpoint, "--frames", 5]
    outputs = ["--report", out, "--json", out / "v.jsonl", "--csv", out / "v.csv"]
    assert call(*words, *outputs) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith(f"1 of 3 file(s) could not be judged:\n  {folder / 'c.mp4'}\n")
    assert {path.name for path in out.iterdir()} == {
        "a.mp4.html", "b.png.html", "index.html", "v.jsonl", "v.csv",
    }  # fmt: skip
    rows = lines_of(out / "v.jsonl")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for row in rows:
        jsonschema.validate(row, SCHEMA)
    assert [Path(row["path"]).name for row in rows] == ["b.png", "c.mp4", "a.mp4"]
    assert "error" in rows[1] and rows[0]["media"]["kind"] == "picture"
    with open(out / "v.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    assert [row["score"] for row in table] == [str(rows[0]["score"]), "", str(rows[2]["score"])]
    assert table[2]["codec"] == "h264" and "no video" not in table[1]["error"]
    index = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="a.mp4.html"' in index and "c.mp4.html" not in index


@pytest.mark.parametrize(
    "change",
    [
        {"error": "both"},
        {"score": None},
        {"score": 1.5},
        {"verdict": "fake"},
        {"schema": 2},
        {"sha256": "short"},
    ],
)
def test_the_schema_refuses_what_is_no_line(change, detector, clip):
    line = json.loads(detector.judge(clip, n_frames=5).to_json())
    jsonschema.validate(line, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**line, **change}, SCHEMA)


def run(detector, outputs: Outputs, *inputs: Path, frames: int = 5) -> list:
    config = DetectConfig(weights="w.safetensors", frames=frames)
    return list(Batch(inputs, detector, config, outputs).run())


def test_an_index_lists_what_earlier_runs_left_in_its_folder(detector, folder, tmp_path):
    """The last run's files first; what is no page of ours is let be."""
    a, b, bad = folder / "deep" / "a.mp4", folder / "b.png", folder / "c.mp4"
    outputs = Outputs(report=tmp_path / "pages")
    run(detector, outputs, a, bad)
    others = {
        "mine.html": "<p>mine</p>", "cut.html": '<meta name="mdcsd-verdict" content="{&quot;pa',
        "odd.html": '<meta name="mdcsd-verdict" content=\'{"path": "x", "verdict": "false"}\'>',
        "list.html": '<meta name="mdcsd-verdict" content="[]">', "none.html": "",
    }  # fmt: skip
    for name, text in others.items():
        (outputs.report / name).write_text(text)
    (outputs.report / "folder.html").mkdir()
    run(detector, outputs, b)
    index = (outputs.report / "index.html").read_text()
    assert re.findall(r'href="([^"]*)"', index) == ["b.png.html", "a.mp4.html"]
    assert f">{a}</a>" in index and "<h1>2 files" in index
    (row,) = other_rows(outputs.report, {"b.png.html"})
    verdict = detector.judge(a, n_frames=5)
    assert row == index_row(verdict.to_dict(), "a.mp4.html")
    run(detector, outputs, a, b)
    assert (outputs.report / "index.html").read_text().count("href=") == 2
    assert {name: (outputs.report / name).read_text() for name in others} == others


def test_what_is_done_is_not_done_again(detector, folder, tmp_path, counted):
    a, b, c = find_inputs([str(folder / name) for name in ("deep/a.mp4", "b.png", "c.mp4")], ())
    outputs = Outputs(tmp_path / "v.jsonl", tmp_path / "v.csv", tmp_path / "pages")
    batch = Batch([a, b, c], detector, DetectConfig(frames=5), outputs).run()
    assert next(batch).path == a
    batch.close()
    assert [Path(row["path"]) for row in lines_of(outputs.json)] == [a]
    assert "a.mp4.html" in (outputs.report / "index.html").read_text()
    with open(outputs.json, "a", encoding="utf-8") as file:
        file.write('{"path": "cut o')
    first = outputs.json.read_text().splitlines()[0]

    assert [each.was_done for each in run(detector, outputs, a, b, c)] == [True, False, False]
    assert counted == ["a.mp4", "b.png", "c.mp4"]
    assert outputs.json.read_text().splitlines()[0] == first
    assert [Path(row["path"]) for row in lines_of(outputs.json)] == [a, b, c]
    assert outputs.csv.read_text().count("\n") == 4

    counted.clear()
    run(detector, outputs, a, b, c)
    assert counted == ["c.mp4"], "what could not be read is tried again"
    counted.clear()
    (outputs.report / "b.png.html").unlink()
    run(detector, outputs, a, b)
    assert counted == ["b.png"], "its page was gone"
    rows = [Path(row["path"]) for row in lines_of(outputs.json)]
    assert rows == [c, a, b], "what this run does not judge is kept"
    counted.clear()
    Image.new("RGB", (300, 300), "grey").save(b)
    run(detector, outputs, a, b)
    assert counted == ["b.png"], "the file is another"
    counted.clear()
    run(detector, outputs, a, b, frames=6)
    assert counted == ["a.mp4", "b.png"], "the settings are others"


def test_other_thresholds_are_another_verdict(demo, clip, tmp_path, counted):
    from dataclasses import replace

    from mdcsd.checkpoint import load_checkpoint, save_checkpoint
    from mdcsd.judging_nouns import Calibration

    outputs = Outputs(json=tmp_path / "v.jsonl")
    run(Detector(demo[0].checkpoint), outputs, clip)
    by_hand = Calibration(0.1, 0.2, 0.9, 1.0, "by hand")
    path = tmp_path / "w.safetensors"
    save_checkpoint(replace(load_checkpoint(demo[0].checkpoint), calibration=by_hand), path)
    run(Detector(path), outputs, clip)
    assert len(counted) == 2
    assert [row["calibrated_on"] for row in lines_of(outputs.json)] == ["by hand"]


def test_resuming_is_said_in_one_line(demo, clip, tmp_path, capsys):
    words = ["detect", clip, "--weights", demo[0].checkpoint, "--json", tmp_path / "v.jsonl",
             "--frames", 5]  # fmt: skip
    assert call(*words) == 0 and "already" not in capsys.readouterr().err
    assert call(*words) == 0
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "1 of 1 file(s) are in" in printed.err
    assert not printed.out


def test_inputs_of_one_name_have_pages_of_their_own(detector, clip, tmp_path):
    copies = [tmp_path / name / "x.mp4" for name in ("one", "two")] + [tmp_path / "X.MP4"]
    for copy in copies:
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(clip, copy)
    batch = Batch(copies, detector, DetectConfig(), Outputs(report=tmp_path / "pages"))
    names = {page.name for page in batch.pages.values()}
    assert len({name.casefold() for name in names}) == 3
    odd = [tmp_path / "index", tmp_path / ("é" * 120 + ".mp4"), tmp_path / "\x1b[2J.mp4"]
    for page in Batch(odd, detector, DetectConfig(), Outputs(report=tmp_path)).pages.values():
        assert page.name != "index.html" and len(page.name.encode()) < 200
        assert page.name.isprintable()


def test_outputs_never_overwrite_inputs_or_each_other(detector, clip, tmp_path):
    mine = tmp_path / "x.html"
    mine.write_text("mine")
    (tmp_path / "link.csv").symlink_to(clip)
    for outputs, inputs, said in (
        (Outputs(json=clip), [clip], "is an input"),
        (Outputs(csv=tmp_path / "link.csv"), [clip], "is an input"),
        (Outputs(report=mine), [mine], "is an input"),
        (Outputs(json=tmp_path / "w.safetensors"), [clip], "is an input"),
        (Outputs(json=tmp_path / "o", csv=tmp_path / "o"), [clip], "two outputs of one name"),
        (Outputs(csv=tmp_path / "holiday.JPG"), [clip], "the name of a picture or video"),
        (Outputs(report=tmp_path / "w.safetensors"), [clip], "Expected a name that ends in .html"),
        (Outputs(json=tmp_path / "p" / "index.html", report=tmp_path / "p"), [clip], "two outputs"),
        (Outputs(report=tmp_path / "o.html"), [clip, mine], "a page holds one file"),
        (Outputs(json=mine), [clip], "holds no verdicts"),
        (Outputs(report=tmp_path / "o.pdf"), [clip], "o.pdf: --report writes a page, .html, or"),
        (Outputs(csv=tmp_path / "o.XLSX"), [clip], "o.XLSX: --csv writes a table, .csv."),
        (Outputs(json=tmp_path / "o.xls"), [clip], "o.xls: --json writes lines of JSON"),
        (Outputs(report=tmp_path / "o.jsonl"), [clip], "o.jsonl: --report writes a page"),
    ):
        (tmp_path / "w.safetensors").touch()
        before = clip.read_bytes()
        config = DetectConfig(weights=str(tmp_path / "w.safetensors"))
        with pytest.raises(InputError, match=said):
            list(Batch(inputs, detector, config, outputs).run())
        assert clip.read_bytes() == before and mine.read_text() == "mine"


def test_a_page_of_one_file(demo, clip, tmp_path):
    page = tmp_path / "page.html"
    words = ["detect", clip, "--weights", demo[0].checkpoint, "--frames", 5, "--report"]
    assert call(*words, page) == 0
    assert clip.name in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_exit_codes(demo, clip, tmp_path, monkeypatch):
    words = ["detect", clip, "--weights", demo[0].checkpoint, "--frames", 5]
    fake = next((demo[1] / "clips" / "Deepfakes").glob("*.mp4"))
    grey = tmp_path / "grey.png"
    Image.new("RGB", (300, 300), "grey").save(grey)
    assert call(*words, fake) == 0 and call(*words, grey) == 0
    assert call(*words, fake, "--fail-on", "manipulated") == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{fake}\n"))
    assert call("detect", "-", *words[2:], "--fail-on", "manipulated") == 3
    assert call(*words, fake, tmp_path / "gone.mp4", "--fail-on", "manipulated") == 2
    assert call(*words, "--fail-on", "uncertain") == 2

    def broken(*_, **__):
        raise RuntimeError("ours")

    monkeypatch.setattr(Detector, "judge", broken)
    assert call(*words) == 1


def test_a_name_that_is_no_utf8_comes_by_standard_input(monkeypatch):
    given = io.TextIOWrapper(io.BytesIO(b"caf\xe9.mp4\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", given)
    assert find_inputs(["-"], standard_input()) == [Path("caf\udce9.mp4")]


def test_a_cell_is_no_formula(tmp_path, detector, monkeypatch):
    def refuse(self, path, *_):
        raise MediaError(f"{path}: cut")

    monkeypatch.setattr(Detector, "judge", refuse)
    outputs = Outputs(csv=tmp_path / "v.csv")
    run(detector, outputs, Path('=HYPERLINK("x")'), Path("caf\udce9\n.mp4"))
    with open(outputs.csv, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"] == '\'=HYPERLINK("x")' and rows[0]["error"].startswith("'=")
    assert rows[1]["path"] == r"caf\udce9\n.mp4"


def test_a_bug_in_one_file_leaves_the_others_written(folder, detector, tmp_path, monkeypatch):
    judge = Detector.judge

    def failing(self, path, *words, **named):
        if Path(path).name == "b.png":
            raise ValueError("unforeseen")
        return judge(self, path, *words, **named)

    monkeypatch.setattr(Detector, "judge", failing)
    inputs = find_inputs([str(folder)], [])
    outputs = Outputs(json=tmp_path / "r.jsonl")
    judged = list(Batch(inputs, detector, DetectConfig(), outputs).run())
    assert [each.is_bug for each in judged] == [each.path.name == "b.png" for each in judged]
    bug = next(line for line in lines_of(tmp_path / "r.jsonl") if line["path"].endswith("b.png"))
    assert "a bug in mdcsd, please report it (ValueError: unforeseen)" in bug["error"]
    assert len(lines_of(tmp_path / "r.jsonl")) == len(inputs) == 3


def test_a_file_that_goes_is_the_files_fault_and_broken_weights_end_the_batch(
    folder, detector, tmp_path, monkeypatch
):
    def failing(self, path, *words, **named):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Detector, "judge", failing)
    (judged,) = Batch([folder / "b.png"], detector, DetectConfig(), Outputs()).run()
    assert not judged.is_bug and "cannot be read (Input/output error)" in judged.line["error"]

    def diverged(self, path, *words, **named):
        raise DataError("the network answers NaN")

    monkeypatch.setattr(Detector, "judge", diverged)
    with pytest.raises(DataError, match="NaN"):
        list(Batch([folder / "b.png"], detector, DetectConfig(), Outputs()).run())


def test_results_of_other_inputs_stay(folder, detector, tmp_path):
    outputs = Outputs(json=tmp_path / "r.jsonl")
    for name in ("b.png", "c.mp4"):
        list(Batch([folder / name], detector, DetectConfig(), outputs).run())
    assert [Path(line["path"]).name for line in lines_of(outputs.json)] == ["b.png", "c.mp4"]


def test_a_page_of_another_file_of_that_name_stays(folder, detector, tmp_path, counted):
    twin = tmp_path / "other" / "b.png"
    twin.parent.mkdir()
    with Image.open(folder / "b.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(twin)
    outputs = Outputs(json=tmp_path / "r.jsonl", report=tmp_path / "pages")
    for path in (folder / "b.png", twin, folder / "b.png", folder / "b.png"):
        run(detector, outputs, path)
    assert counted == ["b.png"] * 2
    page = (tmp_path / "pages" / "b.png.html").read_text(encoding="utf-8")
    assert sha256_of(folder / "b.png") in page and sha256_of(twin) not in page
    (other,) = (tmp_path / "pages").glob("b.png.????????.html")
    assert sha256_of(twin) in other.read_text(encoding="utf-8")


def test_a_table_is_not_written_over_what_is_none(folder, detector, tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text("my own,notes\n")
    with pytest.raises(InputError, match="holds no verdicts"):
        run(detector, Outputs(csv=notes), folder / "b.png")
    assert notes.read_text() == "my own,notes\n"
    for name in ("b.png", "c.mp4", "b.png"):  # rows on other files stay
        run(detector, Outputs(csv=tmp_path / "v.csv"), folder / name)
    with open(tmp_path / "v.csv", encoding="utf-8", newline="") as file:
        assert [Path(row["path"]).name for row in csv.DictReader(file)] == ["c.mp4", "b.png"]


def test_results_stay_until_others_take_their_place(folder, detector, tmp_path):
    """All files are judged again, for pages in another folder, and it ends after the first."""
    inputs = [folder / "b.png", folder / "c.mp4", folder / "deep" / "a.mp4"]
    outputs = Outputs(tmp_path / "v.jsonl", tmp_path / "v.csv")
    list(Batch(inputs, detector, DetectConfig(frames=5), outputs).run())
    lines, rows = (path.read_text().splitlines() for path in (outputs.json, outputs.csv))
    pages = Outputs(outputs.json, outputs.csv, tmp_path / "pages")
    batch = Batch(inputs, detector, DetectConfig(frames=5), pages)
    assert (batch.n_done, batch.n_again) == (0, 2)
    run = batch.run()
    next(run)
    run.close()
    left, table = (path.read_text().splitlines() for path in (outputs.json, outputs.csv))
    assert sorted(json.loads(line)["path"] for line in left) == sorted(map(str, inputs))
    assert left[:2] == lines[1:] and table[1:3] == rows[2:]
    assert left[2] != lines[0] or json.loads(lines[0])["judged_at"] in left[2]
    assert Batch(inputs, detector, DetectConfig(frames=5), pages).n_done == 1


def test_two_runs_do_not_write_one_table(detector, folder, tmp_path):
    outputs = Outputs(tmp_path / "v.jsonl", tmp_path / "v.csv")
    config = DetectConfig(frames=5)
    first = Batch([folder / "b.png"], detector, config, outputs)
    for others in (outputs, Outputs(json=outputs.json), Outputs(csv=outputs.csv)):
        with pytest.raises(InputError, match="another run is writing it"):
            Batch([folder / "c.mp4"], detector, config, others)
    list(first.run())
    run(detector, outputs, folder / "c.mp4")
    assert [Path(row["path"]).name for row in lines_of(outputs.json)] == ["b.png", "c.mp4"]
    assert not list(tmp_path.glob(".*lock"))


def test_a_file_system_without_locks_is_written_unguarded(detector, folder, tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(storage.fcntl, "flock", none)
    outputs = Outputs(tmp_path / "v.jsonl")
    run(detector, outputs, folder / "b.png")
    assert len(lines_of(outputs.json)) == 1 and not list(tmp_path.glob(".*lock"))


def test_a_run_that_cannot_begin_leaves_no_lock(detector, folder, tmp_path):
    table = tmp_path / "v.csv"
    table.write_text("mine")
    for _ in range(2):
        with pytest.raises(InputError, match="holds no verdicts"):
            Batch(
                [folder / "b.png"], detector, DetectConfig(), Outputs(tmp_path / "v.jsonl", table)
            )


def test_what_several_processes_did_is_written_when_it_is_done(
    detector, folder, tmp_path, monkeypatch
):
    """The first of three files is still judged when a Ctrl-C comes."""

    def interrupted(jobs, config, n_workers, n_gpus, on_done):
        for job in jobs[1:]:
            on_done(judge_file(job, detector, config))
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(detect_batch, "judge_at_once", interrupted)
    outputs = Outputs(tmp_path / "v.jsonl", tmp_path / "v.csv")
    inputs = [folder / "deep" / "a.mp4", folder / "b.png", folder / "c.mp4"]
    with pytest.raises(KeyboardInterrupt):
        list(Batch(inputs, detector, DetectConfig(frames=5, workers=2), outputs).run())
    assert [Path(row["path"]).name for row in lines_of(outputs.json)] == ["b.png", "c.mp4"]
    with open(outputs.csv, newline="", encoding="utf-8") as file:
        assert [Path(row["path"]).name for row in csv.DictReader(file)] == ["b.png", "c.mp4"]


def test_a_damaged_line_is_named_and_what_a_power_cut_leaves_is_passed_over(
    detector, folder, tmp_path, counted
):
    outputs = Outputs(tmp_path / "v.jsonl")
    run(detector, outputs, folder / "b.png")
    good = outputs.json.read_bytes()
    outputs.json.write_bytes(good + b"\0" * 200)
    run(detector, outputs, folder / "b.png")
    assert counted == ["b.png"] and outputs.json.read_bytes() == good
    outputs.json.write_bytes(good + b"hello\n" + good)
    with pytest.raises(InputError, match=r"v\.jsonl, line 2: no verdict, where those before it"):
        run(detector, outputs, folder / "b.png")
    assert outputs.json.read_bytes() == good + b"hello\n" + good


def test_names_that_cannot_be_shown_have_rows_of_their_own(detector, portrait, tmp_path):
    names = ["a\nb.png", "a\tb.png", "a\x1bb.png", "a\ufffdb.png", os.fsdecode(b"a\xffb.png")]
    for name in names:
        Image.fromarray(portrait).save(tmp_path / name)
    outputs = Outputs(csv=tmp_path / "v.csv")
    run(detector, outputs, *(tmp_path / name for name in names))
    with open(outputs.csv, newline="", encoding="utf-8") as file:
        shown = [Path(row["path"]).name for row in csv.DictReader(file)]
    assert shown == [r"a\nb.png", r"a\tb.png", r"a\x1bb.png", "a\ufffdb.png", r"a\udcffb.png"]


def test_a_run_that_is_told_to_end_says_what_was_kept(demo, folder, tmp_path, capsys, monkeypatch):
    """SIGTERM, as `timeout` sends it: the second file is being judged."""
    judge = Detector.judge

    def ended(self, path, *words, **named):
        if Path(path).name == "c.mp4":
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(self, path, *words, **named)

    monkeypatch.setattr(Detector, "judge", ended)
    before = signal.getsignal(signal.SIGTERM)
    out = tmp_path / "v.jsonl"
    words = ["detect", folder, "--weights", demo[0].checkpoint, "--frames", 5, "--json", out]
    assert call(*words, "--report", tmp_path / "pages") == 130
    assert "interrupted: what was written before is kept" in capsys.readouterr().err
    assert [Path(row["path"]).name for row in lines_of(out)] == ["b.png"]
    assert (tmp_path / "pages" / "index.html").is_file()
    assert signal.getsignal(signal.SIGTERM) == before
