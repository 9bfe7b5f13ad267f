"""What one position already says about the tokens further ahead, at every depth.

Linear maps to the final streams of later positions (Pal et al. 2023, "Future Lens"), beside what the model really goes
on to say. `fluoro fit-future-lens` makes one.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.arguments import checked
from fluoroscope.generation import generate
from fluoroscope.methods import future_lens as method
from fluoroscope.methods import readout
from fluoroscope.methods.translators import depth_sites, fitted
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt, InputFile
from fluoroscope.views import Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class Foreseen(Record):
    """The likeliest token of a depth for one distance.

    Args:
        probability: what the depth gives to it.
        actual: the probability that the depth gives to the token which the model really says there.
    """

    id: int
    piece: str
    probability: float
    actual: float


class FutureLens(Result):
    """What a position foresees: `depths[depth][distance]`.

    Args:
        position: index of the position that is read.
        token: the token there.
        continuation: what the model says next, greedily; where the prompt goes on, the prompt's own tokens.
        given: how many tokens of the continuation are the prompt's.
        sites: the residual stream of every depth.
    """

    position: int
    token: str
    continuation: tuple[str, ...]
    given: int
    sites: tuple[str, ...]
    depths: tuple[tuple[Foreseen, ...], ...]

    def summary(self) -> str:
        best = [
            max((row[n] for row in self.depths), key=lambda cell: cell.actual) for n in range(len(self.continuation))
        ]
        told = ", ".join(
            f"+{n + 1} {quoted(piece)} {percent(cell.actual)}"
            for n, (piece, cell) in enumerate(zip(self.continuation, best, strict=True))
        )
        return f"After {quoted(self.token)} the best depth gives what really follows: {told}."

    def views(self) -> list[View]:
        ticks = ["embedding" if site == "resid_pre.0" else f"block {site.rpartition('.')[2]}" for site in self.sites]
        return [
            Heatmap(
                title="What each depth foresees",
                caption="The likeliest token and its probability; the columns are what really follows. A linear map "
                "finds what is there on average, so a miss does not prove that nothing is.",
                unit="probability",
                maximum=1.0,
                rows=tuple(Mark(label=tick, site=site) for tick, site in zip(ticks, self.sites, strict=True)),
                columns=tuple(Mark(label=piece, token=True) for piece in self.continuation),
                values=tuple(tuple(cell.probability for cell in row) for row in self.depths),
                tokens=tuple(tuple(cell.piece for cell in row) for row in self.depths),
            )
        ]


@checked
@torch.no_grad()
def future_lens(model: "Model", prompt: AnyPrompt, *, lens: InputFile | None = None, position: int = -1) -> FutureLens:
    """Reads every depth at one position for the next token and those behind it.

    Args:
        prompt: the text to read.
        lens: the file of a fitted lens; without it the one that lies beside the weights of the model.
        position: index of the token to read at; negative counts from the end.

    Raises:
        ArgumentError: no lens.
        ArtifactError: the lens was fitted to other weights or cannot be read.
        TokenError: no such position, or the model's context ends before the last token that the lens foresees.
    """
    maps = fitted(model, lens, method.KIND)
    sites, ahead = depth_sites(model.n_layers), len(maps.weight)
    trace = model.trace(prompt, sites=sites, logits=False)
    slot = readout.only_slot(trace.tokens, position)
    given = trace.tokens.ids[0, slot + 1 :].tolist()[:ahead]
    follows = given
    if len(given) < ahead:
        follows = given + generate(model, prompt, max_new_tokens=ahead - len(given), stop_tokens=[]).ids[0]
    depths: list[tuple[Foreseen, ...]] = []
    for depth, site in enumerate(sites):
        stream = trace[site][0, slot]
        moved = [method.apply(maps.weight[n, depth], maps.bias[n, depth], stream) for n in range(len(follows))]
        p = [readout.log_probs(model.unembed(item)).exp() for item in moved]
        depths.append(tuple(_foreseen(model, row, token) for row, token in zip(p, follows, strict=True)))
    return FutureLens(
        recipe=trace.recipe,
        position=slot,
        token=trace.tokens.labels[0][slot],
        continuation=tuple(map(model.token_label, follows)),
        given=len(given),
        sites=tuple(sites),
        depths=tuple(depths),
    )


def _foreseen(model: "Model", p: Float[Tensor, "d_vocab"], follows: int) -> Foreseen:
    best = int(p.argmax())
    return Foreseen(id=best, piece=model.token_label(best), probability=float(p[best]), actual=float(p[follows]))
