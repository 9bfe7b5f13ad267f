"""How a lens reads: values of the stream, through the maps of a fitted lens if there is one, by the output head."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import offer
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.lens_records import Depth, Guess, LensCell, LensPosition, LensSource, OtherLens, settled
from fluoroscope.methods import contrast, readout, translators
from fluoroscope.methods.contrast import Contrast
from fluoroscope.methods.translators import Translators, depth_sites
from fluoroscope.progress import track
from fluoroscope.result import number
from fluoroscope.signature import AnyToken
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

_LOGITS_AT_ONCE = 2**24
_BESIDE = {"tuned": ("logit", "jacobian"), "jacobian": ("logit", "tuned")}


@dataclass(frozen=True)
class Asked:
    """What is to be read, as a lens is asked for it.

    Args:
        top_k: how many tokens to keep for every depth and position, at most.
        position: index of the only token to look at, negative from the end; None for every position.
        positions: indices of the only tokens to look at.
        target: the token to follow, as text or id (#338), or several (" Mary| Anna"), of which one is to come; None for
            the model's own prediction at each position.
    """

    top_k: int
    position: int | None
    positions: list[int] | None
    target: AnyToken | None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ArgumentError(f"top_k={self.top_k} keeps nothing", "Give at least 1.")
        if self.positions is not None and (self.position is not None or not self.positions):
            raise ArgumentError(
                f"position={self.position} and positions={self.positions} are no places to read together",
                "Give one of them, and of positions at least one.",
            )

    def slots(self, trace: "Trace") -> list[int]:
        """The slots of the tokens to look at, in order.

        Raises:
            TokenError: the prompt has no such position.
        """
        if self.positions is not None:
            return sorted({readout.only_slot(trace.tokens, position) for position in self.positions})
        last = readout.only_slot(trace.tokens, -1 if self.position is None else self.position)
        return list(range(last + 1)) if self.position is None else [last]


@dataclass(frozen=True)
class _Reader:
    """One lens on its way through a run: what it reads, and what it found so far."""

    sites: Sequence[Site]
    top_k: int
    maps: Translators | None = None
    cells: list[list[LensCell]] = field(default_factory=list[list[LensCell]])

    def read(
        self, model: "Model", trace: "Trace", piece: list[int], final: Float[Tensor, "pos d_vocab"], of: list[Contrast]
    ) -> None:
        """Reads some positions of every site."""
        self.cells.extend([] for _ in self.sites[len(self.cells) :])
        for depth, site in enumerate(self.sites):
            stream = trace[site][0, piece]
            stream = stream if self.maps is None else self.maps(depth, stream)
            normed = site.name == "final_norm"
            logits = model.unembed(stream, norm=False) if normed else model.unembed(stream)
            self.cells[depth] += _read(model, readout.log_probs(logits), final, of, self.top_k)

    def depths(self) -> tuple[Depth, ...]:
        return tuple(Depth(site=str(site), cells=tuple(row)) for site, row in zip(self.sites, self.cells, strict=True))

    def source(self) -> LensSource | None:
        return None if self.maps is None else LensSource(**self.maps.source())


@torch.no_grad()
def look(
    model: "Model", prompt: str, asked: Asked, *, maps: Translators | None = None, sites: list[str] | None = None
) -> dict[str, Any]:
    """The fields of a `Lens`: the output head on every depth of the stream, translated where a lens was fitted.

    Args:
        maps: of a fitted lens, beside which others are shown; None for the logit lens.
        sites: what to read instead of every depth; only without maps.

    Raises:
        ArgumentError: a site that holds no vector of the stream.
        SiteError, UnavailableError: the model has no such site, or cannot give it.
        TokenError: no such position, or `target` is not one token or a set of them.
    """
    about = contrast.asked(model, asked.target, None)
    chosen = [Site.parse(name) for name in depth_sites(model.n_layers)] if sites is None else vectors(model, sites)
    main = _Reader(chosen, asked.top_k, maps)
    others, left_out = _others(model, chosen, maps)
    trace = model.trace(prompt, sites=sorted({site.whole for site in chosen}))
    slots, targets = asked.slots(trace), list[Contrast]()
    step = max(1, _LOGITS_AT_ONCE // model.d_vocab)
    for start in track(range(0, len(slots), step), "lens"):
        piece = slots[start : start + step]
        final = readout.log_probs(trace.logits[0, piece])
        here = [about.at(row) for row in final]
        targets += here
        for reader in (main, *others.values()):
            reader.read(model, trace, piece, final, here)
    names = [str(site) for site in chosen]
    columns = zip(*main.cells, strict=True)
    places = zip(slots, targets, columns, strict=True)
    return {
        "recipe": trace.recipe,
        "positions": tuple(_position(model, trace, slot, of, names, column) for slot, of, column in places),
        "depths": main.depths(),
        "fitted": main.source(),
        "chosen": sites is not None,
        "others": tuple(
            OtherLens(kind=kind, depths=reader.depths(), fitted=reader.source()) for kind, reader in others.items()
        ),
        "left_out": tuple(left_out),
    }


def vectors(model: "Model", names: list[str]) -> list[Site]:
    """The sites of a list that hold a vector of the stream for each token; z of a head is what it writes.

    Raises:
        ArgumentError: a site that holds none, or no site.
        SiteError, UnavailableError: the model has no such site, or cannot give it.
    """
    found: set[Site] = set()
    for site in offer.expand(model, names):
        if site.name in ("z", "head_out"):
            units = range(model.n_heads) if site.unit is None else [site.unit]
            whole = model.site(Site("head_out", site.layer))
            found |= {Site("head_out", whole.layer, unit) for unit in units}
        elif site.kind.axes == ("batch", "pos", "d_model"):
            found.add(site)
        else:
            raise ArgumentError(
                f"{site} is no vector that the output head could read",
                "Name a stream (resid_mid.3), what is added to it (attn_out.3, mlp_out.3), or a head (L3H1).",
            )
    if not found:
        raise ArgumentError("sites=[] reads nothing", "Leave it out for every depth, or name what to read.")
    return sorted(found, key=lambda site: (site.name == "final_norm", site))


def _others(model: "Model", sites: Sequence[Site], maps: Translators | None) -> tuple[dict[str, _Reader], list[str]]:
    """What stands beside a fitted lens: the logit lens, and the other fitted one if the model brings it."""
    found: dict[str, _Reader] = {}
    left_out: list[str] = []
    for kind in () if maps is None else _BESIDE[maps.meta["kind"]]:
        if kind == "logit":
            found[kind] = _Reader(sites, 1)
        elif translators.beside(model, kind) is not None:
            try:
                found[kind] = _Reader(sites, 1, translators.fitted(model, None, kind))
            except ArtifactError as error:
                left_out.append(error.message)
    return found, left_out


def _read(
    model: "Model",
    log_p: Float[Tensor, "pos d_vocab"],
    final: Float[Tensor, "pos d_vocab"],
    targets: Sequence[Contrast],
    top_k: int,
) -> list[LensCell]:
    top = log_p.topk(min(top_k, log_p.shape[-1]), dim=-1)
    ids = torch.tensor([about.target for about in targets], device=log_p.device)
    members = log_p.gather(-1, ids)
    best = ids.gather(-1, members.argmax(-1, keepdim=True))[:, 0]
    columns = zip(
        top.indices.tolist(),
        top.values.exp().tolist(),
        readout.entropy(log_p).tolist(),
        readout.kl(final, log_p).tolist(),
        members.exp().sum(-1).clamp_max(1).tolist(),
        readout.rank(log_p, best).tolist(),
        strict=True,
    )
    return [
        LensCell(
            top=tuple(
                Guess(id=token, piece=model.token_label(token), probability=probability)
                for token, probability in zip(tokens, probabilities, strict=True)
            ),
            entropy=entropy,
            kl=number(kl),
            target_probability=probability,
            target_rank=rank,
        )
        for tokens, probabilities, entropy, kl, probability, rank in columns
    ]


def _position(
    model: "Model", trace: "Trace", slot: int, about: Contrast, sites: Sequence[str], column: Iterable[LensCell]
) -> LensPosition:
    return LensPosition(
        index=slot,
        token=trace.tokens.labels[0][slot],
        target_ids=about.target,
        target=contrast.label(model, about.target),
        settled=settled(sites, [cell.target_rank for cell in column]),
    )
