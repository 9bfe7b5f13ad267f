"""Steps that are kept: made once, whole or not at all, and never those of another run."""

import json

import pytest

from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled
from fluoroscope.progress import listening
from fluoroscope.result import Recipe, Result
from fluoroscope.stepwise import Journal, Stepwise, about, make

RECIPE = Recipe(
    model="m", weights="w", tokenizer=None, dtype="float32", device="cpu", attention="sdpa", versions={"torch": "2"}
)


class Count(Result):
    number: float

    def summary(self):
        return f"{self.number}."

    def views(self):
        return []


class Both(Stepwise):
    one: Count | None
    two: Count | None


def asking(made, number):
    def ask():
        made.append(number)
        return Count(recipe=RECIPE, number=number)

    return ask


def refusing():
    raise ArgumentError("no heads", "Give some.")


def test_a_step_that_is_kept_is_not_made_again(tmp_path):
    folder, made = str(tmp_path / "run"), []
    for _ in range(2):
        journal = Journal(folder, about(RECIPE, "count", top=3))
        found = journal.step("one", Count, asking(made, 0.1 + 0.2))
        assert found == Count(recipe=RECIPE, number=0.1 + 0.2)
    assert made == [0.1 + 0.2]
    assert journal.step("two", Count, asking(made, 2.0)).number == 2.0
    kept = (tmp_path / "run" / "one.json").read_text()
    assert json.loads(kept)["result"] == "Count"
    names = ["about.json", "one.json", "one.sha256", "two.json", "two.sha256"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == names


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(2):
        Journal(None, about(RECIPE, "count")).step("one", Count, asking(made, 1.0))
    assert made == [1.0, 1.0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (about(RECIPE, "count", top=4), "top differs"),
        (about(RECIPE, "discover", top=3), "workflow differs"),
        (about(RECIPE.model_copy(update={"weights": "v"}), "count", top=3), "weights differs"),
        (about(RECIPE.model_copy(update={"tokens": ((1, 2),)}), "count", top=3), "tokens differs"),
    ],
)
def test_the_steps_of_another_run_are_refused(tmp_path, other, says):
    Journal(str(tmp_path), about(RECIPE, "count", top=3))
    with pytest.raises(ArtifactError, match=says):
        Journal(str(tmp_path), other)
    moved = RECIPE.model_copy(update={"model": "elsewhere/m"})
    Journal(str(tmp_path), about(moved, "count", top=3))


def test_what_is_no_folder_of_steps_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="holds other things"):
        Journal(str(tmp_path), about(RECIPE, "count"))
    with pytest.raises(ArtifactError, match="cannot make the folder"):
        Journal(str(tmp_path / "mine.txt"), about(RECIPE, "count"))
    with pytest.raises(ArtifactError, match="cannot make the folder"):
        Journal(str(tmp_path / "not" / "there"), about(RECIPE, "count"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_a_kill_left_of_the_first_file_is_nothing_of_anybody_elses(tmp_path):
    (tmp_path / ".fluoroscope-7-0a1b.tmp").write_bytes(b'{"work')
    Journal(str(tmp_path), about(RECIPE, "count"))
    assert (tmp_path / "about.json").exists()


def test_steps_are_made_in_order_and_what_is_refused_is_said(tmp_path):
    made = []
    asks = {"one": (Count, asking(made, 1.0)), "two": (Count, refusing), "three": (Count, asking(made, 3.0))}
    done = make(Journal(str(tmp_path), about(RECIPE, "count")), asks, "count", {"two": (ArgumentError,)})
    assert made == [1.0, 3.0]
    assert (done.found["two"], done.missing) == (None, 0)
    assert done.refused == ("There is no step 'two' here: no heads.",)
    with pytest.raises(ArgumentError, match="no heads"):
        make(Journal(None, {}), asks, "count")
    with listening(lambda _label, count, _total: count < 2), pytest.raises(Cancelled) as stopped:
        make(Journal(str(tmp_path), about(RECIPE, "count")), asks, "count", {"two": (ArgumentError,)})
    partial = stopped.value.partial
    assert (partial.found["one"].number, partial.found["three"], partial.missing) == (1.0, None, 1)
    assert partial.refused[1] == "Not made, as the run was cancelled: three."


def test_a_damaged_step_is_an_error_and_not_made_anew(tmp_path):
    journal = Journal(str(tmp_path), about(RECIPE, "count"))
    journal.step("one", Count, asking([], 1.0))
    path = tmp_path / "one.json"
    whole = path.read_text()
    for damaged in (whole[:-30], whole.replace("1.0", "2.0")):
        path.write_text(damaged)
        with pytest.raises(ArtifactError, match=r"one\.json.* Delete that file, and the step is made again"):
            Journal(str(tmp_path), about(RECIPE, "count")).step("one", Count, asking([], 1.0))
    path.unlink()
    assert Journal(str(tmp_path), about(RECIPE, "count")).step("one", Count, asking([], 1.0)).number == 1.0


def test_steps_by_name():
    one = Count(recipe=RECIPE, number=1.0)
    found = Both(recipe=RECIPE, one=one, two=None, narrative=(), refused=("There is no step 'two' here: no heads.",))
    assert found.steps == [("one", one)]
    assert found.get_step("one") is one
    with pytest.raises(ArgumentError, match=r"no step 'two'.*no heads"):
        found.get_step("two")
    assert Both.from_json(json.dumps({"schema": 1, "result": "Both", **found.model_dump(mode="json")})) == found
