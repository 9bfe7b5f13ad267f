"""Path patching by its definition, with whole runs."""

from fluoroscope.interventions import at, replace


def by_hand(found, pair, sender, receivers, hold_mlps, places, metric):
    """The score of the first of a pair by two whole runs: in the one all heads but the sender, which has the other's
    value, are held; in the other the receivers alone have what they read there."""
    kinds = ["embed", "z.*", "mlp_out.*", "q.*", "k.*", "v.*"]
    start = -1 if sender.layer is None else sender.layer
    mine, other = (found.trace([ids], sites=kinds) for ids in pair)
    edits = {site: replace(mine[site]) for site in found.sites("z") if site.layer > start}
    if hold_mlps:
        edits |= {site: replace(mine[site]) for site in found.sites("mlp_out") if site.layer >= start}
    edits = {site: edit for site, edit in edits.items() if site not in [sender, *receivers]}
    value = other[sender][:, places]
    edits[sender] = at(replace(value), places)
    if receivers[0].name == "logits":
        return float(metric(found.trace([pair[0]], edits=edits).logits[:, -1])[0])
    seen = found.trace([pair[0]], sites=kinds, edits=edits)
    second = {site: replace(seen[site]) for site in receivers}
    return float(metric(found.trace([pair[0]], edits=second).logits[:, -1])[0])
