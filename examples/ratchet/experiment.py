"""A greedy search for the heads that find the other name: grow what is best so far, then try it without each head.

`propose` reads what was found on prompts that this file never sees; `run` sees others, and chooses by them.
"""

from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.causal_trace import CausalTrace

WIDTH = 6
"""How many candidates by themselves are tried as the next one."""


def run(model, prompts, *, base=(), move="add"):
    """The heads of `base` with the one that adds most, or without the one that is missed least."""
    if move == "add":
        tried = [[*base, name] for name in candidates(model, prompts) if name not in base]
    else:
        tried = [[other for other in base if other != name] for name in base]
    best = max(tried, key=lambda heads: restored(model, prompts, heads))
    changed = ", ".join(sorted({*best} ^ {*base}))
    told = "adds most to" if move == "add" else "is missed least in"
    return {"heads": best, "conclusion": f"{changed} {told} {', '.join(base) or 'no heads'}."}


def candidates(model, prompts):
    """The heads that restore most by themselves."""
    mean = {}
    for pair in prompts:
        found = head_patching(model, pair.clean, pair.corrupted, answer=pair.answer, foil=pair.foil)
        for site, _, share in found.heads():
            mean[site.label] = mean.get(site.label, 0.0) + share / len(prompts)
    return sorted(mean, key=lambda name: -mean[name])[: 2 * WIDTH]


def restored(model, prompts, heads):
    """The share of the answer's lead that the clean values of the heads bring back, all at once."""
    total = 0.0
    for pair in prompts:
        trace = CausalTrace(model, pair.clean, pair.corrupted)
        for head in heads:
            trace.patch(head)
        total += trace.metric("logit_diff", answer=pair.answer, foil=pair.foil).share
    return total / len(prompts)


def propose(history):
    """Adding to what is best so far; when that was tried, dropping from it; then nothing."""
    scored = [entry for entry in history if entry["informative"] and "heads" in entry["result"]]
    best = max(scored, key=lambda entry: entry["metadata"]["measures"]["worth"], default=None)
    base = best["result"]["heads"] if best else []
    tried = [entry["metadata"]["parameters"] for entry in history]
    for move in ("add", "drop") if len(base) > 1 else ("add",):
        parameters = {"base": base, "move": move}
        if parameters not in tried:
            expected = "one head more is worth its price" if move == "add" else "one head less is no loss"
            return {"name": f"{move} at {len(base)}", "hypothesis": expected, "parameters": parameters}
    return None
