"""Which sites a model offers, and whether a spelling means on this model what it says."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fluoroscope import aliases, architectures
from fluoroscope.aliases import Claim, resolve_claim
from fluoroscope.errors import SiteError, UnavailableError
from fluoroscope.sites import SITES, WITH_KV_HEADS, Site

if TYPE_CHECKING:
    from fluoroscope.model import Model


def site(model: "Model", name: str | Site) -> Site:
    """The site of any known spelling, proved to exist on `model`.

    Raises:
        SiteError: unknown spelling, or layer or unit out of range.
        UnavailableError: this model cannot give the site, or the spelling claims more than holds here.
    """
    return _offered(model, str(name), *resolve_claim(name))


def component(model: "Model", name: str, layer: int) -> Site:
    """The site of a part of one block, by any name of such a part; raises as `site` does."""
    return _offered(model, name, *aliases.component(name, layer))


def _offered(model: "Model", name: str, found: Site, claim: Claim) -> Site:
    if found.layer is not None and found.layer >= model.n_layers:
        beyond = f"{found} is beyond the last layer of {model.name}, which has {model.n_layers}"
        raise SiteError(beyond, f"Layers run 0..{model.n_layers - 1}.")
    _check_claim(model, name, found, claim)
    reason = model.unavailable.get((found.name, found.layer))
    if reason is not None:
        raise UnavailableError(f"{found} is not available on {model.name}: {reason}")
    _check_unit(model, found)
    return found


def every(model: "Model", name: str | None) -> list[Site]:
    """Every whole site that `model` offers, in the order of computation, or only those called `name`."""
    if name is not None and name not in SITES:
        Site(name)  # raises with the nearest match
    found = [
        Site(kind, layer)
        for kind, row in SITES.items()
        if name in (None, kind)
        for layer in (range(model.n_layers) if row.layered else [None])
    ]
    return sorted(site for site in found if (site.name, site.layer) not in model.unavailable)


def expand(model: "Model", names: Sequence[str | Site]) -> list[Site]:
    """Sites of a list in which 'resid_post.*' stands for every layer that has one."""
    if isinstance(names, str | Site):
        raise SiteError(f"sites={names!r} is one site", f"Write sites=[{str(names)!r}].")
    if not isinstance(names, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SiteError(f"sites={names!r} is no list", "Write sites=['resid_post.*'], say.")
    found: list[Site] = []
    for name in names:
        if isinstance(name, str) and name.endswith(".*"):
            matching = every(model, name.removesuffix(".*"))
            if not matching:
                site(model, Site(name.removesuffix(".*"), 0))  # raises with the reason
            found += matching
        else:
            found.append(site(model, name))
    return found


def _check_unit(model: "Model", found: Site) -> None:
    if found.unit is None:
        return
    kv = found.name in WITH_KV_HEADS
    routed = architectures.experts(getattr(model.hf, "config", None)) or {}
    sizes = {"head": model.n_kv_heads if kv else model.n_heads, "neuron": model.d_mlp_of(found.layer)}
    size = {**sizes, "expert": routed.get("count")}.get(found.kind.unit or "")
    if size is not None and found.unit >= size:
        beyond = f"{found} is beyond the last {found.kind.unit} of {model.name}, which has {size} in a layer"
        raise SiteError(beyond, f"They run 0..{size - 1}.")


def _check_claim(model: "Model", name: str, found: Site, claim: Claim) -> None:
    if not claim.module:
        return
    arch = model.architecture
    outputs = {
        "attn_out": (arch.attn_out,) if arch.attn_out else (arch.attn, arch.o),
        "mlp_out": (arch.mlp_out,) if arch.mlp_out else (arch.mlp, arch.down),
        "embed": (arch.embed,),
        "logits": (arch.lm_head,),
        **{f"{part}_proj": (path,) for part, path in zip("qkv", (arch.q, arch.k, arch.v), strict=True) if path},
        **{f"{part}_proj": (path,) for part, path in (("gate", arch.gate), ("up", arch.up)) if path},
    }.get(found.name)
    if outputs is None:
        return
    # A path's value is the module's output; the site is what reaches the residual stream or the reader.
    unchanged = {
        "embed": arch.pos_embed is not None,
        "logits": arch.logit_multiplier == 1.0 and arch.softcap is None,
        **dict.fromkeys(("q_proj", "k_proj", "v_proj"), arch.qkv is None),
        **dict.fromkeys(("gate_proj", "up_proj"), arch.gate_up is None),
    }.get(found.name, arch.residual_multiplier == 1.0)
    if claim.role and arch.residual_multiplier == 1.0 and not {
        "attn_out": arch.attn_out, "mlp_out": arch.mlp_out
    }.get(found.name):  # fmt: skip
        return
    if not unchanged or not any(f".{path}".endswith(f".{claim.module}") for path in outputs):
        raise UnavailableError(
            f"the output of module {name!r} is not '{found}' on {model.name}", f"'{found}' is {found.kind.meaning}."
        )
