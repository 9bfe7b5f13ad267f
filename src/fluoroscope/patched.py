"""What results of patching one prompt's values into another have in common: the two prompts, the metric, its words."""

from typing import TYPE_CHECKING, Any

from fluoroscope.contrasted import wording
from fluoroscope.errors import TokenError
from fluoroscope.methods import contrast
from fluoroscope.render.text import counted, number, quoted, share
from fluoroscope.result import Recipe, Result
from fluoroscope.signature import Direction
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluoroscope.methods.sweeps import Effects, Sweep
    from fluoroscope.model import Model

UNITS = {
    "logit": "logits", "logit_diff": "logits", "probability": "", "probability_diff": "", "log_probability": "nats",
    "cross_entropy": "nats", "rank": "tokens", "kl": "nats", "js": "nats", "l2": "logits", "cosine": "",
    "mse": "logits²",
}  # fmt: skip
DISTANCES = {
    "kl": "KL divergence from the clean prediction", "js": "Jensen-Shannon divergence from the clean prediction",
    "l2": "distance from the clean logits", "cosine": "cosine distance from the clean logits",
    "mse": "squared distance from the clean logits",
}  # fmt: skip
OF_ANSWER = {
    "probability": "probability of", "log_probability": "log-probability of", "cross_entropy": "loss on",
    "rank": "rank of",
}  # fmt: skip

_BETTER = {
    "logit": 1, "logit_diff": 1, "probability": 1, "probability_diff": 1, "log_probability": 1, "cross_entropy": -1,
    "rank": -1,
}  # fmt: skip
"""Which way the score of a better answer goes."""
_SMALL, _SMALL_SHARE = {"logits": 0.05, "nats": 0.01, "tokens": 0.5, "logits²": 0.0}, 0.05
"""Ways so short that shares of them say little; of any other unit, as a share of the larger score."""


_NOTHING = 0.0005
"""A share that is told as 0.0 %."""


class Patched(Result):
    """What values of one prompt do in another.

    Args:
        clean, corrupted: the tokens of the prompts, as many of each.
        changed: the indices at which they differ.
        answer: what the metric is about, as a parameter names it; None where it needs none, and `answer_ids` is empty.
        foil: likewise what it is held against.
        metric: its name.
        direction: "denoise" puts clean values into the corrupted prompt, "noise" the reverse.
        clean_score: the metric at the end of the clean prompt; `corrupted_score` of the other.
        whole: why every copy ran whole, which is slower; None where only what differs was computed again.
        missing: how many effects a cancelled run had not come to.
        likelier: the answer with a space before it, where that is another token and likelier after the clean prompt.
    """

    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    changed: tuple[int, ...]
    answer: str | None
    answer_ids: tuple[int, ...]
    foil: str | None
    foil_ids: tuple[int, ...]
    metric: str
    direction: Direction
    clean_score: float
    corrupted_score: float
    whole: str | None
    missing: int = 0
    likelier: str | None = None

    def partial(self) -> str:
        """What a sentence begins with where something is missing."""
        return f"Partial, {counted(self.missing, 'effect')} not measured. " if self.missing else ""

    def asked(self) -> str:
        """What is measured, in words."""
        if self.metric in DISTANCES:
            return DISTANCES[self.metric]
        if self.metric in OF_ANSWER:
            return f"{OF_ANSWER[self.metric]} {quoted(self.answer or '')}"
        if self.metric not in UNITS:
            return f"score by {self.metric}"
        several = max(len(self.answer_ids), len(self.foil_ids)) > 1
        words = wording(self.answer or "", self.foil, several=several)
        return words.replace("lead", "lead in probability", 1) if self.metric == "probability_diff" else words

    def doubts(self) -> str:
        """What shares of this way are not worth, as last sentences; nothing where the way is as it should be."""
        space = (
            f" Doubt: {quoted(self.likelier)}, with its space, is likelier than the answer." if self.likelier else ""
        )
        return self._way() + space

    def _way(self) -> str:
        way, unit = self.clean_score - self.corrupted_score, UNITS.get(self.metric, "")
        if self.metric in _BETTER and way * _BETTER[self.metric] < 0:
            return " Doubt: the clean prompt is answered worse than the corrupted one, so that shares go the other way."
        ends = max(abs(self.clean_score), abs(self.corrupted_score))
        if abs(way) < _SMALL.get(unit, _SMALL_SHARE * ends):
            return " Doubt: both prompts score almost the same, so that shares say little."
        if self.metric == "logit_diff" and self.clean_score <= 0:
            return " Doubt: after the clean prompt the model itself does not prefer the answer."
        return ""

    def verb(self) -> str:
        """What a share of 1 does."""
        return "restores" if self.direction == "denoise" else "destroys"

    def gap(self) -> str:
        """The two scores that shares lie between."""
        unit = UNITS.get(self.metric, "")
        ends = f"{number(self.corrupted_score)} corrupted, {number(self.clean_score)} clean"
        return f"{ends}, in {unit}" if unit else ends

    def caption(self) -> str:
        """How shares are to be read."""
        into = "clean values put into the corrupted prompt" if self.direction == "denoise" else (
            "corrupted values put into the clean prompt"
        )  # fmt: skip
        return (
            f"Each part alone, {into}: share of the way between the two scores ({self.gap()}). Below 0 it pushes the "
            "other way. Shares need not sum to 1."
        )


def reading(heads: "Sequence[str]") -> str:
    """The heads that read something, as a sentence names them: those of one kv head read the same."""
    if len(heads) < 2:
        return "".join(heads)
    return f"{', '.join(heads[:-1])} and {heads[-1]} (one kv head)"


def recipe(sweep: "Sweep") -> Recipe:
    """That of a sweep's runs, with the precision that the copies were computed in."""
    found, swept = sweep.replay.trace.recipe, sweep.replay.precision
    computed = found.dtype if swept == "float32" else f"{found.dtype}, swept in {swept}"
    return found.model_copy(update={"dtype": computed})


def part(site: Site) -> str:
    """A sender of a path in words: L2H3, MLP 2 or token embedding."""
    return {"mlp_out": f"MLP {site.layer}", "embed": "token embedding"}.get(site.name, site.label)


def most(ranked: "Sequence[tuple[str, float]]") -> str:
    """The first few of what does anything, with their shares; the largest comes first."""
    named = ", ".join(f"{label} {share(value)}" for label, value in ranked[:3] if abs(value) >= _NOTHING)
    return named or f"none as much as {share(_NOTHING)}"


def fields(
    model: "Model", sweep: "Sweep", found: "Effects", answer: tuple[int, ...], foil: tuple[int, ...]
) -> dict[str, Any]:
    """The fields of a `Patched` about one pair but for the metric's name."""
    clean, corrupted = (side[0] for side in sweep.sides)
    return {
        "recipe": recipe(sweep),
        "clean": tuple(clean.labels[0]),
        "corrupted": tuple(corrupted.labels[0]),
        "changed": sweep.changed[0],
        "answer": contrast.label(model, answer) if answer else None,
        "answer_ids": answer,
        "foil": contrast.label(model, foil) if foil else None,
        "foil_ids": foil,
        "direction": found.direction,
        "clean_score": float(found.clean[0]),
        "corrupted_score": float(found.corrupted[0]),
        "whole": sweep.replay.why_whole,
        "missing": int(found.scores.isnan().sum()),
        "likelier": _likelier(model, sweep, answer),
    }


def _likelier(model: "Model", sweep: "Sweep", answer: tuple[int, ...]) -> str | None:
    """The answer with the space that most tokens of a text begin with."""
    word = f" {contrast.label(model, answer)}"
    if len(answer) != 1 or word[1:2] in ("#", " "):
        return None
    try:
        spaced = model.single_token(word)
    except TokenError:
        return None
    clean = sweep.logits()[0][0]
    return word if clean[spaced] > clean[answer[0]] else None
