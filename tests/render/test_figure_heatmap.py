"""Heatmaps of a figure: whatever stands in a cell is inside of it, and what is missing is told."""

from itertools import pairwise

import pytest

from fluoroscope.render import figure, figure_heatmap
from fluoroscope.views import Heatmap, Mark
from render.drawn import shown
from render.samples import square


def _grid(values, tokens=None, names="c"):
    rows, columns = len(values), len(values[0])
    return Heatmap(
        title="The title", caption="The caption.", unit="u", signed=True, values=values, tokens=tokens,
        rows=tuple(Mark(label=f"r{n}") for n in range(rows)),
        columns=tuple(Mark(label=f"{names}{n}") for n in range(columns)),
    )  # fmt: skip


def _lens(columns, rows=4):
    words = (" capital", "<|endoftext|>", " the", "日本語日本語日本", " Wilhelmina")
    tokens = tuple(tuple(words[(row + column) % 5] for column in range(columns)) for row in range(rows))
    return _grid(((0.123,) * columns,) * rows, tokens)


def _cells(drawn):
    """Every heatmap of a figure, as its axes and the texts inside of them."""
    texts = list(shown(drawn))
    for axes in (axes for axes in drawn.axes if axes.images):
        yield axes, [(text.get_text(), text.get_window_extent(), text.get_position()) for text in axes.texts]
    assert texts


@pytest.mark.parametrize("columns", [1, 5, 25, 197])
def test_tokens_and_numbers_stay_in_their_cells(columns):
    drawn = figure.page("t", "s", [_lens(columns)])
    blocks = list(_cells(drawn))
    for axes, texts in blocks:
        for words, sides, (column, row) in texts:
            left, right = (axes.transData.transform((column + side, row))[0] for side in (-0.5, 0.5))
            top, bottom = (axes.transData.transform((column, row + side))[1] for side in (-0.5, 0.5))
            assert left <= sides.x0, words
            assert sides.x1 <= right, words
            assert bottom <= sides.y0, words
            assert sides.y1 <= top, words
            assert len(words.split("\n")[0]) > 3, "some of a token is always shown"
    shown_columns = sum(len(axes.get_xticks()) for axes, _ in blocks)
    assert shown_columns == min(columns, shown_columns)
    assert shown_columns == columns or shown_columns >= 50


@pytest.mark.parametrize(("columns", "gone"), [(5, None), (60, None), (197, "Columns 0 to")])
def test_columns_that_are_left_out_are_told(columns, gone):
    drawn = figure.page("t", "s", [_lens(columns)])
    captions = [axes.get_title(loc="center") for axes in drawn.axes if axes.images]
    assert captions[0].startswith("The caption.")
    assert ("do not fit here; JSON and HTML have them" in " ".join(captions[0].split())) == (gone is not None)
    titles = [axes.get_title(loc="left") for axes in drawn.axes if axes.images]
    last = f"columns {columns - len(drawn.axes[len(titles) - 1].get_xticks())} to {columns - 1} of {columns}"
    assert last in titles[-1] or titles == ["The title · u"]


def test_blocks_share_their_colours():
    view = _lens(30).model_copy(update={"values": ((0.1,) * 29 + (2.0,),) * 4})
    assert {sheet.maximum for sheet in figure_heatmap.sheets(view, 100)} == {2.0}


def test_a_deep_model_has_readable_rows_and_a_picture_of_some_size():
    drawn = figure.page("t", "s", [_lens(25, rows=81)])
    assert drawn.get_size_inches()[1] < 30
    assert any("·Wil" in words for _, texts in _cells(drawn) for words, _, _ in texts)


@pytest.mark.parametrize("columns", [12, 25, 60, 300])
def test_numbers_stay_in_their_cells_or_their_place_is_told(columns):
    drawn = figure.page("t", "s", [_grid(((-12.345,) * columns,) * 6)])
    ((axes, texts),) = _cells(drawn)
    told = " ".join(axes.get_title(loc="center").split())
    assert bool(texts) != told.endswith("Its numbers are in the JSON and HTML.")
    assert bool(texts) == (columns < 30)
    for words, sides, (column, row) in texts:
        left, right = (axes.transData.transform((column + side, row))[0] for side in (-0.5, 0.5))
        assert left <= sides.x0 < sides.x1 <= right, words


def test_rows_too_low_for_numbers_have_none():
    ((axes, texts),) = _cells(figure.page("t", "s", [_grid(((1.5, 2.5),) * 300)]))
    assert not texts
    assert "one in 4 rows are shown. Its numbers are in the JSON and HTML." in " ".join(
        axes.get_title(loc="center").split()
    )


def test_numbers_have_as_many_digits_as_there_is_room():
    whole = figure_heatmap._numbers(_grid(((1.0, 2053.0), (0.0, None))), 100)
    assert whole == [["+1", "+2053"], ["0", "–"]]
    row = (0.00002, 12.345, 0.0, 123456.0, *([1.0] * 10))
    assert figure_heatmap._numbers(_grid((row,)), 200)[0][:3] == ["+2.0e-5", "+12.35", "0"]
    assert figure_heatmap._numbers(_grid((row[:3] + row[4:],)), 62)[0][:3] == ["+0.0", "+12.3", "0"]
    assert figure_heatmap._numbers(_grid((row,)), 40) is None


@pytest.mark.parametrize("columns", [3, 14, 60, 300])
def test_names_of_columns_do_not_touch_each_other(columns):
    marks = tuple(Mark(label=" Wilhelmina" if n == 1 else f" token{n}", token=True) for n in range(columns))
    rows = tuple(Mark(label=f"L{n}") for n in range(6))
    view = Heatmap(title="t", unit="u", rows=rows, columns=marks, values=((0.5,) * columns,) * 6)
    names = [sides for words, sides in shown(figure.page("t", "s", [view])) if words.startswith("·")]
    assert len(names) >= min(columns, 30)
    for left, right in pairwise(sorted(names, key=lambda sides: sides.x0)):
        assert left.x1 <= right.x0 + 1


def test_a_scale_says_what_the_colours_mean_and_that_more_is_beyond():
    view = _grid(((0.5, -2.0), (1.0, None)))
    assert {"+2", "-2", "0"} <= set(dict(shown(figure.page("t", "s", [view]))))
    inset = figure.page("t", "s", [view.model_copy(update={"maximum": 1.0})]).axes[0].child_axes[0]
    assert inset._colorbar.extend == "both"


def test_a_large_heatmap_has_a_size_and_names_that_can_be_read():
    drawn = figure.page("t", "s", [square(400)])
    assert drawn.get_size_inches()[1] < 16
    names = [sides for words, sides in shown(drawn) if words.startswith("token") and sides.width > sides.height]
    for lower, upper in pairwise(sorted(names, key=lambda sides: sides.y0)):
        assert lower.y1 <= upper.y0 + 2
