"""The upload page in a real headless Chromium: what a person sees, and what leaves the origin.

`make browser-test` brings Chromium, its driver and axe-core; without them these tests are skipped.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from mdcsd.pictures import encode_png
from served import mdcsd_serve, serving

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = HERE.parents[1] / "build" / "browser"
WIDTHS_PX = (1280, 390)
SCHEMES = ("light", "dark")
WAIT_S = 90
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
)  # fmt: skip


def lacking() -> str:
    """What is not there, in words; "" if all is."""
    programs = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return " and ".join(programs + ([] if AXE.is_file() else ["axe-core"]))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if lacking():
        reason = f"no {lacking()} here: `make browser-test` brings what is missing"
        (pytest.fail if os.environ.get("MDCSD_BROWSER_TEST") else pytest.skip)(reason)
    browser = Browser()
    yield browser
    browser.driver.quit()
    browser.profile.cleanup()


@pytest.fixture(scope="module")
def page(chromium, demo, tmp_path_factory) -> Iterator[Browser]:
    """A browser before the page of a real server with the demo's detector."""
    data = tmp_path_factory.mktemp("browser") / "serve"
    with serving(mdcsd_serve(demo[0].checkpoint, data, "--workers", "1")) as served:
        chromium.origin = served.url
        yield chromium


class Browser:
    """Chromium as a visitor of one origin."""

    def __init__(self) -> None:
        from selenium import webdriver

        self.profile = tempfile.TemporaryDirectory()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, f"--user-data-dir={self.profile.name}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options, service)
        self.driver.get("about:blank")
        self.driver.get_log("performance")  # what Chromium's own start page did
        self.origin = ""
        self.requested: list[str] = []

    def find(self, css: str):
        return self.driver.find_element("css selector", css)

    def wait(self, condition):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, WAIT_S, 0.1).until(lambda _: condition())

    def show_as(self, width_px: int, scheme: str) -> None:
        """Take a width and a colour scheme, as a device would."""
        metrics = {"width": width_px, "height": 1800, "deviceScaleFactor": 1,
                   "mobile": width_px < 600}  # fmt: skip
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def shoot(self, name: str) -> None:
        """Keep a picture for people to look at, when what is shown has been painted."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.execute_async_script(
            "const done = arguments[0]; "
            "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 200)))"
        )
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {})
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def violations(self) -> list[str]:
        """What axe-core finds in the current frame, of serious or critical impact."""
        self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {iframes: false}).then(done, done)"
        )
        return [
            f"{each['id']}: {each['nodes'][0]['html']}: {each['nodes'][0].get('failureSummary')}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]

    def sideways_px(self) -> int:
        """By how many pixels the current frame scrolls sideways."""
        return self.driver.execute_script(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        )

    def network_log(self) -> list[str]:
        """Addresses that were requested since the start, those of frames included."""
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self.requested.append(event["params"]["request"]["url"])
        return self.requested

    def errors(self) -> list[str]:
        return [each["message"] for each in self.driver.get_log("browser")
                if each["level"] in ("SEVERE", "WARNING")]  # fmt: skip

    def upload(self, path: Path) -> None:
        self.find("#files").send_keys(str(path))


def check_everywhere(page: Browser, name: str) -> None:
    """Both widths, both schemes: a picture, no violation, nothing to scroll sideways."""
    for width in WIDTHS_PX:
        for scheme in SCHEMES:
            page.show_as(width, scheme)
            assert page.sideways_px() == 0, (name, width)
            page.shoot(f"{name}-{width}-{scheme}")
            assert page.violations() == [], (name, width, scheme)
    page.show_as(1280, "light")


def focused(page: Browser):
    return page.driver.switch_to.active_element


def check_nothing_left(page: Browser) -> None:
    """No request went elsewhere, and the console is clean."""
    outside = [url for url in page.network_log()
               if not url.startswith((page.origin + "/", "data:", "about:", "blob:"))]  # fmt: skip
    assert outside == [] and page.requested
    assert page.errors() == []


def test_the_page_before_anything_is_sent(page):
    page.driver.get(page.origin)
    check_everywhere(page, "start")
    assert not page.find("#mine").is_displayed() and not page.find("#report").is_displayed()
    check_nothing_left(page)


def test_a_clip_is_sent_and_its_verdict_seen(page, demo):
    page.driver.get(page.origin)
    page.upload(demo[1] / "clips" / "Deepfakes" / "000_001.mp4")
    verdict = page.wait(lambda: page.find("#list .verdict").text)
    assert verdict in ("likely real", "uncertain", "likely manipulated")
    page.wait(page.find("#report").is_displayed)
    assert "000_001.mp4" in page.find("#report-title").text
    assert verdict in page.find("#told").get_attribute("textContent")
    frame = page.find("#report-frame")
    page.driver.switch_to.frame(frame)
    page.wait(lambda: verdict in page.find("body").text.lower().replace("_", " "))
    page.driver.switch_to.default_content()
    check_everywhere(page, "report")
    check_nothing_left(page)


def test_the_report_in_place_is_as_good_as_the_page(page):
    for width in WIDTHS_PX:
        for scheme in SCHEMES:
            page.show_as(width, scheme)
            page.driver.switch_to.frame(page.find("#report-frame"))
            assert page.sideways_px() == 0, width
            assert page.violations() == [], (width, scheme)
            page.driver.switch_to.default_content()
    page.show_as(1280, "light")
    check_nothing_left(page)


def test_the_time_line_reacts_to_click_and_keyboard(page):
    from selenium.webdriver import ActionChains, Keys

    page.driver.switch_to.frame(page.find("#report-frame"))
    bands = page.driver.find_elements("css selector", ".band")
    stretches = page.driver.find_elements("css selector", ".stretch")
    assert len(bands) == len(stretches) > 1

    def shown() -> list[int]:
        current = [band.get_attribute("aria-current") == "true" for band in bands]
        visible = [stretch.is_displayed() for stretch in stretches]
        assert current == visible
        return [index for index, is_shown in enumerate(visible) if is_shown]

    (worst,) = shown()  # preselected
    other = 0 if worst else 1
    ActionChains(page.driver).click(bands[other]).perform()
    assert shown() == [other]
    ActionChains(page.driver).send_keys(Keys.END).perform()
    assert shown() == [len(bands) - 1]
    ActionChains(page.driver).send_keys(Keys.ARROW_LEFT).perform()
    assert shown() == [len(bands) - 2]
    assert page.find(".person [role=status]").text.startswith("Shown: ")
    page.driver.switch_to.default_content()
    check_nothing_left(page)


def test_the_report_can_reach_nothing_of_the_page(page):
    page.driver.switch_to.frame(page.find("#report-frame"))
    reached = page.driver.execute_script(
        "try { return parent.document.title } catch (error) { return error.name }"
    )
    page.driver.switch_to.default_content()
    assert reached == "SecurityError"
    assert "mdcsd_owner" not in page.driver.execute_script("return document.cookie")


def test_a_reload_keeps_the_history_and_deleting_ends_it(page):
    page.driver.refresh()
    page.wait(lambda: page.find("#list .verdict").text)
    page.find("#list .show").click()
    page.wait(lambda: focused(page).get_attribute("id") == "report-title")
    assert page.find("#report").is_displayed()
    page.find("#report-close").click()
    assert "show" in focused(page).get_attribute("class")
    page.find("#list .delete").click()
    page.wait(lambda: not page.find("#mine").is_displayed())
    assert not page.find("#report").is_displayed()
    page.driver.refresh()
    assert not page.find("#mine").is_displayed()
    check_nothing_left(page)


def test_refusals_are_said_and_names_are_text(page, tmp_path):
    page.driver.get(page.origin)
    nasty = tmp_path / "<img src=x onerror=document.title=1>.mp4"
    nasty.write_bytes(b"<html>no clip</html>")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    page.upload(nasty)
    page.wait(lambda: "no video or picture that" in page.find("#list").text)
    page.upload(empty)
    page.wait(lambda: "The file is empty" in page.find("#list").text)
    assert nasty.name in page.find("#list").text
    assert not page.driver.find_elements("css selector", "#list img")
    check_everywhere(page, "refused")
    assert all("415" in each for each in page.errors())  # what the browser itself says of a 415


def test_what_a_file_says_of_itself_stays_text(page, clip, tmp_path):
    """HTML in the name and in the container's tags, through to the report."""
    attack = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>"
    path = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        target.metadata.update(title=attack, comment=attack, artist=attack)
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    page.driver.get(page.origin)
    page.upload(path)
    page.wait(lambda: path.name in page.find("#report-title").text)
    page.driver.switch_to.frame(page.find("#report-frame"))
    page.wait(lambda: path.name in page.find("h1").text)
    assert attack in page.driver.execute_script("return document.body.textContent")
    assert page.driver.title != "taken"
    assert not page.driver.find_elements("css selector", "img[src=x]")
    page.driver.switch_to.default_content()
    check_nothing_left(page)


def test_all_of_it_by_keyboard(page, clip):
    from selenium.webdriver import ActionChains, Keys

    page.driver.get(page.origin)
    page.upload(clip)
    page.wait(lambda: page.find("#list .verdict").text)
    reached = []
    for _ in range(12):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        active = page.driver.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("class"))
        if "show" in reached:
            break
    assert reached[-1] == "show" and "files" in reached
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    page.wait(lambda: focused(page).get_attribute("id") == "report-title")


def test_a_file_dropped_beside_the_zone_is_taken_too(page):
    """The browser would open it in place of the page, and lose what waits to be sent."""
    page.driver.get(page.origin)
    is_kept = page.driver.execute_script(
        "const dropped = new DataTransfer();"
        "dropped.items.add(new File(['no picture'], 'beside.mp4'));"
        "const options = {dataTransfer: dropped, bubbles: true, cancelable: true};"
        "return !document.body.dispatchEvent(new DragEvent('drop', options));"
    )
    assert is_kept
    page.wait(lambda: "beside.mp4" in page.find("#list").text)
    page.wait(lambda: "no video or picture" in page.find("#list").text)  # what the server says
    page.errors()  # the refusal, which the browser logs


def test_many_files_leave_the_page_its_connections(page, portrait, tmp_path):
    """A browser has six for one server, over all its tabs."""
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        path.write_bytes(encode_png(portrait))
    page.driver.get(page.origin)
    page.find("#files").send_keys("\n".join(map(str, paths)))

    def shown(what: str) -> int:
        found = page.driver.find_elements("css selector", f'#list {what}[aria-label$=".png"]')
        return sum(each.is_displayed() for each in found)

    page.wait(lambda: shown(".delete") == 8)
    page.driver.set_script_timeout(10)
    answered = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('/version').then((answer) => done(answer.status))"
    )
    assert answered == 200
    page.wait(lambda: shown(".show") == 8)
    check_nothing_left(page)


def test_the_api_page(page):
    page.driver.get(f"{page.origin}/docs")
    assert "/api/v1/jobs" in page.find("main").text
    check_everywhere(page, "api")
    check_nothing_left(page)


def test_the_token_lets_a_browser_in(chromium, demo, tmp_path):
    token = "correct-horse-battery-staple"
    words = mdcsd_serve(demo[0].checkpoint, tmp_path / "serve", "--workers", "1")
    with serving(words, MDCSD_TOKEN=f"{token}\n") as served:
        chromium.driver.get(served.url)
        chromium.find("input").send_keys(token)
        chromium.find("form button").click()
        chromium.wait(lambda: chromium.driver.find_elements("css selector", "#drop"))
