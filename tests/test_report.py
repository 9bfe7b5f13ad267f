"""A report: what is written is what the results say, and nothing is written that cannot be whole."""

import re

import pytest

import tiny
from fluoroscope import registry
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.render.text import prose
from fluoroscope.report import Chapter, Report
from render.test_html import OURS, Page

HOSTILE = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture(scope="module")
def report(tiny_model):
    results = {
        "next": registry.run("next_token", tiny_model, prompt=tiny.PROMPT),
        "lens": registry.run("logit_lens", tiny_model, prompt=tiny.PROMPT),
    }
    return Report(HOSTILE, [HOSTILE, "second"], {name: Chapter(HOSTILE, each) for name, each in results.items()})


def test_every_chapter_is_on_the_page_and_beside_it(report, tmp_path):
    folder = tmp_path / "new" / "folder"
    written = report.save(folder)
    assert sorted(folder.iterdir()) == sorted(written)
    assert [path.name for path in written] == ["next.png", "next.json", "lens.png", "lens.json", "index.html"]
    page = (folder / "index.html").read_text(encoding="utf8")
    assert page == report.to_html()
    texts = "".join(Page(page).texts)
    for name, chapter in report.chapters.items():
        assert (folder / f"{name}.json").read_text(encoding="utf8") == chapter.result.to_json()
        assert prose(chapter.result.summary()) in texts
        assert all(prose(view.title) in texts for view in chapter.result.views())


def test_hostile_text_makes_no_element(report):
    page = Page(report.to_html())
    assert {tag for tag, _ in page.tags} <= OURS | {"a", "ol", "li", "h2", "section"}
    assert page.texts.count(prose(HOSTILE)) == 1 + 1 + 2 * 2
    assert "\x1b" not in report.to_html()


def test_links_lead_to_places_on_the_page_and_files_beside_it(report, tmp_path):
    report.save(tmp_path)
    page = Page(report.to_html())
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for link in [attributes["href"] for tag, attributes in page.tags if tag == "a"]:
        assert link[1:] in ids if link.startswith("#") else (tmp_path / link).is_file()
    assert not re.search(r"https?://", report.to_html().replace("http://www.w3.org/2000/svg", ""))


def test_a_report_is_not_written_where_or_as_it_cannot_be(report, tmp_path):
    (tmp_path / "file").write_text("x")
    for where in (tmp_path / "file", tmp_path / "file" / "below", ""):
        with pytest.raises(ArgumentError, match="is no folder"):
            report.save(where)
    chapter = report.chapters["next"]
    with pytest.raises(ArgumentError, match="cannot name a file"):
        Report("t", [], {"../next": chapter}).save(tmp_path / "none")
    with pytest.raises(ArgumentError, match="cannot save a result"):
        Report("t", [], {"next": Chapter("t", chapter.result, (".pdf",))}).save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_told(report, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(ArtifactError, match="Permission denied"):
        report.save(tmp_path / "new")
