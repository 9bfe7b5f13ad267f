"""Which parts carry a task: patched in many prompt pairs, with a floor of shuffled pairs.

What one pair shows may hold for it alone. Here every part is patched in each of many pairs, its mean effect has an
interval over pairs, and the same sweep with values that belong to other pairs says from where on an effect is one.
Wang et al. 2022, "Interpretability in the Wild"; Zhang & Nanda 2024, "Towards Best Practices of Activation Patching".
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from fluoroscope import metrics, patched, task_records, tasks
from fluoroscope.arguments import checked
from fluoroscope.methods import confidence, sweeps, task_sweeps
from fluoroscope.methods.sweeps import Sweep
from fluoroscope.patched import DISTANCES, OF_ANSWER, UNITS
from fluoroscope.render.text import counted, number, percent, prose
from fluoroscope.render.text import share as share_text
from fluoroscope.result import Result
from fluoroscope.result import number as finite
from fluoroscope.signature import Direction, InputFile, MetricName, Precision
from fluoroscope.sites import Site, by_layer
from fluoroscope.task_records import TaskEffect, TaskPair, head
from fluoroscope.tasks import places
from fluoroscope.views import Bar, Bars, Column, HeadGrid, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.methods.task_sweeps import Place, Swept
    from fluoroscope.model import Model

THEME = "Causes"

_TOLD = 3  # records that are left out
_PARTS = {
    "z": ("head", "heads"), "q": ("head's query", "heads' queries"), "k": ("head's key", "heads' keys"),
    "v": ("head's value", "heads' values"), "pattern": ("head's pattern", "heads' patterns"),
    "resid_pre": ("stream entering a block", "streams"), "resid_mid": ("stream inside a block", "streams"),
    "resid_post": ("stream leaving a block", "streams"), "attn_out": ("attention", "attentions"),
    "mlp_out": ("MLP", "MLPs"),
}  # fmt: skip
_ASKED = {
    "logit": "logit of the answer", "logit_diff": "lead of the answer over the foil",
    "probability_diff": "lead in probability of the answer over the foil", **DISTANCES,
    **{name: f"{words} the answer" for name, words in OF_ANSWER.items()},
}  # fmt: skip
_NAMED, _PAIRS = 12, 5


class TaskPatching(Result):
    """The effect of every part on a task.

    Args:
        task: its name, with the variant if one was named, or the name given to a file's pairs.
        pairs: all of which count.
        dropped: words or records that do not fit the tokenizer -> why.
        part: what was patched.
        places: where.
        clean_score: mean of the metric behind the clean prompts; `corrupted_score` behind the others.
        way_low, way_high: the 95 % interval of the difference of these two over pairs; None for one pair.
        effects: of every part at every place, in order.
        level: the share that the noise of 95 % of them stays below, in size; None where that was not measured.
        missing: how many a cancelled run had not come to.
        whole: why every copy ran whole, which is slower; None where only what differs was computed again.
    """

    task: str
    pairs: tuple[TaskPair, ...]
    dropped: dict[str, str]
    part: str
    places: tuple[str, ...]
    metric: str
    direction: Direction
    clean_score: float
    corrupted_score: float
    way_low: float | None
    way_high: float | None
    effects: tuple[TaskEffect, ...]
    level: float | None
    missing: int = 0
    whole: str | None

    def ranked(self) -> list[TaskEffect]:
        """The effects, the largest first."""
        return sorted(self.effects, key=lambda effect: -abs(effect.share))

    def standing(self) -> list[TaskEffect]:
        """Those whose whole interval is beyond the level, the largest first."""
        return [effect for effect in self.ranked() if effect.nearest() > (self.level or 0.0)]

    def summary(self) -> str:
        named = (self.standing() or self.ranked())[:3]
        first = ", ".join(f"{self._label(each)} {share_text(each.share)}{each.interval(' ({})')}" for each in named)
        verb = "restore" if self.direction == "denoise" else "destroy"
        partial = f"Partial, {self.missing} not measured: of" if self.missing else "Of"
        return (
            f"{partial} the {_ASKED[self.metric]} over {counted(len(self.pairs), 'pair')} of {prose(self.task)} "
            f"({self._gap()}), {_PARTS[self.part][1]} {verb}: {first}; {self._standing()}.{self._doubts()}"
        )

    def _standing(self) -> str:
        """How many parts do more than disturb."""
        many = f"{len(self.standing())} of {len(self.effects)} {self._counted()}"
        if self.level is not None:
            return f"{many} stand out of the noise of shuffled pairs ({percent(self.level)})"
        return f"{many} have an interval without 0" if len(self.pairs) > 1 else "one pair says nothing of others"

    def _doubts(self) -> str:
        """The pairs that do not ask what they should, and a way that may be none."""
        way = self.clean_score - self.corrupted_score
        ways = [pair.clean_score - pair.corrupted_score for pair in self.pairs]
        unlike = sum(not pair.prefers for pair in self.pairs), "the model does not prefer the answer; they count too"
        equal = ways.count(0), "both prompts score the same; they have no way to go"
        against = sum(each * way < 0 for each in ways), "the scores lie the other way round; they count against"
        found = [(count, why) for count, why in (unlike, equal, against) if count]
        told = [f"In {count} of {counted(len(ways), 'pair')} {why}." for count, why in found]
        if self.way_low is not None and self.way_high is not None and self.way_low <= 0 <= self.way_high:
            told.append("Over more pairs the two kinds of prompts may score the same, so the shares say little.")
        if self.left_out():
            told.append(f"Left out of the file: {prose('; '.join(self.left_out()[:_TOLD]))}{self._more()}.")
        return "".join(f" {each}" for each in told)

    def left_out(self) -> list[str]:
        """Records of a file that are none of the pairs, and why; of a task's own words nothing is to be told."""
        return [f"{where} ({why})" for where, why in self.dropped.items() if where.startswith(("line ", "record "))]

    def _more(self) -> str:
        more = len(self.left_out()) - _TOLD
        return f"; and {more} more" if more > 0 else ""

    def _gap(self) -> str:
        unit = UNITS[self.metric]
        ends = f"mean {number(self.corrupted_score)} corrupted, {number(self.clean_score)} clean"
        return f"{ends}, in {unit}" if unit else ends

    def _counted(self) -> str:
        return _PARTS[self.part][1] + ("" if self._everywhere() else " and places")

    def _everywhere(self) -> bool:
        return self.places == (places.EVERYWHERE,)

    def _label(self, effect: TaskEffect) -> str:
        return effect.label if self._everywhere() else f"{effect.label} at {effect.place}"

    def views(self) -> list[View]:
        return [self._bars(), *self._map(), self._table()]

    def _bars(self) -> Bars:
        one = _PARTS[self.part][0]
        verb, into = ("restores", "clean values put into the corrupted prompt") if self.direction == "denoise" else (
            "destroys", "corrupted values put into the clean prompt"
        )  # fmt: skip
        spread = (
            " Then the 95 % interval over pairs, of each part by itself: of a hundred about five miss."
            if len(self.pairs) > 1
            else " One pair has no interval."
        )
        return Bars(
            title=f"How much of the {_ASKED[self.metric]} each {one} {verb}",
            caption=f"Each part alone, {into}, over {counted(len(self.pairs), 'pair')}: mean change as a share of the "
            f"mean way between the two scores ({self._gap()}).{spread}{self._noise()}",
            unit="share",
            signed=True,
            items=tuple(
                Bar(label=self._label(each), value=each.share, remark=each.remark(), site=each.site)
                for each in self.ranked()[:_NAMED]
            ),
        )

    def _noise(self) -> str:
        """How the level is to be read."""
        having = sum(pair.donor is not None for pair in self.pairs)
        if self.level is None:
            return (
                " Values of other pairs were not put in, which takes pairs of as many tokens that are about others: so "
                "nothing says what disturbance alone does."
            )
        where = "" if having == len(self.pairs) else f", in the {having} pairs that have one"
        return (
            f" Foreign: the same with values of a pair about other tokens{where}, which take the old answer away "
            "without bringing the new one, and so go about half as far. What the other pair's clean values do more "
            f"than its corrupted ones is noise: for 95 % of the parts less than {percent(self.level)}, and what "
            "stands out has its whole interval above that."
        )

    def _map(self) -> list[View]:
        title, heads = f"Every {_PARTS[self.part][0]}", Site.parse(self.effects[0].site).unit is not None
        if self._everywhere() and heads:
            caption = "A row is a block, a column a head in it; shares over all pairs."
            values = by_layer({each.site: each.share for each in self.effects})
            return [HeadGrid(title=title, caption=caption, unit="share", values=values)]
        if self._everywhere():
            return []
        sites = list(dict.fromkeys(each.site for each in (self.ranked() if heads else self.effects)))
        sites = sites[: 2 * _NAMED] if heads else sites
        cells = {(each.site, each.place): each.share for each in self.effects}
        heatmap = Heatmap(
            title=f"{title}, by place",
            caption=f"The {len(sites)} with the largest shares over all pairs." if heads else "Shares over all pairs.",
            unit="share",
            signed=True,
            rows=tuple(Mark(label=head(site), site=site) for site in sites),
            columns=tuple(Mark(label=place) for place in self.places),
            values=tuple(tuple(cells.get((site, place)) for place in self.places) for site in sites),
        )
        return [heatmap]

    def _table(self) -> Table:
        names = ("clean prompt", "corrupted prompt", "answer", "foil", "clean", "corrupted", "prefers the answer")
        shown = sorted(self.pairs, key=lambda pair: pair.prefers)[:_PAIRS]
        return Table(
            title="The pairs",
            caption=f"{len(shown)} of {len(self.pairs)}, first those in which the model does not find the answer "
            f"likelier than the foil behind the clean prompt. Numbers: the {_ASKED[self.metric]} behind each prompt.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(Row(cells=pair.cells()) for pair in shown),
        )


@checked
def task_patching(
    model: "Model",
    task: str,
    *,
    variant: str | None = None,
    file: InputFile | None = None,
    pairs: int = 16,
    seed: int = 0,
    part: Literal["z", "q", "k", "v", "pattern", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"] = "z",
    positions: list[str] | None = None,
    metric: MetricName = "logit_diff",
    direction: Direction = "denoise",
    floor: bool = True,
    precision: Precision = "float32",
    budget: int = 1024,
) -> TaskPatching:
    """Patches every part in many pairs of a task, and in the same pairs with values that belong to others.

    Args:
        task: whose pairs to make, such as ioi, induction, facts or greater_than; with a file, what to call its pairs.
        variant: another form of the task, such as abc of ioi, or another reading of a file.
        file: text file of pairs to read: CSV, TSV, JSON or JSON lines, in any of the field's formats.
        pairs: how many; of a file at most, where it has fewer.
        seed: of the draw of pairs, and of which pair gives values to which.
        part: what is patched: a head's output z, its q, k, v or pattern, or a whole block's stream, attention or MLP.
        positions: the tokens at which, each apart: indices (-1 is the last) or roles that the task names, such as S2;
            without them all tokens at once, and of the stream, where that would be everything, the roles and the end.
        metric: what is measured at the end of the prompts.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        floor: whether values of pairs about other tokens are put in as well, to see from where on an effect is one.
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the runs.

    Raises:
        ArgumentError: a task, variant or role that is not there, fewer pairs, pairs whose two prompts score the same
            in the mean, or a sweep beyond the budget.
        ArtifactError: a file of no known format.
        TokenError: a pair has no such token, or the model has no tokenizer.
        UnavailableError: this model has no such parts.
    """
    sites = sweeps.offered(model, part)
    dataset = _dataset(model, task, variant, file, pairs, seed)
    sweep = Sweep(model, [(pair.clean, pair.corrupted) for pair in dataset], [part], direction, budget << 20, precision)
    answers, foils = dataset.ids(model)
    clean = sweep.logits()[0]
    measured = metrics.make(metric, answer=answers, foil=foils, reference=clean)
    about = [{*answer, *foil} for answer, foil in zip(answers, foils, strict=True)]
    donors = task_sweeps.donors([each.rows[0] for each in sweep.sides[0]], about, seed) if floor else None
    where = _places(dataset, sweep, positions, part)
    said = {"task": dataset.name if variant is None else f"{dataset.name} ({variant})", "part": part, "metric": metric}

    def told(found: "Swept") -> TaskPatching:
        prefers = metrics.probability_diff(answers, foils)(clean) > 0
        paired = task_records.pairs(dataset, found, prefers.tolist(), donors)
        return TaskPatching(
            **said, **_about(sweep, dataset, where, seed), pairs=paired, **_numbers(sites, where, found)
        )

    return sweeps.told(lambda: task_sweeps.swept(sweep, sites, where, measured, donors), told)


def _about(sweep: Sweep, dataset: tasks.Dataset, where: "list[Place]", seed: int) -> dict[str, Any]:
    return {
        "recipe": patched.recipe(sweep).model_copy(update={"seed": seed}),
        "dropped": dict(dataset.dropped),
        "places": tuple(place.label for place in where),
        "direction": sweep.direction,
        "whole": sweep.replay.why_whole,
    }


def _numbers(sites: list[Site], where: "list[Place]", found: "Swept") -> dict[str, Any]:
    clean, corrupted, foreign = found.effects.clean, found.effects.corrupted, found.foreign_shares()
    low, high = confidence.interval(clean - corrupted)
    effects = task_records.effects(sites, where, found)
    return {
        "clean_score": float(clean.mean()),
        "corrupted_score": float(corrupted.mean()),
        "way_low": finite(float(low)),
        "way_high": finite(float(high)),
        "effects": effects,
        "level": None if foreign is None else task_sweeps.level(foreign[1]),
        "missing": len(sites) * len(where) - len(effects),
    }


def _dataset(model: "Model", task: str, variant: str | None, file: str | None, pairs: int, seed: int) -> tasks.Dataset:
    tasks.check_count(pairs)
    if file is None:
        return tasks.make(task, model, pairs, seed=seed, variant=variant)
    return replace(tasks.read(file, model, n=pairs, seed=seed, variant=variant, fewer=True), name=task)


def _places(dataset: tasks.Dataset, sweep: Sweep, positions: list[str] | None, part: str) -> "list[Place]":
    if positions is None and part.startswith("resid"):
        positions = [*places.roles(dataset), "-1"]
    if positions is None:
        return [places.everywhere(dataset)]
    return places.named(dataset, sweep.sides[0], positions)
