"""Where a fact about a subject passes: noise on the subject, clean values restored.

The subject's embeddings get Gaussian noise, so that the answer is lost; then the clean run's value of one block at one
token is put back, and what comes back of the answer is its indirect effect. All of it is one sweep over noisy runs.
Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (which restores windows of ten MLPs or attentions).
"""

from typing import TYPE_CHECKING, Any, Literal

import torch

from fluoroscope import metrics
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import contrast, readout, sweeps, tracing
from fluoroscope.patched import UNITS
from fluoroscope.render.text import counted, number, percent, quoted
from fluoroscope.result import Result
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site
from fluoroscope.views import Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

_MOST = 1000

_SAID = {"resid_post": "stream leaving block", "attn_out": "attention of block", "mlp_out": "MLP of block"}


Grid = tuple[tuple[float | None, ...], ...]


class CausalTracing(Result):
    """What every restored value brings back.

    Args:
        tokens: the prompt.
        subject: first and one past the last token that got noise.
        answer: what is measured, as a parameter names it.
        site: what was restored, `window` blocks of it around the one named.
        std: standard deviation of the noise.
        samples: how many draws of it; seeds count up from `seed`.
        clean: the metric of the prompt as it is; `corrupted` with noise, the mean over draws.
        layers: the blocks.
        effects: mean over draws of the metric with the value restored less that without, `[layer][token]`; None where
            a cancelled run had not come to all draws.
        errors: standard errors of these means, likewise; 0 for a single draw.
        whole: why every copy ran whole; None where only what differs was computed again.
        missing: how many effects a cancelled run had not come to.
    """

    tokens: tuple[str, ...]
    subject: tuple[int, int]
    answer: str
    answer_ids: tuple[int, ...]
    site: Literal["resid_post", "attn_out", "mlp_out"]
    window: int
    metric: Literal["probability", "log_probability", "logit"]
    std: float
    samples: int
    seed: int
    clean: float
    corrupted: float
    layers: tuple[int, ...]
    effects: Grid
    errors: Grid
    whole: str | None
    missing: int = 0

    def cells(self) -> list[tuple[int, int, float]]:
        """Layer, token and effect of every cell, the largest first."""
        rows = zip(self.layers, self.effects, strict=True)
        found = [(layer, place, value) for layer, row in rows for place, value in enumerate(row) if value is not None]
        return sorted(found, key=lambda cell: -cell[2])

    def summary(self) -> str:
        named = "".join(self.tokens[slice(*self.subject)])
        partial = f"Partial, {counted(self.missing, 'effect')} not measured. " if self.missing else ""
        lost = f"{partial}Noise on {quoted(named)} takes {self._what()} from {self._size(self.clean)} to "
        layer, place, value = self.cells()[0]
        error = self.errors[self.layers.index(layer)][place]
        back = f"the {_SAID[self.site]} {layer} at {self._token(place)}, restored alone, brings back "
        ties = sum(each >= value for _, _, each in self.cells()) > 1
        most = "; no other that was measured does more" if ties or self.missing else ", more than any other"
        told = f"{self._size(value)} ± {self._size(error or 0.0)}{most}"
        return f"{lost}{self._size(self.corrupted)}; {back}{told}."

    def views(self) -> list[View]:
        around = f" and its neighbours, {self.window} blocks in all," if self.window > 1 else ""
        unit = UNITS[self.metric]
        return [
            Heatmap(
                title=f"What restoring brings back of {self._what()}",
                caption=f"A row restores the clean {_SAID[self.site]} of that number{around} at one token; mean over "
                f"{self.samples} draws of noise of standard deviation {number(self.std)} on the marked tokens.",
                unit=f"{self.metric.replace('_', '-')}, {unit}" if unit else self.metric,
                signed=True,
                rows=tuple(Mark(label=f"{self.site}.{layer}", site=f"{self.site}.{layer}") for layer in self.layers),
                columns=tuple(Mark(label=self._token(place)) for place in range(len(self.tokens))),
                values=self.effects,
            )
        ]

    def _what(self) -> str:
        return f"the {self.metric.replace('_', '-')} of {quoted(self.answer)}"

    def _size(self, value: float) -> str:
        return percent(value) if self.metric == "probability" and 0 <= value <= 1 else number(value)

    def _token(self, place: int) -> str:
        mark = "*" if self.subject[0] <= place < self.subject[1] else ""
        return f"{quoted(self.tokens[place])}{mark} {place}"


@checked
def causal_tracing(
    model: "Model",
    prompt: AnyPrompt,
    subject: str,
    *,
    answer: AnyToken | None = None,
    site: Literal["resid_post", "attn_out", "mlp_out"] = "resid_post",
    window: int = 1,
    metric: Literal["probability", "log_probability", "logit"] = "probability",
    strength: float = 3.0,
    samples: int = 10,
    seed: int = 0,
    budget: int = 1024,
) -> CausalTracing:
    """Restores clean values one at a time while the subject's tokens are noise.

    Args:
        prompt: the text whose answer depends on the subject.
        subject: the part of it that gets noise, as it stands there.
        answer: the token to measure, as text or id (#338), or several; without it the model's own prediction.
        site: what is restored: the whole stream, or what attention or the MLP adds.
        window: how many blocks around each are restored together; the paper takes 10 of attention and MLP.
        metric: what is measured at the end of the prompt.
        strength: the noise, in standard deviations of the prompt's token embeddings.
        samples: how many draws of noise are averaged.
        seed: of the first draw.
        budget: megabytes that the sweep may hold beside the model and the noisy runs.

    Raises:
        ArgumentError: the subject is not in the prompt, or nothing is drawn, restored or disturbed.
        TokenError: the answer is not one token or a set of them.
        UnavailableError: this model has no such values.
    """
    sites = _sites(model, site, samples, window, strength)
    plain = model.trace(prompt, sites=["embed"])
    readout.only_slot(plain.tokens, -1)
    ids, span = plain.tokens.rows[0], plain.tokens.span(subject)
    asked = contrast.asked(model, answer, None).at(plain.logits[0, -1])
    std = strength * float(plain["embed"].double().std())
    measured = metrics.make(metric, answer=[list(asked.target)])
    noisy = tracing.Noise(std, seed, samples)
    about: dict[str, Any] = {
        "tokens": tuple(plain.tokens.labels[0]), "subject": (span.start, span.stop), "site": site, "window": window,
        "answer": contrast.label(model, asked.target), "answer_ids": asked.target, "metric": metric, "std": std,
        "samples": samples, "seed": seed, "layers": tuple(each.layer or 0 for each in sites),
    }  # fmt: skip

    def result(found: tracing.Traced) -> CausalTracing:
        recipe = found.recipe.model_copy(update={"seed": seed, "tokens": (tuple(ids),)})
        return CausalTracing(recipe=recipe, **about, **_numbers(found))

    def measure() -> tracing.Traced:
        return tracing.traced(model, ids, span, sites, window, noisy, measured, budget << 20)

    return sweeps.told(measure, result)


def _numbers(found: tracing.Traced) -> dict[str, Any]:
    effects = found.effects.mean(-1)
    return {
        "clean": found.clean,
        "corrupted": float(found.corrupted.mean()),
        "effects": _grid(effects),
        "errors": _grid(found.errors.masked_fill(effects.isnan(), torch.nan)),
        "whole": found.whole,
        "missing": int(effects.isnan().sum()),
    }


def _grid(values: torch.Tensor) -> Grid:
    return tuple(tuple(map(finite, row)) for row in values.tolist())


def _sites(model: "Model", site: str, samples: int, window: int, strength: float) -> list[Site]:
    """What is restored, where there is anything to restore."""
    if samples < 1 or window < 1 or not strength > 0:
        raise ArgumentError(
            f"samples={samples}, window={window}, strength={strength} trace nothing",
            "All are above 0; 10, 1 and 3, say.",
        )
    if samples > _MOST:
        raise ArgumentError(
            f"samples={samples:,} are more draws than the {_MOST:,} that are made at most",
            "A mean over 100 is exact to a tenth of their spread.",
        )
    sites = model.sites(site)
    if not sites:
        raise UnavailableError(f"{model.name} offers {site} on no block", f"{model.unavailable.get((site, 0), '')}")
    return sites
