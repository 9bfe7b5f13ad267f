"""The page's socket, against a real server: what is told, when, and that leaving or calling off frees the model."""

import contextlib
import json
import socket as sockets
import threading
import time

import numpy as np
import pytest
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed

import tiny
from fluoroscope import registry
from fluoroscope.server import frames, halfway, messages, session
from server.labs import Held, heard, hooks, serving, wait_for

FROM_SERVER, FRAME = TypeAdapter(messages.FromServer), TypeAdapter(messages.Frame)


@pytest.fixture
def talk(lab):
    with lab.socket() as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "hello"
        yield socket
    wait_for(lambda: lab.models.desk.length == 0)


def say(socket, kind, run="r1", **more):
    socket.send(json.dumps({"type": kind, "run": run, **more}))


def test_every_message_of_a_session_is_of_the_types_that_the_page_is_generated_from(lab, monkeypatch):
    with lab.socket() as page:
        said = heard(page, "hello")
        say(page, "live", "r1", prompt=tiny.PROMPT)
        said += heard(page, "done")
        say(page, "need", "r2", of="r1", layer=1, head=2)
        said.append(page.recv(timeout=10))
        say(page, "run", "r3", analysis="next-token", arguments={"prompt": "abc"})
        said += heard(page, "result")
        say(page, "run", "r4", analysis="nxt-token")
        said += heard(page, "error")
        monkeypatch.setattr(halfway, "PAUSE", 0.0)
        into = {"clean": tiny.PROMPT, "corrupted": tiny.PROMPT[::-1]}
        say(page, "run", "r8", analysis="head-patching", arguments=into)
        said += heard(page, "result", run="r8")
        say(page, "model", "r5", name=lab.models.name)
        said += heard(page, "done")
        page.send("{")
        said += heard(page, "error")
        with Held(lab.models) as held:
            say(page, "live", "r6", prompt="abc")
            assert held.entered.wait(10)
            say(page, "live", "r7", prompt="abc")
            said += heard(page, "progress", run="r7")
            say(page, "cancel", "r6")
            time.sleep(0.05)
            held.go.set()
            said += heard(page, "cancelled") + heard(page, "done", run="r7")
    kinds = set()
    for message in said:
        if isinstance(message, bytes):
            header, parts = frames.read(message)
            kinds.add(FRAME.validate_python(header, strict=True).type)
            assert set(parts) <= {"pattern"}
        else:
            kinds.add(FROM_SERVER.validate_json(json.dumps(message), strict=True).type)
    told = {name for union in (messages.FromServer, messages.Frame) for name in _types(union)}
    assert kinds == told


def _types(union):
    return TypeAdapter(union).json_schema()["discriminator"]["mapping"]


def test_a_layer_is_there_while_the_model_still_computes(lab, talk):
    with Held(lab.models) as held:
        say(talk, "live", prompt=tiny.PROMPT)
        found = []
        while not found or not isinstance(found[-1], bytes):
            found.append(talk.recv(timeout=10))
        header, parts = frames.read(found[-1])
        assert (header["layer"], header["of"]) == (0, 2)
        assert not held.go.is_set()
        assert held.ran == 0  # the last block has not begun
        held.go.set()
        assert heard(talk, "done")
        assert held.ran == 1
    count = len(tiny.PROMPT)
    assert parts["pattern"].shape == (3, count, count)


def test_what_is_streamed_is_what_python_computes_and_whole_patterns_come_on_demand(lab, talk, tiny_model):
    say(talk, "live", prompt=tiny.PROMPT)
    said = heard(talk, "done")
    trace = tiny_model.trace(tiny.PROMPT, ["pattern.*"])
    begun = next(message for message in said if isinstance(message, dict) and message["type"] == "tokens")
    assert begun["ids"] == list(trace.tokens.rows[0])
    layers = [frames.read(message) for message in said if isinstance(message, bytes)]
    for header, parts in layers:
        exact = trace[f"pattern.{header['layer']}"][0].numpy()
        assert np.abs((parts["pattern"] / 255.0) ** 2 - exact).max() < 0.004
        for head in range(3):
            say(talk, "need", "n", of="r1", layer=header["layer"], head=head)
            told, whole = frames.read(talk.recv(timeout=10))
            assert (told["type"], told["layer"], told["head"]) == ("pattern", header["layer"], head)
            np.testing.assert_allclose(whole["pattern"], exact[head], atol=1e-6)


def test_a_pattern_comes_while_another_run_holds_the_model(lab, talk):
    say(talk, "live", prompt="abc")
    heard(talk, "done")
    with Held(lab.models) as held:
        say(talk, "run", "r2", analysis="next_token", arguments={"prompt": "abc"})
        assert held.entered.wait(10)
        say(talk, "need", "r3", of="r1", layer=0, head=0)
        while not isinstance(message := talk.recv(timeout=10), bytes):
            pass
        assert frames.read(message)[0]["type"] == "pattern"
        held.go.set()
        heard(talk, "result")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"of": "other", "layer": 0, "head": 0}, "message"), ({"of": "r1", "layer": 2, "head": 0}, "site"),
        ({"of": "r1", "layer": 0, "head": 3}, "site"), ({"of": "r1", "layer": 0, "head": -1}, "message"),
        ({"of": "r1", "layer": True, "head": 0}, "message"), ({"of": "r1", "layer": 0}, "message"),
    ],
)  # fmt: skip
def test_a_pattern_that_is_not_there_is_refused(talk, asked, error):
    say(talk, "live", prompt="abc")
    heard(talk, "done")
    say(talk, "need", "r2", **asked)
    refused = heard(talk, "error")[-1]
    assert (refused["run"], refused["error"]) == ("r2", error)


def test_cancel_stops_between_layers_and_leaves_the_model_as_it_was(lab, talk, tiny_model):
    expected, count = registry.run("next_token", tiny_model, prompt="abc"), hooks(lab.models)
    for kind, more in (
        ("live", {"prompt": "abc"}),
        ("run", {"analysis": "next-token", "arguments": {"prompt": "abc"}}),
    ):
        with Held(lab.models) as held:
            say(talk, kind, **more)
            assert held.entered.wait(10)
            say(talk, "cancel")
            talk.send("{")
            heard(talk, "error")  # so the message before it has been read
            time.sleep(0.05)
            held.go.set()
            assert heard(talk, "cancelled")[-1]["run"] == "r1"
            wait_for(lambda: lab.models.desk.length == 0)
            assert held.ran == 0
        say(talk, "run", "r2", analysis="next-token", arguments={"prompt": "abc"})
        assert heard(talk, "result")[-1]["result"] == json.loads(expected.to_json())
    assert hooks(lab.models) == count


def test_a_run_that_is_called_off_at_once_says_so(talk):
    for number in range(20):
        say(talk, "run", f"r{number}", analysis="next-token", arguments={"prompt": "abc"})
        say(talk, "cancel", f"r{number}")
        assert heard(talk, "cancelled", "result", run=f"r{number}")


def test_who_hangs_up_frees_the_model_and_nothing_is_kept(lab, tiny_model):
    expected = json.loads(registry.run("next_token", tiny_model, prompt="abc").to_json())
    with lab.socket() as leaving, lab.socket() as waiting, Held(lab.models) as held:
        say(leaving, "live", prompt="abc")
        assert held.entered.wait(10)
        for number in range(5):
            say(leaving, "live", f"q{number}", prompt="abc")
        say(waiting, "run", analysis="next-token", arguments={"prompt": "abc"})
        wait_for(lambda: lab.models.desk.length == 7)
        leaving.close()
        wait_for(lambda: lab.models.desk.length == 2)
        held.go.set()
        assert heard(waiting, "result")[-1]["result"] == expected
        assert held.ran == 1
    wait_for(lambda: not lab.models.kept._passes)


def test_places_in_the_queue_are_told_and_too_many_are_refused(lab, talk):
    with Held(lab.models) as held:
        say(talk, "live", "r0", prompt="abc")
        assert held.entered.wait(10)
        for number in range(1, 9):
            say(talk, "live", f"r{number}", prompt="abc")
        say(talk, "live", "more", prompt="abc")
        said = heard(talk, "error")
        places = {m["run"]: m["done"] for m in said if isinstance(m, dict) and m.get("label") == "queued"}
        assert places == {f"r{number}": number for number in range(1, 9)}
        assert (said[-1]["run"], said[-1]["error"]) == ("more", "busy")
        say(talk, "cancel", "r1")
        moved = heard(talk, "cancelled")
        assert {m["run"]: m["done"] for m in moved if m["type"] == "progress"}["r8"] == 7
        held.go.set()
        heard(talk, "done", run="r8")


def test_a_name_is_free_again_when_its_run_is_over(lab, talk):
    with Held(lab.models) as held:
        say(talk, "live", prompt="abc")
        assert held.entered.wait(10)
        say(talk, "live", prompt="abc")
        refused = heard(talk, "error")[-1]
        assert refused["run"] is None  # or the page would take the first run for ended
        assert "under way" in refused["message"]
        held.go.set()
        heard(talk, "done")
    say(talk, "live", prompt="abc")
    heard(talk, "done")


MALFORMED = ["", "{", "null", "[]", '{"type": "live"}', '{"type": "x", "run": "a"}', '{"run": "a"}',
             '{"type": 1, "run": "a"}',
             '{"type": "live", "run": "a", "prompt": "b", "prompt": "c"}', '{"type": "live", "run": 1, "prompt": "a"}',
             '{"type": "live", "run": "a", "prompt": NaN}', '{"type": "run", "run": "a", "analysis": "../../etc"}',
             '{"type": "live", "run": "a", "prompt": ""}', '{"type": "live", "run": "a", "prompt": "\\ud800"}',
             '{"type": "model", "run": "a", "name": "../secret"}', b"\x00\xff", b""]  # fmt: skip


@pytest.mark.parametrize("message", MALFORMED)
def test_what_cannot_be_read_is_told_and_the_page_goes_on(talk, message):
    talk.send(message)
    refused = heard(talk, "error")[-1]
    assert refused["message"]
    say(talk, "live", "after", prompt="abc")
    heard(talk, "done", run="after")


def giant(page):
    page.send('{"type": "live", "run": "a", "prompt": "' + "a" * (1 << 20) + '"}')
    while True:
        page.recv(timeout=10)


def test_a_giant_message_ends_the_socket_alone(lab):
    with lab.socket() as page:
        heard(page, "hello")
        with pytest.raises(ConnectionClosed) as closed:
            giant(page)
        assert closed.value.rcvd.code == 1009
    with lab.socket() as page:
        heard(page, "hello")


def test_who_asks_and_never_reads_is_not_waited_for(settings, monkeypatch):
    """Its socket fills up, then its questions are no longer read; others are answered."""
    sessions, made = [], session.Session.__init__

    def keep(self, *arguments):
        made(self, *arguments)
        sessions.append(self)

    monkeypatch.setattr(session.Session, "__init__", keep)
    raw, sent = sockets.socket(), []
    for buffer in (sockets.SO_RCVBUF, sockets.SO_SNDBUF):
        raw.setsockopt(sockets.SOL_SOCKET, buffer, 1 << 14)
    with serving(settings, room=4096) as lab:
        raw.connect(("127.0.0.1", lab.port))
        with lab.socket(sock=raw, max_queue=1, close_timeout=0.1) as deaf, lab.socket() as page:
            deaf.recv(timeout=10)
            asking = threading.Thread(target=nonsense, args=(deaf, sent), daemon=True)
            asking.start()
            wait_for(lambda: stuck(sent))
            assert 64 < len(sent) < NONSENSE
            for number in range(20):
                say(page, "run", f"r{number}", analysis="next-token", arguments={"prompt": "abc"})
                heard(page, "result")
                assert len(sessions[0].channel) <= 65
            assert stuck(sent)
            raw.shutdown(sockets.SHUT_RDWR)
            asking.join(10)
        wait_for(lambda: sessions[0].channel.closed)
        assert len(sessions[0].channel) == 0


NONSENSE = 8000


def nonsense(socket, sent):
    with contextlib.suppress(OSError, ConnectionClosed):
        for number in range(NONSENSE):
            say(socket, "nonsense", f"r{number}", more="y" * 1000)
            sent.append(number)


def stuck(sent):
    """Whether nothing more was sent for a while: each question so far was not taken in."""
    before = len(sent)
    time.sleep(0.5)
    return 0 < before == len(sent)


def test_pages_get_the_answers_of_runs_alone(lab, tiny_model):
    prompts = [tiny.CHARACTERS[number : number + 5 + number % 7] for number in range(8)]
    alone = {text: json.loads(registry.run("next_token", tiny_model, prompt=text).to_json()) for text in prompts}
    steered = {
        text: json.loads(registry.run("ablation", tiny_model, prompt=text, sites=["z.1.0"]).to_json())
        for text in prompts
    }
    wrong = []

    def client(text):
        with lab.socket() as page:
            heard(page, "hello")
            for number in range(6):
                name, given, expected = (
                    ("next-token", {}, alone) if number % 2 else ("ablation", {"sites": ["z.1.0"]}, steered)
                )
                while True:
                    say(page, "run", f"r{number}", analysis=name, arguments={"prompt": text, **given})
                    answer = heard(page, "result", "error")[-1]
                    if answer.get("error") != "busy":
                        break
                if answer.get("result") != expected[text]:
                    wrong.append(answer)

    threads = [threading.Thread(target=client, args=(text,)) for text in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_random_cancels_leave_no_stuck_lock(lab, talk):
    rng, count = np.random.default_rng(0), hooks(lab.models)
    for number in range(60):
        say(talk, "live", f"r{number}", prompt="abcdef")
        time.sleep(float(rng.uniform(0, 0.006)))
        say(talk, "cancel", f"r{number}")
        heard(talk, "done", "cancelled", run=f"r{number}")
    wait_for(lambda: lab.models.desk.length == 0)
    assert hooks(lab.models) == count
    say(talk, "live", "last", prompt="abc")
    heard(talk, "done", run="last")
