"""What the page shows as one file: opened by itself without network, and again in the lab without computing."""

import json
import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from browser.lab import CORRUPTED, Lab
from browser.test_compare import pair, switch, titles
from browser.test_hostile import OWN, check
from hostile import RUN

DATA = re.compile(r'(<script type="application/json" id="fluoroscope-run">)(.*?)(</script>)', re.DOTALL)


def save(lab, folder):
    with lab.page.expect_download() as found:
        lab.page.click("#save-run")
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def open_saved(lab, path):
    lab.page.set_input_files("input[type=file]", path)


def rewritten(path, change):
    """The file with another run in it."""
    source = path.read_text("utf8")
    run = json.loads(DATA.search(source)[2])
    changed = change(run)
    text = json.dumps(run if changed is None else changed).replace("<", "\\u003c")
    path = path.with_name("changed.html")
    path.write_text(DATA.sub(lambda found: found[1] + text + found[3], source), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def told():
    """What the page said when the file was saved."""
    return {}


PANELS = ("next", "circuit", "lens", "flow", "depth", "inspector", "patch", "paths", "any-similarity")


@pytest.fixture
def file(open_lab, folder, told):
    """A file of two prompts compared, with a sweep, a path tree and an analysis of the catalogue; saved once."""
    if "file" not in told:
        lab = open_lab()
        lab.preset()
        lab.page.locator("#threshold").fill("50")
        lab.page.fill("#pin-word", " John")
        lab.page.press("#pin-word", "Enter")
        expect(lab.page.locator("#lens .chart")).to_have_count(2)
        lab.choose(4, 2)
        lab.page.click('#circuit [aria-label="ablate L4H2"]')
        expect(lab.page.locator("#circuit .onepatch .summary")).to_be_visible()
        lab.see("any")
        lab.page.select_option("#analysis", "similarity")
        lab.page.click("#any button[type=submit]")
        lab.see("patch")
        lab.page.select_option("#patch select >> nth=1", "noise")
        lab.sweep()
        lab.see("paths")
        lab.page.click("#paths button.primary")
        lab.answered("paths")
        lab.answered("any")
        switch(lab, "A − B")
        all_there(lab)
        told |= {panel: lab.text(f"#{panel}") for panel in PANELS} | {"attention": titles(lab, "attention")}
        told["file"] = save(lab, folder)
    return told["file"]


def all_there(lab):
    for panel in ("any", "patch", "paths"):
        lab.see(panel)
        lab.answered(panel)
    for panel in ("next", "lens", "circuit", "flow"):
        lab.see(panel)
        pair(lab, panel)
    lab.see("heads")
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)


def the_same(lab, told, without=""):
    all_there(lab)
    assert titles(lab, "attention") == told["attention"]
    expected = {panel: told[panel].replace(without, "") for panel in PANELS}
    assert {panel: lab.text(f"#{panel}") for panel in PANELS} == expected


def test_the_file_by_itself_is_the_page_without_network(browser, browser_context_args, file, told):
    page = browser.new_context(**browser_context_args).new_page()
    lab = Lab(page, file.as_uri())
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(lab.address)
    the_same(lab, told, without="Keep\n")  # which needs a server
    heads = lab.heads()
    assert len(heads) == 48
    assert all(dots.std() > 0 for dots in heads.values())
    expect(page.locator(".saved-run")).to_contain_text("Saved run of specimen")
    analyse = page.locator("#prompt button.primary")
    expect(analyse).to_be_disabled()
    assert "no model" in analyse.get_attribute("title")
    lab.see("heads")
    lab.choose(2, 5)  # another head than the one that was chosen: its exact pattern is in the file as well
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    page.fill("#prompt-text", "Something else")
    page.press("#prompt-text", "Enter")
    expect(page.locator("#prompt [role=alert]")).to_contain_text("not in the saved run. Open this file in fluoro lab")
    assert lab.violations() == []
    assert {address.partition("#")[0] for address in asked if not address.startswith(("data:", "blob:"))} == {
        lab.address
    }
    assert lab.faults == []
    page.context.close()


def test_without_scripts_the_file_says_what_it_is(browser, browser_context_args, file, told):
    page = browser.new_context(**browser_context_args, java_script_enabled=False).new_page()
    page.goto(file.as_uri())
    shown = page.locator("#lab").inner_text()
    assert "A saved run of specimen" in shown
    assert CORRUPTED in shown
    assert told["patch"].splitlines()[-1] not in ("", None)
    assert "Head patching" in shown
    page.context.close()


def test_the_lab_opens_the_file_without_computing_and_goes_back(open_lab, file, told):
    sent = []
    lab = open_lab(
        before=lambda page: page.on(
            "websocket", lambda socket: socket.on("framesent", lambda data: sent.append(json.loads(data)))
        )
    )
    lab.preset("greater-than")
    asked = len(sent)
    before = lab.text("#next .summary")
    open_saved(lab, file)
    expect(lab.page.locator(".saved-run")).to_contain_text("Nothing here is computed")
    the_same(lab, told)
    assert [message for message in sent[asked:] if message["type"] != "cancel"] == []
    assert lab.violations(".saved-run") == []
    lab.page.click(".saved-run >> text=Close")
    expect(lab.page.locator(".saved-run")).to_have_count(0)
    lab.page.click("text=Analyse")
    expect(lab.page.locator("#next .summary")).to_have_text(before)


def test_a_dropped_file_is_computed_again_when_asked(open_lab, file):
    lab = open_lab()
    transfer = lab.page.evaluate_handle(
        "text => { const data = new DataTransfer(); data.items.add(new File([text], 'dropped.html')); return data; }",
        file.read_text("utf8"),
    )
    lab.page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    summary = lab.page.locator("#next .pair .summary >> nth=1")
    expect(summary).to_be_visible()
    kept = summary.inner_text()
    lab.page.click("text=Compute again here")
    expect(lab.page.locator(".saved-run")).to_have_count(0)
    lab.page.wait_for_selector("#next .pair > [data-status=ready]")
    assert pair(lab, "next")[1] == kept


def with_extra(run):
    run["answers"][0]["secret"] = 1


def with_bad_layer(run):
    next(each for each in run["answers"] if each["frames"])["frames"][0] = "AAAA"


def of_later_version(run):
    run["version"] = 2


def without_selection(run):
    del run["shown"]["selection"]


def beyond_the_model(run):
    run["shown"]["selection"]["layer"] = 99


def with_a_strange_view(run):
    for each in run["answers"]:
        for text in each["texts"]:
            if text["type"] == "result":
                text["views"] = [{"kind": "heatmap", "title": {"no": "text"}}]


REFUSED = {
    "of_later_version": (of_later_version, "version 2, and this lab reads 1", "Update Fluoroscope"),
    "with_extra": (with_extra, 'unknown entry "secret"', "copy it again"),
    "without_selection": (without_selection, "has no selection", "copy it again"),
    "with_bad_layer": (with_bad_layer, "a layer cannot be read", "copy it again"),
    "with_a_strange_view": (with_a_strange_view, "cannot be drawn", "copy it again"),
    "another kind": (lambda run: {"format": "diary"}, "something else than a run", "copy it again"),
}


def test_what_is_no_saved_run_is_refused_with_what_and_why(open_lab, file, folder):
    lab = open_lab()
    lab.preset()
    before = lab.text("#next")
    alert = lab.page.locator(".notice[role=alert]")

    def refused(path, *words):
        open_saved(lab, path)
        for word in words:
            expect(alert).to_contain_text(word)

    whole = file.read_text("utf8")
    for name, text, *words in [
        ("page.html", "<h1>hello</h1>", "page.html is no saved run", "Choose a file that Save run made"),
        ("cut.html", whole[: DATA.search(whole).end(2) - 500], "cut short or damaged", "Copy it again"),
        ("result.html", '<script id="fluoroscope-views">[]</script>', "a saved result", "Open it in the browser"),
    ]:
        (folder / name).write_text(text, encoding="utf8")
        refused(folder / name, *words)
    for change, *words in REFUSED.values():
        refused(rewritten(file, change), *words)
    huge = folder / "huge.html"
    with huge.open("wb") as written:
        written.truncate(135_000_000)
    refused(huge, "huge.html has 135 MB", "at most 134")
    lab.page.click(".notice >> text=Dismiss")
    expect(alert).to_have_count(0)
    lab.page.click("text=Analyse")
    lab.ready("next")
    assert lab.text("#next") == before
    refused(rewritten(file, beyond_the_model), "This saved run chooses layer 99, and specimen has 6", "So nothing")
    expect(lab.page.locator("#heads [aria-selected=true]")).to_have_count(0)


def test_a_hostile_file_stays_text(open_lab, file):
    hostile = f"</script><img src=x onerror={RUN}>\u202e\x07"

    def change(run):
        run["model"]["name"] = hostile
        for each in run["answers"]:
            for text in each["texts"]:
                text.update({key: hostile for key in ("title", "summary") if key in text})
                if text["type"] == "tokens":
                    text["labels"] = [hostile] * len(text["labels"])

    path = rewritten(file, change)
    assert "<img" not in DATA.search(path.read_text("utf8"))[2]
    lab = open_lab()
    open_saved(lab, path)
    expect(lab.page.locator("#next .pair .summary >> nth=1")).to_contain_text("<img")
    check(lab.page, OWN | {"pre"}, 1)  # pre: how the ablation that is shown is made in Python


def test_a_hostile_prompt_is_text_in_the_file_that_is_saved(open_lab, browser, browser_context_args, tmp_path):
    prompt = f"</textarea></title></script><script>{RUN}</script> --><!--<script> <img src=x onerror={RUN}>"
    lab = open_lab("#p=" + quote(prompt))
    expect(lab.page.locator("#save-run")).to_be_enabled()
    path = save(lab, tmp_path)
    for scripts in (True, False):
        page = browser.new_context(**browser_context_args, java_script_enabled=scripts).new_page()
        other = Lab(page, path.as_uri())
        page.goto(other.address)
        if scripts:
            expect(page.locator("#prompt-text")).to_have_value(prompt)
            check(page, OWN | {"style"}, 2)
            assert other.faults == []
        else:
            assert prompt in page.locator("#lab").inner_text()
            assert page.locator("#lab img, #lab script").count() == 0
        page.context.close()
