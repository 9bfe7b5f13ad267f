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
