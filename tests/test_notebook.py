"""Results in a notebook: linked widgets, and still pictures where there are none."""

import builtins
import json

import pytest

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.render import pages
from fluoroscope.views import HeadGrid
from test_result import RECIPE, HeadCount

pytest.importorskip("anywidget", reason="the extra notebook is not installed")
NOTHING = {"layer": None, "head": None, "query": None, "key": None}
HEAD = {"layer": 1, "head": 1, "query": None, "key": None}


def result(weights="abc"):
    return HeadCount(recipe=RECIPE.model_copy(update={"weights": weights}), count=3, share=0.5)


@pytest.fixture
def widgets(bundle):
    """Makes widgets, and closes them."""
    made = []

    def show(weights="abc"):
        made.append(result(weights).show())
        return made[-1]

    yield show
    for widget in made:
        widget.close()


def told_by_the_page(widget, **state):
    """What ipywidgets does with a message of the page."""
    widget._handle_msg({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})


def test_widgets_of_one_model_share_what_is_chosen_in_a_page_or_in_python(widgets):
    one, two, other = widgets(), widgets(), widgets("another")
    assert one.selection == NOTHING
    told_by_the_page(one, selection=HEAD)
    assert two.selection == HEAD
    assert other.selection == NOTHING
    two.selection = {"layer": 1, "head": 0}
    assert one.selection == {**NOTHING, "layer": 1, "head": 0}
    assert widgets().selection == one.selection  # one that is made later joins
    one.close()
    two.selection = {}
    assert one.selection["layer"] == 1


@pytest.mark.parametrize("wrong", [{"layr": 1}, {"layer": -1}, {"layer": "4"}, {"layer": 1.5}, {"layer": True}])
def test_what_is_no_selection_is_refused_and_changes_nothing(widgets, wrong):
    widget = widgets()
    with pytest.raises(ArgumentError, match=r"is no selection.*Fields: layer, head, query, key"):
        widget.selection = wrong
    assert widget.selection == NOTHING


def test_a_head_that_the_pictures_do_not_have_is_refused_once_one_shows_them_all(widgets, monkeypatch):
    monkeypatch.setattr(HeadCount, "views", lambda self: [])
    grid = HeadGrid(title="", unit="", signed=False, values=((0.0, 1.0), (2.0, None)))
    early = widgets()
    monkeypatch.setattr(HeadCount, "views", lambda self: [grid])
    widgets()
    early.selection = {"layer": 1, "head": 1}
    for wrong, told in (({"layer": 2}, "there are 2 layers.*0..1"), ({"layer": 0, "head": 99}, "there are 2 heads")):
        with pytest.raises(ArgumentError, match=told):
            early.selection = wrong
    assert early.selection == {**NOTHING, "layer": 1, "head": 1}
    widgets("another").selection = {"layer": 1}


def test_a_page_is_sent_what_others_choose_and_no_echo_of_its_own(widgets):
    one, two = widgets(), widgets()
    sent = {one: [], two: []}
    for widget, messages in sent.items():
        widget._send = lambda message, buffers=None, messages=messages: messages.append(message)
    told_by_the_page(one, selection=HEAD)
    told = {
        widget: [m["state"]["selection"] for m in messages if m["method"] == "update"]
        for widget, messages in sent.items()
    }
    assert told == {one: [], two: [HEAD]}


def test_it_carries_the_views_the_script_and_still_pictures(widgets):
    widget = widgets()
    given = json.loads(widget.given)
    assert given["views"] == [view.model_dump(mode="json") for view in result().views()]
    assert "export" in widget._esm
    data, _ = widget._repr_mimebundle_()
    still = result()._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert {kind: data[kind] for kind in still} == still
    assert "<script" not in data["text/html"]


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fluoroscope.notebook", None)
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "anywidget":
            raise ImportError("no", name="anywidget")
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "fluoroscope.notebook")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UnavailableError, match=r"show\(\) needs anywidget.*fluoroscope\[notebook\]"):
        result().show()


def test_without_the_page_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    pages.bundle.cache_clear()
    with pytest.raises(UnavailableError, match="FLUOROSCOPE_WEB=skip"):
        result().show()
    pages.bundle.cache_clear()


def test_results_alone_import_nothing_of_notebooks():
    import subprocess
    import sys

    code = "import sys, fluoroscope.result; sys.exit(bool({'anywidget', 'ipywidgets', 'IPython'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("default")
def test_a_notebook_that_is_run_and_published_shows_the_pictures(bundle, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbconvert is not installed")
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    lines = ["import fluoroscope", "from fluoroscope import registry"]
    lines += ["registry.run('logit_attribution', fluoroscope.load(), prompt='Mary and John went to the').show()"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(lines))])
    NotebookClient(book, timeout=300, kernel_name="python3", store_widget_state=False).execute()
    (output,) = book.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in output["data"]
    assert "widgets" not in book.metadata
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(book)
    assert "<figcaption><b>What each head adds</b>" in page
    assert "application/vnd.jupyter.widget-view+json" not in page
