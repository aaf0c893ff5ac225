"""The server's API and pages, in this process: who gets what, and what is refused how."""

from __future__ import annotations

import asyncio
import hashlib
import html
import io
import json
import re
import shutil
import sqlite3
import stat
import time
from dataclasses import replace

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image

from mdcsd.errors import InputError, SettingError
from mdcsd.web.app import make_app
from mdcsd.web.folder import DataFolder
from mdcsd.web.judging import check_media
from mdcsd.web.security import OWNER_COOKIE
from mdcsd.web.server import open_serving
from mdcsd.web.settings import Limits, ServeSettings
from mdcsd.web.uploads import Refused, receive, shown_name, sniff
from mdcsd.web.worker import do_job
from web_judges import GIF, load_fake, load_real_report, settings_for

HERE = "http://127.0.0.1:8000"
JOBS = "/api/v1/jobs"


class Site:
    """An application without worker processes: `judge_next` does what one would do."""

    def __init__(self, folder, **how):
        self.serving = open_serving(settings_for(folder, **how), load_fake)
        self.app = make_app(self.serving)

    def browser(self, **how) -> TestClient:
        return TestClient(self.app, base_url=how.pop("base_url", HERE), **how)

    def visitor(self) -> TestClient:
        """A browser that has opened the page, and so has its owner cookie."""
        browser = self.browser()
        assert browser.get("/").status_code == 200
        return browser

    def judge_next(self, load=load_fake):
        serving = self.serving
        job = serving.store.claim(0)
        do_job(job, serving.store, serving.folder, load(serving.settings))


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def files_of(site: Site) -> list[str]:
    folder = site.serving.folder
    return sorted(path.name for path in (*folder.uploads.iterdir(), *folder.reports.iterdir()))


def test_from_upload_to_report_to_nothing(site):
    browser = site.visitor()
    sent = browser.post(JOBS, params={"name": "clip.gif"}, content=GIF)
    assert sent.status_code == 202
    where = sent.headers["location"]
    job = sent.json()
    assert where == f"{JOBS}/{job['id']}" and job["state"] == "queued"
    assert job["sha256"] == hashlib.sha256(GIF).hexdigest() and job["n_bytes"] == len(GIF)
    assert browser.get(f"{where}/report.html").status_code == 409
    assert files_of(site) == [f"{job['id']}.gif"]
    site.judge_next()
    assert files_of(site) == [f"{job['id']}.html", f"{job['id']}.json"]  # the upload is gone
    now = browser.get(where).json()
    assert (now["state"], now["verdict"], now["score"]) == ("done", "likely_real", 0.25)
    assert (now["done"], now["total"]) == (0, 0) or now["done"] == now["total"]
    assert browser.get(f"{where}/report.json").json()["sha256"] == job["sha256"]
    assert "likely real" in browser.get(f"{where}/report.html").text
    assert [each["id"] for each in browser.get(JOBS).json()["jobs"]] == [job["id"]]
    assert browser.delete(where).status_code == 204
    assert files_of(site) == [] and browser.get(where).status_code == 404
    assert browser.get(JOBS).json() == {"jobs": []}


def test_events_tell_the_end_and_end(site):
    browser = site.visitor()
    where = browser.post(JOBS, content=GIF).headers["location"]
    site.judge_next()
    answer = browser.get(f"{where}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    (line,) = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(line.removeprefix("data: "))["state"] == "done"


def test_what_fails_says_why_by_the_users_name_for_it(site):
    browser = site.visitor()
    for name, said in (
        ("broken.gif", "broken.gif: the file is cut off."),
        ("bug.gif", "judging this file failed: a bug of mdcsd, told in its log."),
    ):
        where = browser.post(JOBS, params={"name": name}, content=GIF).headers["location"]
        site.judge_next()
        job = browser.get(where).json()
        assert (job["state"], job["error"]) == ("failed", said)
        assert browser.get(f"{where}/report.json").status_code == 409
    assert files_of(site) == []


def test_one_browser_sees_nothing_of_another(site):
    mine, other, nobody = site.visitor(), site.visitor(), site.browser()
    where = mine.post(JOBS, content=GIF).headers["location"]
    site.judge_next()
    for stranger in (other, nobody):
        assert stranger.get(JOBS).json() == {"jobs": []}
        for path in (where, f"{where}/report.html", f"{where}/report.json", f"{where}/events"):
            assert stranger.get(path).status_code == 404
        assert stranger.delete(where).status_code == 404
    assert mine.get(where).status_code == 200


def test_a_file_sent_without_the_cookie_is_seen_by_whoever_knows_its_id(site):
    where = site.browser().post(JOBS, content=GIF).headers["location"]
    assert site.browser().get(where).status_code == 200
    assert site.visitor().get(JOBS).json() == {"jobs": []}
    assert len(where.rpartition("/")[2]) == 32
    assert site.browser().delete(where).status_code == 204


def test_the_owner_cookie_is_out_of_reach_of_scripts_and_other_sites(site):
    browser = site.browser()
    (cookie,) = browser.get("/").headers.get_list("set-cookie")
    assert cookie.startswith(f"{OWNER_COOKIE}=")
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    (again,) = browser.get("/").headers.get_list("set-cookie")
    assert again == cookie  # the same one, for another week
    secure = site.browser(base_url="https://127.0.0.1:8000").get("/")
    assert "Secure" in secure.headers["set-cookie"]
    (row,) = [browser.post(JOBS, content=GIF)]
    kept = site.serving.store.get(row.json()["id"]).owner
    assert kept and kept not in cookie  # the queue cannot tell the secret


@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "a\x00b.gif", "x" * 255,
     "<img src=x onerror=alert(1)>.gif", "a\r\nSet-Cookie: x=1.gif", ".", "\u202egpj.exe", " "],
)  # fmt: skip
def test_a_name_is_a_word_and_never_a_path(site, name):
    browser = site.visitor()
    before = set(site.serving.folder.root.parent.rglob("*"))
    sent = browser.post(JOBS, params={"name": name}, content=GIF)
    assert sent.status_code == 202
    shown = sent.json()["name"]
    assert shown.isprintable() and 0 < len(shown) <= 120 and "/" not in shown
    assert "\\" not in shown and shown not in ("..", "")
    made = {path.name for path in set(site.serving.folder.root.parent.rglob("*")) - before}
    assert made <= {f"{sent.json()['id']}.gif", "jobs.sqlite3-wal", "jobs.sqlite3-shm"}
    site.judge_next()
    for path in ("/", "/docs", JOBS):
        answer = browser.get(path)
        if "html" in answer.headers["content-type"]:
            assert "onerror" not in answer.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"<html><script>alert(1)</script>", 415),
        (b"#!/bin/sh\nrm -rf /", 415),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 415),
        (b"%PDF-1.7", 415),
        (b"PK\x03\x04", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"GIF", 415),
    ],
)
def test_what_is_no_picture_or_video_is_refused(site, content, status):
    answer = site.visitor().post(JOBS, params={"name": "clip.mp4"}, content=content)
    assert answer.status_code == status and set(answer.json()) == {"detail"}
    assert files_of(site) == []


def test_kinds_are_read_from_the_content():
    assert sniff(b"\x00\x00\x00\x20ftypisom") == ".mp4"
    assert sniff(b"\x00\x00\x00\x08wide\x00\x00") == ".mp4"
    assert sniff(b"\x1a\x45\xdf\xa3") == ".mkv"
    assert sniff(b"RIFF\x00\x00\x00\x00AVI LIST") == ".avi"
    assert sniff(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == ".webp"
    assert sniff(b"RIFF\x00\x00\x00\x00WAVEfmt ") is None
    assert sniff(b"\x00\x00\x01\xba") == ".mpg" == sniff((b"G" + bytes(187)) * 3)
    assert sniff((bytes(4) + b"G" + bytes(187)) * 3) == ".mpg"  # AVCHD: a stamp before each packet
    assert sniff(b"\x00\x00\x00\x08free\x00\x00") == ".mp4"
    assert sniff(b"\x00\x00\x00\x18ftypheic") == ".heic" == sniff(b"\x00\x00\x00\x20ftypavif")
    assert sniff(b"\xff\xd8\xff\xe0") == ".jpg"
    assert sniff(b"\x89PNG\r\n\x1a\n") == ".png"
    assert sniff(b"II*\x00") == ".tif" == sniff(b"MM\x00*")
    assert sniff(b"BM\x00\x00\x00\x00\x00\x00\x00\x00") == ".bmp"
    assert sniff(b"BMW is a car maker") is None


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("flv", "flv1"),
        ("ogv", "libvpx"),
        ("asf", "wmv2"),
        ("webm", "libvpx"),
        ("3gp", "mpeg4"),
        ("mxf", "mpeg2video"),
        ("dv", "dvvideo"),
        ("m2v", "mpeg2video"),
    ],
)
def test_videos_are_taken_by_what_their_encoders_write(kind, codec, site, tmp_path):
    """And a file that a kill left behind is known again and deleted."""
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        for index in range(25):
            picture = np.full((576, 720, 3), index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    answer = site.visitor().post(JOBS, params={"name": "clip"}, content=path.read_bytes())
    assert answer.status_code == 202
    (upload,) = site.serving.folder.uploads.iterdir()
    check_media(upload, Limits())
    left = shutil.copy(upload, upload.with_stem("a" * 32))
    site.serving.folder.tidy(site.serving.store)
    assert upload.is_file() and not left.exists()


def hostile(number: int) -> str:
    return f"<img src=x onerror=alert({number})>"


def polyglot(kind: str) -> bytes:
    """A picture that opens, with elements of a page in its metadata and a script at its end."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = exif[ExifTags.Base.Software] = hostile(2)
    how = {"comment": hostile(2)} if kind == "gif" else {"exif": exif, "comment": hostile(3)}
    Image.new("RGB", (64, 64), "grey").save(file, "gif" if kind == "gif" else "jpeg", **how)
    return file.getvalue() + b"<script>alert(4)</script>"


@pytest.mark.parametrize("kind", ["gif", "jpg"])
def test_a_polyglot_is_never_served_as_what_it_hides(site, kind):
    """A picture that is a web page as well: its words are words in the real report's page."""
    browser = site.visitor()
    name = f"{hostile(1)}.html"
    where = browser.post(JOBS, params={"name": name}, content=polyglot(kind)).headers["location"]
    site.judge_next(load_real_report)
    report = browser.get(f"{where}/report.html")
    assert report.status_code == 200, browser.get(where).json()
    for shown in (hostile(1), hostile(2)):
        assert html.escape(shown) in report.text
    assert "<img src=x" not in report.text and report.text.count("<script") == 1
    assert "alert(4)" not in report.text
    policy = report.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox allow-scripts" in policy
    assert "unsafe" not in policy and re.search(r"script-src 'sha256-[^']+';", policy)
    for path in (where, JOBS, f"{where}/report.json"):
        answer = browser.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "alert(4)" not in answer.text
    job_id = where.rpartition("/")[2]
    for path in (f"/uploads/{job_id}.{kind}", f"/static/../serve/uploads/{job_id}.{kind}",
                 "/static/%2e%2e/__init__.py", "/static/../app.py"):  # fmt: skip
        assert browser.get(path).status_code == 404


def test_a_report_may_do_nothing_to_the_page_around_it(site):
    browser = site.visitor()
    where = browser.post(JOBS, content=GIF).headers["location"]
    site.judge_next()
    headers = browser.get(f"{where}/report.html").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy and "frame-ancestors 'self'" in policy
    assert headers["x-frame-options"] == "SAMEORIGIN"


def test_every_answer_carries_the_security_headers(site):
    browser = site.visitor()
    for path in ("/", "/docs", "/openapi.json", "/health", "/version", "/static/upload.js",
                 "/nowhere", JOBS, f"{JOBS}/x"):  # fmt: skip
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_pages_have_no_script_of_their_own_and_no_address_outside(site):
    browser = site.visitor()
    for path in ("/", "/docs", "/login"):
        page = browser.get(path).text
        assert "<script>" not in page and "style=" not in page and " on" + "click" not in page
        assert "https://" not in page and "//cdn" not in page
    for name in ("style.css", "upload.js", "icon.svg"):
        text = browser.get(f"/static/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "innerHTML" not in text


def test_too_large_with_content_length_is_refused_unread(tmp_path):
    site = Site(tmp_path, upload_bytes=2**20)
    answer = site.visitor().post(JOBS, content=GIF + bytes(2**20))
    assert answer.status_code == 413 and "1 MB" in answer.json()["detail"]
    assert files_of(site) == []


class Body:
    """A body that counts what is read of it."""

    def __init__(self, head: bytes, n_bytes: int, delay_s: float = 0.0):
        self.head, self.left, self.n_read, self.delay_s = head, n_bytes, 0, delay_s

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(self.delay_s)
        if self.left <= 0:
            raise StopAsyncIteration
        chunk, self.head = self.head + bytes(65536 - len(self.head)), b""
        self.left -= len(chunk)
        self.n_read += len(chunk)
        return chunk


def refused_upload(body: Body, claimed: int | None, folder: DataFolder, **limits) -> Refused:
    part = folder.part("x")
    with pytest.raises(Refused) as refused:
        asyncio.run(receive(body, claimed, part, Limits(**limits)))
    assert not part.exists()
    return refused.value


@pytest.mark.parametrize("claimed", [None, 100, 4 * 2**30])
def test_four_gigabytes_of_nothing_are_not_read(tmp_path, claimed):
    """Whether the length is not told, is a lie, or is true: what is read is bounded."""
    folder = DataFolder(tmp_path / "serve")
    body = Body(GIF, 4 * 2**30)
    assert refused_upload(body, claimed, folder, upload_bytes=8 * 2**20).status == 413
    assert body.n_read < 32 * 2**20


def test_what_is_no_picture_is_refused_by_its_first_block(tmp_path):
    body = Body(b"<html>", 4 * 2**30)
    assert refused_upload(body, None, DataFolder(tmp_path / "serve")).status == 415
    assert body.n_read < 32 * 2**20


def test_a_sender_that_stalls_is_given_up(tmp_path):
    folder = DataFolder(tmp_path / "serve")
    began = time.monotonic()
    slow = Body(GIF, 2**30, delay_s=5)
    assert refused_upload(slow, None, folder, upload_idle_s=0.1).status == 408
    dripping = Body(GIF, 2**30, delay_s=0.05)
    assert refused_upload(dripping, None, folder, upload_time_s=0.3).status == 408
    assert time.monotonic() - began < 5


def test_too_many_files_wait_with_a_time_to_come_back(tmp_path):
    site = Site(tmp_path, jobs_per_owner=2, jobs_in_all=3)
    one, other = site.visitor(), site.visitor()
    assert [one.post(JOBS, content=GIF).status_code for _ in range(3)] == [202, 202, 429]
    assert other.post(JOBS, content=GIF).status_code == 202
    full = other.post(JOBS, content=GIF)
    assert full.status_code == 429 and 1 <= int(full.headers["retry-after"]) <= 30
    site.judge_next()
    assert one.post(JOBS, content=GIF).status_code == 202


def test_programs_are_counted_by_their_address(tmp_path):
    site = Site(tmp_path, jobs_per_owner=2)
    one = TestClient(site.app, base_url=HERE, client=("192.0.2.1", 50000))
    other = TestClient(site.app, base_url=HERE, client=("192.0.2.2", 50000))
    assert [one.post(JOBS, content=GIF).status_code for _ in range(3)] == [202, 202, 429]
    assert other.post(JOBS, content=GIF).status_code == 202
    site.judge_next()
    assert one.post(JOBS, content=GIF).status_code == 202


def test_the_time_to_come_back_goes_by_what_judging_takes(tmp_path):
    site = Site(tmp_path, jobs_in_all=8, jobs_per_owner=9)
    browser = site.browser()
    waits = []
    for took_s in (0.1, 10.0, 1000.0):
        while browser.post(JOBS, content=GIF).status_code == 202:
            pass
        job = site.serving.store.claim(0)
        site.serving.store.finish(replace(job, started_s=time.time() - took_s), "uncertain", 0.5)
        assert browser.post(JOBS, content=GIF).status_code == 202
        waits.append(int(browser.post(JOBS, content=GIF).headers["retry-after"]))
    assert waits == [1, 5, 30]


def test_forms_are_told_how_to_send(site):
    answer = site.visitor().post(JOBS, files={"file": ("a.gif", GIF)})
    assert answer.status_code == 415 and "curl -T" in answer.json()["detail"]


def test_requests_not_understood_are_one_line(site):
    browser = site.visitor()
    answer = browser.post(JOBS, params={"name": "x" * 256}, content=GIF)
    assert answer.status_code == 422 and "query.name" in answer.json()["detail"]
    assert browser.put(JOBS).status_code == 405


def test_a_full_disk_is_no_fault_of_ours(site, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mdcsd.web.uploads._put", full)
    answer = site.visitor().post(JOBS, content=GIF)
    assert answer.status_code == 507 and "No space left" in answer.json()["detail"]
    assert files_of(site) == []


def test_a_queue_that_is_locked_is_no_500(site, monkeypatch):
    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    browser = site.visitor()
    monkeypatch.setattr("mdcsd.web.jobs.JobStore.add", locked)
    answer = browser.post(JOBS, content=GIF)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "10"
    assert files_of(site) == []


def test_other_names_for_this_machine_are_not_answered(site, tmp_path):
    """DNS rebinding: a page of evil.example that points its name at 127.0.0.1."""
    for base_url in ("http://evil.example", "http://evil.example:8000", "http://127.0.0.1.evil"):
        assert site.browser(base_url=base_url).get("/").status_code == 421
    for base_url in ("http://localhost:8000", "http://[::1]:8000"):
        assert site.browser(base_url=base_url).get("/").status_code == 200
    settings = ServeSettings("none", tmp_path / "b", host="0.0.0.0", allowed_hosts=("a.example",))
    public = make_app(open_serving(settings, load_fake))
    assert TestClient(public, base_url="http://a.example").get("/").status_code == 200
    assert TestClient(public, base_url="http://b.example").get("/").status_code == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.2", "192.0.2.7"])
def test_a_strange_name_is_answered_on_no_address(tmp_path, host):
    settings = ServeSettings("none", tmp_path / "b", host=host)
    assert settings.is_loopback == (host == "127.0.0.2")
    app = make_app(open_serving(settings, load_fake))
    evil = TestClient(app, base_url="http://evil.example")
    sent = evil.post(JOBS, content=GIF, headers={"origin": "http://evil.example"})
    assert sent.status_code == 421
    own = "192.0.2.7" if ":" in host or host == "0.0.0.0" else host
    assert TestClient(app, base_url=f"http://{own}").get("/").status_code == 200


def test_a_report_that_cannot_be_written_tells_no_path(site, monkeypatch):
    def full(path, text):
        raise InputError(f"{path}: cannot be written (No space left on device).")

    browser = site.visitor()
    where = browser.post(JOBS, content=GIF).headers["location"]
    monkeypatch.setattr("mdcsd.web.worker.storage.write_text", full)
    site.judge_next()
    job = browser.get(where).json()
    assert job["state"] == "failed" and "no fault of the file" in job["error"]
    assert str(site.serving.folder.root) not in job["error"]


def test_pages_of_other_origins_change_nothing(site):
    browser = site.visitor()
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert browser.post(JOBS, content=GIF, headers=headers).status_code == 403
    assert browser.post(JOBS, content=GIF, headers={"origin": HERE}).status_code == 202


TOKEN = "correct-horse-battery-staple"


def test_a_browser_keeps_its_cookie_and_its_files(site):
    """It comes again by a link elsewhere, and a week after the first time."""
    browser = site.visitor()
    where = browser.post(JOBS, content=GIF).headers["location"]
    before = browser.cookies["mdcsd_owner"]
    said = browser.get("/").headers["set-cookie"]
    assert before in said and "samesite=lax" in said.lower() and "Max-Age" in said
    assert browser.get(where).status_code == 200


def test_with_a_token_nothing_is_had_without_it(tmp_path):
    site = Site(tmp_path, token=TOKEN)
    browser = site.browser(follow_redirects=False)
    for path in ("/", "/docs", "/openapi.json", JOBS, f"{JOBS}/x", "/nowhere"):
        answer = browser.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert browser.post(JOBS, content=GIF).status_code == 401
    for wrong in ("Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \xe9"):
        answer = browser.get(JOBS, headers={"authorization": wrong.encode("latin-1")})
        assert answer.status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert browser.post(JOBS, content=GIF, headers=right).status_code == 202
    for path in ("/version", "/login", "/static/style.css"):
        assert browser.get(path).status_code == 200


def test_a_browser_gets_in_with_the_token_once(tmp_path):
    site = Site(tmp_path, token=TOKEN)
    browser = site.browser(follow_redirects=False)
    asked = browser.get("/", headers={"accept": "text/html"})
    assert asked.status_code == 303 and asked.headers["location"] == "/login"
    assert browser.post("/login", data={"token": "wrong"}).status_code == 401
    assert browser.post("/login", content=bytes(5000)).status_code == 413
    entered = browser.post("/login", data={"token": TOKEN})
    assert entered.status_code == 303 and TOKEN not in entered.headers["set-cookie"]
    assert browser.get("/").status_code == 200
    assert browser.post(JOBS, content=GIF).status_code == 202


def test_health_tells_that_no_worker_lives(site):
    answer = site.browser().get("/health")
    assert answer.status_code == 503 and answer.json()["workers"] == 0
    assert site.browser().get("/version").json()["version"]


def test_the_folder_is_private(site):
    folder = site.serving.folder
    for path in (folder.root, folder.uploads, folder.reports):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_api_page_names_every_operation(site):
    browser = site.visitor()
    page = html.unescape(browser.get("/docs").text)
    described = browser.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        assert path in page
        assert all(operation["summary"] in page for operation in methods.values())


def test_impossible_settings_are_refused(tmp_path):
    for how in ({"port": 70000}, {"workers": 0}, {"frames": 0}, {"token": "short"}):
        with pytest.raises(SettingError):
            ServeSettings("none", tmp_path, **how)
    with pytest.raises(SettingError, match="keep_s"):
        Limits(keep_s=0)


def test_names_for_showing():
    assert shown_name("C:\\Videos\\clip.mp4") == "clip.mp4"
    assert shown_name("a/b/") == "b"
    assert shown_name("\u202e\x00") == "unnamed file"
