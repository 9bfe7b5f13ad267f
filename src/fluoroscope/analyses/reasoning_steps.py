"""Which steps of a reasoning its answer hangs on, checked by taking each one away.

The whole text runs in one pass, never a step alone. A step is then hidden from all that follows (attention knock-out),
taken out of the text, and, if asked for, written anew: once with the rest kept, once with the model going on by itself.
And the reasoning is cut short to see when the answer stands. After Bogdan et al. 2025, "Thought Anchors", and Lanham et
al. 2023, "Measuring Faithfulness in Chain-of-Thought".
"""

from typing import TYPE_CHECKING

from fluoroscope import contrasted, hidden, rewritten
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.hidden import Grid
from fluoroscope.methods import contrast, effects, knockout, reasoning, receivers, rewrites, spans, steps
from fluoroscope.methods.reasoning import ReasoningStep
from fluoroscope.methods.receivers import Receiver
from fluoroscope.methods.rewrites import EarlyAnswer
from fluoroscope.methods.rollouts import Drawing
from fluoroscope.render.text import brief, percent, prose, quoted
from fluoroscope.result import Result, number
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bars, Column, HeadGrid, Heatmap, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Reasoning and chats"


class ReasoningSteps(Result):
    """The steps of a text and what each does for the token after it.

    Args:
        tokens: the text, as the model reads it.
        answer: what is explained; `probability` and `logit` (before any softcap, minus the foil's) are its.
        leads: the token that the model itself finds likeliest.
        before: what heads read from tokens in front of the text, such as BOS, in logits.
        own: embeddings and MLPs of the last token, and biases, in logits.
        error: what the attributions of all steps, `before` and `own` miss the logit by.
        direct: `direct[j][i]`: mean KL, in nats, at the tokens of step j when they cannot look at step i.
        total: the same when nothing behind step i can look at it.
        early: the answer with the first steps only, from none to all.
        receivers: all heads, by layer; empty for fewer than three steps.
        samples: how often each step was written anew, in either way.
    """

    tokens: tuple[str, ...]
    steps: tuple[ReasoningStep, ...]
    answer: str
    answer_ids: tuple[int, ...]
    foil: str | None
    foil_ids: tuple[int, ...]
    leads: str
    probability: float
    logit: float
    before: float
    own: float
    error: float
    direct: Grid
    total: Grid
    early: tuple[EarlyAnswer, ...]
    receivers: tuple[Receiver, ...]
    samples: int

    def settled(self) -> int:
        """How many of the steps before the last have to be there for the same token to lead from then on."""
        return 1 + max((each.kept for each in self.early if not each.same), default=-1)

    def summary(self) -> str:
        has = f"{quoted(self.answer)} has {percent(self.probability)} after {quoted(self.tokens[-1])}"
        parts = [(f"step {n} (‘{prose(brief(step.text))}’)", step.knockout) for n, step in enumerate(self.steps, 1)]
        if not any(shift for _, shift in parts):
            return f"{has}; there is no step before the last, so there is none to take away."
        drawn = f"; {rewritten.told(self._anew(), self.samples)}" if self.samples else ""
        return f"{has}{hidden.told(self.probability, 'step', parts)}; {self._stands()}{drawn}."

    def _anew(self) -> list[rewritten.Step]:
        return [(prose(brief(step.text)), step.rewritten, step.resampled) for step in self.steps[:-1]]

    def _stands(self) -> str:
        """When the answer stands, the reasoning being cut short."""
        kept, most = self.settled(), len(self.steps) - 1
        first = "the first" if kept == 1 else f"the first {kept}"
        when = (
            f"{'only with' if kept else 'without'} it" if most == 1
            else "without any step before the last" if kept == 0
            else f"with no fewer than all {most} steps before the last" if kept == most
            else f"once {first} of {most} steps {'is' if kept == 1 else 'are'} there"
        )  # fmt: skip
        return f"{quoted(self.leads)} leads {when}"

    def views(self) -> list[View]:
        bars, heatmaps = self._hidden()
        anew = self._anew() if self.samples else []
        drawn = [rewritten.table(self.answer, anew, self.samples)] if anew else []
        shown = [bars, self._table(), *drawn, *heatmaps, self._cuts()] if len(self.steps) > 1 else [self._table()]
        texts = [rewritten.texts(anew, self.samples)] if any(kept for _, kept, _ in anew) else []
        grid = self._grid()
        return [*shown, self._ends(), *([] if grid is None else [grid]), *texts]

    def _hidden(self) -> tuple[Bars, list[Heatmap]]:
        """What the answer loses without each step, and what steps owe to one another."""
        labels = [f"{place} {step.text.strip()}" for place, step in enumerate(self.steps, 1)]
        lost = zip(labels, (step.knockout for step in self.steps), strict=True)
        told = (
            ("What steps read from one another", "the tokens of the row alone cannot look at", self.direct),
            ("What steps owe to one another", "nothing behind can look at", self.total),
        )
        grids = [hidden.between(title, "step", how, labels, grid) for title, how, grid in told]
        return hidden.losses(self.answer, self.leads, "a step", "the step", lost), grids

    def _table(self) -> Table:
        names = ("read from it", "flow", "hidden", "removed", *(("rewritten",) if self.samples else ()))
        rows = [
            Row(
                cells=(
                    place, step.text.strip(), step.attribution, step.flow, *(
                        None if shift is None else shift.effect
                        for shift in step.shifts()[: len(names) - 2]
                    ),
                )
            )
            for place, step in enumerate(self.steps, 1)
        ]  # fmt: skip
        anew = (
            f" Rewritten: the step has other words and all after it is kept; {rewritten.ABSENT}."
            if self.samples
            else ""
        )
        several = max(len(self.answer_ids), len(self.foil_ids)) > 1
        asked = contrasted.wording(self.answer, self.foil, several=several)
        return Table(
            title=f"What each step does for {quoted(self.answer)}",
            caption=f"Read from it: logits that heads at the end read there, an exact part of the {asked}, "
            f"{self.logit:+.3f}, of which {self.own:+.3f} is the last token's own. Flow: share of all that these "
            "heads write, by size, for or against. The others: change of the log-probability. Only they prove use; a "
            f"removed step also moves all that follows.{anew}",
            columns=(Column(name="step"), Column(name="text"), *(Column(name=name) for name in names)),
            rows=tuple(rows),
        )

    def _cuts(self) -> Lines:
        return Lines(
            title=f"{quoted(self.answer)} when the reasoning is cut short",
            caption="The first steps only, then the last one, which asks. A reasoning whose answer stands before it "
            "begins may not be what led to it.",
            unit="probability",
            maximum=1.0,
            x=tuple(Mark(label=str(each.kept)) for each in self.early),
            series=(Series(label=self.answer, token=True, values=tuple(e.shift.probability for e in self.early)),),
        )

    def _ends(self) -> Table:
        names = ("step", "ends in", "predicted", "p", "what comes", "its p")
        return Table(
            title="What the model expects at the end of each step",
            columns=tuple(Column(name=name, token=name in ("ends in", "predicted", "what comes")) for name in names),
            rows=tuple(
                Row(
                    cells=(
                        place, self.tokens[step.last - 1], step.prediction.token, step.prediction.probability,
                        step.prediction.actual, step.prediction.actual_probability,
                    )
                )
                for place, step in enumerate(self.steps, 1)
            ),
        )  # fmt: skip

    def _grid(self) -> HeadGrid | None:
        if all(head.kurtosis is None for head in self.receivers):
            return None
        sharp = sorted((head for head in self.receivers if (head.kurtosis or 0) > 0), key=lambda h: -(h.kurtosis or 0))
        named = ", ".join(f"{Site.parse(head.site).label} on step {head.step + 1}" for head in sharp[:3])
        first = f"First {named}" if named else "None is above 0"
        return HeadGrid(
            title="Receiver heads: whose attention singles out few steps",
            caption="Kurtosis over the steps of the attention that each gets from steps two and more behind it, per "
            f"pair of tokens; high where few stand out. {first}. With few steps it is bounded and rough.",
            unit="excess kurtosis",
            values=by_layer({head.site: head.kurtosis for head in self.receivers}),
        )


@checked
def reasoning_steps(
    model: "Model",
    prompt: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    position: int = -1,
    split: str | None = None,
    starts: list[int] | None = None,
    samples: int = 0,
    seed: int = 0,
) -> ReasoningSteps:
    """Splits a text into steps and measures what each does for the token that comes after the text.

    Args:
        prompt: question and reasoning up to where the answer stands, such as "… The answer is".
        answer: the token to explain, as text or id (#338), or several (" Mary| Anna"); without it the model's own.
        foil: a token, or several, to compare the answer with.
        position: index of the token after which the answer comes, negative from the end; what is behind it is left out.
        split: what stands between two steps; without it lines, sentences, "Step 2:" and numbered items.
        starts: the characters at which steps begin, from 0, instead of a rule for the whole text.
        samples: how often each step is written anew from what stands before it, and the model goes on from there by
            itself, which takes as many continuations of the text from every step on; 0 leaves this out. The first step
            can be written anew only where the model's own first token (BOS) is put before it.
        seed: of these samples.

    Raises:
        ArgumentError: a separator that the prompt lacks, `starts` out of order, `samples` below 0, a batch, or a token
            in answer and foil.
        TokenError: answer or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: attention of this family cannot be cut in every layer, or its logits not be decomposed.
    """
    if samples < 0:
        raise ArgumentError(f"samples={samples} is less than none", "Give 0 or more.")
    asked = contrast.asked(model, answer, foil)
    trace = reasoning.read(model, prompt, position)
    question = effects.ask(model, trace, asked)
    ids, pieces = trace.tokens.rows[0], trace.tokens.pieces[0]
    cut = steps.split(pieces, split, steps.lead(ids, getattr(model.tokenizer, "bos_token_id", None)), starts)
    where = [step.tokens for step in cut]
    written = spans.attribution(model, trace, where, len(ids) - 1, question.about.weights(model.d_vocab))
    influence = knockout.influence(model, ids, where, question.log_p)
    drawing = Drawing(samples, seed, split)
    return ReasoningSteps(
        recipe=trace.recipe.model_copy(update={"seed": seed if samples else None}),
        tokens=tuple(trace.tokens.labels[0]),
        steps=reasoning.measured(question, trace, cut, written, influence, drawing),
        **hidden.asked(question, "answer"),
        logit=written.logit,
        before=written.elsewhere,
        own=written.own,
        error=written.error,
        direct=_rows(influence.direct),
        total=_rows(influence.total),
        early=rewrites.early(question, ids, where),
        receivers=receivers.receivers(trace, where),
        samples=samples,
    )


def _rows(grid: "Tensor") -> Grid:
    return tuple(tuple(map(number, row)) for row in grid.tolist())
