"""What each depth already knows of the model's answer, by a lens that was fitted to find it.

An affine map per depth stands between the residual stream and the output head (Belrose et al. 2023, "Eliciting Latent
Predictions from Transformers with the Tuned Lens"). The embedded models bring one; for others
`fluoro fit-tuned-lens` makes it.
"""

from typing import TYPE_CHECKING, ClassVar

from fluoroscope.arguments import checked
from fluoroscope.lens import Lens
from fluoroscope.lens_reading import Asked, look
from fluoroscope.methods import tuned_lens as method
from fluoroscope.methods.translators import fitted
from fluoroscope.signature import AnyPrompt, AnyToken, InputFile

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class TunedLens(Lens):
    """The tuned lens over depth and positions, shallowest depth first."""

    CAUTION: ClassVar[str] = "Fitted to the model's answers: what it reads is there, but later blocks may not use it."


@checked
def tuned_lens(
    model: "Model",
    prompt: AnyPrompt,
    *,
    lens: InputFile | None = None,
    top_k: int = 3,
    position: int | None = None,
    positions: list[int] | None = None,
    target: AnyToken | None = None,
) -> TunedLens:
    """The output head applied to every depth of the residual stream, behind the maps of a fitted tuned lens.

    The logit lens stands beside it, and the Jacobian lens where the model brings one.

    Args:
        prompt: the text to read.
        lens: the file of a fitted lens; without it the one that lies beside the weights of the model.
        top_k: how many tokens to keep for every depth and position, at most.
        position: index of the only token to look at, negative from the end; without it every position.
        positions: indices of several tokens to look at, instead of position.
        target: the token to follow, as text or id (#338), or several (" Mary| Anna"), of which one is to come; without
            it the model's own prediction at each position.

    Raises:
        ArgumentError: `top_k` below 1, position and positions, or no lens.
        ArtifactError: the lens was fitted to other weights, is unfinished, or cannot be read.
        TokenError: no such position, or `target` is not one token or a set of them.
    """
    maps = fitted(model, lens, method.KIND)
    return TunedLens(**look(model, prompt, Asked(top_k, position, positions, target), maps=maps))
