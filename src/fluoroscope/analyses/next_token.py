"""What the model expects next, and how sure it is."""

from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.render import text
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result, number
from fluoroscope.signature import AnyPrompt
from fluoroscope.views import Bar, Bars, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class Prediction(Record):
    """A token that may come next; `log_prob` is in nats, and both it and `logit` are None for an impossible token."""

    id: int
    piece: str
    logit: float | None
    probability: float
    log_prob: float | None


class NextToken(Result):
    """The likeliest next tokens at one position, likeliest first.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token after which the prediction is made.
        entropy: uncertainty over the whole vocabulary, in nats.
    """

    tokens: tuple[str, ...]
    position: int
    predictions: tuple[Prediction, ...]
    entropy: float

    def summary(self) -> str:
        first, *others = self.predictions
        then = f", then {quoted(others[0].piece)} ({percent(others[0].probability)})" if others else ""
        return (
            f"After {quoted(self.tokens[self.position])} the model expects {quoted(first.piece)} "
            f"({percent(first.probability)}){then}; its uncertainty is {text.number(self.entropy)} nats."
        )

    def views(self) -> list[View]:
        bars = tuple(
            Bar(label=item.piece, token=True, value=item.probability, remark=_remark(item), site="logits")
            for item in self.predictions
        )
        covered = sum(item.probability for item in self.predictions)
        listed = "likeliest token is" if len(bars) == 1 else f"{len(bars)} likeliest tokens are"
        caption = f"The {listed} listed; together they have {percent(min(1.0, covered))} of the probability."
        marks = tuple(TokenMark(text=piece, id=token) for piece, token in zip(self.tokens, self._ids(), strict=True))
        return [
            Bars(title="Next token", caption=caption, unit="probability", items=bars),
            Tokens(title="Prompt", caption="The prediction is made after the marked token.", items=marks,
                   marked=self.position),
        ]  # fmt: skip

    def _ids(self) -> tuple[int, ...]:
        return self.recipe.tokens[0]


@checked
def next_token(model: "Model", prompt: AnyPrompt, *, top_k: int = 10, position: int = -1) -> NextToken:
    """The tokens that the model finds likeliest after one position of a prompt.

    Args:
        prompt: the text to continue.
        top_k: how many tokens to list, at most.
        position: index of the token after which to predict; negative counts from the end.

    Raises:
        ArgumentError: `top_k` below 1.
        TokenError: the prompt has no such position.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    trace = model.trace(prompt)
    slot = readout.only_slot(trace.tokens, position)
    logits = trace.logits[0, slot]
    log_p = readout.log_probs(logits)
    best = log_p.topk(min(top_k, len(log_p)))
    predictions = tuple(
        Prediction(
            id=token,
            piece=model.token_label(token),
            logit=number(float(logits[token])),
            probability=float(log_p[token].exp()),
            log_prob=number(float(log_p[token])),
        )
        for token in best.indices.tolist()
    )
    return NextToken(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        position=slot,
        predictions=predictions,
        entropy=float(readout.entropy(log_p)),
    )


def _remark(item: Prediction) -> str:
    return f"id {item.id}" + ("" if item.logit is None else f" · logit {item.logit:.2f}")
