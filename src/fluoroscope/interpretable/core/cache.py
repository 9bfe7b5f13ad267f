"""Activations by name: of a trace by any spelling of a site, and those that were collected under given names."""

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fluoroscope.errors import FluoroscopeError, SiteError, nearest
from fluoroscope.interpretable.refusals import MissingError
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope import trace
    from fluoroscope.model import Model


class Activations(Mapping[str, Tensor]):
    """All that a pass kept, by module path where a value is a module's output, else by its site.

    Any other spelling of a site finds it as well: `model.model.layers.3.self_attn`, `layers.3.self_attn`, `attn_out.3`.

    Raises:
        MissingError: a name of no site, or of one that was not kept.
    """

    def __init__(self, model: "Model", found: "trace.Trace") -> None:
        self._model, self._trace = model, found
        self._names = {name_of(model, site): site for site in [*found.sites, Site("logits")]}

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._trace[self._model.site(name)]
        except FluoroscopeError as error:
            hint = error.hint or (nearest(name, self._names) if isinstance(error, SiteError) else "")
            raise MissingError(error.message, hint) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Activations({len(self)} values, such as {', '.join(list(self)[:3])})"

    def key(self, site: Site) -> str:
        """The name of a site that was kept.

        Raises:
            MissingError: it was not.
        """
        name = name_of(self._model, site)
        if name not in self._names:
            raise MissingError(f"this trace did not keep {site}", "Trace without sites=…, or name it there.")
        return name

    def component(self, name: str, layer: int) -> str:
        """The name of a part of a block: resid_post, resid_pre, attn, mlp, attn_head, or a path within the block.

        Raises:
            SiteError, UnavailableError: this model has none.
            MissingError: it was not kept.
        """
        from fluoroscope import offer

        return self.key(offer.component(self._model, name, layer))


def name_of(model: "Model", site: Site) -> str:
    """The path of the module whose output a site is on this model, or the site's own name."""
    arch = model.architecture
    inside = {
        "resid_post": "", "attn_out": arch.attn_out or arch.attn, "mlp_out": arch.mlp_out or arch.mlp,
        "q_proj": arch.q, "k_proj": arch.k, "v_proj": arch.v, "gate_proj": arch.gate, "up_proj": arch.up,
    }  # fmt: skip
    whole = {"embed": arch.embed, "final_norm": arch.final_norm, "logits": arch.lm_head}
    path = whole.get(site.name)
    if site.layer is not None and (part := inside.get(site.name)) is not None:
        path = ".".join(filter(None, (arch.layers, str(site.layer), part)))
    try:
        return path if path and model.site(path) == site else str(site)
    except FluoroscopeError:  # the module's output is not the site on this family
        return str(site)


@dataclass(frozen=True)
class ActivationCache:
    """Activations under the names by which they were asked for.

    Args:
        activations: by name.
        metadata: what is known of them: the prompts, say.
    """

    activations: Mapping[str, Tensor]
    metadata: dict[str, Any] | None = None

    def get(self, name: str) -> Tensor:
        """The activation of a name.

        Raises:
            MissingError: there is none; the nearest name is told.
        """
        if name not in self.activations:
            raise MissingError(f"the cache holds no {name!r}", nearest(name, self.activations))
        return self.activations[name]

    def keys(self) -> KeysView[str]:
        """All names."""
        return self.activations.keys()

    def __contains__(self, name: object) -> bool:
        return name in self.activations

    def __len__(self) -> int:
        return len(self.activations)
