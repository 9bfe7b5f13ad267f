"""Why this token: the prediction, its depth, its exact parts, and a causal check.

One page that needs no manual: what the model expects, after which block it does so, the sum that makes the logit, and
what is left of the prediction without the parts that wrote most of it.
"""

from collections.abc import Callable
from functools import partial
from math import exp
from typing import TYPE_CHECKING, TypeVar

from fluoroscope.analyses.ablation import Ablation, ablation
from fluoroscope.analyses.logit_attribution import LogitAttribution, logit_attribution
from fluoroscope.analyses.logit_lens import LogitLens, logit_lens
from fluoroscope.analyses.next_token import NextToken, next_token
from fluoroscope.errors import UnavailableError
from fluoroscope.progress import track
from fluoroscope.render.text import number
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.views import View

if TYPE_CHECKING:
    from fluoroscope.model import Model

T = TypeVar("T")


class Explanation(Result):
    """Four answers about one prediction; each caption states what its picture shows, with the number.

    Args:
        lens, attribution: None where this model cannot give them exactly.
        check: the parts that wrote most of the logit, removed (without an attribution: attention and MLP of every
            block); None where no part can be.
        refused: why an answer is missing, one sentence each.
    """

    prediction: NextToken
    lens: LogitLens | None
    attribution: LogitAttribution | None
    check: Ablation | None
    refused: tuple[str, ...]

    def summary(self) -> str:
        return self.prediction.summary()

    def views(self) -> list[View]:
        bars, prompt = self.prediction.views()
        nats = self.prediction.entropy
        sure = f"Its uncertainty of {number(nats)} nats is that of an even choice among {exp(nats):.1f} tokens."
        pages = [prompt, _captioned(bars, " ".join([sure, *self.refused]))]
        for answer in (self.lens, self.attribution):
            if answer is not None:
                first, *others = answer.views()
                pages += [_captioned(first, answer.summary()), *others]
        if self.check is not None:
            pages.append(_captioned(self.check.views()[0], self.check.summary()))
        return pages


def explain(model: "Model", prompt: str, *, top_k: int = 8, position: int = -1) -> Explanation:
    """Explains the model's own prediction after one position of a prompt.

    Args:
        prompt: the text to continue.
        top_k: how many next tokens, and how many parts of the prediction, to list at most.
        position: index of the token after which to predict; negative counts from the end.

    Raises:
        ArgumentError: `top_k` below 1.
        TokenError: the prompt has no such position.
    """
    steps = track(("next token", "logit lens", "logit attribution", "ablation"), "explain")
    refused: list[str] = []
    next(steps)
    prediction = next_token(model, prompt, top_k=top_k, position=position)
    next(steps)
    lens = _unless_refused(partial(logit_lens, model, prompt, position=position), "lens", refused)
    next(steps)
    attribution = _unless_refused(
        partial(logit_attribution, model, prompt, position=position, top_k=top_k), "exact attribution", refused
    )
    next(steps)
    parts = _parts(model, attribution)
    check = ablation(model, prompt, sites=parts, position=position, top_k=top_k) if parts else None
    list(steps)
    return Explanation(
        recipe=prediction.recipe, prediction=prediction, lens=lens, attribution=attribution, check=check,
        refused=tuple(refused),
    )  # fmt: skip


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


def _captioned(view: View, sentence: str) -> View:
    caption = f"{sentence} {view.caption}".strip()
    return view.model_copy(update={"caption": caption})
