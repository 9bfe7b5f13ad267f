"""What the page says is what the library computes."""

import pytest
import torch
from playwright.sync_api import expect

import fluoroscope
from browser.lab import AIMS, CORRUPTED, PROMPT
from fluoroscope.analyses.head_circuits import head_circuits
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.head_roles import head_roles
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.next_token import next_token
from fluoroscope.analyses.path_tree import path_tree
from fluoroscope.workflows.explain import explain


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


def told(text):
    """A number of the page, which has a real minus and "e" without a plus."""
    return float(text.replace("\u2212", "-").replace("+", ""))


def near(value):
    """As the page rounds."""
    return pytest.approx(value, rel=6e-3, abs=6e-4)


def cells(lab, panel):
    """Head -> number, of the titles of a grid's cells."""
    titles = lab.page.eval_on_selector_all(f"#{panel} td[role=gridcell]", "all => all.map(cell => cell.title)")
    return {name: told(rest.split()[0]) for name, _, rest in (title.partition(": ") for title in titles)}


def test_panels_have_the_librarys_numbers(open_lab, model):
    lab = open_lab()
    lab.preset()
    for look in (first_panels, a_pattern, a_heads_place, a_heads_weights, a_sweep, a_path_tree):
        look(lab, model)


def first_panels(lab, model):
    guess = next_token(model, PROMPT)
    assert guess.summary() == lab.text("#next .summary")
    (bars,) = [view for view in guess.views() if view.kind == "bars"]
    numbers = lab.page.locator("#next .bars .number").all_inner_texts()
    assert [told(number) for number in numbers] == [near(item.value) for item in bars.items]

    attribution = logit_attribution(model, PROMPT, **AIMS)
    assert attribution.summary() == lab.text("#circuit .summary")
    (grid,) = [view for view in attribution.views() if view.kind == "head_grid"]
    shown = cells(lab, "circuit")
    assert shown == {
        f"L{layer}H{head}": near(value) for layer, row in enumerate(grid.values) for head, value in enumerate(row)
    }
    assert logit_lens(model, PROMPT, target=AIMS["target"]).summary() == lab.text("#lens .summary")


def a_pattern(lab, model):
    lab.choose(4, 2)
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    titles = lab.page.eval_on_selector_all("#attention td[role=gridcell]", "all => all.map(cell => cell.title)")
    pattern = model.trace(PROMPT, sites=["pattern.4"])["pattern.4.2"][0].double()
    for place, title in enumerate(titles):
        query, key = divmod(place, 14)
        number = title.rpartition(": ")[2].split()[0]
        assert (number == "–") if key > query else (told(number) == near(pattern[query, key].item())), title


def test_panels_of_the_run_give_their_numbers_and_the_python_that_makes_them(open_lab, model, monkeypatch):
    lab, loaded = open_lab(permissions=["clipboard-read", "clipboard-write"]), set()
    monkeypatch.setattr(fluoroscope, "load", lambda name, dtype: loaded.add((name, dtype)) or model)

    def given(panel):
        made: dict = {}
        exec(lab.taken(panel), made)
        return made, lab.numbers(panel)

    lab.preset()
    lab.choose(4, 2)
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    exact = model.trace(PROMPT, sites=["pattern.*"]).stack("pattern")[:, 0]
    made, numbers = given("attention")
    assert made["pattern"] == pytest.approx(exact[4, 2], abs=1e-6)
    assert torch.tensor(numbers["pattern"]) == pytest.approx(exact[4, 2], abs=1e-6)
    assert numbers["tokens"] == [list(model.tokens(PROMPT).labels[0])]
    made, numbers = given("heads")
    assert torch.stack(list(made["patterns"].values())) == pytest.approx(exact, abs=1e-6)
    assert torch.tensor(list(numbers["patterns"].values())) == pytest.approx(exact, abs=1e-6)
    made, numbers = given("depth")
    said = [[(each["label"], each["probability"]) for each in layer] for layer in numbers["says"][0]]
    for layer, found in enumerate(made["says"].values()):
        assert [token for token, _ in found] == [token for token, _ in said[layer]]
        assert [share for _, share in found] == pytest.approx([share for _, share in said[layer]], rel=1e-4)
    lab.page.click("#heads .switch >> text=table")
    made, numbers = given("heads")
    for name in ("value_norm", "entropy", "concentration"):
        shown = torch.tensor(numbers["heads"][name]["values"]).flatten()
        assert torch.tensor(list(made[name].values())) == pytest.approx(shown, rel=1e-4)
    (grid,) = [view for view in logit_attribution(model, PROMPT, **AIMS).views() if view.kind == "head_grid"]
    assert made["values"] == grid.values
    lab.page.click("#heads .switch >> text=2D")
    lab.page.select_option("#measure", "what it adds to the answer")
    lab.page.click('.switch >> text="A − B"')
    expect(lab.page.locator("#circuit .differences .cells")).to_have_count(1)
    made, numbers = given("heads")
    (other,) = [view for view in logit_attribution(model, CORRUPTED, **AIMS).views() if view.kind == "head_grid"]
    less = torch.tensor(grid.values) - torch.tensor(other.values)
    assert torch.tensor(made["values"]) == pytest.approx(less, abs=1e-6)
    (shown,) = numbers["heads"].values()
    assert torch.tensor(shown["values"]) == pytest.approx(less, abs=1e-6)
    assert loaded == {("specimen", "float32")}


def a_sweep(lab, model):
    lab.see("patch")
    lab.sweep()
    sweep = head_patching(model, PROMPT, CORRUPTED, answer=" Mary", foil=" John")
    assert sweep.summary() == lab.text("#patch .summary")
    (grid,) = [view for view in sweep.views() if view.kind == "head_grid"]
    assert cells(lab, "patch")["L4H2"] == near(grid.values[4][2])


def a_path_tree(lab, model):
    """Which grows downwards."""
    lab.see("paths")
    lab.page.click("#paths button.primary")
    lab.answered("paths")
    assert lab.text("#paths .summary") == path_tree(model, PROMPT, CORRUPTED).summary()
    tops = lab.page.eval_on_selector_all("#paths svg.graph .edge", "all => all.map(edge => edge.getAttribute('d'))")
    ends = [(float(path[1:].split("C")[0].split()[1]), float(path.split()[-1])) for path in tops]
    assert ends
    assert all(source < target for source, target in ends)


def test_any_analysis_by_its_form(open_lab, model):
    lab = open_lab()
    lab.page.select_option("#analysis", "explain")
    lab.page.fill("#field-prompt", PROMPT)
    lab.page.click("#any button[type=submit]")
    lab.page.wait_for_selector('#any-explain[data-status="ready"]')
    assert lab.text("#any-explain .summary") == explain(model, PROMPT).summary()


def a_heads_place(lab, model):
    """Among all."""
    lab.choose(5, 2)
    lab.page.wait_for_selector("#inspector .scores")
    heads = head_roles(model, PROMPT, seeds=0).heads
    mine = next(head for head in heads if head.site == "z.5.2")
    names = ["prev_token_score", "duplicate_token_score", "induction_score", "concentration", "entropy", "value_norm"]
    rows = lab.page.locator("#inspector .scores tbody tr")
    for row, name in zip(rows.all(), names, strict=True):
        cells = row.locator("td").all_inner_texts()
        value, all_ = getattr(mine, name), [getattr(head, name) for head in heads]
        assert told(cells[0]) == near(value), name
        assert int(cells[1]) == 1 + sum(other > value for other in all_), name
        assert int(cells[2].split()[0]) == sum(other < value for other in all_) * 100 // (len(all_) - 1), name
        assert row.locator("rect.here").count() == 1
        assert row.locator("svg").get_attribute("aria-label").startswith(f"{len(heads)} heads from ")
    assert "0.400" in lab.text("#inspector .summary")
    look = lab.page.locator("#inspector .look").first
    look.click()
    first = mine.top[0]
    expect(lab.page.locator(f'#attention td[data-chosen][title*="{first.weight:.3f}"]')).to_have_count(1)


def a_heads_weights(lab, model):
    lab.choose(5, 2)
    lab.page.click("#inspector >> text=What do its weights do?")
    expected = head_circuits(model, head="L5H2", circuit="ov", top_k=5)
    expect(lab.page.locator("#inspector")).to_contain_text(expected.summary(), timeout=30_000)
    expect(lab.page.locator("#inspector figure")).to_have_count(2, timeout=30_000)
    expect(lab.page.locator("#inspector figure").last).to_contain_text("What L5H2 looks for")
