"""A real server in a process of its own: judged clips, kills, loads, and 30 s of schemathesis."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer

from fuzz_api import fuzz
from mdcsd.bench_serve import bench_serve, load_server
from mdcsd.cli import app
from mdcsd.errors import InputError
from mdcsd.web.settings import Limits
from served import FAKES, Served, mdcsd_serve, serving
from web_judges import GIF

JOBS = "/api/v1/jobs"
POST = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def ask(served: Served, method: str, path: str, content=None, headers=None):
    """One request: (status, answer as JSON)."""
    where = urlsplit(served.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    try:
        connection.request(method, path, content, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")
    finally:
        connection.close()


def finished(served: Served, job_id: str, seconds: float = 60.0):
    ends = time.monotonic() + seconds
    while True:
        status, job = ask(served, "GET", f"{JOBS}/{job_id}")
        assert status == 200, job
        if job["state"] in ("done", "failed"):
            return job
        assert time.monotonic() < ends, job
        time.sleep(0.1)


def test_killed_in_the_middle_and_started_again(demo, clip, tmp_path):
    """Killed while it judges one file and others wait; its successor, a real one, judges them."""
    content = clip.read_bytes()
    with serving([*FAKES, str(tmp_path)]) as served:
        ids = [
            ask(served, "POST", f"{JOBS}?name={name}.mp4", content + bytes([n]))[1]["id"]
            for n, name in enumerate(("first", "slow", "third", "fourth"))
        ]
        assert finished(served, ids[0])["verdict"] == "likely_real"
        while ask(served, "GET", f"{JOBS}/{ids[1]}")[1]["state"] != "running":
            time.sleep(0.05)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
    data = tmp_path / "serve"
    with serving(
        mdcsd_serve(demo[0].checkpoint, data, "--workers", "1", "--frames", "8")
    ) as served:
        ids.append(ask(served, "POST", JOBS, content + b"new")[1]["id"])
        for job_id, tail in zip(ids, (b"\0", b"\1", b"\2", b"\3", b"new"), strict=True):
            job = finished(served, job_id)
            assert job["state"] == "done" and job["verdict"] != "cannot_judge", job
            status, report = ask(served, "GET", f"{JOBS}/{job_id}/report.json")
            assert status == 200 and report["path"] == job["name"]
            assert report["sha256"] == hashlib.sha256(content + tail).hexdigest()
        assert not list((data / "uploads").iterdir())
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_a_load_of_many_clients(tmp_path):
    """The load of `bench serve`, on a fake judge: more files than the queue takes at once."""
    data = tmp_path / "serve"
    figures = load_server([*FAKES, str(tmp_path), "12"], data, GIF, n_jobs=75, n_clients=25)
    assert figures.n_right == 75 and figures.n_other == 0
    assert figures.n_refused_429 > 0
    assert figures.early_mb > 20 and figures.ratio < 1.2


def test_bench_serve_refuses_what_is_no_clip(tmp_path):
    with pytest.raises(InputError, match="expected an mp4"):
        bench_serve(tmp_path / "none.mp4", tmp_path / "none")


@pytest.fixture(scope="module")
def fakes(tmp_path_factory):
    with serving([*FAKES, str(tmp_path_factory.mktemp("fakes"))]) as served:
        yield served


def test_whoever_is_refused_before_sending_can_read_why(tmp_path):
    """Trap: a connection closed on an unread body is reset, and `Retry-After` with it."""
    content, form = bytes(8 << 20), {"content-type": "multipart/form-data; boundary=x"}
    with serving([*FAKES, str(tmp_path), "1"]) as served:
        assert ask(served, "POST", JOBS, content, form)[0] == 415
        assert ask(served, "POST", f"{JOBS}?name=slow.mp4", GIF)[0] == 202
        status, answer = ask(served, "POST", JOBS, content)
        assert status == 429 and "Try again in" in answer["detail"]


def answer_to_four_gigabytes(served: Served, framing: bytes, frame) -> tuple[bytes, int]:
    """Send zeros until the server answers or hangs up: (the answer's first line, bytes sent)."""
    where = urlsplit(served.url)
    block = frame(bytes(1 << 20))
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        n_sent = 0
        try:
            connection.sendall(POST + framing + b"\r\n\r\n" + frame(b"\0\0\0 ftypisom"))
            while n_sent < 4 * 2**30:
                connection.sendall(block)
                n_sent += len(block)
        except ConnectionError:
            pass
        return connection.recv(65536).partition(b"\r\n")[0], n_sent


def test_four_gigabytes_of_zeros(fakes):
    """Told its length, it is refused unread; in chunks, at the limit; and never all of it."""
    told = b"Content-Length: %d" % (4 * 2**30)
    line, n_sent = answer_to_four_gigabytes(fakes, told, bytes)
    assert b" 413 " in line and n_sent < 64 * 2**20
    line, n_sent = answer_to_four_gigabytes(
        fakes, b"Transfer-Encoding: chunked", lambda data: b"%x\r\n%s\r\n" % (len(data), data)
    )
    assert b" 413 " in line and 512 * 2**20 <= n_sent < 600 * 2**20


def test_a_sparse_file_of_four_gigabytes_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / "sparse.mp4"
    path.write_bytes(b"\0\0\0 ftypisom")
    os.truncate(path, 4 * 2**30)
    with serving([*FAKES, str(tmp_path)]) as served, open(path, "rb") as file:
        where = urlsplit(served.url)
        began = time.monotonic()
        with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % (4 * 2**30))
            with contextlib.suppress(ConnectionError):
                connection.sendfile(file)
            assert b" 413 " in connection.recv(65536).partition(b"\r\n")[0]
        assert time.monotonic() - began < 10
        assert not list((tmp_path / "serve" / "uploads").iterdir())


def test_halves_and_nonsense_leave_the_server_well(fakes):
    where = urlsplit(fakes.url)
    for sent in (
        POST + b"Content-Length: 999\r\n\r\nGIF89a",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(sent)
    assert ask(fakes, "GET", "/health") == (200, {"status": "ok", "workers": 1, "in_flight": 0})


def test_an_open_event_stream_does_not_keep_a_server_from_stopping(tmp_path):
    with serving([*FAKES, str(tmp_path)]) as served:
        where = urlsplit(served.url)
        job_id = ask(served, "POST", f"{JOBS}?name=slow.gif", GIF)[1]["id"]
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        connection.request("GET", f"{JOBS}/{job_id}/events")
        assert connection.getresponse().status == 200
        began = time.monotonic()
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 0
        assert time.monotonic() - began < 10  # the judge would take 30 s
        connection.close()


def test_schemathesis_finds_nothing():
    done = fuzz(seconds=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout


def run(*words: str, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "mdcsd", "serve", *words], capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def refused(*words: str, **environment: str) -> str:
    done = run(*words, **environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def test_without_the_extra_one_line_says_what_to_install(tmp_path):
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('no', name='fastapi')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    said = refused("--weights", "none", PYTHONPATH=path)
    assert said.startswith("error: serve needs fastapi") and "pip install '.[web]'" in said


def test_what_cannot_be_served_is_one_line(tmp_path):
    data = ("--data", str(tmp_path / "serve"))
    missing = str(tmp_path / "none.safetensors")
    assert missing in refused("--weights", missing, *data)
    assert "--port 70000" in refused("--weights", missing, "--port", "70000", *data)
    assert "--token-file" in refused("--weights", missing, "--token-file", missing, *data)
    assert "shorter than 16" in refused("--weights", missing, *data, MDCSD_TOKEN="short")
    open_to_all = run("--weights", missing, "--host", "0.0.0.0", *data)
    assert "warning: listening on 0.0.0.0 without a token" in open_to_all.stderr


def test_a_port_in_use_is_one_line(demo, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused("--weights", str(demo[0].checkpoint), "--port", port, "--data",
                       str(tmp_path / "serve"))  # fmt: skip
    assert f"--port {port}: cannot listen there" in said


DOC = (Path(__file__).resolve().parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_the_curl_session_of_the_docs_runs(fakes, clip, tmp_path):
    (session,) = [block for block in re.findall(r"```sh\n(.*?)```", DOC, re.S) if "curl" in block]
    shutil.copy(clip, tmp_path / "clip.mp4")
    script = session.replace("http://127.0.0.1:8000", fakes.url).replace("curl ", "curl -f ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert '"state":"done"' in done.stdout and '"status":"ok"' in done.stdout
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert json.loads((tmp_path / "report.json").read_text())["sha256"] == sha256


def test_flags_and_defaults_of_the_docs_are_the_real_ones():
    command = typer.main.get_command(app).commands["serve"]
    for line in re.findall(r"^mdcsd serve (.+)$", DOC, re.M):
        command.make_context("serve", line.split())
    known = {name: option for option in command.params for name in option.opts}
    for names, values in re.findall(r"^\| (`--\S.*?) \| (.+?) \|", DOC, re.M):
        flags = re.findall(r"--[\w-]+", names)
        if flags != ["--workers"]:
            assert [str(known[flag].default) for flag in flags] == values.split(", ")
    assert command.make_context("serve", ["--weights", "w"]).params["host"] == "127.0.0.1"


def test_limits_have_one_default():
    """What the flags say without being given is what `Limits` says."""
    params = (
        typer.main.get_command(app).commands["serve"].make_context("x", ["--weights", "w"]).params
    )
    limits = Limits()
    assert params["max_mb"] * 2**20 == limits.upload_bytes
    assert params["max_seconds"] == limits.duration_s
    assert params["max_megapixels"] * 1e6 == limits.frame_pixels
    assert (params["max_jobs"], params["max_jobs_each"]) == (
        limits.jobs_in_all, limits.jobs_per_owner,
    )  # fmt: skip
    assert params["job_seconds"] == limits.job_time_s
    assert params["keep_minutes"] * 60 == limits.keep_s
