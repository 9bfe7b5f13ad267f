"""The residual stream of a trace: before, inside and behind each block, and what attention and MLP add."""

from collections.abc import Mapping

from torch import Tensor

from fluoroscope.interpretable.core.cache import Activations
from fluoroscope.interpretable.core.module_resolver import find_layer_key_pattern, resolve_component


class ResidualStreamAccessor:
    """Reads `resid_post = resid_pre + attention + MLP` off the activations of a trace.

    Contributions are what is really added, behind post-norms and multipliers, so that the sum holds on every family.

    Args:
        activations: of a trace, or any mapping whose keys name sites.
    """

    def __init__(self, activations: "Activations | Mapping[str, Tensor]") -> None:
        self.activations = activations

    def resid_pre(self, layer: int) -> Tensor:
        """What enters a block [batch, pos, d_model]; raises as all do, SiteError where there is none."""
        return self._at("resid_pre", layer)

    def resid_mid(self, layer: int) -> Tensor:
        """Between attention and MLP; refused on parallel blocks, which have no such stream."""
        return self._at("resid_mid", layer)

    def resid_post(self, layer: int) -> Tensor:
        """What leaves a block."""
        return self._at("resid_post", layer)

    def attn_contribution(self, layer: int) -> Tensor:
        """What attention adds."""
        return self._at("attn", layer)

    def mlp_contribution(self, layer: int) -> Tensor:
        """What the MLP adds."""
        return self._at("mlp", layer)

    def layer_contribution(self, layer: int) -> Tensor:
        """What the block adds: resid_post - resid_pre."""
        return self.resid_post(layer) - self.resid_pre(layer)

    def available_layers(self) -> list[int]:
        """The layers whose output was kept."""
        last = len(self.activations)
        return [layer for layer in range(last) if find_layer_key_pattern(self.activations, layer) is not None]

    def _at(self, name: str, layer: int) -> Tensor:
        return self.activations[resolve_component(name, layer, self.activations)]
