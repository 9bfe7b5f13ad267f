"""What one forward pass left behind: the values that were asked for, the logits, the tokens, the recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import aliases
from fluoroscope.errors import ArgumentError, ArtifactError, SiteError, TokenError, UnavailableError
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.result import Recipe

Metric = Literal["cosine", "l2", "l1"]
Span = str | tuple[int, int] | slice
Reduction = Literal["mean", "max", "last", "all"]


def resolve_alone(name: str | Site) -> Site:
    """The site of a spelling without a model, as in a trace read from a file.

    Raises:
        SiteError: no site, or a spelling that means it on some models only, such as a module path.
    """
    site, claim = aliases.resolve_claim(name)
    if claim != aliases.Claim():
        raise SiteError(f"{name!r} is '{site}' on some models only, and this trace has none to ask", f"Write '{site}'.")
    return site


def compared(
    mine: Float[Tensor, "... d_model"], theirs: Float[Tensor, "... d_model"], metric: Metric = "cosine"
) -> Float[Tensor, "..."]:
    """Vectors held against each other in float64: cosine is a similarity, l1 and l2 are distances."""
    mine, theirs = mine.double(), theirs.double()
    match metric:
        case "cosine":
            return torch.nn.functional.cosine_similarity(mine, theirs, dim=-1)
        case "l2":
            return (mine - theirs).norm(dim=-1)
        case "l1":
            return (mine - theirs).abs().sum(-1)
        case _:
            raise ArgumentError(f"unknown metric {metric!r}", "Known: cosine, l2, l1.")


def described(values: Float[Tensor, "sample ..."]) -> dict[str, float]:
    """Mean, standard deviation, minimum, maximum over all numbers, and the mean L2 norm over samples."""
    wide = values.detach().double()
    return {
        "mean": float(wide.mean()),
        "std": float(wide.std(correction=0)),
        "min": float(wide.min()),
        "max": float(wide.max()),
        "norm": float(wide.flatten(1).norm(dim=1).mean()) if wide.dim() > 1 else float(wide.abs().mean()),
    }


@dataclass(frozen=True)
class Trace:
    """Values of one forward pass, by site.

    Attributes:
        tokens: what went in.
        values: whole site -> value, with the axes its kind states. Views of the pass's own tensors: no copy is made.
            The logits are among them, unless the trace did without.
        recipe: all that the values depend on.
    """

    tokens: Tokens
    values: Mapping[Site, Tensor]
    recipe: "Recipe"
    resolve: Callable[[str | Site], Site] = resolve_alone

    def __getitem__(self, name: str | Site) -> Tensor:
        """The value of a site in any spelling; a unit selects its slice.

        Raises:
            SiteError: unknown site, or one that this trace did not keep.
        """
        site = self.resolve(name)
        if site.whole not in self.values:
            kept = ", ".join(map(str, self.sites)) or "nothing but the logits"
            raise SiteError(f"this trace did not keep {site.whole}", f"It kept {kept}. Ask for it in sites=[…].")
        value = self.values[site.whole]
        axis = site.kind.unit_axis
        if site.unit is None or axis is None:
            return value
        if site.unit >= value.shape[axis]:
            count = value.shape[axis]
            raise SiteError(f"{site} is beyond the last {site.kind.unit} of {count}", f"They run 0..{count - 1}.")
        return value.select(axis, site.unit)

    def __contains__(self, name: str | Site) -> bool:
        try:
            site = self.resolve(name)
        except (SiteError, UnavailableError):
            return False
        return site.whole in self.values

    @property
    def logits(self) -> Float[Tensor, "batch pos d_vocab"]:
        """[batch, pos, d_vocab], after any scale and softcap; SiteError where the trace did without."""
        return self[Site("logits")]

    @property
    def sites(self) -> list[Site]:
        """The whole sites it kept, in the order of computation; the logits are not among them."""
        return sorted(site for site in self.values if site != Site("logits"))

    def stack(self, name: str) -> Float[Tensor, "layer ..."]:
        """All kept layers of one kind of site, stacked in order."""
        layers = [site for site in self.sites if site.name == name]
        if not layers:
            raise SiteError(f"this trace kept no {name!r}", f"Ask for sites=['{name}.*'].")
        return torch.stack([self.values[site] for site in layers])

    def mean(self, name: str | Site) -> Tensor:
        """Mean of a site over batch rows and real positions, padding left out: the value for `mean_ablate`.

        Where an axis stands before the positions, as heads do in `q`, positions stay as an axis of size 1, so that
        the mean always broadcasts to the value.
        """
        value = self.positions_first(name)
        mean = value[self.tokens.mask.to(value.device)].mean(0)
        axis = self._position_axis(name)
        return mean if axis == 1 else mean.unsqueeze(axis - 1)

    def positions_first(self, name: str | Site) -> Float[Tensor, "batch pos ..."]:
        """The value with its position axis moved next to the batch."""
        return self[name].movedim(self._position_axis(name), 1)

    def _position_axis(self, name: str | Site) -> int:
        """Where the positions are in `self[name]`, which lacks the axis of a selected unit."""
        site = self.resolve(name)
        axis, unit_axis = site.kind.position_axis, site.kind.unit_axis
        return axis - 1 if site.unit is not None and unit_axis is not None and unit_axis < axis else axis

    def span(self, name: str | Site, where: Span, reduce: Reduction = "mean", row: int = 0) -> Tensor:
        """A site over a span of one row's tokens: their mean, their maximum, the last of them, or all.

        Args:
            where: a text that the row holds once, its characters (start, end), or a slice of token indices.

        Raises:
            TokenError: no such span, or it holds no token.
        """
        chosen = where if isinstance(where, slice) else self.tokens.span(where, row)
        slots = self.tokens.slots(row, chosen)
        if not slots:
            raise TokenError(f"{where} holds no token of row {row}")
        value = self.positions_first(name)[row, slots]
        match reduce:
            case "mean":
                return value.mean(0)
            case "max":
                return value.amax(0)
            case "last":
                return value[-1]
            case "all":
                return value
            case _:
                raise ArgumentError(f"unknown reduction {reduce!r}", "Known: mean, max, last, all.")

    def statistics(self, name: str | Site, position: int | None = None) -> dict[str, Any]:
        """Mean, standard deviation, minimum, maximum and mean L2 norm over real positions, or at one of them.

        The first position is often an attention sink of huge norm; `position` looks at one position alone.
        """
        value = self.positions_first(name)
        if position is None:
            chosen = value[self.tokens.mask.to(value.device)]
        else:
            slots = [self.tokens.slots(row, [position])[0] for row in range(value.shape[0])]
            chosen = value[torch.arange(value.shape[0]), torch.tensor(slots)]
        return {**described(chosen), "shape": list(value.shape)}

    def compare(self, other: "Trace", name: str | Site, metric: Metric = "cosine") -> Float[Tensor, "batch pos"]:
        """Two traces at one site, per row and position: cosine is a similarity, l1 and l2 are distances.

        Padding has no value and reads NaN.

        Raises:
            ArgumentError: values or padding differ in shape; prompts of unequal length have no common positions.
        """
        mine, theirs = (trace.positions_first(name).detach() for trace in (self, other))
        theirs, mask = theirs.to(mine.device), self.tokens.mask.to(mine.device)
        if mine.shape != theirs.shape or not torch.equal(mask, other.tokens.mask.to(mine.device)):
            raise ArgumentError(
                f"{name} has shape {list(mine.shape)} in one trace and {list(theirs.shape)} in the other, "
                f"over rows of {self.tokens.lengths.tolist()} and {other.tokens.lengths.tolist()} tokens",
                "Compare prompts of equal token length, padded on the same side.",
            )
        mine, theirs = (value.reshape(*value.shape[:2], -1) for value in (mine, theirs))
        return compared(mine, theirs, metric).masked_fill(~mask, torch.nan)

    def to(self, device: torch.device | str) -> "Trace":
        """The same trace on another device, detached: frees the memory of the one it came from."""
        values = {site: value.detach().to(device) for site, value in self.values.items()}
        return replace(self, tokens=self.tokens.to(device), values=values)

    def save(self, path: str | Path, *, allow_pickle: bool = False) -> Path:
        """Writes the trace; the suffix chooses the format, and `load` reads all but .json back.

        Args:
            path: .safetensors (exact, checksummed), .npz (numpy arrays), .pt (torch tensors), .json (recipe,
                shapes and statistics, no tensors), .pkl.
            allow_pickle: needed for .pkl, which runs code when it is opened.
        """
        from fluoroscope import trace_files

        return trace_files.save(self, Path(path), allow_pickle=allow_pickle)

    @classmethod
    def load(cls, path: str | Path, *, tokenizer: Any = None, allow_pickle: bool = False) -> "Trace":
        """Reads a trace that `save` wrote.

        Args:
            tokenizer: gives the tokens their text again; the file holds their ids.

        Raises:
            ArtifactError: damaged, foreign or of a newer version; or a pickle without `allow_pickle`.
        """
        from fluoroscope import trace_files

        if not Path(path).exists():
            raise ArtifactError(f"there is no file {str(path)!r}")
        return trace_files.load(Path(path), tokenizer=tokenizer, allow_pickle=allow_pickle)
