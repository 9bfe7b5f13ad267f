"""What is asked, of which model, and what counts as better.

The first run seals this file: from then on nothing in it may change, or what was found could not be compared.
Experiments are handed `prompts`; what they find is measured on `held_out` by the functions
below, in a process of its own.
"""

import fluoroscope
from fluoroscope import tasks
from fluoroscope.autointerpret import Hypothesis, MetricRegistry
from fluoroscope.causal_trace import CausalTrace

MODEL = "specimen"
QUESTION = "Which few heads find the other name, and in what order do they matter?"

MAX_EXPERIMENTS = 60
SECONDS, MEGABYTES = 120, 4096  # of one experiment; memory beside the model
DEVICE = "cpu"  # elsewhere each experiment loads the model itself

SCORE, MARGIN = "worth", 0.01  # the metric that has to grow, and by how much at least
METRICS = MetricRegistry()


def load():
    """The model."""
    return fluoroscope.load(MODEL, device=DEVICE)


def prompts(model):
    """What experiments see: pairs of prompts, answers and foils."""
    return tasks.make("ioi", model, 24).pairs[:8]


def held_out(model):
    """What they do not see."""
    return tasks.make("ioi", model, 24).pairs[8:]


def restored(model, found, pairs):
    """How much of the answer's lead the clean values of the heads bring back into the corrupted prompt, all at once."""
    shares = []
    for pair in pairs:
        trace = CausalTrace(model, pair.clean, pair.corrupted)
        for head in found["heads"]:
            trace.patch(head)
        shares.append(trace.metric("logit_diff", answer=pair.answer, foil=pair.foil).share)
    return sum(shares) / len(shares)


METRICS.register("restored", restored, description="share of the lead that the heads bring back")
METRICS.register("heads", lambda model, found, pairs: len(found["heads"]), description="how many heads")
METRICS.register(
    "worth",
    lambda model, found, pairs: restored(model, found, pairs) - 0.02 * len(found["heads"]),
    description="the share that they bring back, less 0.02 a head",
)

HYPOTHESES = {
    "no head alone": Hypothesis(
        "No single head brings back half of the lead.", lambda seen: seen["heads"] > 1 or seen["restored"] < 0.5
    ),
    "many heads": Hypothesis(
        "Fewer than eight heads do not bring back 80 % of the lead.",
        lambda seen: seen["heads"] >= 8 or seen["restored"] < 0.8,
    ),
}
