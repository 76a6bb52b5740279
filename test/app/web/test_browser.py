"""`ovseg web` in a real browser: headless Chromium does what a person would, and nothing leaves the machine.

OVSEG_TEST_REQUIRE_BROWSER=1 turns "no browser here" from a reason to skip into a failure.
OVSEG_TEST_SCREENSHOT=docs/images/web.png also writes the picture of the page that the documentation shows.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from memory_entries import entry as thing
from PIL import Image

from ovseg_ros.app.web.choices import write_png
from ovseg_ros.core.maps.mask_overlap import mask_iou
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import depth_to_mm, read_recording
from ovseg_ros.memory import Name, open_store

pytestmark = pytest.mark.slow  # Chromium, the server's imports and the networks: tens of seconds

FRAME = 34  # of the tabletop: a teapot and a white mug among other things
WAIT_S = 40.0


def what_is_missing() -> str:
    """Why there can be no browser test here; "" if there can."""
    commands = [c for c in ("chromium", "chromedriver") if shutil.which(c) is None]
    modules = [m for m in ("gradio", "selenium") if importlib.util.find_spec(m) is None]
    missing = ", ".join(commands + modules)
    return f"{missing} not found here; scripts/setup.sh web brings them" if missing else ""


@pytest.fixture(scope="module", autouse=True)
def _browser_is_here():
    reason = what_is_missing()
    if reason and os.environ.get("OVSEG_TEST_REQUIRE_BROWSER") == "1":
        pytest.fail(f"OVSEG_TEST_REQUIRE_BROWSER is set, but {reason}")
    if reason:
        pytest.skip(reason)


@contextmanager
def command_running(folder: Path, *more: str):
    """The command as a process, and the page's address; it must end with 0 on Ctrl-C."""
    command = [sys.executable, "-m", "ovseg_ros.app.cli", "web", "--port", "0", "--preset", "mini", *more]
    env = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    log = folder / "stderr.txt"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env) as process,
    ):
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert address, log.read_text()
            yield address[0]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def server(_browser_is_here, tmp_path_factory):
    with command_running(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A recorded frame as files, as a person has them, and where its teapot is."""
    recorded = next(r for i, r in enumerate(read_recording(recording_folder("demo/tabletop"))) if i == FRAME)
    folder = tmp_path_factory.mktemp("files")
    write_png(folder / "frame.png", recorded.frame.image_rgb[:, :, ::-1])
    write_png(folder / "depth.png", depth_to_mm(recorded.frame.depth_m))
    (folder / "no_picture.png").write_text("hello")
    write_png(folder / "tiny.png", np.zeros((1, 1, 3), np.uint8))
    k = recorded.frame.intrinsics
    ids = {name: i for i, name in recorded.names.items()}
    return folder, f"{k.fx}, {k.fy}, {k.cx}, {k.cy}", recorded.mask(ids["teapot"])


class Page:
    """The page as a person handles it."""

    def __init__(self, driver, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.wait("#submit")

    def find(self, css: str):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def until(self, condition, what: str):
        """What `condition` gives once it is true. The page redraws: an element may vanish under our hands."""
        from selenium.common.exceptions import StaleElementReferenceException

        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                if result := condition():
                    return result
            except StaleElementReferenceException:
                pass
            time.sleep(0.1)
        texts = [element.text for element in self.find("#message")]
        pytest.fail(f"waited {WAIT_S:g} s for {what}; the message reads {texts}")

    def wait(self, css: str):
        return self.until(lambda: next(iter(self.find(css)), None), css)

    def upload(self, part: str, path: Path) -> None:
        for clear in self.find(f'#{part} button[aria-label="Clear"]'):
            clear.click()
        self.wait(f"#{part} input[type=file]").send_keys(str(path))
        shown = f"#{part} img" if part == "image" else f"#{part} .file-preview"
        self.wait(shown)

    def type(self, css: str, text: str) -> None:
        from selenium.webdriver.common.keys import Keys

        field = self.wait(css)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.BACKSPACE, text, Keys.TAB)

    def submit(self, expected: str) -> str:
        """Presses the button; the message, once it contains what is expected."""
        assert expected not in self.text("#message")
        self.wait("#submit").click()
        return self.until(lambda: (t := self.text("#message")) and expected in t and t, repr(expected))

    def text(self, css: str) -> str:
        return next((element.text for element in self.find(css)), "")

    def error(self) -> str:
        return self.text("#message .ov-error")

    def map_pixels(self) -> np.ndarray:
        """(H, W, 3) the map at its full size, as the browser got it."""
        script = """
            const done = arguments[arguments.length - 1];
            fetch(document.querySelector('#map img').src).then(r => r.blob()).then(b => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(',')[1]);
                reader.readAsDataURL(b);
            });"""
        data = base64.b64decode(self.driver.execute_async_script(script))
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def colour(self, name: str) -> tuple[int, ...]:
        """The legend's colour of a word."""
        for entry in self.find("#legend .ov-entry"):
            if entry.text.startswith(name):
                style = entry.find_element("css selector", ".ov-swatch").value_of_css_property(
                    "background-color"
                )
                return tuple(int(part) for part in re.findall(r"\d+", style)[:3])
        pytest.fail(f"{name} is not in the legend: {self.text('#legend')}")

    def rows(self) -> list[list[str]]:
        """The table's cells."""
        lines = self.find("#table tbody tr")
        return [[cell.text for cell in line.find_elements("css selector", "td")] for line in lines]


@contextmanager
def browser_running():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # As root, as in a container, Chromium runs without its sandbox alone; the page is ours.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def page(server):
    with browser_running() as driver:
        yield Page(driver, server)


def test_a_person_finds_the_teapot(page, truth, server):
    folder, camera, teapot = truth

    # What is missing is asked for, one after the other, in words.
    page.submit("Upload an image first")
    page.upload("image", folder / "frame.png")
    page.submit("at least one class name")
    page.type("#words textarea, #words input", "teapot, mug")
    page.submit("add a depth image")
    assert page.error()
    assert not page.find("#map img")
    page.upload("depth", folder / "depth.png")
    page.type("#camera textarea, #camera input", camera)

    # The labelled map, its legend, the table.
    assert "encode" in page.submit("Found: mug (1), teapot (1).")
    assert not page.error()
    page.wait("#overlay img")
    pixels = page.map_pixels()
    assert pixels.shape == (*teapot.shape, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 2
    assert page.colour("teapot") != page.colour("mug")
    painted = (pixels == page.colour("teapot")).all(axis=2)
    assert mask_iou(painted[None], teapot[None])[0, 0] > 0.9
    row = next(row for row in page.rows() if row[1] == "teapot")
    x0, y0, x1, y1 = (int(number) for number in re.findall(r"\d+", row[5]))
    left, top, width, height = cv2.boundingRect(teapot.astype(np.uint8))
    np.testing.assert_allclose([x0, y0, x1, y1], [left, top, left + width - 1, top + height - 1], atol=6)
    assert float(row[2]) > 0.9

    # A higher threshold takes the mug away; neither masks nor embeddings are computed again.
    page.type("#threshold input[type=number]", "0.9")
    page.until(lambda: "Found: teapot (1)." in page.text("#message"), "an answer from the slider alone")
    assert "masks and embeddings reused" in page.text("#message")
    assert "not found" in page.text("#legend")
    assert not (page.map_pixels() == page.colour("mug")).all(axis=2).any()

    # Bad files get a sentence, and no old picture stays beside it.
    for name, part in (("no_picture.png", "no format that is read here"), ("tiny.png", "too small, 1x1")):
        page.upload("image", folder / name)
        page.submit(part)
        assert not page.find("#map img")
        assert not page.rows()


def test_an_example_answers_at_once(page):
    page.wait("#example-1").click()
    page.until(lambda: "moka pot (1)" in page.text("#message"), "the example's answer")
    page.wait("#overlay img")
    assert {"teapot", "moka pot", "red mug", "frying pan", "plate"} <= {row[1] for row in page.rows()}
    time.sleep(0.5)  # the pictures fade in
    height = page.driver.execute_script("return document.documentElement.scrollHeight")
    inner = page.driver.execute_script("return [window.outerHeight - window.innerHeight]")[0]
    page.driver.set_window_size(1280, height + inner)
    png = page.driver.get_screenshot_as_png()
    shot = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 1000
    if target := os.environ.get("OVSEG_TEST_SCREENSHOT"):
        Image.fromarray(shot).save(target, optimize=True)


def test_no_other_host_was_asked(page, server):
    """Comes last of those: it looks at all that the tests before made the browser do."""
    asked = set()
    for entry in page.driver.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            parameters = event["params"]
            asked.add(parameters.get("url") or parameters["request"]["url"])
    assert any("/gradio_api/" in url for url in asked)
    hosts = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob", "chrome")}
    assert hosts == {urlsplit(server).netloc}
    complaints = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not complaints


def test_what_is_remembered_is_looked_up_on_its_tab(tmp_path):
    pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")
    jpeg = cv2.imencode(".jpg", np.full((40, 40, 3), (0, 0, 255), np.uint8))[1].tobytes()
    with open_store(tmp_path / "memory.db") as store:
        store.save([thing(1, words={"red mug": Name(0.9, 3)}, crop=jpeg)])
        store.save([thing(2, words={"book": Name(0.9, 3)}, crop=jpeg)])
    with (
        command_running(tmp_path, "--memory", str(tmp_path / "memory.db")) as address,
        browser_running() as driver,
    ):
        page = Page(driver, address)
        next(tab for tab in page.find("button[role=tab]") if tab.text == "Memory").click()
        page.until(lambda: "2 things." in page.text("#memory-message"), "all that is remembered")
        page.type("#memory-words textarea, #memory-words input", "MUG")
        page.wait("#memory-look").click()
        page.until(lambda: "1 thing." in page.text("#memory-message"), "the mug")
        drawing = page.wait("#memory-map img")
        width = "return arguments[0].naturalWidth"
        page.until(lambda: driver.execute_script(width, drawing) > 500, "its picture")
        assert "red mug" in page.text("#memory-table")
        assert "book" not in page.text("#memory-table")
        assert not [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]


def click_in(page, css: str, at: tuple[float, float]) -> None:
    """Clicks on a picture at a place in its own pixels, wherever and however large it is shown."""
    from selenium.webdriver import ActionChains

    picture = page.wait(css)
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    script = """const i = arguments[0], r = i.getBoundingClientRect();
        return [r.width, r.height, i.naturalWidth, i.naturalHeight]"""
    width, height, columns, rows = page.until(
        lambda: (size := page.driver.execute_script(script, picture))[2] and size, "the picture"
    )
    scale = min(width / columns, height / rows)  # object-fit: scale-down, in the middle
    offset = (at[0] - columns / 2) * scale, (at[1] - rows / 2) * scale
    ActionChains(page.driver).move_to_element_with_offset(picture, *map(round, offset)).click().perform()


def test_a_click_and_a_name_teach_it(truth, tmp_path):
    folder, camera, teapot = truth
    with (
        command_running(tmp_path, "--preset", "lite") as address,
        browser_running() as driver,
    ):
        page = Page(driver, address)
        page.upload("depth", folder / "depth.png")  # first: the picture's event answers with what was there
        page.upload("image", folder / "frame.png")
        page.type("#camera textarea, #camera input", camera)
        page.type("#words textarea, #words input", "kettle, mug")
        page.submit("masks on")
        page.wait("#teach").click()
        page.until(lambda: "Type a name" in page.text("#teach-message"), "what is missing")
        rows, columns = np.nonzero(teapot)
        click_in(page, "#overlay img", (float(np.median(columns)), float(np.median(rows))))
        page.until(lambda: "This is mask" in page.text("#teach-message"), "the mask under the click")
        page.wait("#teach-crop img")
        page.type("#teach-name textarea, #teach-name input", "grandma's pot")
        page.wait("#teach").click()
        page.until(lambda: "grandma's pot (1 example)" in page.text("#teach-message"), "that it was taught")
        page.type("#words textarea, #words input", "find grandma's pot and the mug")
        page.submit("grandma's pot (1)")
        painted = (page.map_pixels() == page.colour("grandma's pot")).all(axis=2)
        assert mask_iou(painted[None], teapot[None])[0, 0] > 0.8
        if target := os.environ.get("OVSEG_TEST_SCREENSHOT_TEACH"):
            time.sleep(0.5)
            height = driver.execute_script("return document.documentElement.scrollHeight")
            driver.set_window_size(1280, height + 150)
            Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB").save(target)
        assert not [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]
