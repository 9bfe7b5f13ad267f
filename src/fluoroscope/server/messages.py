"""What server and page say to each other, as types: the page's are generated from these (`web/generate.py`)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fluoroscope.views import Graph, View


class Message(BaseModel):
    """Of known fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Hello(Message):
    """The first word of the server."""

    type: Literal["hello"]
    protocol: int
    version: str


class Begun(Message):
    """The tokens of a live run, and of which model it is."""

    type: Literal["tokens"]
    run: str
    model: str
    ids: list[int]
    labels: list[str]


class Progress(Message):
    """How far along a run is; label "queued": how many are ahead of it."""

    type: Literal["progress"]
    run: str
    label: str
    done: int
    total: int | None


class Shown(Message):
    """A result with its pictures; `network` is its whole graph where a picture shows a part of it."""

    title: str
    summary: str
    views: list[View]
    result: dict[str, Any]
    network: Graph | None = None


class Answer(Shown):
    """What a run found."""

    type: Literal["result"]
    run: str


class SoFar(Shown):
    """What a run has found so far, which says itself what is missing; also before it is told as called off."""

    type: Literal["partial"]
    run: str


class Done(Message):
    """A live run, or a change of model, is over."""

    type: Literal["done"]
    run: str


class Stopped(Message):
    """A run was called off."""

    type: Literal["cancelled"]
    run: str


class Failed(Message):
    """A run, or with no name of one a message, that cannot be answered."""

    type: Literal["error"]
    run: str | None
    error: str
    message: str
    hint: str


class Said(Message):
    """A token that a depth would say."""

    id: int
    label: str
    probability: float


class Heads(Message):
    """Of each head of a layer: entropy over that of an even look (0 to 1), largest share, norm of what it writes; means
    over all tokens but the first."""

    entropy: list[float | None]
    concentration: list[float | None]
    value_norm: list[float | None]


class Layer(Message):
    """Header of a binary message: a layer of a live run; its part `pattern` is u8 of 255 sqrt(share)."""

    v: Literal[1]
    type: Literal["layer"]
    run: str
    layer: int
    of: int
    says: list[Said] | None = None
    heads: Heads | None = None


class Pattern(Message):
    """Header of a binary message: one head's pattern in full, as float32."""

    v: Literal[1]
    type: Literal["pattern"]
    run: str
    of: str
    layer: int
    head: int


class Analysis(Message):
    """An entry of the catalogue; `parameters` is a JSON schema."""

    name: str
    command: str
    theme: str
    kind: str
    headline: str
    doc: str
    parameters: dict[str, Any]


class KeptRun(Message):
    """A result in the store; `kept` says when, `size` how many bytes of JSON it has."""

    id: str
    kept: str
    analysis: str | None
    kind: str
    model: str
    summary: str
    size: int


class Preset(Message):
    """A prompt with a known circuit.

    Args:
        corrupted: a prompt of as many tokens with another answer.
        answer: what comes next, or several tokens with | between them.
        expected: the circuit, in words; `known_of` says of which model.
    """

    id: str
    title: str
    prompt: str
    corrupted: str
    answer: str
    foil: str
    expected: str
    known_of: str


class Token(Message):
    """A token of the vocabulary."""

    id: int
    label: str


class Word(Message):
    """What a word names.

    Args:
        named: the tokens; none where it names none, and `trouble` says why, with a hint.
        alike: tokens that begin like it.
    """

    named: list[Token]
    trouble: dict[str, Any] | None
    alike: list[Token]


FromServer = Annotated[Hello | Begun | Progress | SoFar | Answer | Done | Stopped | Failed, Field(discriminator="type")]
"""Any text message of the server's."""
Frame = Annotated[Layer | Pattern, Field(discriminator="type")]
"""Any header of a binary one."""

RunName = Annotated[str, Field(min_length=1, max_length=64)]
"""What the page calls a run; none of its own that is under way has the same."""


class AskLive(Message):
    """A forward pass that is told layer by layer: tokens, layers as binary messages, done.

    Args:
        beside: another one that the page goes on asking patterns of.
        model: one of the choices; without it the one that all see.
    """

    type: Literal["live"]
    run: RunName
    prompt: str
    beside: str | None = None
    model: str | None = None


class AskRun(Message):
    """An analysis: progress, and partial where it can tell what it has so far, then its result.

    Args:
        model: one of the choices; without it the one that all see.
    """

    type: Literal["run"]
    run: RunName
    analysis: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])
    model: str | None = None


class AskPattern(Message):
    """One head's pattern in full, of the live run `of`: a binary message."""

    type: Literal["need"]
    run: RunName
    of: str
    layer: int = Field(ge=0)
    head: int = Field(ge=0)


class AskModel(Message):
    """Another model, one of the choices: progress, then done."""

    type: Literal["model"]
    run: RunName
    name: str


class AskStop(Message):
    """Calls a run off, which is told as cancelled."""

    type: Literal["cancel"]
    run: RunName


FromPage = Annotated[AskLive | AskRun | AskPattern | AskModel | AskStop, Field(discriminator="type")]
"""Any message of the page's."""
