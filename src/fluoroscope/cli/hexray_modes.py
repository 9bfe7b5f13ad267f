"""What each flag of `hexray` asks for, and the analyses of the registry that answer it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fluoroscope import registry
from fluoroscope.artifact import safe_name
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.render.text import prose

if TYPE_CHECKING:
    from fluoroscope.cli.transcript import Line
    from fluoroscope.model import Model
    from fluoroscope.reports import Chapter
    from fluoroscope.result import Result

LOGIT_PARTS = 10
"""Parts that are listed of a logit if no number is given."""

_COT_PARTS = 5
_PICTURE, _DRAWING = (".png", ".json"), (".svg", ".json")


@dataclass(frozen=True)
class Request:
    """What the flags ask for."""

    prompt: str | None
    token_index: int
    target: str | None
    foil: str | None
    top_k_attribution: int
    cot_debug: bool
    logit_debug: bool
    activation_trace: bool
    arithmetic_graph: bool
    weight_heatmap: tuple[str, ...]
    report: str | None

    @property
    def contributors(self) -> bool:
        """Whether the list of contributors is asked for by itself; the debuggers have their own."""
        return self.top_k_attribution > 0 and not (self.cot_debug or self.logit_debug)

    @property
    def activations(self) -> bool:
        """Whether activity is shown: where asked for, and where nothing else would read the prompt."""
        readers = (self.contributors, self.cot_debug, self.logit_debug, self.arithmetic_graph)
        return self.activation_trace or (self.prompt is not None and not any(readers))

    def check(self) -> None:
        """Refuses what no mode would heed.

        Raises:
            ArgumentError: a number below 0, no prompt, or an option that nothing asked for reads.
        """
        if self.top_k_attribution < 0:
            raise ArgumentError(f"--top-k-attribution {self.top_k_attribution} names nothing", "Give 1 or more.")
        if self.prompt is None and (self.activation_trace or self._modes_of_a_prompt or not self.weight_heatmap):
            raise ArgumentError("there is no text to look at", 'Give one, such as --prompt "Why do bees buzz?"')
        about = {"--token-index": self.token_index != -1, "--target": self.target, "--foil": self.foil}
        given = [name for name, value in about.items() if value not in (None, False)]
        if given and not (self.contributors or self.cot_debug or self.logit_debug):
            modes = "--top-k-attribution, --cot-debug and --logit-debug"
            raise ArgumentError(f"nothing that is asked for reads {given[0]}", f"It goes with {modes}.")
        if self.arithmetic_graph and self.token_index != -1:
            raise ArgumentError(
                "--arithmetic-graph reads the answer at the end of the prompt, so --token-index cannot go with it",
                "End the prompt where the answer begins.",
            )

    @property
    def _modes_of_a_prompt(self) -> bool:
        return any((self.top_k_attribution, self.cot_debug, self.logit_debug, self.arithmetic_graph))

    @property
    def about(self) -> dict[str, Any]:
        """Which token is explained where, as the analyses call it."""
        chosen = {"target": self.target, "foil": self.foil}
        return {"position": self.token_index} | {name: token for name, token in chosen.items() if token is not None}


@dataclass
class Session:
    """The results of one command by the names of their files, and what this model refuses.

    Args:
        known: what was run already, by analysis and arguments.
    """

    model: "Model"
    request: Request
    width: int
    chapters: "dict[str, Chapter]" = field(default_factory=dict["str", "Chapter"])
    refused: list[str] = field(default_factory=list[str])
    known: "dict[tuple[Any, ...], Result]" = field(default_factory=dict["tuple[Any, ...]", "Result"])

    def run(self, name: str, title: str, analysis: str, given: Mapping[str, Any]) -> Any:
        """The result of an analysis, kept for the report."""
        from fluoroscope.reports import Chapter

        suffixes, asked = _DRAWING if analysis == "arithmetic_graph" else _PICTURE, (analysis, *given.items())
        if asked not in self.known:
            self.known[asked] = registry.run(analysis, self.model, **given)
        self.chapters[name] = Chapter(title, self.known[asked], suffixes)
        return self.known[asked]

    def unless_refused(self, name: str, title: str, analysis: str, given: Mapping[str, Any]) -> Any:
        """The same; None where this model cannot give it exactly, which is noted."""
        try:
            return self.run(name, title, analysis, given)
        except UnavailableError as error:
            self.refused.append(f"{title}: {error}")
            return None

    def heads(self, top_k: int, *, required: bool = True) -> Any:
        """The logit, split into heads and MLPs."""
        ask = self.run if required else self.unless_refused
        given = {"prompt": self.request.prompt, "top_k": top_k, **self.request.about}
        return ask("logit_attribution", "Logit attribution per head", "logit_attribution", given)

    def residual_stream(self) -> Any:
        """Norms at every layer and token."""
        given = {"prompt": self.request.prompt}
        return self.run("residual_stream", "Residual stream, layer by layer", "residual_stream", given)


def _contributors(session: Session) -> "Iterator[Line]":
    from fluoroscope.cli import transcript

    request = session.request
    given = {"prompt": request.prompt, "grain": "layer", "top_k": request.top_k_attribution, **request.about}
    found = session.run("top_contributors", "Top contributors to the final logit", "logit_attribution", given)
    yield from transcript.contributors(found, request.token_index)


def _chain(session: Session) -> "Iterator[Line]":
    from fluoroscope.cli import transcript

    request = session.request
    about = {"answer" if name == "target" else name: value for name, value in request.about.items()}
    given = {"prompt": request.prompt, **about}
    found = session.run("chain_of_thought", "Chain of thought", "reasoning_steps", given)
    yield from transcript.chain(found, request.top_k_attribution or _COT_PARTS, session.width)


def _logit(session: Session) -> "Iterator[Line]":
    from fluoroscope.cli import transcript

    request, prompt = session.request, {"prompt": session.request.prompt}
    top_k = request.top_k_attribution or LOGIT_PARTS
    heads = session.heads(top_k)
    yield transcript.tokens(heads.tokens)
    yield from transcript.contributors(heads, request.token_index)
    yield from transcript.pictures(heads.views()[2:], session.width)
    yield ""
    about = {**prompt, "top_k": top_k, **request.about}
    neurons = session.unless_refused("neurons", "Neurons", "neurons", about)
    if neurons is not None:
        yield from transcript.neurons(neurons, top_k)
        yield ""
    given = {**about, "grain": "source"}
    paths = session.unless_refused("paths", "Paths: what heads read where", "logit_attribution", given)
    if paths is not None:
        yield from transcript.paths(paths)
        yield ""
    stream = session.residual_stream()
    lens = session.run("logit_lens", "Logit lens", "logit_lens", prompt)
    yield from transcript.stream(stream, lens, heads.position)
    tokens = session.run("token_attribution", "Every token of the prompt", "token_attribution", prompt)
    views = [stream.views()[0], lens.views()[0], tokens.views()[0]]
    yield from transcript.pictures(views, session.width)
    yield from (f"[!] {prose(reason)}" for reason in session.refused)


def _activations(session: Session) -> "Iterator[Line]":
    from fluoroscope.cli import transcript

    yield from transcript.activations(session.residual_stream(), session.model.d_model, session.width)


def _arithmetic(session: Session) -> "Iterator[Line]":
    given = {"prompt": session.request.prompt}
    title = "How the model calculates"
    yield from _whole(session.run("arithmetic_graph", title, "arithmetic_graph", given), session.width)


def _weights(session: Session) -> "Iterator[Line]":
    for weight in dict.fromkeys(session.request.weight_heatmap):
        name = safe_name(weight.replace(".", "_"))
        yield from _whole(session.run(name, f"Weights {weight}", "weight_heatmap", {"weight": weight}), session.width)


def _whole(result: "Result", width: int) -> "Iterator[Line]":
    from fluoroscope.cli import transcript

    yield prose(result.summary())
    yield from transcript.pictures(result.views(), width)


Mode = Callable[[Session], "Iterator[Line]"]


def modes(request: Request) -> dict[str, Mode]:
    """What to run, by the name that is announced where there are several."""
    known: dict[str, tuple[bool, Mode]] = {
        "Activation Trace": (request.activations, _activations),
        "Logit Attribution": (request.contributors, _contributors),
        "Chain of Thought Debugger": (request.cot_debug, _chain),
        "Logit Debugger": (request.logit_debug, _logit),
        "Arithmetic Graph": (request.arithmetic_graph, _arithmetic),
        "Weight Heatmap": (bool(request.weight_heatmap), _weights),
    }
    return {name: mode for name, (asked, mode) in known.items() if asked}
