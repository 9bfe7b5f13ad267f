"""A lab of its own process, its bundle fresh, and Chromium to look at it; a page that asks others fails its test."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
import torch
from playwright.sync_api import expect, sync_playwright
from transformers import AutoConfig, AutoModelForCausalLM

import tiny
from architectures import zoo
from browser.lab import Lab
from fluoroscope.store import Store

ROOT = Path(__file__).resolve().parents[2]
expect.set_options(timeout=20_000)  # as long as `Lab` waits, on machines of whatever speed
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """All tests of this folder need a browser, and share it; the longest of all tests, they come first."""
    items.sort(key=lambda item: Path(__file__).parent not in item.path.parents)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="there is no chromium: apt-get install chromium"))


@contextmanager
def serving(*options, **settings):
    """Where a lab of its own process listens."""
    told = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **settings}
    command = [sys.executable, "-m", "fluoroscope", "lab", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=told) as server:
        found = re.search(r"http://\S+", server.stdout.readline())
        try:
            assert found, "the lab does not start"
            yield found[0]
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The kept runs of that lab."""
    return Store(tmp_path_factory.mktemp("store") / "runs.sqlite")


@pytest.fixture(scope="session")
def address(bundle, store):
    """Where a lab with the embedded model listens."""
    with serving("--store", str(store.path)) as found:
        yield found


class Hybrid(NamedTuple):
    """A lab with a model of its own."""

    address: str
    folder: str


@pytest.fixture(scope="session")
def hybrid(bundle, tmp_path_factory):
    """A model of three layers of which only the middle one has heads, two to a key and value head; it reads thousands
    of tokens, one a letter."""
    folder = tmp_path_factory.mktemp("hybrid")
    tiny.save(folder)  # for its tokenizer
    sizes = {**deepcopy(zoo.CASES["qwen3_next"]), "max_position_embeddings": 4096}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3_next", **sizes)).eval()
    with torch.no_grad():
        zoo.loud(made, 0)
    made.save_pretrained(folder)
    with serving("--model", str(folder), FLUOROSCOPE_MAX_TOKENS="2500") as found:
        while httpx2.get(f"{found}api/ready", timeout=60).status_code != 200:
            time.sleep(0.1)
        yield Hybrid(found, str(folder))


# The plugin's Playwright lives as long as the session and leaves an event loop running in this thread, in which no
# other test could start its own; these live as long as the tests of this folder, which come one after the other.


@pytest.fixture(scope="package")
def playwright():
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser_context_args():
    return {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}


@pytest.fixture(scope="package")
def browser(playwright):
    arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
    with playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as opened:
        yield opened


@pytest.fixture
def open_lab(address, browser, browser_context_args):
    """Opens the lab in a context of its own; at the end nothing may have gone wrong in any of them."""
    opened = []

    def open_it(fragment="", *, before=lambda page: None, at=address, **context):
        lab = Lab(browser.new_context(**{**browser_context_args, **context}).new_page(), at)
        opened.append(lab)
        before(lab.page)
        lab.open(fragment)
        return lab

    yield open_it
    for lab in opened:
        lab.page.context.close()
    assert [fault for lab in opened for fault in lab.faults] == []
