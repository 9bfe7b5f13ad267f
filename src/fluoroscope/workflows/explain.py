"""Why this token: the prediction, its depth, its exact parts, and a causal check.

One page that needs no manual: what the model expects, after which block it does so, the sum that makes the logit, and
what is left of the prediction without the parts that wrote most of it.
"""

from math import exp
from typing import TYPE_CHECKING

from fluoroscope.analyses.ablation import Ablation, ablation
from fluoroscope.analyses.logit_attribution import LogitAttribution, logit_attribution
from fluoroscope.analyses.logit_lens import LogitLens, logit_lens
from fluoroscope.analyses.next_token import NextToken, next_token
from fluoroscope.progress import track
from fluoroscope.render.text import number
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.views import View

if TYPE_CHECKING:
    from fluoroscope.model import Model


class Explanation(Result):
    """Four answers about one prediction; each caption states what its picture shows, with the number.

    Args:
        check: the heads and MLPs that wrote most of the logit, removed; None if no part of it can be.
    """

    prediction: NextToken
    lens: LogitLens
    attribution: LogitAttribution
    check: Ablation | None

    def summary(self) -> str:
        return self.prediction.summary()

    def sentences(self) -> tuple[str, str, str]:
        """What the prediction, the lens and the attribution say, in this order."""
        nats = self.prediction.entropy
        sure = f"Its uncertainty of {number(nats)} nats is that of an even choice among {exp(nats):.1f} tokens."
        return sure, self.lens.summary(), self.attribution.summary()

    def views(self) -> list[View]:
        bars, prompt = self.prediction.views()
        sure, depth, parts = self.sentences()
        line, guesses = self.lens.views()
        first, *others = self.attribution.views()
        return [
            prompt,
            _captioned(bars, sure),
            _captioned(line, depth),
            guesses,
            _captioned(first, parts),
            *others,
            *([] if self.check is None else [_captioned(self.check.views()[0], self.check.summary())]),
        ]


def explain(model: "Model", prompt: str, *, top_k: int = 8, position: int = -1) -> Explanation:
    """Explains the model's own prediction after one position of a prompt.

    Args:
        prompt: the text to continue.
        top_k: how many next tokens, and how many parts of the prediction, to list at most.
        position: index of the token after which to predict; negative counts from the end.

    Raises:
        ArgumentError: `top_k` below 1.
        TokenError: the prompt has no such position.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    steps = track(("next token", "logit lens", "logit attribution", "ablation"), "explain")
    next(steps)
    prediction = next_token(model, prompt, top_k=top_k, position=position)
    next(steps)
    lens = logit_lens(model, prompt, position=position)
    next(steps)
    attribution = logit_attribution(model, prompt, position=position, top_k=top_k)
    next(steps)
    removed = [
        part.site for part in attribution.top() if part.site is not None and Site.parse(part.site).layer is not None
    ]
    check = ablation(model, prompt, sites=removed, position=position, top_k=top_k) if removed else None
    list(steps)
    return Explanation(recipe=prediction.recipe, prediction=prediction, lens=lens, attribution=attribution, check=check)


def _captioned(view: View, sentence: str) -> View:
    caption = f"{sentence} {view.caption}".strip()
    return view.model_copy(update={"caption": caption})
