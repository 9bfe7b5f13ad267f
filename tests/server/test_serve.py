"""The command itself, in a process of its own: what it binds, prints and logs, and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fluoroscope.cli.main import outcome
from fluoroscope.errors import ArgumentError
from fluoroscope.server import serve, wire
from fluoroscope.server.settings import Settings
from server.labs import heard, serving

TOKEN = "canary-token-0123456789abcdef"
SLOW = Path(__file__).parent / "slow.py"


class Running:
    """A lab in a process of its own: its address, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, []
        self.started = threading.Event()
        self._reading = [threading.Thread(target=self._read, args=(pipe,)) for pipe in (process.stdout, process.stderr)]
        for reading in self._reading:
            reading.start()
        assert self.started.wait(60), self.text
        self.address = re.search(r"http://\S+", self.text)[0]

    def _read(self, pipe):
        for line in pipe:
            self.said.append(line)
            if "lab at http" in line:
                self.started.set()

    @property
    def text(self) -> str:
        return "".join(self.said)

    def end(self, sign: int) -> int:
        self.process.send_signal(sign)
        status = self.process.wait(20)
        for reading in self._reading:
            reading.join(5)
        return status


@contextmanager
def running(folder, *arguments, command=("-m", "fluoroscope", "lab"), **environment):
    mine = {**os.environ, "FLUOROSCOPE_MODEL": folder, "FLUOROSCOPE_PORT": "0", "PYTHONUNBUFFERED": "1", **environment}
    process = subprocess.Popen(
        [sys.executable, *command, *arguments], env=mine, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def get(address, **headers):
    answer = httpx2.get(address, headers=headers, timeout=20)
    return answer.status_code, answer.headers, answer.text


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, as the kernel says."""
    sockets = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    mine = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    return {
        f"{socket.inet_ntoa(bytes.fromhex(host)[::-1])}:{int(port, 16)}" for host, port in (a.split(":") for a in mine)
    }


def test_a_token_is_in_no_line_no_answer_and_no_argument_and_its_link_opens_once(tiny_folder):
    given = {"FLUOROSCOPE_TOKEN": TOKEN, "FLUOROSCOPE_HOST": "0.0.0.0", "FLUOROSCOPE_HOSTS": "127.0.0.1"}
    with running(tiny_folder, **given) as lab:
        assert listening(lab.process.pid) == {f"0.0.0.0:{lab.address.split(':')[2].split('/')[0]}"}
        base, _, once = lab.address.partition("?token=")
        arguments = Path(f"/proc/{lab.process.pid}/cmdline").read_text()
        answers = [get(f"{base}api/health"), get(f"{base}api/health?token={TOKEN}"), get(f"{base}?token=wrong{TOKEN}")]
        assert [answer[0] for answer in answers] == [401, 401, 401]
        answers += [get(f"{base}api/model", Authorization=f"Bearer {TOKEN}")]
        assert answers[-1][0] == 200
        with pytest.raises(InvalidStatus) as refused, connect(base.replace("http", "ws") + "api/session"):
            pytest.fail("opened")
        assert refused.value.response.status_code == 401

        status, moved, _ = get(lab.address)
        assert (status, moved["location"]) == (303, "./")
        cookie = moved["set-cookie"].split(";")[0]
        answers += [get(f"{base}api/health", Cookie=cookie), get(f"{base}nope", Cookie=cookie)]
        assert answers[-2][0] == 200
        assert get(lab.address)[0] == 401
        lab.end(signal.SIGINT)
        assert TOKEN not in lab.text + arguments + str([(str(answer[1]), answer[2]) for answer in answers]) + cookie
        assert "completing handshake" not in lab.text
        assert once not in "".join(line for line in lab.said if "lab at http" not in line)


def test_it_listens_where_it_says_logs_lines_of_json_and_ctrl_c_ends_it(tiny_folder):
    with running(tiny_folder) as lab:
        assert {f"http://{address}/" for address in listening(lab.process.pid)} == {lab.address}
        socket = lab.address.replace("http", "ws") + "api/session"
        for origin in (lab.address[:-1], None):
            with connect(socket, origin=origin) as page:
                assert json.loads(page.recv(timeout=20))["type"] == "hello"
        with pytest.raises(InvalidStatus) as refused, connect(socket, origin="http://evil.example"):
            pytest.fail("opened")
        assert refused.value.response.status_code == 403
        assert lab.end(signal.SIGINT) == 0
        first, *lines = lab.said
        assert first == f"Fluoroscope lab at {lab.address}  (Ctrl-C ends it)\n"
        assert {json.loads(line)["what"] for line in lines} == {"websocket"}


def test_sigterm_lets_what_runs_finish_and_takes_nothing_new(tiny_folder):
    with running(tiny_folder, command=(str(SLOW),)) as lab:
        found = []
        asking = threading.Thread(target=lambda: found.append(post(f"{lab.address}api/analyses/next-token", "abc")))
        asking.start()
        while "entered" not in lab.text:
            time.sleep(0.01)
        start = time.monotonic()
        status = lab.end(signal.SIGTERM)
        asking.join(10)
        assert found == [200]
        assert status == -signal.SIGTERM
        assert time.monotonic() - start < 10
        with pytest.raises(httpx2.ConnectError):
            get(lab.address)


def post(address: str, prompt: str) -> int:
    return httpx2.post(address, json={"prompt": prompt}, timeout=20).status_code


def test_an_address_that_is_taken_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ArgumentError, match="cannot listen on 127"):
            serve.serve(Settings(port=taken.getsockname()[1]), lambda address: pytest.fail("opened"))


def test_a_foreign_address_without_a_name_does_not_start(capfd, monkeypatch, tmp_path):
    monkeypatch.delenv("FLUOROSCOPE_HOSTS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for token in ("", TOKEN):
        monkeypatch.setenv("FLUOROSCOPE_TOKEN", token)
        assert outcome(["lab", "--host", "0.0.0.0", "--port", "0"]) == 2
        said = capfd.readouterr().err
        assert "FLUOROSCOPE_HOSTS" in said
        assert TOKEN not in said
    assert not list(tmp_path.iterdir())


def test_a_foreign_address_without_a_token_gets_one_in_a_file_of_its_own(tiny_folder, tmp_path):
    given = {"FLUOROSCOPE_TOKEN": "", "FLUOROSCOPE_HOST": "0.0.0.0", "FLUOROSCOPE_HOSTS": "127.0.0.1"}
    with running(tiny_folder, **given, XDG_STATE_HOME=str(tmp_path)) as lab:
        base, _, once = lab.address.partition("?token=")
        file = tmp_path / "fluoroscope" / "lab-token"
        token = file.read_text(encoding="utf8").strip()
        assert file.stat().st_mode & 0o777 == 0o600
        assert [get(f"{base}api/health", Authorization=f"Bearer {word}")[0] for word in (token, "x" * 43)] == [200, 401]
        assert [get(lab.address)[0] for _ in range(2)] == [303, 401]
        environment = Path(f"/proc/{lab.process.pid}/environ").read_bytes()
        lab.end(signal.SIGINT)
        assert token not in lab.text + once + str(environment)
        assert str(file) in lab.text


def test_without_the_extra_the_command_says_how_to_get_it(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "fluoroscope.server.serve", None)
    assert outcome(["lab"]) == 2
    assert "pip install 'fluoroscope[lab]'" in capfd.readouterr().err


def test_small_messages_are_not_held_back(settings):
    """With Nagle's algorithm each message after the first waits 40 ms for an acknowledgement."""
    with serving(settings) as lab, lab.socket() as page:
        heard(page, "hello")
        took = []
        for number in range(8):
            start = time.perf_counter()
            page.send(json.dumps({"type": "live", "run": f"r{number}", "prompt": "abc"}))
            heard(page, "done")
            took.append(time.perf_counter() - start)
        assert min(took) < 0.035


def test_uvicorn_is_told_what_was_measured():
    config = serve.config(Settings())
    assert (config.ws_per_message_deflate, config.ws_max_size, config.access_log) == (False, 1 << 20, False)
    assert (config.timeout_graceful_shutdown, config.proxy_headers, config.http) == (10, False, wire.Http)
