"""Path patching: what one part does to another, and through that other alone to the answer.

The sender has the other prompt's value, and every head behind it the value of its own run, so that the difference
reaches a receiver only through the stream (and the MLPs on its way, unless they are held too). What the receiver reads
then is patched into a run of its own, in which all that follows goes on by itself (Wang et al. 2022, "Interpretability
in the Wild", section 3.1; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching").
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import sweeps
from fluoroscope.methods.sweeps import Effects, Part, Sweep
from fluoroscope.metrics import Metric
from fluoroscope.rows import Patch
from fluoroscope.sites import Site
from fluoroscope.variants import Variant

if TYPE_CHECKING:
    from fluoroscope.model import Model

RECEIVERS = ("q", "k", "v", "mlp_out", "logits")
"""What can receive: a head's queries, keys or values, an MLP, or the end of the stream."""

Reads = Literal["q", "k", "v"]


def needed(receivers: Sequence[Site]) -> list[str]:
    """The kinds of sites that a sweep must hold."""
    return sorted({"embed", "z", "mlp_out", *(site.name for site in receivers)} - {"logits"})


def check(model: "Model", *, hold_mlps: bool) -> None:
    """Refuses a model some of whose heads, or MLPs, cannot be held.

    Raises:
        UnavailableError: with the reason.
    """
    for name in ("z", *(["mlp_out"] if hold_mlps else [])):
        for layer in range(model.n_layers):
            if why := model.unavailable.get((name, layer)):
                raise UnavailableError(f"paths of {model.name} need {name}.{layer}, which are not offered: {why}")


def receiver(model: "Model", name: str | Site, reads: Reads) -> Site:
    """What of a named part reads the stream: a head's queries, keys or values, an MLP or the logits.

    Keys and values are those of a kv head, which several heads may read.

    Raises:
        ArgumentError: it reads nothing, or is a part of a site.
        SiteError, UnavailableError: there is no such part.
    """
    site = model.site(name)
    if site.name == "z" and site.unit is not None:
        group = 1 if reads == "q" else model.n_heads // model.n_kv_heads
        return model.site(Site(reads, site.layer, site.unit // group))
    if site.name not in RECEIVERS:
        raise ArgumentError(f"{str(name)!r} receives nothing", "Name heads (L4H2), MLPs (mlp_out.3) or logits.")
    return site


def readers(model: "Model", site: Site) -> tuple[Site, ...]:
    """The heads that a receiving query, key or value is of, each as its z; none for an MLP and the logits."""
    if site.name not in get_args(Reads):
        return ()
    size = 1 if site.name == "q" else model.n_heads // model.n_kv_heads
    heads = range(model.n_heads) if site.unit is None else range(site.unit * size, (site.unit + 1) * size)
    return tuple(Site("z", site.layer, head) for head in heads)


def senders(model: "Model", receivers: Sequence[Site]) -> list[Site]:
    """The token embedding, and every head and MLP that computes before the last receiver reads and is none itself."""
    last = max(receivers, key=lambda site: (site.layer is None, site.layer, site.name == "mlp_out"))
    parts = sorted([*sweeps.units(model, "z"), *model.sites("mlp_out")], key=lambda s: (s.layer, s.name == "mlp_out"))
    beside = last.name == "mlp_out" and not model.architecture.parallel

    def before(site: Site) -> bool:
        layer = site.layer or 0
        return last.layer is None or layer < last.layer or (beside and layer == last.layer and site.name == "z")

    return [*model.sites("embed"), *(site for site in parts if before(site) and site not in receivers)]


def held(model: "Model", senders: Sequence[Site], receivers: Sequence[Site], *, hold_mlps: bool) -> list[Site]:
    """The whole sites that keep their values while senders that have the other prompt's are read by receivers."""
    start = min(-1 if site.layer is None else site.layer for site in senders)
    last = max(model.n_layers - 1 if site.layer is None else site.layer for site in receivers)
    names = [("z", start + 1), *([("mlp_out", max(start, 0))] if hold_mlps else [])]
    sites = [Site(name, layer) for name, behind in names for layer in range(behind, last + 1)]
    apart = {*(site.whole for site in receivers), *senders}
    return [site for site in sites if site not in apart]


def effects(
    sweep: Sweep, senders: Sequence[Part], receivers: Sequence[Site], metric: Metric, *, hold_mlps: bool = False
) -> Effects:
    """The metric when each sender has changed what the receivers read, and nothing else has.

    Args:
        senders: heads, MLPs and embed; one that no receiver can read has exactly no effect.
        receivers: patched together; `logits` alone is the direct path to the end.
        hold_mlps: MLPs between sender and receivers keep their values too, so that only the direct path is left.

    Raises:
        ArgumentError: no receiver, one that reads nothing, or `logits` beside others.
    """
    wrong = [str(site) for site in receivers if site.name not in RECEIVERS]
    if wrong or not receivers:
        raise ArgumentError(f"{wrong[0] if wrong else 'nothing'} receives nothing", f"Name {', '.join(RECEIVERS)}.")
    if len(receivers) > 1 and any(site.name == "logits" for site in receivers):
        raise ArgumentError("logits receive beside others", "Ask for the direct path to the logits by itself.")
    pairs = range(len(sweep.changed))
    first = [_held(sweep, sender, receivers, pair, hold_mlps) for sender in senders for pair in pairs]
    direct = receivers[0].name == "logits"
    return sweep.measured(first if direct else _received(sweep, first, receivers), metric)


def _held(sweep: Sweep, sender: Part, receivers: Sequence[Site], pair: int, hold_mlps: bool) -> Variant:
    """The sender's other value, and everything behind it as it was, at the sender's tokens."""
    end = int(sweep.replay.read[pair, 0]) if receivers[0].name == "logits" else None
    own = sweep.patched(sender, pair, only=end)  # with heads held, nothing passes from token to token
    if not own.patches:
        return own
    slots = tuple(sorted({slot for patch in own.patches for slot in patch.slots}))
    sites = held(sweep.replay.model, sender.sites, receivers, hold_mlps=hold_mlps)
    kept = [Patch(site, slots, sweep.value(site, own.prompt, slots)) for site in sites]
    return Variant(prompt=own.prompt, patches=[*own.patches, *kept])


def _received(sweep: Sweep, first: Sequence[Variant], receivers: Sequence[Site]) -> list[Variant]:
    """For each variant one in which the receivers read what they read there, at the tokens that it changed."""
    second: dict[int, Variant] = {}
    for indices, values in sweep.replay.values(first, sorted({site.whole for site in receivers})):
        for row, index in enumerate(indices):
            changed = first[index].patches
            slots = changed[0].slots if changed else ()
            patches: list[Patch] = []
            for site in receivers if slots else ():
                value = values[site.whole][row, list(slots)]
                patches.append(Patch(site, slots, value if site.unit is None else value[:, site.unit]))
            second[index] = Variant(prompt=first[index].prompt, patches=patches)
    return [second[index] for index in range(len(first))]
