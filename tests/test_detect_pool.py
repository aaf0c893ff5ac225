"""Several files at once: the same answers in the same order, and what a crash takes along."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from mdcsd import Detector, detect_pool, machine
from mdcsd.detect_batch import Batch, Outputs
from mdcsd.detect_file import Job
from mdcsd.detect_pool import judge_at_once
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.judging_config import DetectConfig
from pool_jobs import (
    die,
    load_damaged,
    load_from_a_lost_disk,
    load_marking,
    load_pretence,
    load_slowly,
)


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(detect_pool, "_load", load_pretence)


def judge(names, n_workers=2, n_gpus=0, on_done=lambda _: None, **settings):
    jobs = [Job(Path(name)) for name in names]
    return judge_at_once(jobs, DetectConfig(**settings), n_workers, n_gpus, on_done)


def test_several_processes_say_what_one_says(demo, clip, portrait, tmp_path):
    Image.fromarray(portrait).save(tmp_path / "b.png")
    (tmp_path / "c.mp4").write_text("no video")
    inputs = [clip, tmp_path / "c.mp4", tmp_path / "b.png"]
    detector = Detector(demo[0].checkpoint)

    def run(workers):
        config = DetectConfig(weights=str(demo[0].checkpoint), frames=5, workers=workers)
        outputs = Outputs(tmp_path / f"{workers}.jsonl", report=tmp_path / f"pages{workers}")
        return list(Batch(inputs, detector, config, outputs).run())

    one, two = run(1), run(2)
    assert [each.path for each in two] == inputs
    assert "error" in two[1].line
    for here, there in zip(one, two, strict=True):
        assert here.line.get("verdict") == there.line["verdict"]
        assert here.line.get("score") == pytest.approx(there.line["score"], abs=1e-5)
    assert len((tmp_path / "2.jsonl").read_text().splitlines()) == 3
    assert sorted(p.name for p in (tmp_path / "pages2").iterdir()) == sorted(
        p.name for p in (tmp_path / "pages1").iterdir()
    )


def test_a_crash_is_one_files_line(pretended):
    names = ["a", "b", "crash.mp4", "d", "e", "f", "g", "crash too", "i"]
    judged = list(judge(names))
    assert [each.path.name for each in judged] == names
    told = [each.path.name for each in judged if "error" in each.line]
    assert told == ["crash.mp4", "crash too"]
    assert "crash.mp4: judging it ended its process" in judged[2].line["error"]


def test_a_file_whose_process_ended_is_judged_once_more_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(detect_pool, "_load", load_marking)
    names = ["a", "dies first", "meet1", "meet2", *"efghijklm"]
    judged = list(judge(names))
    assert [each.path.name for each in judged] == names
    assert [each.line["alive"] for each in judged if each.path.name == "dies first"] == [1]
    assert [each.line["alive"] for each in judged if "meet" in each.path.name] == [2, 2]


def test_a_crash_while_nobody_listens_loses_nothing(pretended):
    judged = []
    for each in judge(["a", "b", "crash", *"defghijklmnop"]):
        judged.append(each.path.name)
        time.sleep(1 if each.path.name == "a" else 0)  # meanwhile a process ends
    assert judged == ["a", "b", "crash", *"defghijklmnop"]


def test_what_was_judged_before_a_crash_is_not_judged_again(pretended, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["once1", "wait", "once2", "once3", "crash"]
    assert [each.path.name for each in judge(names)] == names
    assert all((tmp_path / f"once{n}").read_text() == "judged\n" for n in (1, 2, 3))


def test_processes_of_others_are_left_alone(pretended):
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    list(judge(["a", "b"]))
    next(judge(["a", "slow"]))
    assert other.is_alive()
    other.kill()
    other.join()


def test_where_no_process_lives_it_is_said_once(pretended, monkeypatch):
    monkeypatch.setattr(detect_pool, "_load", die)
    with pytest.raises(InputError, match="no process to judge in can be started"):
        list(judge(["a", "b"]))


def test_processes_share_the_cores(pretended):
    n_cores = machine.count_cores()
    (judged,) = judge(["a"], n_workers=1)
    assert judged.line["OMP_NUM_THREADS"] == str(n_cores)
    (judged, _) = judge(["a", "b"], n_workers=64)
    assert judged.line["OMP_NUM_THREADS"] == str(max(n_cores // 64, 1))


def test_each_process_has_its_gpu(pretended, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = [each.line["CUDA_VISIBLE_DEVICES"] for each in judge(["meet1", "meet2"], n_gpus=2)]
    assert sorted(seen) == ["0", "1"]


def test_a_file_that_takes_too_long_is_given_up_and_the_others_are_judged(pretended):
    names = ["slow1", *"bcd", "slow2", "f"]
    judged = list(judge(names, time_limit_s=1.5))
    assert [each.path.name for each in judged] == names
    late = [each for each in judged if "error" in each.line]
    assert [each.path.name for each in late] == ["slow1", "slow2"]
    assert late[0].line["error"].startswith("slow1: judging it took longer than 1.5 s and was")


def test_what_is_done_is_told_at_once_whatever_comes_before_it(pretended):
    names, done = ["slow", *"abcdefghijklmnopqrst"], []
    judged = judge(names, on_done=lambda each: done.append(each.path.name), time_limit_s=2.0)
    assert [each.path.name for each in judged] == names
    assert done == [*names[1:], "slow"]


def test_loading_the_network_counts_for_no_file(monkeypatch):
    monkeypatch.setattr(detect_pool, "_load", load_slowly)
    (judged,) = judge(["a"], n_workers=1, time_limit_s=1.0)
    assert "error" not in judged.line


def test_who_stops_listening_leaves_no_process(pretended):
    judged = judge(["a", "slow"])
    assert next(judged).path.name == "a"
    judged.close()
    for process in multiprocessing.active_children():
        process.join(20)
    assert not multiprocessing.active_children()


def test_what_ends_a_batch_ends_it_here_too_in_its_turn(pretended):
    judged = judge(["a", "wait", "disk", "d"])
    assert [next(judged).path.name, next(judged).path.name] == ["a", "wait"]
    with pytest.raises(InputError, match="the disk is full"):
        next(judged)


@pytest.mark.parametrize(
    ("load", "error"),
    [(load_damaged, DataError), (load_from_a_lost_disk, InputError)],
)
def test_weights_that_cannot_be_loaded_are_said(monkeypatch, capfd, load, error):
    monkeypatch.setattr(detect_pool, "_load", load)
    with pytest.raises(error, match="damaged" if error is DataError else "no process to judge"):
        list(judge(["a", "b"]))
    assert ("Permission denied" in capfd.readouterr().err) == (error is InputError)


def test_a_process_starts_with_ctrl_c_held_back():
    """In a process of its own: the first start of all brings another that unblocks the signal."""
    script = """
import signal, multiprocessing
from mdcsd.detect_pool import _interrupts_held
from pool_jobs import say_mask
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with _interrupts_held():
        child = context.Process(target=say_mask)
        child.start()
    child.join()
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(limit_s):
    with pytest.raises(SettingError, match="expected seconds, more than 0 and finite"):
        DetectConfig(time_limit_s=limit_s)


def test_a_limit_of_years_is_no_limit(pretended):
    (judged,) = judge(["a"], n_workers=1, time_limit_s=1e9)
    assert "error" not in judged.line
