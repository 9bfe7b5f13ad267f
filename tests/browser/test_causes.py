"""What can be tried on the page: sweeps that fill, one patch by key and by hand, parts of the answer, pinned tokens."""

import json

import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import AIMS, CORRUPTED, PROMPT
from browser.test_numbers import near, told
from fluoroscope.analyses.ablation import ablation
from fluoroscope.analyses.head_interaction import head_interaction
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.patched_run import patched_run

ROOM = {"viewport": {"width": 1440, "height": 2400}}  # nothing has to be scrolled while it is dragged
SLOW = 30_000  # a machine that does other things too
ASKED = {"answer": AIMS["target"], "foil": AIMS["foil"]}  # as a patch is asked
ONE = '[aria-label="One patch"]'


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


def patched(lab, panel, name):
    """The sentence of a panel's single patch, once it is about a part."""
    summary = lab.page.locator(f"#{panel} {ONE} .summary")
    expect(summary).to_contain_text(name, timeout=SLOW)
    return summary.inner_text()


def test_a_long_sweep_fills_while_it_runs_and_keeps_what_it_has_when_called_off(open_lab):
    lab = open_lab()
    page = lab.page
    page.select_option("#analysis", "neuron_patching")
    page.fill("#field-clean", PROMPT)
    page.fill("#field-corrupted", CORRUPTED)
    page.click("#any button[type=submit]")
    panel = page.locator("#any-neuron-patching")
    filling = '#any-neuron-patching[data-status="partial"]:has(progress):not(:has(.old))'  # it is of this run
    expect(page.locator(f"{filling} .summary")).to_contain_text("Partial, ", timeout=SLOW)
    panel.get_by_text("Cancel").click()
    expect(panel.locator(".state").first).to_contain_text("Called off: this is what was found before", timeout=SLOW)
    expect(panel.locator(".summary")).to_contain_text("Partial, ")
    assert panel.locator(".bars li").count() > 0


def test_one_cell_is_patched_alone_by_key_by_row_and_by_hand(open_lab, model):
    lab = open_lab(**ROOM)
    page = lab.page
    lab.preset()
    lab.choose(5, 0)  # so that the panels of a head have their heights, and nothing moves below them
    lab.sweep()
    foreign_text_that_is_dropped_is_nothing(lab)
    page.locator('#patch td[data-cell="4.2"]').focus()
    page.keyboard.press("p")
    exact = patched_run(model, PROMPT, CORRUPTED, sites=["z.4.2"], **ASKED)
    assert patched(lab, "patch", "L4H2") == exact.summary()
    page.click('#patch [aria-label="patch L3H2 alone"]')
    assert patched(lab, "patch", "L3H2") == patched_run(model, PROMPT, CORRUPTED, sites=["z.3.2"], **ASKED).summary()
    page.drag_and_drop('#patch td[data-cell="4.1"]', "#patch .strips .target b")
    assert patched(lab, "patch", "L4H1") == patched_run(model, PROMPT, CORRUPTED, sites=["z.4.1"], **ASKED).summary()
    page.fill("#part", "resid_pre.2")
    chips = page.locator("#patch .strips .chips").first.locator("button")
    chips.nth(9).click()
    chips.nth(11).click(modifiers=["Shift"])
    chips.nth(10).drag_to(page.locator("#patch .strips .target b"))
    span = patched_run(model, PROMPT, CORRUPTED, sites=["resid_pre.2"], positions=[9, 10, 11], **ASKED)
    assert patched(lab, "patch", "resid_pre.2") == span.summary()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click('#patch [aria-label="Python of L4H2"]')
    expect(page.locator(f"#patch {ONE} [role=status]").first).to_have_text("Python copied")
    assert 'sites=["z.4.2"]' in page.evaluate("navigator.clipboard.readText()")
    page.fill("#pairs-of", "3")
    page.click("#pairs button")
    expect(page.locator("#pairs .summary")).to_have_text(
        " ".join(head_interaction(model, PROMPT, CORRUPTED, top_k=3, **ASKED).summary().split())
    )


def foreign_text_that_is_dropped_is_nothing(lab):
    for text in ("", "{", '{"sites": [3]}', "<img src=x onerror=alert(1)>", '{"sites": ["L4H2"], "positions": "x"}'):
        lab.page.evaluate(
            """text => {
                const dataTransfer = new DataTransfer();
                dataTransfer.setData("text/plain", text);
                const drop = new DragEvent("drop", { dataTransfer, bubbles: true });
                document.querySelector("#patch .target").dispatchEvent(drop);
            }""",
            text,
        )
    expect(lab.page.locator(f"#patch {ONE}")).to_have_attribute("data-status", "empty")


def test_the_parts_of_the_answer_sum_to_it_and_can_be_tried(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.preset()
    assert {name: page.input_value(f"#{name}") for name in AIMS} == AIMS  # the preset's own question
    exact = logit_attribution(model, PROMPT, **AIMS)
    expect(page.locator("#circuit .summary").first).to_have_text(exact.summary(), timeout=SLOW)
    numbers = [told(text) for text in page.locator("#circuit .effects tbody .number").all_inner_texts()]
    *parts, whole, logit, residue = numbers  # the last of the parts is all smaller ones
    assert sum(parts) == pytest.approx(whole, abs=0.1)
    assert (whole, logit) == (near(exact.total), near(exact.logit))
    assert abs(residue) < 1e-3
    rows = page.locator("#circuit .effects tbody tr:not(.sum)")
    before, faint = rows.count(), page.locator("#circuit td.faint").count()
    page.locator("#threshold").fill("50")
    expect(page.locator("#circuit td.faint")).not_to_have_count(faint)
    shares = sorted((part.share for part in exact.parts), reverse=True)
    assert rows.count() == next(count for count in range(99) if sum(shares[:count]) >= 0.5) < before
    page.locator("body").press("z")  # the threshold, with all that it passed
    expect(rows).to_have_count(before)
    page.click('#circuit [aria-label="ablate L4H2"]')
    without = ablation(model, PROMPT, sites=["z.4.2"], target=" Mary", foil=" John")
    expect(page.locator('#circuit [aria-label="Without a part"] .summary')).to_have_text(
        without.summary(), timeout=SLOW
    )
    page.click('#circuit [aria-label="patch L4H2"]')
    found = patched_run(model, PROMPT, CORRUPTED, sites=["z.4.2"], answer=" Mary", foil=" John")
    assert patched(lab, "circuit", "L4H2") == found.summary()
    page.fill("#prompt-text", PROMPT + " the")
    expect(page.locator("#circuit [data-stale]")).to_contain_text("rows are of the earlier text")
    expect(page.locator('#circuit [aria-label="ablate L4H2"]')).to_be_disabled()


def test_pinned_tokens_are_followed_through_the_depths_of_each_lens(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.preset()
    page.locator('#lens td[data-cell="6.13"]').focus()
    page.keyboard.press("p")
    page.fill("#pin-word", " John")
    page.press("#pin-word", "Enter")
    table = page.locator("#lens .followed table").last.locator("tbody tr")
    expect(table).to_have_count(2)
    for row, token in enumerate((" Mary", " John")):
        exact = logit_lens(model, PROMPT, position=-1, target=token)
        cells = table.nth(row).locator("td").all_inner_texts()
        assert cells[2] == str(exact.depths[-1].cells[0].target_rank)
        first = exact.positions[0].settled
        assert cells[3] == ("never" if first is None else f"L{first.rpartition('.')[2]}")
        points = page.locator(f"#lens .followed svg .line{row} circle title").evaluate_all(
            "all => all.map(t => t.textContent)"
        )
        shown = [told(text.rpartition(": ")[2].split()[0]) for text in points[:7]]
        assert shown == [near(depth.cells[0].target_probability) for depth in exact.depths]
    settled = page.locator("#lens td.marked").evaluate_all("all => all.map(cell => cell.dataset.cell)")
    places = logit_lens(model, PROMPT, target=AIMS["target"])
    sites = [depth.site for depth in places.depths]
    assert set(settled) == {f"{sites.index(each.settled)}.{each.index}" for each in places.positions if each.settled}
    page.select_option("#lens-kind", "tuned_lens")
    expect(page.locator("#lens .summary").first).to_contain_text("by the logit lens")
    expect(table).to_have_count(2)
    page.select_option("#lens-colour", "kl")
    expect(page.locator("#lens figcaption b").first).to_have_text("How far each depth is from the end")
    page.click('#lens [aria-label="unpin ·John"]')
    expect(table).to_have_count(1)
    page.locator("body").press("z")
    expect(table).to_have_count(2)


def test_a_stream_is_dragged_from_one_prompt_into_the_other(open_lab, model):
    lab = open_lab(**ROOM)
    page = lab.page
    lab.preset()
    page.click('.switch >> text="A − B"')
    expect(page.locator("#lens .pair > [data-status=ready]")).to_have_count(2)
    mine, other = page.locator("#lens .pair > div").all()
    mine.locator('td[data-cell="3.9"]').drag_to(other.locator('td[data-cell="3.4"]'))
    expect(page.locator("#lens .pair")).to_contain_text("a value goes to the same token")
    mine.locator('td[data-cell="3.9"]').drag_to(other.locator('td[data-cell="5.9"]'))
    found = patched_run(model, PROMPT, CORRUPTED, sites=["resid_post.2"], positions=[9], **ASKED)
    assert patched(lab, "lens", "at ‘·John’ 9") == found.summary()
    other.locator('td[data-cell="3.9"]').focus()
    page.keyboard.press("p")
    back = patched_run(model, PROMPT, CORRUPTED, sites=["resid_post.2"], positions=[9], direction="noise", **ASKED)
    expect(page.locator(f"#lens {ONE} .summary")).to_contain_text("destroys")
    assert patched(lab, "lens", "resid_post.2") == back.summary()


def test_of_a_long_prompt_only_the_columns_near_by_are_made(open_lab):
    lab = open_lab()
    page = lab.page
    page.fill("#prompt-text", " ".join(["the cat and the dog"] * 40))
    page.press("#prompt-text", "Enter")
    lab.ready("lens")
    cells = page.locator("#lens td[role=gridcell]")
    expect(cells.first).to_be_visible()
    count = int(page.get_attribute("#lens table.cells", "aria-colcount")) - 1
    assert count > 150
    assert cells.count() < 7 * 60
    page.locator('#lens td[data-cell="0.0"]').focus()
    page.keyboard.press("End")
    expect(page.locator(f'#lens td[data-cell="0.{count - 1}"]')).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f'#lens td[data-cell="1.{count - 1}"]')).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator('#lens td[data-cell="1.0"]')).to_be_focused()
    assert cells.count() < 7 * 60


def test_words_that_are_no_token_are_refused_with_what_they_are_read_as(open_lab):
    lab = open_lab()
    page = lab.page
    lab.preset()
    page.select_option("#measure", "what it adds to the answer")
    expect(page.locator("#heads canvas")).to_have_count(1)
    page.fill("#target", "Jo")
    page.press("#target", "Enter")
    said, circuit = page.locator("#target-said"), page.locator("#circuit")
    expect(said).to_contain_text("'Jo' is 2 tokens")
    for panel in ("circuit", "lens"):  # the error alone, and no numbers of another question
        expect(page.locator(f"#{panel} [role=alert]")).to_contain_text("'Jo' is 2 tokens")
        expect(page.locator(f"#{panel} .summary, #{panel} .cells, #{panel} .menu >> text=JSON")).to_have_count(0)
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).get('t') === 'Jo'")
    absent = page.locator("#heads .state", has_text="What wrote the answer has no answer to what is asked now")
    expect(absent).to_be_visible()
    expect(page.locator("#heads canvas")).to_have_count(0)
    again = open_lab(page.url.removeprefix(lab.address))
    expect(again.page.locator("#circuit [role=alert]")).to_contain_text("'Jo' is 2 tokens")
    page.locator(".word:has(#target) .offered button", has_text="·John").click()
    expect(said).to_contain_text("read as ·John", timeout=SLOW)
    expect(page.locator("#circuit [role=alert]")).to_contain_text("foil")  # the preset's, which is the same
    expect(absent).to_be_visible()
    page.fill("#foil", "")
    page.press("#foil", "Enter")
    expect(circuit.locator(".summary").first).to_contain_text("·John", timeout=SLOW)
    expect(page.locator("#heads canvas")).to_have_count(1)
    page.fill("#target", " Ma")
    offered = page.locator(".word:has(#target) .offered")
    expect(offered).to_be_visible()
    page.fill("#target", " Mary")
    page.press("#target", "Enter")
    expect(said).to_contain_text("read as ·Mary")
    expect(offered).to_have_count(0)
    expect(page.locator("#prompt .chips .chip").first).to_have_text("When")
    page.check("#prompt input[type=checkbox]")
    expect(page.locator("#prompt .chips .chip small")).to_have_count(14)
    page.select_option("#preset", "duplicate")  # whose answer is no token of this model
    expect(page.locator("#prompt .chips")).to_contain_text("18 tokens")
    assert (page.input_value("#target"), page.input_value("#foil")) == ("", "")


def test_earlier_runs_are_shown_again_without_computing(open_lab):
    asked = []
    lab = open_lab(
        before=lambda page: page.on("websocket", lambda socket: socket.on("framesent", lambda sent: asked.append(sent)))
    )
    page = lab.page
    lab.preset()
    first = lab.text("#circuit .summary")
    page.fill("#prompt-text", CORRUPTED)
    page.press("#prompt-text", "Enter")
    expect(page.locator("#circuit .summary").first).not_to_have_text(first, timeout=SLOW)
    lab.ready("next", "circuit", "lens", "flow", "inspector")
    asked.clear()
    page.select_option("#history", label=PROMPT)
    expect(page.locator("#circuit .summary").first).to_have_text(first)
    expect(page.locator("#prompt-text")).to_have_value(PROMPT)
    lab.choose(4, 2)
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)  # the server has the pass still
    kinds = {json.loads(sent)["type"] for sent in asked}
    assert kinds == {"need"}, kinds


def test_the_palette_finds_actions_panels_presets_and_analyses(open_lab):
    lab = open_lab()
    page = lab.page
    page.keyboard.press("/")
    box, options = page.locator("#palette-text"), page.locator("#palette [role=option]")
    expect(box).to_be_focused()
    expect(options.nth(60)).to_be_attached()  # all of them are listed, for those who read with a screen reader
    assert lab.violations() == []
    box.fill("hdint")
    expect(options.first).to_contain_text("head-interaction")
    assert options.count() < 10
    page.keyboard.press("Enter")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page.locator("#analysis")).to_have_value("head_interaction")
    page.keyboard.press("Control+k")
    box.fill("pwd")
    expect(options.first).to_contain_text("Password")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt-text")).to_have_value("The password is tiger. Again, the password is")
    page.keyboard.press("Control+k")
    box.fill("logit len")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#lens")).to_be_focused()
    page.keyboard.press("Control+k")
    box.fill("zzzzq")
    expect(page.locator("#palette [role=status]")).to_have_text("Nothing is called so.")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
