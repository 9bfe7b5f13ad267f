"""Path patching by its definition, with whole runs."""

from functools import lru_cache

from fluoroscope.interventions import at, replace

KINDS = ["embed", "z.*", "mlp_out.*", "q.*", "k.*", "v.*"]


@lru_cache(maxsize=4)
def plain(found, ids):
    """A run without edits."""
    return found.trace([list(ids)], sites=KINDS)


def by_hand(found, pair, sender, receivers, hold_mlps, places, metric):
    """The score of the first of a pair by two whole runs: in the one all heads but the sender, which has the other's
    value, are held; in the other the receivers alone have what they read there."""
    start = -1 if sender.layer is None else sender.layer
    mine, other = (plain(found, tuple(ids)) for ids in pair)
    edits = {site: replace(mine[site]) for site in found.sites("z") if site.layer > start}
    if hold_mlps:
        edits |= {site: replace(mine[site]) for site in found.sites("mlp_out") if site.layer >= start}
    edits = {site: edit for site, edit in edits.items() if site not in [sender, *receivers]}
    value = other[sender][:, places]
    edits[sender] = at(replace(value), places)
    if receivers[0].name == "logits":
        return float(metric(found.trace([pair[0]], edits=edits).logits[:, -1])[0])
    seen = found.trace([pair[0]], sites=KINDS, edits=edits)
    second = {site: replace(seen[site]) for site in receivers}
    return float(metric(found.trace([pair[0]], edits=second).logits[:, -1])[0])
