"""The app as a person meets it, in a browser; and as somebody meets it who means no good."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
from browser import Page, check_browser, failures, running_app, running_browser, wait_until
from networks import near_identity, waves
from PIL import Image

from npsrcnn.commands import upscale
from npsrcnn.images import Picture, write
from npsrcnn.images.metadata import Metadata
from npsrcnn.report.compare import STYLE, Panel, embedded, slider
from npsrcnn.report.page import Page as ReportPage


@pytest.fixture(scope="module")
def driver():
    with running_browser() as started:
        yield started


@pytest.fixture(scope="module")
def app():
    with running_app() as started:
        yield started


@pytest.fixture
def page(driver, app):
    opened = Page(driver, app.address)
    yield opened
    opened.leave()
    assert failures(app.said) == []


@pytest.fixture
def files(tmp_path, rng):
    """Weights, a picture of 16 bits with metadata, and files that are no pictures."""
    near_identity(rng, scale=2).save(tmp_path / "mine.npz")
    pixels = rng.integers(0, 65536, (40, 60, 3), np.uint16)
    metadata = Metadata(dpi=(300, 300), text={"Author": "me"})
    write(tmp_path / "deep.png", Picture(pixels, None, metadata))
    Image.fromarray(waves(rng)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    (tmp_path / "text.png").write_text("hello")
    return tmp_path


def fetched(address):
    with urllib.request.urlopen(address) as answer:
        return answer.read()


def refused(address):
    """Return the status that an address is refused with."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetched(address)
    with caught.value as answer:  # or its socket stays open, and a later test fails of that
        return answer.code


def border_of(driver):
    return driver.execute_script(
        "const side = document.querySelector('.compare .left');"
        "return getComputedStyle(side).clipPath"
    )


def test_enlarging_from_drop_to_download(page, files):
    page.choose("#weights", "a file of mine")
    page.upload("#own-weights", files / "mine.npz")
    page.upload("#pictures", files / "deep.png", files / "cut.jpg", files / "text.png")
    page.press("#enlarge")
    page.wait_for("#status", "cut.jpg: damaged or truncated")
    page.wait_for("#status", "text.png: not an image")
    said = page.wait_for("#status", "1 of 3 enlarged")
    assert str(files) not in said and "/" not in said

    argv = [str(files / "deep.png"), "--model", str(files / "mine.npz")]
    assert upscale.main([*argv, "-o", str(files / "command.png")]) == 0
    (files / "saved").mkdir()
    saved = page.download("#download", files / "saved", "deep_x2.png")
    assert saved == (files / "command.png").read_bytes()

    canvas = page.find("#view .compare .canvas")
    before = border_of(page.driver)
    slider_bar = page.find("#view .compare input[type=range]")
    slider_bar.send_keys(*["\ue014"] * 20)  # the right arrow key
    assert border_of(page.driver) != before
    page.find("#view .zoom-4").click()
    assert canvas.size["width"] == 4 * 120
    shown = page.driver.execute_script(
        "return [...document.querySelectorAll('#view .compare img')].map(i => i.naturalWidth)"
    )
    assert shown == [120, 120]


def test_a_pixel_followed_through_a_network_and_through_sparse_coding(page):
    page.tab("Look inside")
    page.find("#came-out")
    first = page.text("#inside-steps")
    picture = page.find("#inside-picture img")
    chains = pytest.importorskip("selenium.webdriver").ActionChains
    corner = chains(page.driver).move_to_element_with_offset(picture, -60, -40)
    corner.click().perform()
    wait_until(lambda: page.text("#inside-steps") != first)
    # Each part of the page is replaced by itself: read between two, they are of different pixels.
    wait_until(lambda: page.text("#came-out") == page.text("#forward") != "")
    page.tab("Sparse coding")
    page.find("#by-patches")
    wait_until(lambda: page.text("#by-patches") == page.text("#by-network") != "")
    assert re.fullmatch(r"0\.\d{12}", page.text("#by-network"))


def test_a_training_stopped_and_a_tab_closed(page, app):
    page.tab("Train")
    page.press("#train")
    page.wait_for("#train-status", "Training")
    wait_until(lambda: app.running("npsrcnn.train"))
    assert app.tabs
    page.press("#train-stop")
    page.wait_for("#train-status", "Done", "Stopped")
    assert not app.running("npsrcnn.train")
    page.wait_for("#train-status", "Done")
    page.press("#train")
    wait_until(lambda: app.running("npsrcnn.train"))
    page.leave()
    wait_until(lambda: not app.tabs, lambda: str(app.tabs))  # with all files of that tab
    assert not app.running("npsrcnn.train") and app.started("npsrcnn.app.compiling")


def test_two_at_once_fifty_files_and_cancels(driver, app, files, rng):
    """One sends fifty pictures; the other a large one, and then a clip, and thinks better of it."""
    (files / "many").mkdir()
    many = [files / "many" / f"{i}.{'jpg' if i % 2 else 'png'}" for i in range(50)]
    for path in many:
        Image.fromarray(waves(rng)).save(path)
    one = Page(driver, app.address)
    one.choose("#weights", "a file of mine")
    one.upload("#own-weights", files / "mine.npz")
    one.upload("#pictures", *many)
    first = driver.current_window_handle
    one.press("#enlarge")

    driver.switch_to.new_window("tab")
    other = Page(driver, app.address)
    Image.new("RGB", (6000, 2000), "teal").save(files / "large.png")
    other.choose("#weights", "fast")
    other.upload("#pictures", files / "large.png")
    other.press("#enlarge")
    other.wait_for("#status", "% computed")
    other.press("#cancel")
    assert "then cancelled; 1 were not" in other.wait_for("#status", "were not")

    driver.switch_to.window(first)
    one.wait_for("#status", "50 of 50 enlarged")
    (files / "saved").mkdir()
    one.download("#download", files / "saved", "enlarged.zip")
    assert "0_x2.png" in one.find("#which input").get_attribute("value")
    out = files / "command"
    argv = [str(files / "many"), "--model", str(files / "mine.npz"), "-o", str(out)]
    assert upscale.main(argv) == 0
    with zipfile.ZipFile(files / "saved" / "enlarged.zip") as archive:
        saved = {name: archive.read(name) for name in archive.namelist()}
    assert saved == {path.name: path.read_bytes() for path in out.iterdir()} and len(saved) == 50
    one.leave()

    driver.switch_to.window(next(name for name in driver.window_handles if name != first))
    other = Page(driver, app.address)
    frames = [Image.new("RGB", (400, 300), (20 * i, 0, 0)) for i in range(12)]
    frames[0].save(files / "long.gif", save_all=True, append_images=frames[1:])
    other.upload("#pictures", files / "long.gif")
    for end in ("cancel", "close"):
        other.press("#enlarge")
        other.wait_for("#status", "frame ")
        assert len(app.running("npsrcnn.app.clips")) == 1
        if end == "cancel":
            other.press("#cancel")
            other.wait_for("#status", "then cancelled; 1 were not")
            assert app.running("npsrcnn.app.clips") == []
    other.leave()
    wait_until(lambda: not app.tabs, lambda: str(app.tabs))
    assert app.running("npsrcnn.app.clips") == [] and failures(app.said) == []
    driver.close()
    driver.switch_to.window(first)


def test_all_is_reached_and_used_by_the_keyboard(page):
    enter, space, tab = "\ue007", " ", "\ue004"
    page.driver.execute_script("""
        window.asked = 0;  // no window to choose a file opens where nobody sees it
        document.querySelector("#pictures input[type=file]").addEventListener(
            "click", event => { window.asked += 1; event.preventDefault(); });""")

    def focused():
        return page.driver.switch_to.active_element

    def reach(selector, label=""):
        """Press Tab until the focus is there, and is seen to be."""
        there = """
            const one = document.activeElement, name = one.innerText || one.value;
            if (!one.matches(arguments[0]) || (arguments[1] && name.trim() !== arguments[1]))
                return null;
            return [one, one.closest("label")].some(
                part => part && getComputedStyle(part).outlineStyle !== "none")"""
        for _ in range(40):
            seen = page.driver.execute_script(there, selector, label)
            if seen is not None:
                assert seen, f"nothing shows that the focus is on {selector}"
                return focused()
            focused().send_keys(tab)
        raise AssertionError(f"no way to {selector} {label}")

    reach("button[role=tab]", "Look inside").send_keys(enter)
    page.find("#inside-picture")
    reach("button[role=tab]", "Enlarge").send_keys(enter)
    reach("#pictures button").send_keys(enter)
    assert page.driver.execute_script("return window.asked") == 1
    reach("#enlarge").send_keys(enter)
    page.wait_for("body", "no picture yet: drop one or more above")
    reach("#cancel").send_keys(space)
    page.wait_for("#status", "Nothing is at work.")
    reach("#weights input", "a file of mine").send_keys(space)
    page.find("#own-weights")


@pytest.fixture
def phone(driver):
    """A narrow screen, and a person who likes it dark."""
    command = driver.execute_cdp_cmd
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    command("Emulation.setDeviceMetricsOverride", size)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    command("Emulation.setEmulatedMedia", {"features": dark})
    yield
    command("Emulation.clearDeviceMetricsOverride", {})
    command("Emulation.setEmulatedMedia", {"features": []})


def test_on_a_phone_and_in_the_dark_nothing_is_cut_off(phone, page, files, rng):
    def width():
        return page.driver.execute_script("return document.documentElement.scrollWidth")

    assert width() == 390
    ink = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 60
    Image.fromarray(rng.integers(0, 256, (150, 250, 3), np.uint8)).save(files / "wide.png")
    page.choose("#weights", "a file of mine")
    page.upload("#own-weights", files / "mine.npz")
    page.upload("#pictures", files / "wide.png")
    page.press("#enlarge")
    page.find("#view .compare .canvas")
    assert width() == 390
    page.find("#view .zoom-4").click()
    assert page.find("#view .compare .canvas").size["width"] == 4 * 500
    assert width() == 390
    for name in ("Look inside", "Train", "Sparse coding"):
        page.tab(name)
        assert width() == 390


def test_no_path_from_a_client_is_opened(app, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_text("s3cret")
    assert refused(f"{app.address}/gradio_api/file={secret}") in (403, 404)
    config = json.loads(fetched(f"{app.address}/config"))
    (uploads,) = (
        one["id"] for one in config["components"] if one["props"].get("elem_id") == "pictures"
    )
    number = next(
        one["id"]
        for one in config["dependencies"]
        if one["inputs"] == [uploads] and [uploads, "change"] in one["targets"]
    )
    sent = {"path": str(secret), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png"}
    body = json.dumps({"data": [[sent]], "fn_index": number, "session_hash": "mallory"})
    request = urllib.request.Request(
        f"{app.address}/gradio_api/queue/join",
        body.encode(),
        {"Content-Type": "application/json"},
    )
    try:
        fetched(request)
    except urllib.error.HTTPError as error:
        with error:
            assert error.code in (400, 403, 404)
        return
    with urllib.request.urlopen(
        f"{app.address}/gradio_api/queue/data?session_hash=mallory"
    ) as stream:
        lines = iter(lambda: stream.readline().decode(), "")
        done = next(line for line in lines if "process_completed" in line)
    assert '"success":false' in done and "s3cret" not in done


def test_others_need_the_password():
    with running_app("--password", "sesame") as guarded:
        assert refused(f"{guarded.address}/config") == 401


def test_a_report_opens_from_disk_and_its_slider_moves(driver, tmp_path, rng):
    picture = embedded(waves(rng))
    report = ReportPage("a report", STYLE)
    report.html(
        slider("t", (53, 64), Panel("SRCNN", picture), [Panel("a", picture), Panel("b", picture)])
    )
    report.write(tmp_path / "report.html")
    driver.get((tmp_path / "report.html").as_uri())
    before = border_of(driver)
    driver.find_element("css selector", "input[type=range]").send_keys(*["\ue012"] * 10)
    assert border_of(driver) != before
    assert driver.find_element("css selector", ".left-0").is_displayed()
    driver.find_element("css selector", ".pick-1").click()
    assert driver.find_element("css selector", ".left-1").is_displayed()
    assert not driver.find_element("css selector", ".left-0").is_displayed()
    check_browser(driver)
