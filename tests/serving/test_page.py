"""The page as a person uses it: a browser drives it, by mouse, keyboard and screen reader's tree.

Needs Playwright and Debian's chromium-headless-shell, which `.ci/run` installs. With the
environment variable ALEXNET_SCREENSHOTS set to a folder, pictures of the page are kept there.
"""

import base64
import os
import shutil
from pathlib import Path

import pytest
from tests.conftest import CLASSES, picture
from tests.serving.conftest import Server, Shelf, encode

from alexnet.serving.app import make_app
from alexnet.serving.limits import ServingLimits

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium-headless-shell"
)
DROP = """
([base64, name, type]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  if (name) data.items.add(new File([bytes], name, { type }));
  else data.setData("text/plain", "words");
  for (const kind of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true }));
}
"""
PASTE = """
(base64) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}
"""
FOCUSED = "document.activeElement.id || document.activeElement.parentNode.parentNode.id"
SIZES = {"phone": (375, 812), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(classifier):
    limits = ServingLimits(body_bytes=1 << 16)
    app = make_app(classifier, "rings & <i>stripes</i>", neighbors=Shelf(), limits=limits)
    server = Server(app, limits)
    yield server
    server.stop()


@pytest.fixture(params=[("desktop", "light")], ids="-".join)
def page(request, browser, server):
    """A page that has loaded. No error may stand in its console, no request leave the server."""
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=size == "phone",
        reduced_motion="reduce",
    )
    page = context.new_page()
    errors, foreign = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda x: errors.append(x.text) if "Content Security" in x.text else None)
    own = (server.url, "data:", "blob:")
    page.on("request", lambda x: None if x.url.startswith(own) else foreign.append(x.url))
    page.goto(server.url)
    page.get_by_text("3 classes").wait_for()
    yield page
    assert errors == []
    assert foreign == []
    context.close()


def drop(page, content, name="photo.png", kind="image/png"):
    page.evaluate(DROP, [base64.b64encode(content).decode(), name, kind])


def read_labels(page):
    page.locator("#labels").wait_for()
    return page.locator("#bars .label").all_inner_texts()


def keep_screenshot(page, name):
    if folder := os.environ.get("ALEXNET_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


def test_a_dropped_image_gets_its_labels_in_order(page, classifier, png):
    drop(page, png)
    assert read_labels(page) == list(classifier.predict(png).labels)
    page.locator("#seen").wait_for()
    page.locator("#first").wait_for()
    for name in ("crop", "heat", "responses"):
        image = page.locator(f"#{name}")
        assert image.evaluate("x => x.complete && x.naturalWidth > 0")
        assert image.get_attribute("alt")
    widths = page.locator(".track div").evaluate_all("all => all.map(x => x.clientWidth)")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0


def test_images_can_be_chosen_photographed_and_pasted(page, png):
    for name in ("file", "camera"):
        payload = {"name": f"{name}.png", "mimeType": "image/png", "buffer": png}
        page.locator(f"#{name}").set_input_files(payload)
        page.locator("#name", has_text=f"{name}.png").wait_for()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    page.evaluate(PASTE, base64.b64encode(png).decode())
    page.locator("#name", has_text="image.png").wait_for()
    assert len(read_labels(page)) == 3


def test_a_neighbor_can_be_followed(page, classifier, png):
    drop(page, png)
    near = page.locator("#neighbors button")
    near.first.wait_for()
    assert near.count() == 6
    assert "spots/<b>1</b>.png" in near.first.inner_text()  # as text, not as HTML
    near.nth(2).click()
    page.locator("#name", has_text="spots/2.png").wait_for()
    assert read_labels(page) == list(classifier.predict(picture(2, 2)).labels)
    assert page.evaluate("document.activeElement.id") == "labels-title"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>not found</html>", "photo.png cannot be used: it is no image (no known image"),
        (b"", "the file is empty"),
        (encode(picture(0, 1))[:200], "the file is cut off"),
        (b"\0" * (1 << 17), "it has 0.1 MB, more than the 0.1 MB that this server takes"),
    ],
    ids=["html", "empty", "truncated", "large"],
)
def test_what_is_no_image_is_refused_in_words_and_the_next_image_works(page, png, content, words):
    drop(page, content)
    problem = page.locator("#problem", has_text="cannot be used")
    problem.wait_for()
    keep_screenshot(page, f"refused-{len(content)}")
    assert words in problem.inner_text()
    assert page.locator("#labels").is_hidden()
    drop(page, png)
    assert len(read_labels(page)) == 3
    assert problem.count() == 0


def test_dropped_text_is_refused_in_words(page):
    drop(page, b"", name="")
    page.get_by_text("That holds no image file.").wait_for()


def test_a_page_that_goes_offline_says_so_and_comes_back(page, png):
    page.context.set_offline(True)
    page.get_by_text("You are offline").wait_for()
    drop(page, png)
    page.locator("#problem", has_text="was not answered").wait_for()
    keep_screenshot(page, "offline")
    page.context.set_offline(False)
    page.locator("#offline").wait_for(state="hidden")
    drop(page, png)
    assert len(read_labels(page)) == 3


def test_a_server_that_is_gone_is_named_and_noticed_when_it_returns(page, png):
    page.route("**/*", lambda route: route.abort())
    drop(page, png)
    page.get_by_text("The server does not answer.").wait_for()
    page.unroute("**/*")
    page.locator("#offline").wait_for(state="hidden")
    assert "answers again" in page.locator("#status").inner_text()


def test_a_busy_server_is_asked_again(page, png):
    refusals = []

    def refuse_once(route):
        if refusals:
            return route.continue_()
        refusals.append(route)
        body = '{"error": "busy", "detail": "busy"}'
        return route.fulfill(status=503, headers={"Retry-After": "1"}, body=body)

    page.route("**/v1/predict", refuse_once)
    drop(page, png)
    assert len(read_labels(page)) == 3


def test_everything_is_reached_by_keyboard_and_told_to_a_screen_reader(page, png):
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files({"name": "by-key.png", "mimeType": "image/png", "buffer": png})
    page.locator("#neighbors button").first.wait_for()
    page.locator("#said", has_text="Labels of by-key.png").wait_for(state="attached")
    assert page.evaluate("document.activeElement.id") == "labels-title"
    said = page.get_by_role("status").last.inner_text()
    assert all(name in said for name in CLASSES)
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.parentNode.parentNode.id"
            )
        )
    assert {"heat-on", "strength", "neighbors"} <= seen
    for role, name in (("button", "Choose an image"), ("slider", "Strength"), ("list", "")):
        assert page.get_by_role(role, name=name).count() >= 1
    for heading in ("Labels", "What the network saw", "Nearest images", "First layer"):
        assert page.get_by_role("region", name=heading).count() == 1


def test_the_heat_map_can_be_weakened_and_removed(page, png):
    drop(page, png)
    heat = page.locator("#heat")
    heat.wait_for()
    page.locator("#strength").fill("20")
    assert heat.evaluate("x => x.style.opacity") == "0.2"
    page.locator("#heat-on").uncheck()
    assert heat.is_hidden()


CONTRAST = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (x) => {
    for (; x; x = x.parentElement) {
      const color = channels(getComputedStyle(x).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const x of document.querySelectorAll("body *")) {
    const own = [...x.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !x.offsetParent) continue;
    const [a, b] = [light(channels(getComputedStyle(x).color)), light(ground(x))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([x.textContent.trim().slice(0, 40), ratio]);
  }
  return low;
}
"""


@pytest.mark.parametrize(
    "page",
    [(size, scheme) for size in SIZES for scheme in ("light", "dark")],
    ids="-".join,
    indirect=True,
)
def test_the_page_fits_its_width_and_its_text_stands_out(page, png, request):
    keep_screenshot(page, f"empty-{request.node.callspec.id}")
    drop(page, png, "a-long-name-without-any-space-" * 5 + ".png")
    page.locator("#neighbors button").first.wait_for()
    page.locator("#first").wait_for()
    page.locator("#said", has_text="Labels of").wait_for(state="attached")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    assert page.evaluate(CONTRAST) == []  # 4.5 : 1, WCAG 2.2, 1.4.3
    small = page.locator("main button").evaluate_all(
        "all => all.filter(x => x.offsetParent && x.offsetHeight < 44).map(x => x.textContent)"
    )
    assert small == []
    keep_screenshot(page, f"answered-{request.node.callspec.id}")
