import re
from math import dist
from pathlib import Path

import pytest

from fluoroscope.render.palette import DARK, LIGHT, ink, shade, strongest

THEMES = [DARK, LIGHT]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("signed", [True, False])
def test_the_number_in_a_cell_can_be_read_on_every_colour(theme, signed):
    for step in range(-20 if signed else 0, 21):
        colour = shade(theme, step, 20, signed)
        assert contrast(colour, ink(colour)) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_text_of_the_page_can_be_read(theme):
    assert contrast(theme.page, theme.ink) >= 7
    assert contrast(theme.page, theme.muted) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_amounts_run_monotonously_and_signs_part_at_zero(theme):
    steps = [luminance(shade(theme, value, 20, False)) for value in range(21)]
    assert steps in (sorted(steps), sorted(steps, reverse=True))
    assert shade(theme, 0.0, 1, True) == theme.toward[0] == theme.against[0]
    orange, blue = shade(theme, -1, 1, True), shade(theme, 1, 1, True)
    assert int(orange[1:3], 16) > int(orange[5:7], 16)
    assert int(blue[5:7], 16) > int(blue[1:3], 16)


def test_values_beyond_the_maximum_get_the_strongest_colour():
    assert shade(DARK, 7, 2, True) == shade(DARK, 2, 2, True) == DARK.toward[-1]


def test_the_strongest_value_ignores_missing_ones():
    assert strongest([[None, -3.0], [2.0]]) == 3
    assert strongest([[2.0]], 5.0) == 5
    assert strongest([[None]]) == strongest([[0.0]]) == 1


# ── colour-blind readers ─────────────────────────────────────────────────────────────────────────────

SEEN = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB."""
XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def lab(colour: str, seen) -> tuple[float, float, float]:
    """CIELAB of a colour (D65), as it is seen."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    clipped = [min(1.0, max(0.0, c)) for c in times(seen, linear)]
    ratios = [value / white for value, white in zip(times(XYZ, clipped), WHITE, strict=True)]
    x, y, z = (r ** (1 / 3) if r > (6 / 29) ** 3 else r / (3 * (6 / 29) ** 2) + 4 / 29 for r in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_cielab_is_that_of_the_books():
    known = {"#ffffff": (100, 0, 0), "#ff0000": (53.24, 80.09, 67.20), "#0000ff": (32.30, 79.19, -107.86)}
    for colour, expected in known.items():
        assert lab(colour, SEEN["normal"]) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("theme", THEMES, ids=["dark", "light"])
@pytest.mark.parametrize("seen", SEEN)
def test_for_and_against_stay_apart_for_everybody(theme, seen):
    for step in range(20, 101):
        pair = [lab(shade(theme, sign * step / 100, 1, True), SEEN[seen]) for sign in (1, -1)]
        assert dist(*pair) >= 24, step


def test_the_page_has_the_same_colours():
    root = Path(__file__).resolve().parents[2]
    source = (root / "web" / "src" / "draw" / "colour.ts").read_text(encoding="utf8")
    style = (root / "web" / "src" / "views" / "theme.css").read_text(encoding="utf8")
    for name, theme, rule in (("dark", DARK, r':root\[data-theme="dark"\]'), ("light", LIGHT, ":root")):
        ramps = re.search(rf"{name}: \{{(.*?)\}}", source, re.DOTALL)[1]
        for ramp in ("against", "amount", "toward"):
            assert tuple(re.findall(r"#\w{6}", re.search(rf"{ramp}: \[(.*?)\]", ramps)[1])) == getattr(theme, ramp)
        own = dict(re.findall(r"--(\w+): (#\w{6})", re.search(rf"^{rule}[^{{]* \{{(.*?)\}}", style, re.MULTILINE)[1]))
        expected = {"page": theme.page, "ink": theme.ink, "muted": theme.muted, "line": theme.line}
        expected |= {"toward": theme.toward[-1], "against": theme.against[-1]}
        assert {key: own[key] for key in expected} == expected
        for text in ("ink", "muted", "toward", "against"):
            for ground in ("page", "panel", *(["hot"] if text in ("ink", "muted") else [])):
                assert contrast(own[text], own[ground]) >= 4.5, (name, text, ground)
