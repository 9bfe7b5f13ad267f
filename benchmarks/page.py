"""The lab's page, measured: what it weighs, and in Chromium when a layer is seen, what a redraw and idling cost."""

import gzip
import importlib.util
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from fluoroscope import specimen

ROOT = Path(__file__).resolve().parents[1]
SIDE, ROUNDS, IDLE = 32, 7, 3
"""Layers and heads of the model with 1,024 heads; how often to measure; seconds of rest."""
BUDGETS = {
    "first page, gzipped, kB": 60,
    "first layer on the screen, ms": 300,
    "1,024 heads drawn again, ms": 100,
    "1,024 balls drawn again, ms": 100,
    "at rest, frames a second": 0,
    "at rest, ms of work a second": 5,
}

# A draw is over when a dot of it can be read.
TIMED = """const own = WebGL2RenderingContext.prototype.drawArraysInstanced; window.draws = []; window.frames_ = 0;
WebGL2RenderingContext.prototype.drawArraysInstanced = function (...given) {
  const start = performance.now(); own.apply(this, given);
  this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4));
  draws.push([given[3], performance.now() - start]);
};
const ask = window.requestAnimationFrame; window.requestAnimationFrame = (call) => { frames_++; return ask(call); };"""
# From the press of the button until a head's picture has a dot.
FIRST = """() => new Promise((done) => {
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const start = performance.now();
  document.querySelector("#prompt button.primary").click();
  let gone = false;
  const look = () => {
    const canvas = document.querySelector("#heads .heads canvas");
    gone ||= !document.querySelector("#heads .there");
    if (gone && canvas && document.querySelector("#heads .there")) {
      copy.clearRect(0, 0, 64, 64);
      copy.drawImage(canvas, 0, 0, 64, 64);
      if (copy.getImageData(0, 0, 64, 64).data.some((byte) => byte > 0)) return done(performance.now() - start);
    }
    setTimeout(look, 1);
  };
  look();
})"""


def measured() -> dict[str, float]:
    """Sizes, and times where there is a browser; why not, where there is none, is printed."""
    found = _sizes()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or importlib.util.find_spec("playwright") is None:
        print("The page was not measured: there is no chromium, or no playwright to drive it.")
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        with started.chromium.launch(executable_path=chromium, args=arguments) as browser:
            with _serving() as address:
                found |= _first_layer(_opened(browser, address))
            with tempfile.TemporaryDirectory() as folder, _serving("--model", _many(folder)) as address:
                found |= _redraws(_opened(browser, address))
    return found


def _sizes() -> dict[str, float]:
    """What the page asks for before anything is done."""
    sys.path.insert(0, str(ROOT))
    import hatch_build

    hatch_build.bundle(ROOT)
    static = hatch_build.stamp(ROOT).parent
    wanted, seen = ["index.html"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen or not (static / name).is_file():
            continue
        seen.add(name)
        text = (static / name).read_text(encoding="utf8")
        links = re.findall(r"""(?:src|href)="([^":]+)"|(?:from|import)\s*"\./([^"]+)\"""", text)
        wanted += [(Path(name).parent / link).as_posix() for pair in links for link in pair if link]
    weight = sum(len(gzip.compress((static / name).read_bytes(), 9)) for name in seen)
    return {"first page, gzipped, kB": round(weight / 1000, 1)}


@contextmanager
def _serving(*options: str) -> Generator[str]:
    command = [sys.executable, "-u", "-m", "fluoroscope", "lab", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        told = re.search(r"http://\S+", server.stdout.readline())
        assert told, "the lab does not start"
        try:
            yield told[0]
        finally:
            server.terminate()


def _opened(browser: Any, address: str) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce").new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(TIMED)
    page.goto(address)
    page.wait_for_selector("#preset option[value=ioi]", state="attached")
    page.wait_for_selector("header .status:has-text('ready')")
    return page


def _first_layer(page: Any) -> dict[str, float]:
    times = []
    for _ in range(ROUNDS + 2):
        times.append(page.evaluate(FIRST))
        page.wait_for_selector('#flow[data-status="ready"]')
        page.wait_for_selector('#lens[data-status="ready"]')
    return {"first layer on the screen, ms": round(statistics.median(times[2:]), 1)} | _rest(page)


def _rest(page: Any) -> dict[str, float]:
    """Frames that the page asks for, and work of its process, once all is drawn."""
    page.wait_for_timeout(1500)
    process = page.context.new_cdp_session(page)
    process.send("Performance.enable")

    def worked() -> float:
        return next(
            m["value"] for m in process.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration"
        )

    frames, work = page.evaluate("frames_"), worked()
    page.wait_for_timeout(1000 * IDLE)
    return {
        "at rest, ms of work a second": round((worked() - work) * 1000 / IDLE, 2),
        "at rest, frames a second": (page.evaluate("frames_") - frames) / IDLE,
    }


def _redraws(page: Any) -> dict[str, float]:
    page.fill("#prompt-text", "When Mary and John went to the store, John gave a drink to Mary. " * 5)
    page.click("#prompt button.primary")
    while page.locator("#heads .there").count() < SIDE**2:
        page.wait_for_timeout(50)
    page.wait_for_selector('#lens[data-status="ready"]')
    flat = _draws(page, "document.querySelector('header button:last-of-type').previousElementSibling.click()")
    page.click("#heads .switch >> text=3D")
    return {
        "1,024 heads drawn again, ms": flat,
        "1,024 balls drawn again, ms": _draws(page, "document.querySelector('[aria-label=\"turn left\"]').click()"),
    }


def _draws(page: Any, act: str) -> float:
    """Median time of the draws of all heads that an act brings about."""
    page.wait_for_timeout(500)
    page.evaluate("draws.length = 0")
    for _ in range(ROUNDS):
        page.evaluate(act)
        page.wait_for_timeout(250)
    times = [took for count, took in page.evaluate("draws") if count == SIDE**2]
    assert len(times) >= ROUNDS, "not every act was drawn"
    return round(statistics.median(times), 1)


def _many(folder: str) -> str:
    """A model of 1,024 heads with random weights and the specimen's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(specimen.folder())
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=4 * SIDE, n_layer=SIDE, n_head=SIDE, n_positions=256)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
