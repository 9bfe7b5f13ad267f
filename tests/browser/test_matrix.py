"""A pattern of more tokens than dots: no peak is lost, every number can be reached, both ways to read it."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import Lab
from fluoroscope.render import palette

LETTERS = "abcdefghijklmnopqrstuvwxyz "
TOKENS = 1200
TEXT = "".join(LETTERS[place] for place in np.random.default_rng(0).integers(0, len(LETTERS) - 1, TOKENS))


@pytest.fixture(scope="module")
def pattern(hybrid):
    """Of the third head."""
    return fluoroscope.load(hybrid.folder).trace(TEXT, sites=["pattern.1"], logits=False)["pattern.1"][0, 2].numpy()


def opened(open_lab, hybrid) -> Lab:
    lab = open_lab(at=hybrid.address)
    page = lab.page
    page.fill("#prompt-text", TEXT)
    page.press("#prompt-text", "Enter")
    page.click('#heads [data-place="1.2"]')
    page.wait_for_selector("#attention .margin")  # the whole has come
    page.wait_for_timeout(200)
    return lab


def steps(dots):
    """Which of the 256 steps of the ramp of amounts each dot shows."""
    texts = [palette.shade(palette.LIGHT, step / 255, 1.0, signed=False) for step in range(256)]
    ramp = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in texts])
    flat = dots.reshape(-1, 4)[:, :3].astype(int)
    kinds, which = np.unique(flat, axis=0, return_inverse=True)
    nearest = np.abs(kinds[:, None] - ramp[None]).sum(-1).argmin(-1)
    return nearest[which.reshape(-1)].reshape(dots.shape[:2]) * (dots[..., 3] > 0)


def test_peaks_survive_and_cells_are_told(open_lab, hybrid, pattern):
    lab = opened(open_lab, hybrid)
    page = lab.page
    dots = lab.dots("#attention .field canvas")
    shown, side = steps(dots), len(dots)
    assert TOKENS / side > 2  # several cells a dot
    query, key = np.tril_indices(TOKENS)
    largest = np.zeros((side, side))
    np.maximum.at(largest, (query * side // TOKENS, key * side // TOKENS), pattern[query, key])
    seen = dots[..., 3] > 0
    inside = np.tril(np.ones((side, side), bool), -1)
    assert seen[inside].all()
    assert not seen[np.triu(np.ones((side, side), bool), 2)].any()
    wanted = np.round(255 * np.sqrt(largest))
    assert (shown[inside] >= wanted[inside] - 3).all()
    assert np.abs(shown - wanted)[inside].mean() < 12  # and the rest is not drowned

    field = page.locator("#attention .field")
    field.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    said = page.locator("#attention p[aria-live]")
    expect(said).to_contain_text(f"{TEXT[3]} 3 looks at {TEXT[1]} 1: ")
    number = float(said.inner_text().rpartition(": ")[2].strip(" %<>")) / 100
    assert number == pytest.approx(pattern[3, 1], abs=6e-4)
    page.keyboard.press("x")
    expect(said).to_contain_text(f"{TEXT[1]} 1 is looked at by {TEXT[3]} 3: ")
    page.wait_for_timeout(100)
    turned = lab.dots("#attention .field canvas")[..., 3] > 0
    assert turned[5, side - 5]
    assert not turned[side - 5, 5]
    page.keyboard.press("x")
    expect(page.locator("#attention .minimap")).to_have_count(0)
    for _ in range(6):
        page.keyboard.press("+")
    expect(page.locator("#attention .minimap")).to_be_visible()
    assert lab.violations("#attention") == []

    page.check("#attention >> text=each token by its largest")
    page.check("#attention >> text=without the first token")
    field.focus()
    for key in ("+", "+", "ArrowUp", "ArrowUp", "ArrowUp"):  # to the first eight tokens
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    shown = steps(lab.dots("#attention .field canvas"))
    centres = ((np.arange(8) + 0.5) * len(shown) / 8).astype(int)
    cells = shown[np.ix_(centres, centres)]
    assert (cells[:, 0] == 0).all()
    assert (cells[1:].max(-1) >= 250).all()

    page.click("#attention .zoom >> text=table")
    rows = page.locator("#attention table tbody tr")
    expect(rows).to_have_count(TOKENS)
    assert re.search(r"\d", rows.nth(7).inner_text())
