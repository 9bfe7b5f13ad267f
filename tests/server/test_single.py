"""A socket for one request: told, answered, closed; and stopped when its client hangs up."""

import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from fluoroscope import registry
from server.labs import Held, heard, wait_for


def test_one_request_is_answered_and_the_socket_closed(lab, tiny_model):
    with lab.socket("/api/analyses/next-token") as socket:
        socket.send('{"prompt": "abc"}')
        said = heard(socket, "result")
        assert {message["type"] for message in said[:-1]} == {"progress"}
        assert said[-1]["result"] == json.loads(registry.run("next_token", tiny_model, prompt="abc").to_json())
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd.code == 1000


@pytest.mark.parametrize(
    ("path", "sent", "error"),
    [
        ("/api/analyses/next-token", "{", "message"), ("/api/analyses/next-token", b"\x00", "message"),
        ("/api/analyses/next-token", "{}", "argument"), ("/api/analyses/next-token", '{"prompt": 3}', "argument"),
        ("/api/analyses/nothing", "{}", "analysis"),
        ("/api/analyses/next-token", '{"prompt": "' + "a" * 61 + '"}', "tokens"),
        ("/ws/analyze", '{"prompt": "a", "topk": 3}', "argument"),
        ("/ws/analyze", '{"prompt": "a", "top_k": 0}', "argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(lab, path, sent, error):
    with lab.socket(path) as socket:
        socket.send(sent)
        refused = heard(socket, "error")[-1]
        assert refused["error"] == error
        assert refused["message"]


def test_who_hangs_up_stops_the_work(lab):
    with lab.socket("/api/analyses/next-token") as socket, Held(lab.models) as held:
        socket.send('{"prompt": "abc"}')
        assert held.entered.wait(10)
        socket.close()
        time.sleep(0.1)
        held.go.set()
        wait_for(lambda: lab.models.desk.length == 0)
        assert held.ran == 0


def test_who_says_nothing_holds_nothing(lab):
    with lab.socket("/ws/analyze"), lab.socket("/api/analyses/next-token"), lab.socket():
        assert lab.models.desk.length == 0
