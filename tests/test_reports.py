"""A report: what is written is what the results say, and nothing is written that cannot be whole."""

import base64
import inspect
import json
import re

import pytest

import tiny
from fluoroscope import registry
from fluoroscope.analyses.next_token import next_token
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.render.text import prose
from fluoroscope.reports import Chapter, Report, generate_report, save_report
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
    texts = "".join(Page(page).texts).replace("\xa0", " ")
    for name, chapter in report.chapters.items():
        assert (folder / f"{name}.json").read_text(encoding="utf8") == chapter.result.to_json()
        assert prose(chapter.result.summary()) in texts
        assert all(prose(view.title) in texts for view in chapter.result.views())


def test_hostile_text_makes_no_element(report):
    page = Page(report.to_html())
    assert {tag for tag, _ in page.tags} <= OURS | {"a", "ol", "li", "h2", "section", "footer"}
    assert page.texts.count(prose(HOSTILE)) == 1 + 1 + 2 * 2
    assert "\x1b" not in report.to_html()


def test_links_lead_to_places_on_the_page_and_files_beside_it(report, tmp_path):
    report.save(tmp_path)
    source = (tmp_path / "index.html").read_text(encoding="utf8")
    page = Page(source)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for link in [attributes["href"] for tag, attributes in page.tags if tag == "a"]:
        assert link[1:] in ids if link.startswith("#") else (tmp_path / link).is_file()
    assert not re.search(r"https?://", source.replace("http://www.w3.org/2000/svg", ""))


def test_one_file_carries_everything(report, tmp_path):
    path = report.save_page(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == [path]
    page = Page(path.read_text(encoding="utf8"))
    links = [attributes for tag, attributes in page.tags if tag == "a"]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert all(each["href"][1:] in ids for each in links if "download" not in each)
    files = {each["download"]: each["href"].partition(",")[2] for each in links if "download" in each}
    expected = {f"{name}.json": chapter.result.to_json() for name, chapter in report.chapters.items()}
    assert {name: base64.b64decode(data).decode() for name, data in files.items()} == expected
    texts = "".join(page.texts)
    for chapter in report.chapters.values():
        recipe = chapter.result.recipe
        assert all(part in texts for part in (recipe.model, recipe.weights, recipe.dtype, recipe.versions["torch"]))
        assert chapter.result.call.command in texts
        assert chapter.result.call.script in texts
    assert f"“{prose(tiny.PROMPT)}”" in texts


def test_a_json_that_is_too_large_is_named_with_its_size(report, monkeypatch):
    monkeypatch.setattr("fluoroscope.reports.LARGEST", 4000)
    sizes = {name: len(chapter.result.to_json().encode()) for name, chapter in report.chapters.items()}
    assert min(sizes.values()) < 4000 < max(sizes.values())
    page = Page(report.to_html())
    carried = {attributes["download"] for _, attributes in page.tags if "download" in attributes}
    assert carried == {f"{name}.json" for name, size in sizes.items() if size <= 4000}
    assert "too large to be carried" in "".join(page.texts)


def test_markdown_has_every_result(report, tmp_path):
    text = report.save_page(tmp_path / "page.md").read_text(encoding="utf8")
    assert text == report.to_markdown()
    assert text.count("\n## ") == len(report.chapters)
    assert all(chapter.result.call.command in text for chapter in report.chapters.values())


def test_results_of_one_kind_are_numbered(report):
    lens, expected = (report.chapters[name].result for name in ("lens", "next"))
    made = Report.of([lens, expected, lens], title="T")
    assert [(name, chapter.title) for name, chapter in made.chapters.items()] == [
        ("logit_lens_1", "Logit lens 1"), ("next_token", "Next token"), ("logit_lens_2", "Logit lens 2"),
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="no result to report"):
        Report.of([])


def test_a_report_warns_of_what_makes_numbers_differ(report):
    result = report.chapters["next"].result
    assert report.warnings() == []

    def changed(**values):
        return result.model_copy(update={"recipe": result.recipe.model_copy(update=values)})

    others = [changed(weights="0"), changed(dtype="bfloat16"), changed(edits=("z.0.1: zero",))]
    others.append(changed(versions={**result.recipe.versions, "fluoroscope": "0.0.9"}))
    found = Report.of([result, *others]).warnings()
    assert found[0] == "The results are of different models."
    assert "bfloat16 or float16: Next token 3." in found[1]
    assert found[2].endswith("Next token 4.")
    assert "0.0.9" in found[3]
    assert all(each in Report.of([result, *others]).to_markdown() for each in ("different models", "under edits"))


def test_a_result_whose_function_was_called_directly_tells_no_prompt(tiny_model):
    made = Report.of([next_token(tiny_model, tiny.PROMPT)])
    assert "prompts" not in made.about()
    assert "Reproduce" not in Page(made.to_html()).texts


def test_a_page_of_another_suffix_is_refused(report, tmp_path):
    with pytest.raises(ArgumentError, match=r"Known suffixes: \.html, \.md"):
        report.save_page(tmp_path / "page.pdf")
    assert list(tmp_path.iterdir()) == []


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


# ── the two functions ────────────────────────────────────────────────────────────────────────────────


def test_one_or_many_results_make_one_text(report, tmp_path):
    lens, nxt = (report.chapters[name].result for name in ("lens", "next"))
    options = {name: each.default for name, each in inspect.signature(generate_report).parameters.items()}
    assert options == {
        "results": inspect.Parameter.empty, "title": "Interpretability Report", "description": "",
        "format": "markdown", "include_plots": True, "include_json": False,
    }  # fmt: skip
    one = generate_report(lens, description=f"{HOSTILE}\n\nsecond")
    assert one.startswith("# Interpretability Report\n\n")
    assert "<script" not in one
    assert "second\n" in one.splitlines(keepends=True)
    assert one.count("\n## ") == 1
    foot = one.rpartition("\n---\n")[2]
    assert all(version in foot for version in lens.recipe.versions.values())
    assert lens.views()[0].title in one
    assert lens.views()[0].title not in generate_report([lens], include_plots=False)
    appended = generate_report([lens, nxt], title="T", include_json=True)
    found = [json.loads(part.partition("```")[0]) for part in appended.split("```json\n")[1:]]
    assert found == [json.loads(result.to_json()) for result in (lens, nxt)]
    path = save_report((lens, nxt), tmp_path / "new" / "report.html", title="T", include_json=True)
    page = path.read_text(encoding="utf8")
    assert page == generate_report([lens, nxt], title="T", format="html", include_json=True)
    assert Page(page).tags.count(("a", {})) == 0
    assert "<footer>" in page
    assert all(version in page.rpartition("<footer>")[2] for version in lens.recipe.versions.values())
    assert "data:application/json" not in generate_report([lens, nxt], format="html")
    assert "<svg" in generate_report([lens, nxt], format="html")
    assert "<svg" not in generate_report([lens, nxt], format="html", include_plots=False)


def test_what_is_hostile_in_a_result_stays_text_in_every_format(report, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    result = report.chapters["next"].result
    call = result.call.model_copy(update={"arguments": {"prompt": evil}, "command": evil, "script": evil})
    first = result.predictions[0].model_copy(update={"piece": evil})
    recipe = result.recipe.model_copy(update={"model": evil, "versions": {evil: evil}})
    found = (first, *result.predictions[1:])
    hostile = result.model_copy(update={"call": call, "predictions": found, "recipe": recipe})
    page = generate_report([hostile, result], title=evil, description=evil, format="html", include_json=True)
    assert {tag for tag, _ in Page(page).tags} <= OURS | {"a", "ol", "li", "h2", "section", "footer"}
    assert not [name for _, attributes in Page(page).tags for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://", page.replace("http://www.w3.org/2000/svg", ""))
    assert "default-src 'none'" in page
    text = generate_report(hostile, title=evil, description=evil)
    outside = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", text)  # what stands in code is no HTML
    assert "<script" not in outside
    assert "<img" not in outside


def test_a_report_that_cannot_be_is_refused(report, tmp_path):
    lens = report.chapters["lens"].result
    with pytest.raises(ArgumentError, match=r"format 'htm'.*Did you mean 'html'"):
        generate_report(lens, format="htm")
    with pytest.raises(ArgumentError, match="a str is no result"):
        generate_report([lens, "lens"])
    for nothing in (None, [None]):
        with pytest.raises(ArgumentError, match="a NoneType is no result"):
            generate_report(nothing)
    with pytest.raises(ArgumentError, match="no result to report"):
        generate_report([])
    with pytest.raises(ArgumentError, match="Known suffixes"):
        save_report(lens, tmp_path / "new" / "report.pdf")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot make the folder"):
        save_report(lens, tmp_path / "file" / "report.md")
