"""What files and notebooks carry of the lab's page."""

import json

from fluoroscope.render import document, pages
from fluoroscope.render.section import Section
from render.samples import HOSTILE


def test_data_in_a_page_ends_no_element_and_is_the_same_data():
    value = [HOSTILE, "</script><!--<script>"]
    text = pages.inert(json.dumps(value))
    assert "<" not in text
    assert json.loads(text) == value


def test_without_the_page_a_file_has_its_pictures_and_no_script(monkeypatch, tmp_path):
    section = Section("name", "title", "one sentence", [], {})
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    pages.bundle.cache_clear()
    assert document.live(section) == document.page(section)
    pages.bundle.cache_clear()


def test_bundles_are_light_and_load_nothing(bundle):
    for name in ("widget.js", "file.js"):
        source = (bundle / name).read_text("utf8")
        assert len(source.encode()) < 60_000, name
        assert not [word for word in ("import(", "fetch(", "WebSocket", "eval(", "XMLHttpRequest") if word in source]
