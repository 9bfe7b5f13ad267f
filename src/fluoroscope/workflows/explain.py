"""Why this token: the prediction, its depth, its exact parts, and a causal check.

One page that needs no manual: what the model expects and its lead over the next likeliest token, from which block on it
does so, the sum that makes the lead, and what is left of it without the parts that wrote most of it. What raises every
token alike is no reason for one of them, and drops out of a lead; `bare` explains the logit by itself instead.
"""

from collections.abc import Callable
from functools import partial
from math import exp
from typing import TYPE_CHECKING, Any, TypeVar

from fluoroscope import contrasted
from fluoroscope.analyses.ablation import Ablation, ablation
from fluoroscope.analyses.logit_attribution import LogitAttribution, logit_attribution
from fluoroscope.analyses.logit_lens import LogitLens, logit_lens
from fluoroscope.analyses.next_token import NextToken, next_token
from fluoroscope.arguments import checked
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import contrast, readout
from fluoroscope.methods.contrast import Contrast
from fluoroscope.progress import track
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site
from fluoroscope.views import View

if TYPE_CHECKING:
    from fluoroscope.model import Model

T = TypeVar("T")


class Explanation(Contrasted):
    """Four answers about one prediction; each caption states what its picture shows, with the number.

    Args:
        probability: of the target, and `foil_probability` of the foil; of a set, that one of it comes.
        lead: the target's mean logit minus the foil's, behind any softcap; None without a foil.
        lens, attribution: None where this model cannot give them exactly.
        check: the parts that wrote most of the lead or logit, removed (without an attribution: attention and MLP of
            every block); None where no part can be.
        refused: why an answer is missing, one sentence each.
    """

    probability: float
    foil_probability: float | None
    lead: float | None
    prediction: NextToken
    lens: LogitLens | None
    attribution: LogitAttribution | None
    check: Ablation | None
    refused: tuple[str, ...]

    def summary(self) -> str:
        first = self.prediction.predictions[0]
        after = quoted(self.prediction.tokens[self.prediction.position])
        expected = f"After {after} the model expects {quoted(first.piece)} ({percent(first.probability)})"
        return f"{expected}{self._stands(first.id)}{self._parts()}."

    def _stands(self, likeliest: int) -> str:
        """How target and foil compare."""
        own = f"{quoted(self.target)} ({percent(self.probability)})"
        told = self.target_ids == (likeliest,)
        if self.foil is None or self.foil_probability is None or self.lead is None:
            return "" if told else f", and {own}"
        share = "" if self.foil_ids == (likeliest,) else f" ({percent(self.foil_probability)})"
        foil = f"{quoted(self.foil)}{share}"
        by = f"{number(abs(self.lead))} logits"
        if told and len(self.foil_ids) == 1:
            return f" over {foil} by {by}"
        mean = " in the mean" if max(len(self.target_ids), len(self.foil_ids)) > 1 else ""
        over = "over" if self.lead >= 0 else "under"
        return f"{', which' if told else f'; {own}'} is{mean} {by} {over} {foil}"

    def _parts(self) -> str:
        """What wrote most of it."""
        found = self.attribution
        if found is None:
            return ""
        named = [f"{part.label} {number(part.value, signed=True)}" for part in found.top()[:3]]
        verb = "are" if len(named) > 1 else "is"
        whole = "it" if self.foil else f"the {self.asked()}, {number(found.logit)},"
        if found.softcap is not None:
            whole = f"{number(found.logit)} before the softcap of {number(found.softcap)}"
        return f"; of the {len(found.parts)} parts that sum to {whole} the largest {verb} {_joined(named)}"

    def views(self) -> list[View]:
        bars, prompt = self.prediction.views()
        pages = [prompt, _captioned(bars, " ".join([_sure(self.prediction.entropy), *self.refused]))]
        for answer in (self.lens, self.attribution):
            if answer is not None:
                first, *others = answer.views()
                pages += [_captioned(first, answer.summary()), *others]
        if self.check is not None:
            pages.append(_captioned(self.check.views()[0], self.check.summary()))
        return pages


@checked
def explain(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    bare: bool = False,
    top_k: int = 8,
    position: int = -1,
) -> Explanation:
    """Explains why the model expects one token rather than another after one position of a prompt.

    Args:
        prompt: the text to continue.
        target: the token to explain, as text or id (#338), or several (" Mary| Anna"), whose mean logit then counts;
            without it the model's own prediction.
        foil: a token, or several, to hold it against; without it the likeliest other one.
        bare: whether to explain the logit by itself, held against no other.
        top_k: how many next tokens, and how many parts of the prediction, to list at most.
        position: index of the token after which to predict; negative counts from the end.

    Raises:
        ArgumentError: `top_k` below 1, a token that is in target and foil, or a foil although `bare` asks for none.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
    """
    if bare and foil is not None:
        raise ArgumentError(f"bare holds the target against nothing, and a foil is named, {foil!r}", "Leave out one.")
    steps = track(("next token", "logit lens", "logit attribution", "ablation"), "explain")
    refused: list[str] = []
    next(steps)
    prediction = next_token(model, prompt, top_k=top_k, position=position)
    about, compared = _asked(model, prompt, (target, foil), bare, position)
    given = {"target": contrast.spelled(about.target)}
    next(steps)
    lens = _unless_refused(partial(logit_lens, model, prompt, position=position, **given), "lens", refused)
    given |= {"foil": contrast.spelled(about.foil)} if about.foil else {}
    next(steps)
    attribution = _unless_refused(
        partial(logit_attribution, model, prompt, position=position, top_k=top_k, **given), "exact attribution", refused
    )
    next(steps)
    parts = _parts(model, attribution)
    against = given.get("foil")
    check = (
        ablation(model, prompt, target=given["target"], foil=against, sites=parts, position=position, top_k=top_k)
        if parts
        else None
    )
    list(steps)
    return Explanation(
        recipe=prediction.recipe, **contrasted.named(model, about), **compared,
        prediction=prediction, lens=lens, attribution=attribution, check=check, refused=tuple(refused),
    )  # fmt: skip


def _asked(
    model: "Model", prompt: str, named: tuple[AnyToken | None, AnyToken | None], bare: bool, position: int
) -> tuple[Contrast, dict[str, Any]]:
    """Target and foil, with what is not named, and how likely each is."""
    about = contrast.asked(model, *named)
    trace = model.trace(prompt)
    log_p = readout.log_probs(trace.logits[0, readout.only_slot(trace.tokens, position)].double())
    about = about.at(log_p)
    if not (bare or about.foil):
        about = about.against_likeliest(log_p)
    return about, {
        "probability": float(about.log_probability(log_p).exp()),
        "foil_probability": float(Contrast(about.foil).log_probability(log_p).exp()) if about.foil else None,
        "lead": float(about.score(log_p)) if about.foil else None,
    }


def _unless_refused(ask: Callable[[], T], name: str, refused: list[str]) -> T | None:
    """The answer, or None and the reason noted."""
    try:
        return ask()
    except UnavailableError as error:
        refused.append(f"There is no {name} here: {error.message}.")
        return None


def _parts(model: "Model", attribution: LogitAttribution | None) -> list[str]:
    """What the check removes."""
    if attribution is None:
        return [str(site) for name in ("attn_out", "mlp_out") for site in model.sites(name)]
    return [part.site for part in attribution.top() if part.site and Site.parse(part.site).kind.layered]


def _sure(nats: float) -> str:
    """An entropy in words."""
    said, tokens = f"Its uncertainty is {number(nats)} nats", exp(nats)
    if tokens < 1.05:
        return f"{said}: the model is almost certain."
    return f"{said}, as of an even choice among {tokens:.{0 if tokens >= 10 else 1}f} tokens."


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _captioned(view: View, sentence: str) -> View:
    caption = f"{sentence} {view.caption}".strip()
    return view.model_copy(update={"caption": caption})
