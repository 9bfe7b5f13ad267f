"""What the model would say if it stopped after each block.

The residual stream read by the model's own output head (nostalgebraist 2020, "interpreting GPT: the logit lens"). The
embedding is a row of its own, and the last row is the model's prediction. Early rows are written for later blocks, not
for the output head: read them with care.
"""

from typing import TYPE_CHECKING, ClassVar

from fluoroscope.lens import Lens, look

if TYPE_CHECKING:
    from fluoroscope.model import Model


class LogitLens(Lens):
    """The logit lens over depth and positions, shallowest depth first."""

    CAUTION: ClassVar[str] = "Early depths are written for later blocks, not for the output head."


def logit_lens(
    model: "Model", prompt: str, *, top_k: int = 3, position: int | None = None, target: str | None = None
) -> LogitLens:
    """The model's output head applied to the embedding and to the residual stream after every block.

    Args:
        prompt: the text to read.
        top_k: how many tokens to keep for every depth and position, at most.
        position: index of the only token to look at, negative from the end; without it every position.
        target: the token to follow, as text or id (#338), or several (" Mary| Anna"), of which one is to come; without
            it the model's own prediction at each position.

    Raises:
        ArgumentError: `top_k` below 1.
        TokenError: no such position, or `target` is not one token or a set of them.
    """
    return LogitLens(**look(model, prompt, top_k=top_k, position=position, target=target))
