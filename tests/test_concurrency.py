"""Runs beside and inside one another, and what is left behind after every way in which one can end: nothing."""

import importlib
import inspect
import itertools
import pkgutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from matplotlib.figure import Figure
from torch import Tensor, nn

import fluoroscope
from architectures.common import ids, model, plain, real, relative
from architectures.zoo import build
from fluoroscope import ModelAnalyzer, registry
from fluoroscope import interventions as iv
from fluoroscope.compat.intervention import generated, steer_generation
from fluoroscope.compat.visualization import plot_embeddings_2d, plot_embeddings_3d, reduce_dimensions
from fluoroscope.errors import Cancelled, EditError, FluoroscopeError, SiteError, UnavailableError
from fluoroscope.interpretable.causal import causal_trace
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.progress import listening, report
from fluoroscope.render.figure_text import font
from fluoroscope.run import RUN
from fluoroscope.server.settings import Settings
from fluoroscope.sites import Site

PROMPT = [5, 6, 7, 8, 9]
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(0))


def logits_of(found: Model, prompt: list[int] = PROMPT) -> Tensor:
    """Of the wrapped module, called by hand."""
    with torch.no_grad():
        return found.hf(torch.tensor([prompt])).logits


# ── threads ──────────────────────────────────────────────────────────────────────────────────────────


def jobs(found: Model, number: int) -> list[Callable[[], list[Tensor]]]:
    """Kinds of work that differ in what they edit, keep and return."""
    edit = {"resid_pre.1": iv.add((number + 1) * VECTOR), "z.1.2": iv.at(iv.scale(number), -1)}
    inner = {"pattern.1": iv.scale(1 + number)} if ("pattern", 1) not in found.unavailable else {}
    fine = ["neurons.1"] if ("neurons", 1) not in found.unavailable else []
    sites = [["resid_post.*"], ["z.1"], ["mlp_out.0", *fine], []][number]

    def traced() -> list[Tensor]:
        trace = found.trace(ids(3), sites=sites, edits={**edit, **inner}, pad="left")
        return [trace.logits, *trace.values.values()]

    def generated() -> list[Tensor]:
        done = found.generate(PROMPT, max_new_tokens=4, edits=edit, sites=["resid_post.1"], stop_tokens=[], seed=number)
        assert done.trace is not None
        return [torch.tensor(done.ids), torch.tensor(done.log_probs), done.trace["resid_post.1"]]

    def by_hand() -> list[Tensor]:
        with found.editing({"mlp_out.1": iv.scale(number)}):
            return [logits_of(found), logits_of(found, PROMPT[::-1])]

    def with_gradient() -> list[Tensor]:
        trace = found.trace(PROMPT, sites=["resid_pre.1"], edits=edit, grad=True)
        return [trace.logits.detach(), *torch.autograd.grad(trace.logits[0, -1, number], [trace["resid_pre.1"]])]

    return [traced, generated, by_hand, with_gradient, lambda: [logits_of(found)]]


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon", "qwen3_moe"])
def test_threads_with_different_edits_get_their_serial_results(case: str) -> None:
    found = model(case)
    for kind in range(5):
        work = [jobs(found, number)[(kind + number) % 5 if case == "llama" else kind] for number in range(4)]
        serial = [job() for job in work]
        for mine, other in itertools.combinations(serial, 2):
            alike = len(mine) == len(other) and all(map(torch.equal, mine, other))
            assert not alike or (kind == 4 and case != "llama"), "the jobs must differ, or mixing them up is unseen"
        for _ in range(4):
            for mine, alone in zip(together(work), serial, strict=True):
                assert len(mine) == len(alone)
                assert all(torch.equal(value, expected) for value, expected in zip(mine, alone, strict=True))


def together(work: list[Callable[[], list[Tensor]]]) -> list[list[Tensor]]:
    """All at once; they wait for each other in the middle of the work, at every block."""
    results: list[Any] = [None] * len(work)
    barrier = threading.Barrier(len(work))

    def listener(*_: Any) -> None:
        try:
            barrier.wait(0.002)
        except threading.BrokenBarrierError:
            barrier.reset()

    def worker(number: int) -> None:
        try:
            with listening(listener):
                results[number] = work[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_a_run_in_one_thread_is_unseen_in_another() -> None:
    found = model("gpt2")
    clean = logits_of(found)
    seen: list[Any] = []

    def look(value: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: seen.extend([RUN.get(), logits_of(found)]))
        thread.start()
        thread.join()
        return value * 0

    with found.editing({"resid_pre.2": iv.zero()}):
        edited = found.trace(PROMPT, edits={"resid_pre.1": look}).logits
    assert seen[0] is None
    assert torch.equal(seen[1], clean)
    assert not torch.equal(edited, clean)


# ── runs inside runs ─────────────────────────────────────────────────────────────────────────────────


def test_an_edit_may_trace_the_same_model() -> None:
    found = model("llama")
    clean = found.trace(PROMPT, sites=["resid_pre.1", "z.1"])
    inside: list[Any] = []

    def function(value: Tensor) -> Tensor:
        trace = found.trace(PROMPT, sites=["z.1"], edits={"z.1.2": iv.zero()})
        inside.extend([trace, found.trace(PROMPT).logits, logits_of(found), found.unembed(value), RUN.get()])
        return value + VECTOR

    outer = found.trace(PROMPT, sites=["resid_pre.1", "z.1"], edits={"resid_pre.1": function})
    assert torch.equal(outer["resid_pre.1"], clean["resid_pre.1"] + VECTOR)
    expected = found.trace(PROMPT, sites=["z.1"], edits={"resid_pre.1": iv.add(VECTOR)})
    assert torch.equal(outer.logits, expected.logits)
    assert torch.equal(outer["z.1"], expected["z.1"])
    trace, again, by_hand, lens, run = inside
    assert torch.equal(trace.logits, found.trace(PROMPT, edits={"z.1.2": iv.zero()}).logits)
    assert torch.equal(again, clean.logits)
    assert torch.equal(by_hand, clean.logits)
    assert torch.equal(lens, found.unembed(clean["resid_pre.1"]))
    assert run is None


def test_two_models_inside_each_other() -> None:
    one, two = model("gpt2"), model("llama")
    inside: list[Tensor] = []

    def function(value: Tensor) -> Tensor:
        inside.append(two.trace(PROMPT, edits={"resid_pre.1": iv.add(VECTOR)}).logits)
        return value - VECTOR

    outer = one.trace(PROMPT, edits={"resid_pre.1": function}).logits
    assert torch.equal(outer, one.trace(PROMPT, edits={"resid_pre.1": lambda x: x - VECTOR}).logits)
    assert torch.equal(inside[0], two.trace(PROMPT, edits={"resid_pre.1": iv.add(VECTOR)}).logits)


def test_edits_of_two_models_hold_side_by_side() -> None:
    one, two = model("gpt2"), model("llama")
    edits: dict[Any, Any] = {"resid_pre.1": iv.add(VECTOR), "pattern.1": iv.scale(0.5)}
    expected = [found.trace(PROMPT, edits=edits).logits for found in (one, two)]
    for first, second in ((one, two), (two, one)):
        with first.editing(edits), second.editing(edits):
            assert torch.equal(logits_of(one), expected[0])
            assert torch.equal(logits_of(two), expected[1])
        with first.editing(edits):
            assert not torch.equal(second.trace(PROMPT).logits, expected[second is two])
            assert torch.equal(logits_of(first), expected[first is two])


def test_editing_holds_for_traces_and_generations_inside_and_comes_first() -> None:
    found = model("llama")
    with found.editing({"resid_pre.1": iv.add(VECTOR)}):
        inside = found.trace(PROMPT, sites=["resid_pre.1"], edits={"resid_pre.1": iv.scale(2.0)})
        generated = found.generate(PROMPT, max_new_tokens=3, stop_tokens=[])
        with found.editing({"resid_pre.1": iv.scale(2.0)}):
            nested = logits_of(found)
        after = logits_of(found)
    both: list[iv.Intervention] = [iv.add(VECTOR), iv.scale(2.0)]
    expected = found.trace(PROMPT, sites=["resid_pre.1"], edits={"resid_pre.1": both})
    assert torch.equal(inside.logits, expected.logits)
    assert torch.equal(inside["resid_pre.1"], expected["resid_pre.1"])
    assert torch.equal(nested, expected.logits)
    assert inside.recipe.edits == ("resid_pre.1: add([32], coefficient=1.0)", "resid_pre.1: scale(2.0)")
    assert torch.equal(after, found.trace(PROMPT, edits={"resid_pre.1": iv.add(VECTOR)}).logits)
    steered = found.generate(PROMPT, max_new_tokens=3, edits={"resid_pre.1": iv.add(VECTOR)}, stop_tokens=[])
    assert generated.ids == steered.ids
    assert generated.log_probs == steered.log_probs
    assert generated.recipe.edits == steered.recipe.edits


def test_a_listener_may_trace() -> None:
    found = model("gpt2")
    clean = found.trace(PROMPT, sites=["resid_post.1"])
    inside: list[Tensor] = []

    def listener(label: str, _done: int, _total: int | None) -> None:
        if label == "forward" and len(inside) < 3:
            inside.append(logits_of(found))

    with listening(listener):
        outer = found.trace(PROMPT, sites=["resid_post.1"], edits={"resid_pre.0": iv.add(VECTOR)})
    assert torch.equal(outer.logits, found.trace(PROMPT, edits={"resid_pre.0": iv.add(VECTOR)}).logits)
    assert len(inside) == 3
    assert all(torch.equal(logits, clean.logits) for logits in inside)


# ── editing forwards that others run ─────────────────────────────────────────────────────────────────

BLOCKS = {
    "gpt2": "transformer.h.1",
    "llama": "model.layers.1",
    "mistral": "model.layers.1",
    "falcon": "transformer.h.1",
}


@contextmanager
def plain_hook(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        return function(output) if isinstance(output, Tensor) else (function(output[0]), *output[1:])

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("case", BLOCKS)
def test_editing_around_hugging_faces_generate_is_a_plain_hook(case: str) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1000}
    options |= {"attention_mask": torch.ones(1, 5, dtype=torch.long)}
    with plain_hook(plain(case).get_submodule(BLOCKS[case]), lambda x: x + 5 * VECTOR):
        expected = plain(case).generate(torch.tensor([PROMPT]), **options)
    found = model(case)
    with found.editing({"resid_post.1": iv.add(VECTOR, 5.0)}):
        edited = found.hf.generate(torch.tensor([PROMPT]), **options)  # type: ignore[operator]
    assert torch.equal(edited, expected)
    clean = found.hf.generate(torch.tensor([PROMPT]), **options)  # type: ignore[operator]
    assert not torch.equal(edited, clean)
    ours = found.generate(PROMPT, max_new_tokens=6, edits={"resid_post.1": iv.add(VECTOR, 5.0)}, stop_tokens=[])
    assert edited[0, 5:].tolist() == ours.ids[0]


@pytest.mark.parametrize("site", ["k.1", "v.1.0", "q.1", "pattern.1", "z.1.2", "logits"])
def test_editing_reaches_inner_sites_of_cached_steps(site: str) -> None:
    found = model("llama")
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1000}
    with found.editing({site: iv.scale(1.7)}):
        by_hand = found.hf.generate(  # type: ignore[operator]
            torch.tensor([PROMPT]), attention_mask=torch.ones(1, 5, dtype=torch.long), **options
        )
    ours = found.generate(PROMPT, max_new_tokens=6, edits={site: iv.scale(1.7)}, stop_tokens=[], cache=False)
    assert by_hand[0, 5:].tolist() == ours.ids[0]


@pytest.mark.parametrize("edit", [iv.at(iv.zero(), -1), iv.at(iv.zero(), rows=0), [iv.at(iv.zero(), slice(2))]])
def test_positions_are_refused_where_nobody_knows_the_prompt(edit: Any) -> None:
    with pytest.raises(EditError, match=r"Use model\.trace or model\.generate"), model("gpt2").editing({"z.1": edit}):
        pytest.fail("the block was entered")
    assert RUN.get() is None


def test_an_edited_site_that_does_not_occur_is_an_error() -> None:
    found = model("llama")
    with (
        pytest.raises(UnavailableError, match=r"logits did not occur"),
        found.editing({"logits": iv.zero(), "z.1": iv.zero()}),
        torch.no_grad(),
    ):
        found.hf.model(torch.tensor([PROMPT]))  # type: ignore[operator]
    with found.editing({"logits": iv.zero()}):
        assert (found.trace(PROMPT).logits == 0).all()
    with found.editing({"logits": iv.zero()}):
        pass  # no forward, nothing to miss
    with pytest.raises(ZeroDivisionError), found.editing({"logits": iv.zero()}):
        _ = 1 // 0  # the error of the block is not replaced


@pytest.mark.parametrize(
    "options",
    [{"sites": ["z.1"]}, {"edits": {"z.1": iv.zero()}}, {"sites": ["pattern.1"]}],
    ids=["kept", "edited", "inner"],
)
def test_a_requested_site_that_does_not_fire_is_an_error(options: dict[str, Any]) -> None:
    found = load(build("gpt2"))
    found.close()
    with pytest.raises(UnavailableError, match="did not occur in this forward pass"):
        found.trace(PROMPT, **options)
    with pytest.raises(UnavailableError, match="did not occur"):
        found.generate(PROMPT, **options)


# ── nothing is left behind ───────────────────────────────────────────────────────────────────────────


def state(found: Model) -> dict[str, Any]:
    """Everything that a call could leave changed."""
    named = [*found.hf.named_parameters(), *found.hf.named_buffers()]
    return {
        "run": RUN.get(),
        "hooks": hooks(found.hf),
        "tensors": [(name, id(t), t._version, t.dtype, t.device, t.requires_grad, t.grad is None) for name, t in named],
        "values": [t.detach().double().sum().item() for _, t in named],
        "training": [module.training for module in found.hf.modules()],
        "attention": found.hf.config._attn_implementation,
        "unavailable": dict(found.unavailable),
        "rng": torch.get_rng_state().tolist(),
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }


def hooks(hf: nn.Module) -> list[int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [len(getattr(module, kind)) for module in hf.modules() for kind in kinds]


class Stop(Exception):
    """Raised on purpose."""


def failing(error: type[BaseException]) -> iv.Intervention:
    def function(_: Tensor) -> Tensor:
        raise error("on purpose")

    return function


def cancelling(after: int) -> Any:
    count = iter(range(after))
    return listening(lambda *_: next(count, None) is not None)


def raising(*_: Any) -> bool:
    raise Stop


def broken_body(found: Model, error: type[BaseException]) -> None:
    with found.editing({"resid_pre.1": iv.zero(), "pattern.1": iv.zero()}):
        logits_of(found)
        raise error("on purpose")


def cancelled(call: Callable[..., Any], after: int, *args: Any, **options: Any) -> None:
    with cancelling(after):
        call(*args, **options)


def interrupted_listener(found: Model) -> None:
    with listening(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)):
        found.trace(PROMPT)


WAYS_TO_END: dict[str, tuple[type[BaseException] | None, Callable[[Model], Any]]] = {
    "trace": (None, lambda m: m.trace(ids(3), sites=m.sites(), edits={"z.1.2": iv.noise(1.0, 3)}, pad="left")),
    "gradients": (None, lambda m: m.trace(PROMPT, sites=["z.1"], grad=True).logits.sum()),
    "generation": (None, lambda m: m.generate(PROMPT, max_new_tokens=4, temperature=1.5, edits={"k.1": iv.zero()})),
    "files and names": (None, lambda m: (m.summary(), m.recipe(), m.layer_names(), m.sites())),
    "lens": (None, lambda m: m.unembed(m.trace(PROMPT, sites=["resid_post.1"])["resid_post.1"])),
    "error in an edit": (Stop, lambda m: m.trace(PROMPT, edits={"resid_pre.1": failing(Stop)})),
    "error in attention": (Stop, lambda m: m.trace(PROMPT, edits={"pattern.1.2": iv.at(failing(Stop), -1)})),
    "error with gradients": (Stop, lambda m: m.trace(PROMPT, edits={"z.1": failing(Stop)}, grad=True)),
    "error in a nested trace": (
        Stop,
        lambda m: m.trace(PROMPT, edits={"z.1": lambda _: m.trace(PROMPT, edits={"q.0": failing(Stop)}).logits}),
    ),
    "error while generating": (Stop, lambda m: m.generate(PROMPT, edits={"v.1": failing(Stop)})),
    "error in a later step": (
        Stop,
        lambda m: m.generate(PROMPT, edits={"v.1": iv.at(failing(Stop), 7)}, max_new_tokens=8, stop_tokens=[]),
    ),
    "error in a callback": (Stop, lambda m: m.generate(PROMPT, callback=raising)),
    "error in the body of editing": (Stop, lambda m: broken_body(m, Stop)),
    "broken contract": (EditError, lambda m: m.trace(PROMPT, edits={"mlp_out.1": lambda x: x[:, :1]})),
    "unknown site": (SiteError, lambda m: m.trace(PROMPT, sites=["resid"])),
    "interrupt in an edit": (KeyboardInterrupt, lambda m: m.trace(PROMPT, edits={"z.1": failing(KeyboardInterrupt)})),
    "interrupt in the body": (KeyboardInterrupt, lambda m: broken_body(m, KeyboardInterrupt)),
    "interrupt in a listener": (KeyboardInterrupt, interrupted_listener),
    "exit in an edit": (SystemExit, lambda m: m.generate(PROMPT, edits={"z.1": failing(SystemExit)})),
    "cancelled at once": (Cancelled, lambda m: cancelled(m.trace, 0, PROMPT, sites=["pattern.*"])),
    "cancelled between layers": (Cancelled, lambda m: cancelled(m.trace, 2, PROMPT, edits={"pattern.0": iv.zero()})),
    "cancelled with gradients": (Cancelled, lambda m: cancelled(m.trace, 1, PROMPT, grad=True)),
    "cancelled while generating": (Cancelled, lambda m: cancelled(m.generate, 10, PROMPT, temperature=1.0)),
}


@pytest.mark.parametrize("way", WAYS_TO_END)
@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_nothing_is_left_behind(case: str, way: str) -> None:
    found = model(case)
    calls: list[int] = []
    handle = found.blocks[1].register_forward_hook(lambda *_: calls.append(1))
    try:
        before, clean = state(found), logits_of(found)
        expected, call = WAYS_TO_END[way]
        if expected is None:
            call(found)
        else:
            with pytest.raises(expected):
                call(found)
        assert state(found) == before
        calls.clear()
        assert torch.equal(logits_of(found), clean)
        assert calls == [1]
        assert torch.equal(found.trace(PROMPT).logits, clean)
    finally:
        handle.remove()


def test_reports_outside_of_any_listener_are_free() -> None:
    report("nothing", 0)
    with listening(lambda *_: False), pytest.raises(Cancelled, match="work was cancelled after 3 of 7"):
        report("work", 3, 7)
    report("nothing", 0)


# ── any order of anything ────────────────────────────────────────────────────────────────────────────

NAMES = ["resid_pre.1", "resid_post.0", "z.1", "z.1.2", "mlp_out.2", "neurons.1.7", "q.0", "k.1.1", "v.2", "pattern.1"]
NAMES += ["scores.2", "attn_out.1", "resid_mid.1", "logits", "final_norm"]
EDITS = [iv.zero(), iv.scale(2.0), iv.add(0.5), iv.noise(1.0, 1), iv.at(iv.zero(), -1), iv.at(iv.scale(3.0), [0, 2])]
EDITS += [lambda x: x.mul_(2), iv.compose(iv.scale(-1.0), iv.clamp(-1.0, 1.0))]
ERRORS = st.sampled_from([Stop, KeyboardInterrupt, ZeroDivisionError, GeneratorExit])
SITES = st.lists(st.sampled_from(NAMES), max_size=3)
PLACED = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(EDITS), max_size=3)


class Anything(RuleBasedStateMachine):
    """Random work on one model; a twin without us gets the same hooks of the user, and stays its equal to the bit."""

    case = "llama"

    def __init__(self) -> None:
        super().__init__()
        self.found, self.twin = model(self.case), plain(self.case)
        self.before = state(self.found)
        self.users: list[list[Any]] = []

    def teardown(self) -> None:
        while self.users:
            self.remove(0)
        assert state(self.found) == self.before

    @rule(sites=SITES, edits=PLACED, grad=st.booleans())
    def trace(self, sites: list[str], edits: dict[str, Any], grad: bool) -> None:
        self.found.trace(PROMPT, sites=sites, edits=edits, grad=grad)

    @rule(sites=SITES, edits=PLACED, cache=st.booleans(), temperature=st.sampled_from([0.0, 1.0]))
    def generate(self, sites: list[str], edits: dict[str, Any], cache: bool, temperature: float) -> None:
        self.found.generate(PROMPT, max_new_tokens=3, sites=sites, edits=edits, cache=cache, temperature=temperature)

    @rule(site=st.sampled_from(NAMES), error=ERRORS, generating=st.booleans())
    def fail(self, site: str, error: type[BaseException], generating: bool) -> None:
        call = self.found.generate if generating else self.found.trace
        with pytest.raises(error):
            call(PROMPT, edits={site: failing(error)})

    @rule(after=st.integers(0, 2), sites=SITES)
    def cancel(self, after: int, sites: list[str]) -> None:
        with pytest.raises(Cancelled), cancelling(after):
            self.found.trace(PROMPT, sites=sites)

    @rule(outer=st.sampled_from(NAMES), edits=PLACED, fails=st.booleans())
    def nest(self, outer: str, edits: dict[str, Any], fails: bool) -> None:
        def function(value: Tensor) -> Tensor:
            self.found.trace(PROMPT, edits=edits)
            self.compare_inside()
            if fails:
                raise Stop
            return value

        if fails:
            with pytest.raises(Stop):
                self.found.trace(PROMPT, edits={outer: function})
        else:
            assert torch.equal(
                self.found.trace(PROMPT, edits={outer: function}).logits,
                self.found.trace(PROMPT, edits={outer: lambda x: x}).logits,
            )

    @rule(edits=PLACED, error=st.none() | ERRORS)
    def edit_block(self, edits: dict[str, Any], error: type[BaseException] | None) -> None:
        edits = {site: edit for site, edit in edits.items() if not isinstance(edit, iv.At)}
        try:
            with self.found.editing(edits):
                self.compare_inside()
                if error is not None:
                    raise error
        except BaseException as caught:
            assert type(caught) is error  # noqa: PT017

    def compare_inside(self) -> None:
        """In an edit nothing is edited; in a block of `editing` a trace is edited as a forward by hand is."""
        assert torch.equal(logits_of(self.found), self.found.trace(PROMPT).logits)

    @rule(layer=st.integers(0, 2), factor=st.sampled_from([0.5, 1.5]))
    def install(self, layer: int, factor: float) -> None:
        """The user's own hook."""
        self.users.append([
            hf.get_submodule(f"model.layers.{layer}").register_forward_hook(lambda _m, _a, output: output * factor)
            for hf in (self.found.hf, self.twin)
        ])  # fmt: skip

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def uninstall(self, data: Any) -> None:
        self.remove(data.draw(st.integers(0, len(self.users) - 1)))

    def remove(self, number: int) -> None:
        for handle in self.users.pop(number):
            handle.remove()

    @invariant()
    def logits_are_those_of_the_twin(self) -> None:
        with torch.no_grad():
            expected = self.twin(torch.tensor([PROMPT])).logits
        assert torch.equal(logits_of(self.found), expected)
        assert torch.equal(self.found.trace(PROMPT).logits, expected)
        assert RUN.get() is None
        ours = sum(self.before["hooks"]) + len(self.users)
        assert sum(hooks(self.found.hf)) == ours
        assert torch.is_grad_enabled()
        assert torch.get_rng_state().tolist() == self.before["rng"]


TestAnything = Anything.TestCase
TestAnything.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


# ── nothing is absorbed ──────────────────────────────────────────────────────────────────────────────

PASSED_ON = {
    "fluoroscope.render.figure_text.font": "to matplotlib, which refuses what a text does not have",
    "fluoroscope.loading.load": "to transformers, which refuses what it does not know",
    "fluoroscope.registry.run": "to the specification of the analysis",
    "fluoroscope.forward.inputs": "only what the module declares is passed, by the table of its callers",
    "fluoroscope.interpretable.causal.patching.CausalTrace.metric": "to recoveries.tokens or to the function passed",
    "fluoroscope.server.frames.frame": "nothing is asked for by them: they are the named parts of the message",
    "fluoroscope.server.settings.Settings.read": "to Settings, which has no such field",
    "fluoroscope.stepwise.about": "nothing is asked for by them: they are the parameters that a folder is of",
    "fluoroscope.methods.steering.say": "to Model.generate, which has no such parameter",
    "fluoroscope.attention.attend": "what transformers hands to an attention function",
    **dict.fromkeys(
        (
            "fluoroscope.analyzer.ModelAnalyzer.generate",
            "fluoroscope.analyzer.ModelAnalyzer.generate_with_steering",
            "fluoroscope.analyzer.ModelAnalyzer.generate_with_patching",
            "fluoroscope.analyzer.ModelAnalyzer.analyze_generation_token",
            "fluoroscope.compat.intervention.steer_generation",
            "fluoroscope.compat.intervention.generated",
            "fluoroscope.compat.visualization.reduce_dimensions",
            "fluoroscope.compat.visualization.plot_embeddings_2d",
            "fluoroscope.compat.visualization.plot_embeddings_3d",
        ),
        "to model_loader.known_options, which names the nearest",
    ),
}


def callables() -> Iterator[tuple[str, Any]]:
    """Every public function and method of the package."""
    for info in pkgutil.walk_packages(fluoroscope.__path__, "fluoroscope."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != info.name:
                continue
            if inspect.isfunction(thing):
                yield f"{info.name}.{name}", thing
            elif inspect.isclass(thing):
                for method, function in vars(thing).items():
                    function = getattr(function, "__func__", function)
                    if not method.startswith("_") and inspect.isfunction(function):
                        yield f"{info.name}.{name}.{method}", function


def test_no_public_callable_absorbs_keywords() -> None:
    named = dict(callables())
    assert len(named) > 100
    absorbing = {
        name
        for name, function in named.items()
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    }
    assert absorbing <= set(PASSED_ON), "say in PASSED_ON where unknown keywords go, and test that they are refused"


def test_unknown_keywords_are_refused(tiny_folder: str) -> None:
    found = model("gpt2")
    analyzer = ModelAnalyzer(load(tiny_folder))
    calls: list[Callable[[], Any]] = [
        lambda: found.trace(PROMPT, site=["z.1"]),  # type: ignore[call-arg]
        lambda: found.generate(PROMPT, max_tokens=3),
        lambda: found.generate(PROMPT, attention_mask=None),
        lambda: found.trace(PROMPT).save("x.pt", compress=True),  # type: ignore[call-arg]
        lambda: load(tiny_folder, totally_bogus=1),
        lambda: load(found.hf, totally_bogus=1),
        lambda: registry.run("next_token", found, prompt=PROMPT, tops=3),
        lambda: iv.at(iv.zero(), position=1),  # type: ignore[call-arg]
        lambda: analyzer.generate("ab", tops=3),
        lambda: analyzer.generate_with_steering("ab", ["a"], ["b"], tops=3),
        lambda: analyzer.generate_with_patching("ab", [], 3, tops=3),
        lambda: analyzer.analyze_generation_token("ab", tops=3),
        lambda: steer_generation(analyzer.xray, None, "ab", torch.ones(24), 0, tops=3),
        lambda: generated(analyzer.xray, "ab", [], 3, tops=3),
        lambda: causal_trace(found, PROMPT, [5, 6, 7, 8, 3]).metric("logit_diff", tops=3),
        lambda: Settings.read({}, modell="a"),
        lambda: reduce_dimensions(torch.randn(5, 4), components=2),
        lambda: plot_embeddings_2d(torch.randn(5, 4), label="a"),
        lambda: plot_embeddings_3d(torch.randn(5, 4), label="a"),
    ]
    for call in calls:
        with pytest.raises((TypeError, FluoroscopeError)):
            call()
    with pytest.raises(AttributeError, match="letters"):
        Figure().text(0, 0, "a", **font(letters=8))


# ── attention written out ────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def reference(
    found: Model, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor,
    scores_edit: iv.Intervention, pattern_edit: iv.Intervention,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Scores, pattern and z, one head, row and query at a time."""
    config, attn = found.hf.config, found.blocks[layer].get_submodule(found.architecture.attn)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * 3
    window = getattr(config, "sliding_window", None) if kinds[layer] == "sliding_attention" else None
    cap = getattr(config, "attn_logit_softcapping", None)
    sinks = getattr(attn, "sinks", None)
    scale = getattr(attn, "scaling", None) or q.shape[-1] ** -0.5
    batch, heads, length, _ = q.shape
    scores = torch.full((batch, heads, length, length), torch.finfo(q.dtype).min)
    for row in range(batch):
        for head in range(heads):
            kv = head // (heads // k.shape[1])
            for query in range(length):
                for key in range(query + 1):
                    if mask[row, key] and (window is None or query - key < window):
                        score = scale * (q[row, head, query] @ k[row, kv, key])
                        scores[row, head, query, key] = score if cap is None else cap * torch.tanh(score / cap)
    scores = scores_edit(scores)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    total = weights.sum(-1, keepdim=True)
    if sinks is not None:
        total = total + (sinks[None, :, None, None] - scores.amax(-1, keepdim=True)).exp()
    pattern = pattern_edit(weights / total)
    values = v.repeat_interleave(heads // v.shape[1], dim=1)
    return scores, pattern, torch.einsum("bhqk,bhkd->bqhd", pattern, values)


ATTENDED = [
    "gpt2",
    "llama",
    "mistral",
    "gemma2",
    "gemma3_text",
    "gpt_oss",
    "cohere2",
    "granite",
    "qwen2",
    "deepseek_v3",
]


def strengthened(value: Tensor) -> Tensor:
    """Twice as sure, and no head 2."""
    value = torch.where(value < -1e30, value, value * 2)
    value[:, 2] = value[:, 2] * 0.25
    return value


@pytest.mark.parametrize("edited", ["none", "scores", "pattern", "both"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("case", ATTENDED)
def test_attention_is_what_it_says_when_scores_or_pattern_change(case: str, layer: int, edited: str) -> None:
    found = model(case)
    scores_edit, pattern_edit = (
        strengthened if edited in (name, "both") else (lambda value: value) for name in ("scores", "pattern")
    )
    sites = [f"{name}.{layer}" for name in ("q", "k", "v", "scores", "pattern", "z", "attn_out")]
    edits = {f"scores.{layer}": scores_edit, f"pattern.{layer}": pattern_edit} if edited != "none" else None
    tokens = found.tokens([ids(1)[0][:11], ids(1)[0][4:11]], pad="left")
    trace = found.trace(tokens, sites=sites, edits=edits)
    q, k, v = (trace[f"{name}.{layer}"] for name in "qkv")
    written_out = reference(found, layer, q, k, v, tokens.mask, scores_edit, pattern_edit)
    for name, expected in zip(("scores", "pattern", "z"), written_out, strict=True):
        axis = Site(name, layer).kind.position_axis
        value, other = (real(x.movedim(axis, 1), tokens) for x in (trace[f"{name}.{layer}"], expected))
        if name == "scores":
            assert torch.equal(value < -1e30, other < -1e30)
            value, other = (x.masked_fill(x < -1e30, 0) for x in (value, other))
        assert relative(value, other) < 3e-6, name
    if edited != "none":
        clean = found.trace(tokens, sites=[f"attn_out.{layer}"])
        assert not torch.allclose(trace[f"attn_out.{layer}"], clean[f"attn_out.{layer}"])


@pytest.mark.parametrize("case", ["llama", "mistral", "gemma3_text", "qwen2", "deepseek_v3"])
def test_layers_that_are_not_looked_into_keep_their_bits(case: str) -> None:
    """Layer 1 is computed explicitly; before it nothing differs, and after it nothing but its consequences."""
    found = model(case)
    sites = ["resid_post.0", "q.1", "k.1", "v.1", "z.2", "resid_post.2"]
    clean = found.trace(ids(3), sites=[*sites, "resid_pre.2"], pad="left")
    looked = found.trace(ids(3), sites=[*sites, "pattern.1"], pad="left")
    for site in sites[:4]:
        assert torch.equal(looked[site], clean[site]), site
    restored = iv.replace(clean["resid_pre.2"])
    again = found.trace(ids(3), sites=[*sites, "pattern.1"], edits={"resid_pre.2": restored}, pad="left")
    assert torch.equal(again["z.2"], clean["z.2"])
    assert torch.equal(again.logits, clean.logits)
