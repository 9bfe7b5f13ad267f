"""Fits a Jacobian lens on a text: the averaged Jacobian from each depth to the end.

It carries a stream to the end as the model itself does, to first order and on average, and learns nothing from the
prediction: what it reads, the model computes. It costs one backward pass per entry of the stream and batch of rows.
"""

from typing import TYPE_CHECKING, Literal

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.lens_fit import FitDepth, LensFit, check_file
from fluoroscope.methods import corpus, jacobian_lens
from fluoroscope.methods.translators import judge, provenance
from fluoroscope.signature import InputFile, OutputFile

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class JacobianLensFit(LensFit):
    """A Jacobian lens and how far it is from the model's own prediction."""


@checked
def fit_jacobian_lens(
    model: "Model",
    text: InputFile,
    *,
    file: OutputFile,
    rows: int = 64,
    reach: Literal["same", "later"] = "same",
    context: int | None = None,
    seed: int = 0,
) -> JacobianLensFit:
    """Averages ∂ final stream / ∂ stream over tokens of a text, at every depth.

    Args:
        text: path of a text file in UTF-8; blank lines separate its paragraphs.
        file: the file to write, .safetensors.
        rows: how many paragraphs to average over, at most.
        reach: what a token does to the end of its own column, or to its own and every later one.
        context: the most tokens of a passage; as many as the model reads, at most 256, if not given.
        seed: of the choice of paragraphs, and of their tokens.

    Raises:
        ArgumentError: `rows` below 2, a text that cannot be read or is one passage, a file of another kind.
    """
    if rows < 2:
        raise ArgumentError(f"rows={rows} is no average", "Give at least 2.")
    path = check_file(file)
    source = corpus.load(model, text, context)
    fitted_to, held_out = source.split()
    chosen = corpus.shuffled(fitted_to, seed, 0, min(rows, len(fitted_to)))
    meta = provenance(model, source.digest, chosen, seed) | {"context": context, "rows": rows}
    lens, stability = jacobian_lens.fit(model, chosen, meta, reach, seed)
    lens.save(path)
    judged = zip(judge(model, lens, held_out), stability, strict=True)
    return JacobianLensFit(
        recipe=model.recipe(seed=seed),
        kind=jacobian_lens.KIND,
        file=file,
        tokens=sum(map(len, chosen)),
        held_out=sum(map(len, held_out)),
        depths=tuple(FitDepth(**vars(item), stability=cosine) for item, cosine in judged),
    )
