"""The queue and the processes behind it: crashes, stalls, kills, expiry."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mdcsd.encoding import write_video
from mdcsd.errors import DataError, InputError, MediaError
from mdcsd.video import probe
from mdcsd.web.folder import DataFolder
from mdcsd.web.jobs import Job, JobStore, new_id
from mdcsd.web.judging import check_media
from mdcsd.web.settings import Limits
from mdcsd.web.worker import Workers, do_job
from web_judges import GIF, load_fake, settings_for


def put(folder: DataFolder, store: JobStore, name: str = "a.gif", keep_s: float = 60) -> Job:
    now = time.time()
    job = Job(new_id(), "", name, ".gif", "0" * 64, len(GIF), now, now + keep_s)
    folder.upload(job).write_bytes(GIF)
    store.add(job)
    return job


@contextmanager
def at_work(settings):
    folder = DataFolder(settings.data)
    store = JobStore(folder.root)
    workers = Workers(settings, store, folder, load_fake)
    workers.start()
    try:
        yield folder, store, workers
    finally:
        workers.stop()


def wait_for(condition, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def store(tmp_path) -> JobStore:
    return JobStore(DataFolder(tmp_path / "serve").root)


def test_jobs_are_taken_in_order_and_once(tmp_path, store):
    folder = DataFolder(tmp_path / "serve")
    first, second = put(folder, store), put(folder, store)
    assert store.count_ahead(first) == 0 and store.count_ahead(second) == 1
    mine, others = store.claim(0), store.claim(1)
    assert (mine.id, others.id) == (first.id, second.id) and store.claim(2) is None
    assert mine.claim != others.claim and mine.attempts == 1


def test_a_claim_that_was_given_away_can_do_nothing(tmp_path, store):
    put(DataFolder(tmp_path / "serve"), store)
    old = store.claim(0)
    assert store.requeue(old, counts=True)
    new = store.claim(1)
    assert not store.finish(old, "likely_real", 0.1) and not store.fail(old, "no")
    assert not store.progress(old, 1, 2) and not store.delete(old)
    assert store.finish(new, "likely_real", 0.2) and store.get(new.id).score == 0.2
    assert not store.fail(new, "too late")


def test_what_is_deleted_is_overwritten(tmp_path, store):
    folder = DataFolder(tmp_path / "serve")
    job = put(folder, store, "telltale-name.gif")
    assert any(b"telltale" in path.read_bytes() for path in folder.root.glob("jobs.sqlite3*"))
    assert store.delete_unless_running(job)
    assert not any(b"telltale" in path.read_bytes() for path in folder.root.glob("jobs.sqlite3*"))


def test_a_file_that_is_no_queue_is_said(tmp_path):
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="not a usable queue"):
        JobStore(tmp_path)
    (tmp_path / "jobs.sqlite3").unlink()
    JobStore(tmp_path)
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(DataError, match="version 99"):
        JobStore(tmp_path)


def test_a_crash_and_a_stall_fail_alone(tmp_path):
    """One worker: what comes behind a file that kills or stalls it is judged all the same."""
    settings = settings_for(tmp_path, job_time_s=2.0, attempts=2)
    with at_work(settings) as (folder, store, workers):
        crash, slow = put(folder, store, "crash.gif"), put(folder, store, "slow.gif")
        good = put(folder, store, "good.gif")
        wait_for(lambda: store.get(good.id).state == "done")
        wait_for(lambda: store.get(crash.id).state == "failed")
        assert "ended its process 2 times" in store.get(crash.id).error
        assert "took longer than 2 s" in store.get(slow.id).error
        assert folder.report(good, ".html").is_file()
        assert not list(folder.uploads.iterdir())
        wait_for(lambda: workers.count_alive() == 1)


def test_stopping_queues_again_what_was_running(tmp_path):
    with at_work(settings_for(tmp_path)) as (folder, store, _):
        slow = put(folder, store, "slow.gif")
        wait_for(lambda: store.get(slow.id).state == "running")
    kept = store.get(slow.id)
    assert (kept.state, kept.attempts) == ("queued", 0)
    assert folder.upload(slow).is_file()


def test_starting_after_a_kill_finishes_the_queue_and_shows_no_halves(tmp_path):
    settings = settings_for(tmp_path)
    folder = DataFolder(settings.data)
    store = JobStore(folder.root)
    jobs = [put(folder, store) for _ in range(3)]
    running = store.claim(0)  # and then the server is gone, with halves of files in its folder
    halves = [folder.part(new_id()), folder.reports / f".{running.id}.html.77.tmp",
              folder.uploads / f"{new_id()}.mp4", folder.reports / f"{new_id()}.json"]  # fmt: skip
    for half in halves:
        half.write_bytes(b"half")
    with at_work(settings) as (_, _, _):
        wait_for(lambda: all(store.get(job.id).state == "done" for job in jobs))
    assert not any(half.exists() for half in halves)


def test_a_file_that_kills_servers_is_not_tried_for_ever(tmp_path):
    settings = settings_for(tmp_path, attempts=1)
    folder = DataFolder(settings.data)
    store = JobStore(folder.root)
    job = put(folder, store)
    store.claim(0)
    with at_work(settings):
        assert store.get(job.id).state == "failed"


def test_an_hour_later_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("mdcsd.web.worker._SWEEP_S", 0.1)
    with at_work(settings_for(tmp_path)) as (folder, store, _):
        job = put(folder, store, keep_s=5.0)
        wait_for(lambda: store.get(job.id).state == "done")
        assert folder.report(job, ".html").is_file()
        wait_for(lambda: not store.ids())  # its files go right after
        wait_for(lambda: not any((*folder.reports.iterdir(), *folder.uploads.iterdir())))


def test_what_is_deleted_while_it_runs_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("mdcsd.web.worker._SWEEP_S", 0.1)
    with at_work(settings_for(tmp_path, job_time_s=1.0)) as (folder, store, _):
        job = put(folder, store, "slow.gif")
        wait_for(lambda: bool(store.in_state("running")))
        assert not store.delete_unless_running(job)
        store.expire(job)
        assert store.get(job.id) is None
        wait_for(lambda: not store.ids())
        wait_for(lambda: not any(folder.uploads.iterdir()))


def test_workers_leave_when_the_server_is_killed(tmp_path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from test_web_worker import at_work, settings_for\n"
        "if __name__ == '__main__':\n"
        "    with at_work(settings_for(Path(sys.argv[1]))) as (_, _, workers):\n"
        "        print(workers._processes[0].pid, flush=True)\n"
        "        time.sleep(60)\n"
    )
    script = tmp_path / "server.py"
    script.write_text(program)
    path = ":".join(sys.path)
    server = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": path},
    )  # fmt: skip
    pid = int(server.stdout.readline())
    time.sleep(1)
    server.kill()
    server.communicate()
    wait_for(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_folder_has_one_server(tmp_path):
    folder = DataFolder(tmp_path)
    with folder.lock(), pytest.raises(InputError, match="another server uses this folder"):
        folder.lock()
    folder.lock().close()


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    """A few kilobytes that would be gigabytes of pixels."""
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb, optimize=True)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(MediaError, match="decompression bomb"):
        check_media(bomb, Limits())
    large = tmp_path / "large.png"
    Image.new("1", (10_000, 6_000)).save(large)
    with pytest.raises(MediaError, match="10000 x 6000 pixels; up to 50 million"):
        check_media(large, Limits())
    check_media(large, Limits(frame_pixels=60_000_000))


def test_long_and_large_videos_are_refused(tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, iter(np.zeros((50, 64, 64, 3), np.uint8)), 25)
    check_media(clip, Limits())
    with pytest.raises(MediaError, match="lasts 2 s; up to 1 s"):
        check_media(clip, Limits(duration_s=1))
    with pytest.raises(MediaError, match="64 x 64 pixels"):
        check_media(clip, Limits(frame_pixels=4000))


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
    reports = tmp_path / "runs" / "reports"
    (reports / "deep").mkdir(parents=True)
    (reports / "case42.mp4.html").write_text("mine")
    reports.parent.chmod(0o755)
    with pytest.raises(InputError, match="files that are not of this server"):
        DataFolder(reports.parent)
    assert (reports / "case42.mp4.html").read_text() == "mine"
    assert reports.parent.stat().st_mode & 0o777 == 0o755


def test_tidying_leaves_what_others_put_there(tmp_path, store):
    folder = DataFolder(tmp_path / "serve")
    (folder.reports / "deep").mkdir()
    (folder.reports / "case42.mp4.html").write_text("mine")
    orphan = folder.reports / f"{new_id()}.html"
    orphan.write_text("ours")
    folder.tidy(store)
    left = sorted(path.name for path in folder.reports.iterdir())
    assert left == ["case42.mp4.html", "deep"]


@pytest.mark.parametrize("name", ["good.gif", "broken.gif", "bug.gif"])
def test_a_claim_that_fell_deletes_no_file(tmp_path, store, name):
    folder = DataFolder(tmp_path / "serve")
    job = put(folder, store, name)
    judge = load_fake(settings_for(tmp_path))

    def outlived(path, shown, progress):
        store.requeue(old, counts=True)
        return judge(path, shown, lambda done, total: None)

    old = store.claim(0)
    do_job(old, store, folder, outlived)
    assert store.get(job.id).state == "queued" and folder.upload(job).is_file()


def test_a_worker_that_went_on_is_not_killed_for_its_last_job(tmp_path, store, monkeypatch):
    folder = DataFolder(tmp_path / "serve")
    first, second = put(folder, store), put(folder, store)
    workers = Workers(settings_for(tmp_path, job_time_s=1), store, folder, load_fake)
    old = replace(store.claim(0), started_s=0)
    store.finish(old, "likely_real", 0.1)
    store.claim(0)
    monkeypatch.setattr(store, "in_state", lambda state: [old])
    workers._end_stalled()  # there is no process to kill: trying would raise
    assert store.get(first.id).state == "done" and store.get(second.id).state == "running"


def test_what_waits_is_judged_late_and_kept_from_then(tmp_path, store):
    now = time.time()
    late = Job(new_id(), "", "a.gif", ".gif", "0" * 64, 46, now - 7200, now - 3600)
    store.add(late)
    store.add(replace(late, id=new_id(), created_s=now - 90_000, expires_s=now - 86_401))
    (forgotten,) = store.expired()
    assert forgotten.id != late.id
    job = store.claim(0)
    assert job.id == late.id and store.finish(job, "likely_real", 0.1)
    assert store.get(late.id).expires_s == pytest.approx(time.time() + 3600, abs=5)


@pytest.mark.parametrize("claimed_s", [-5.0, float("nan"), 0.1])
def test_a_claimed_duration_hides_no_length(tmp_path, monkeypatch, claimed_s):
    clip = tmp_path / "clip.mp4"
    write_video(clip, iter(np.zeros((50, 64, 64, 3), np.uint8)), 25)
    info = replace(probe(clip), duration_claimed_s=claimed_s)
    monkeypatch.setattr("mdcsd.video.probe", lambda path: info)
    with pytest.raises(MediaError, match="lasts 2 s; up to 1 s"):
        check_media(clip, Limits(duration_s=1))
