"""What the model would say if it stopped after each block.

The residual stream read by the model's own output head (nostalgebraist 2020, "interpreting GPT: the logit lens"). The
embedding is a row of its own, and the last row is the model's prediction. Early rows are written for later blocks, not
for the output head: read them with care.
"""

from typing import TYPE_CHECKING, ClassVar

from fluoroscope.arguments import checked
from fluoroscope.lens import Lens
from fluoroscope.lens_reading import Asked, look
from fluoroscope.signature import AnyPrompt, AnyToken

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class LogitLens(Lens):
    """The logit lens over depth and positions, shallowest depth first."""

    CAUTION: ClassVar[str] = "Early depths are written for later blocks, not for the output head."


@checked
def logit_lens(
    model: "Model",
    prompt: AnyPrompt,
    *,
    top_k: int = 3,
    position: int | None = None,
    positions: list[int] | None = None,
    sites: list[str] | None = None,
    target: AnyToken | None = None,
) -> LogitLens:
    """The model's output head applied to the embedding and to the stream after every block, or to any other value.

    Args:
        prompt: the text to read.
        top_k: how many tokens to keep for every depth and position, at most.
        position: index of the only token to look at, negative from the end; without it every position.
        positions: indices of several tokens to look at, instead of position.
        sites: what to read instead of every depth: streams (resid_mid.3), what is added to them (attn_out.*, mlp_out.3)
            or heads (L3H1, what it writes).
        target: the token to follow, as text or id (#338), or several (" Mary| Anna"), of which one is to come; without
            it the model's own prediction at each position.

    Raises:
        ArgumentError: `top_k` below 1, position and positions, or a site that holds no vector of the stream.
        SiteError, UnavailableError: the model has no such site, or cannot give it.
        TokenError: no such position, or `target` is not one token or a set of them.
    """
    return LogitLens(**look(model, prompt, Asked(top_k, position, positions, target), sites=sites))
