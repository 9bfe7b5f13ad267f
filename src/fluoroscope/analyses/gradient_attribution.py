"""How much each token of the prompt raises or lowers a logit, by gradients.

Integrated gradients (Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks") from a baseline without
content to the prompt, with the error of their sum, beside input x gradient. Unlike attention or direct attribution they
follow every path through the model; unlike an ablation they say nothing of what the model does without the token.
"""

from math import inf
from typing import TYPE_CHECKING, Literal

from fluoroscope import contrasted
from fluoroscope.arguments import checked
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import contrast, gradients, readout
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.result import Record
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.views import Column, Row, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Attribution"

_BASELINES = {"mean": "all tokens the average one", "zero": "no token embeddings at all"}
_WITHIN = 0.005


class TokenGradient(Record):
    """One token of the prompt; both numbers are in logits.

    Args:
        integrated: its share of the change from the baseline to the prompt.
        product: its embedding times the gradient at the prompt.
    """

    token: str
    integrated: float
    product: float


class GradientAttribution(Contrasted):
    """What each token adds to a logit, or to the difference of two, over the prompt without content.

    Args:
        position: index of the token after which the prediction is made.
        start: the logit at the baseline; `end` the one of the prompt.
        error: what the integrated gradients sum to beyond end - start.
        steps: points at which the gradient was taken.
    """

    position: int
    baseline: Literal["mean", "zero"]
    start: float
    end: float
    error: float
    steps: int
    tokens: tuple[TokenGradient, ...]

    def summary(self) -> str:
        first = sorted(self.tokens, key=lambda token: -abs(token.integrated))[:3]
        named = ", ".join(f"{quoted(item.token)} {number(item.integrated, signed=True)}" for item in first)
        return (
            f"{named} move the {self.asked()} most: from {number(self.start)} with {_BASELINES[self.baseline]} to "
            f"{number(self.end)}; the sum over all tokens misses the change by {_size(self.missed)}."
        )

    @property
    def missed(self) -> float:
        """The error as a share of the change; infinite where nothing changes and the tokens sum to something."""
        change = abs(self.end - self.start)
        return abs(self.error) / change if change else inf if self.error else 0.0

    def views(self) -> list[View]:
        return [
            Tokens(
                title=f"What moves the {self.asked()}",
                caption="Integrated gradients: above 0 raises it, below 0 lowers it. With a token changed, others may "
                "step in: this is no ablation.",
                unit="logits",
                signed=True,
                items=tuple(TokenMark(text=item.token, value=item.integrated) for item in self.tokens),
                marked=self.position,
            ),
            Table(
                title="Every token",
                caption="input x gradient is the slope at the prompt alone: where the two disagree, the logit bends.",
                columns=(
                    Column(name="token", token=True),
                    Column(name="integrated gradients"),
                    Column(name="input x gradient"),
                ),
                rows=tuple(Row(cells=(item.token, item.integrated, item.product)) for item in self.tokens),
            ),
        ]


def _size(missed: float) -> str:
    return percent(missed) if missed < 1 else f"{number(missed)} times its size"


@checked
def gradient_attribution(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    position: int = -1,
    baseline: Literal["mean", "zero"] = "mean",
    steps: int = 32,
    tolerance: float = 0.01,
) -> GradientAttribution:
    """Integrated gradients and input x gradient of a logit at the token embeddings; positions stay as they are.

    Args:
        prompt: the text whose next token is explained.
        target: the token to explain, as text or id (#338), or several (" Mary| Anna"), whose mean logit then counts;
            without it the model's own prediction.
        foil: a token, or several, whose logit is taken off: why the target rather than this.
        position: index of the token after which to predict; negative counts from the end.
        baseline: where the path begins: every embedding the mean of all, or none.
        steps: points of the path at first; doubled while the sum misses the change by more than 0.5 %, up to 1024.
        tolerance: the largest share of the change that the sum may miss; no gradient sees the jumps of a model whose
            experts switch on the path.

    Raises:
        ArgumentError: `steps` below 1, `tolerance` no number from 0 on, or a token that is in target and foil.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: the sum misses more, captum is not installed, or this model's tokens have no mean embedding.
    """
    if steps < 1:
        raise ArgumentError(f"steps={steps} follows no path", "Give at least 1.")
    if not tolerance >= 0:
        raise ArgumentError(f"tolerance={tolerance} is no share of the change", "Give 0 or more; 0.01 is 1 %.")
    asked = contrast.asked(model, target, foil)
    trace = model.trace(prompt)
    slot = readout.only_slot(trace.tokens, position)
    asked, ids = asked.at(trace.logits[0, slot]), trace.tokens.ids[0]
    found = gradients.integrated(model, ids, slot, asked.score, baseline, steps, _WITHIN)
    products = gradients.input_times_gradient(model, ids, slot, asked.score)
    rows = zip(trace.tokens.labels[0], found.by_token.tolist(), products.tolist(), strict=True)
    result = GradientAttribution(
        recipe=trace.recipe,
        **contrasted.named(model, asked),
        position=slot,
        baseline=baseline,
        start=found.start,
        end=found.end,
        error=found.error,
        steps=found.steps,
        tokens=tuple(TokenGradient(token=piece, integrated=own, product=product) for piece, own, product in rows),
    )
    if not result.missed <= tolerance:
        raise UnavailableError(
            f"{found.steps} gradients on the path from the baseline miss the change by {_size(result.missed)}: "
            f"the {result.asked()} jumps on its way, as it does where experts switch",
            "Pass a larger tolerance to see them all the same; compare_prompts says what another token there does.",
        )
    return result
