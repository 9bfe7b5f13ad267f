"""How results say what an answer loses when a part of its text is hidden, and what parts owe to one another."""

from collections.abc import Iterable
from typing import Any

from fluoroscope import contrasted
from fluoroscope.methods.effects import Question, Shift
from fluoroscope.render.text import percent, quoted
from fluoroscope.views import Bar, Bars, Heatmap, Mark

Grid = tuple[tuple[float | None, ...], ...]


def asked(question: Question, name: str) -> dict[str, Any]:
    """The fields of a result about a question: what is watched, by `name`, its foil and who leads."""
    told = contrasted.named(question.model, question.about)
    told |= {"leads": question.model.token_label(question.leader), "probability": question.probability}
    return {field.replace("target", name): value for field, value in told.items()}


def losses(answer: str, leads: str, part: str, hidden: str, parts: Iterable[tuple[str, Shift | None]]) -> Bars:
    """What each part is worth to the answer; parts without a shift are left out.

    Args:
        leads: the token that leads while everything is in sight.
        part: what a part is, such as "a step".
        hidden: what of it is hidden, such as "the step".
        parts: their labels, and what becomes of the answer without them.
    """
    return Bars(
        title=f"What {quoted(answer)} loses when no later token can look at {part}",
        caption=f"A causal check: attention to {hidden} is cut in every layer and shared out to what is in sight; "
        "nothing moves. Change of the log-probability: -0.69 halves the probability. Then what is left of it, and who "
        "leads instead. The very first token stays in sight: idle heads rest there.",
        unit="nats",
        signed=True,
        items=tuple(
            Bar(label=label, value=shift.effect, remark=_left(shift, leads)) for label, shift in parts if shift
        ),
    )


def between(title: str, part: str, hidden: str, labels: list[str], grid: Grid) -> Heatmap:
    """What parts (rows but the first) owe to those before them (columns but the last).

    Args:
        part: what a part is, such as "step".
        hidden: who cannot look at what, up to the part of the column, such as "they cannot look at".
        labels: one of every part.
        grid: `grid[j][i]`: mean KL, in nats, at part j without part i.
    """
    return Heatmap(
        title=title,
        caption=f"How much the predictions inside the {part} of the row change, in the mean over its tokens, when "
        f"{hidden} the {part} of the column. KL: 0 is no change.",
        unit="nats",
        rows=tuple(Mark(label=label) for label in labels[1:]),
        columns=tuple(Mark(label=str(place)) for place in range(1, len(labels))),
        values=tuple(row[:-1] for row in grid[1:]),
    )


def _left(shift: Shift, leads: str) -> str:
    """What is left of the answer, and who leads instead."""
    return percent(shift.probability) + ("" if shift.leads == leads else f", {quoted(shift.leads)}")
