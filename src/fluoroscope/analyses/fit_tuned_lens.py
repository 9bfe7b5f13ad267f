"""Fits a tuned lens on a text: one affine map per depth, kept in a file.

Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens". It starts as the logit lens
and learns to say at every depth what the model says at the end. A tenth of the rows is held out to judge it. Stopped,
it goes on from its file.
"""

from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.lens_fit import FitDepth, LensFit, check_file
from fluoroscope.methods import corpus, tuned_lens
from fluoroscope.methods.translators import judge, provenance
from fluoroscope.signature import InputFile, OutputFile

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class TunedLensFit(LensFit):
    """A tuned lens and how far it is from the model's own prediction."""


@checked
def fit_tuned_lens(
    model: "Model",
    text: InputFile,
    *,
    file: OutputFile,
    steps: int = 250,
    rows: int = 16,
    rate: float = 1.0,
    context: int | None = None,
    seed: int = 0,
) -> TunedLensFit:
    """Minimises KL(final ‖ lens) at every depth by SGD with momentum.

    Args:
        text: path of a text file in UTF-8; blank lines separate its paragraphs.
        file: the file to write, .safetensors; an unfinished fit of the same text and settings goes on.
        steps: how often to adjust the maps.
        rows: how many paragraphs each step sees.
        rate: the first learning rate, falling to zero.
        context: the most tokens of a passage; as many as the model reads, at most 256, if not given.
        seed: of the order of the paragraphs.

    Raises:
        ArgumentError: a setting of 0 or less, a text that cannot be read or is one passage, a file of another kind.
        ArtifactError: the file holds another lens.
        UnavailableError: the rate was too high for finite numbers.
    """
    for name, value in (("steps", steps), ("rows", rows), ("rate", rate)):
        if value <= 0:
            raise ArgumentError(f"{name}={value} fits nothing", "Give a number above 0.")
    source = corpus.load(model, text, context)
    fitted_to, held_out = source.split()
    meta = provenance(model, source.digest, fitted_to, seed) | {"context": context}
    settings = tuned_lens.Settings(steps, rows, rate, seed)
    lens, losses = tuned_lens.fit(model, fitted_to, meta, settings, check_file(file))
    return TunedLensFit(
        recipe=model.recipe(seed=seed),
        kind=tuned_lens.KIND,
        file=file,
        tokens=sum(map(len, fitted_to)),
        held_out=sum(map(len, held_out)),
        depths=tuple(FitDepth(**vars(item)) for item in judge(model, lens, held_out)),
        losses=tuple(map(tuple, losses)),
    )
