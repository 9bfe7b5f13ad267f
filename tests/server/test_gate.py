"""The gate against hosts and origins by the hundred, on every route that the application has."""

import json
import random
import re
import socket
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Mount, WebSocketRoute

from fluoroscope.server import gate, serve
from fluoroscope.server.app import application
from fluoroscope.server.gate import Gate, host_name
from fluoroscope.server.settings import Settings
from server.asgi import ask, scope
from server.labs import routes_of

TOKEN = "a-token-of-many-characters"
ROUTES = {
    "/api/health GET HEAD", "/api/ready GET HEAD", "/api/model GET HEAD", "/api/model POST", "/api/analyses GET HEAD",
    "/api/analyses/{name} POST", "/api/analyses/{name} socket", "/api/session socket", "/api/presets GET HEAD",
    "/api/graph/dot POST", "/api/graph/graphml POST",
    "/api/analyze POST", "/api/patch POST", "/ws/analyze socket", "/openapi.json GET HEAD",
    "/api/word POST", "/api/runs GET HEAD", "/api/runs POST", "/api/runs/{id} GET HEAD",
}  # fmt: skip
"""A new route is written down here by somebody who has thought about who may use it."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")

HOSTS = [
    "", "evil.example", "localhost.evil.example", "evil.localhost", "localhost.", "127.0.0.1.evil.example", "127.1",
    "0.0.0.0", "2130706433", "0x7f.1", "017700000001", "[::]", "::1", "[::1", "::1]", "[::ffff:127.0.0.1]",
    "localhost@evil",
    "evil@localhost", "localhost:80:80", "localhost:", "localhost:evil", "localhost:²", "local host", "localhost/", " ",
    "localhost\t", "loсalhost".encode().decode("latin1"), "xn--lcalhost-5nf", "127.0.0.1%00", "127.0.0.1#",
    "user:pw@127.0.0.1",
]  # fmt: skip

ORIGINS = [
    "null", "", "http://evil.example", "http://localhost", "http://localhost:8321.evil.example", "http://localhost:83210",
    "http://localhost:832", "http://localhost:8321/", "http://localhost:8321 ", "https://localhost:8321", "ws://localhost:8321",
    "http://LOCALHOST:8321", "http://localhost.:8321", "http://evil@localhost:8321", "http://localhost:8321@evil.example",
    "http://127.0.0.1:8321", "http://[::1]:8321", "http://0.0.0.0:8321", "http://evil.localhost:8321", "localhost:8321",
    "http://xlocalhost:8321", "http://localhostx:8321", "file://", "chrome-extension://abc", "http://loсalhost:8321",
    "http://xn--lcalhost-5nf:8321", "http://localhost:8321, http://localhost:8321", "http://localhost:8321#", "*",
]  # fmt: skip


PARTS = ("", "evil.example", "localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost.", "lоcalhost", "0", "null")


def made(count: int, form: str) -> list[str]:
    """Names that look like the lab's own: prefixes, suffixes, users, ports, brackets and cases of them, at random."""
    rng, found = random.Random(0), dict.fromkeys(())
    while len(found) < count:
        head, user, tail = (rng.choice(PARTS) for _ in range(3))
        joints = rng.choice(("", ".", "@", "-", "%00", "/", "#", " ", ",", "\\")), rng.choice(("", ".", ":", "@", "/"))
        port = rng.choice(("", ":8321", ":80", ":", ":83210", ":8321.evil", ":-1", ":8321 "))
        name = form.format(f"{head}{joints[0]}{user}{joints[1]}{tail}{port}").encode().decode("latin1")
        if host_name(re.sub("^[a-z]*://", "", name)) not in Settings().names:
            found[name] = None
    return list(found)


@pytest.fixture(scope="module")
def open_gate():
    return application(Settings(model="nowhere"))


@pytest.fixture(scope="module")
def token_gate():
    return application(Settings(model="nowhere", host="0.0.0.0", hosts=("lab.example",), token=TOKEN))


def addresses(gate: Gate):
    """(kind, path, methods) of every route, those inside of mounts as well."""
    for route in routes_of(gate):
        path = route.path.replace("{name}", "next-token") or "/"
        if isinstance(route, WebSocketRoute):
            yield "websocket", path, ("GET",)
        else:
            yield "http", path, METHODS


def test_what_is_served_is_the_gate_and_behind_it_is_what_was_thought_about(open_gate):
    assert isinstance(serve.config(Settings()).app, Gate)
    found = set()
    for route in routes_of(open_gate):
        if isinstance(route, Mount):
            assert route.path == ""
        elif route.path != "/":
            found.add(
                f"{route.path} {'socket' if isinstance(route, WebSocketRoute) else ' '.join(sorted(route.methods))}"
            )
    assert found == ROUTES


@pytest.mark.parametrize("host", [*HOSTS, None])
def test_no_route_answers_to_a_foreign_host(open_gate, host):
    for kind, path, methods in addresses(open_gate):
        for method in methods:
            headers = {} if host is None else {"host": host}
            status, answered, _ = ask(open_gate, scope(kind, path, headers, method))
            assert status == 400, (kind, path, method)
            assert "frame-ancestors 'none'" in answered["content-security-policy"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_route_answers_to_a_foreign_origin(open_gate, origin):
    headers = {"host": "localhost:8321", "origin": origin.encode().decode("latin1"), "content-type": "application/json"}
    for kind, path, methods in addresses(open_gate):
        for method in methods:
            assert ask(open_gate, scope(kind, path, headers, method))[0] == 403, (kind, path, method)


def test_no_socket_opens_to_any_of_300_made_names_and_origins(open_gate):
    sockets = [path for kind, path, _ in addresses(open_gate) if kind == "websocket"]
    assert len(sockets) == 3
    origins = [*made(150, "http://{}"), *made(50, "https://{}"), *ORIGINS]
    for path in sockets:
        for host in [*made(100, "{}"), *HOSTS]:
            assert ask(open_gate, scope("websocket", path, {"host": host}))[0] == 400, (path, host)
        for origin in origins:
            named = {"host": "localhost:8321", "origin": origin.encode().decode("latin1")}
            status, headers, body = ask(open_gate, scope("websocket", path, named))
            assert status == 403, (path, origin)
            assert json.loads(body)["hint"]
            assert "'unsafe-inline'" not in headers["content-security-policy"]


@given(st.text(string.ascii_letters + string.digits + ".:[]@/-_%#?&=\\ é", max_size=30))
def test_only_exact_names_are_hosts(text):
    expected = {"localhost", "127.0.0.1", "[::1]"}
    known = text.lower() in expected or any(
        text.lower().startswith(f"{name}:") and text[len(name) + 1 :].isdecimal() for name in expected
    )
    assert (host_name(text) in Settings().names) == known


@given(st.text(string.ascii_lowercase + string.digits + ".:[]@/-", max_size=30))
def test_only_the_exact_origin_opens_a_socket(text):
    origin = f"http://{text}"
    guard = Gate(None, Settings())
    refused = guard.refusal(scope("websocket", "/api/session", {"host": "localhost:8321", "origin": origin}))
    assert (refused is None) == (origin == "http://localhost:8321")


def test_two_hosts_two_origins_and_addresses_of_other_servers_are_refused():
    guard = Gate(None, Settings())
    assert guard.refusal(scope("http", "/", [("host", "localhost"), ("host", "localhost")]))[0] == 400
    pair = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")]
    assert guard.refusal(scope("websocket", "/api/session", pair))[0] == 403
    assert guard.refusal(scope("http", "http://localhost/", {"host": "localhost"}))[0] == 400
    assert guard.refusal(scope("http", "*", {"host": "localhost"}, "OPTIONS"))[0] == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:8321", "[::1]"])
def test_its_own_names_enter(open_gate, host):
    assert ask(open_gate, scope("http", "/api/health", {"host": host}))[0] == 200
    own = {"host": host, "origin": f"http://{host.lower()}", "cookie": "a=b"}
    assert ask(open_gate, scope("websocket", "/api/session", own))[0] == 101


def test_a_socket_with_a_cookie_has_an_origin():
    guard = Gate(None, Settings())
    assert guard.refusal(scope("websocket", "/api/session", {"host": "localhost"})) is None
    assert guard.refusal(scope("websocket", "/api/session", {"host": "localhost", "cookie": "a=b"}))[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "elsewhere", ""])
def test_another_site_asks_for_nothing_but_may_link(open_gate, site):
    for kind, path, methods in addresses(open_gate):
        for method in methods:
            headers = {"host": "localhost", "sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
            assert ask(open_gate, scope(kind, path, headers, method))[0] == 403, (kind, path, method)
    link = {"host": "localhost", "sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert ask(open_gate, scope("http", "/api/health", link))[0] == 200
    assert ask(open_gate, scope("http", "/api/analyze", link, "POST"))[0] == 403


FORMS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "", "text/json"]


@pytest.mark.parametrize("kind", FORMS)
def test_what_a_form_can_send_changes_nothing(open_gate, kind):
    for path in ("/api/model", "/api/graph/dot", "/api/analyses/next-token", "/api/analyze", "/api/patch"):
        headers = {"host": "localhost", "content-type": kind}
        assert ask(open_gate, scope("http", path, headers, "POST"), b'{"prompt": "a"}')[0] == 415


def test_methods_that_a_route_does_not_have_are_refused(open_gate):
    for route in routes_of(open_gate):
        if not isinstance(route, WebSocketRoute | Mount):
            same = [other for other in routes_of(open_gate) if getattr(other, "path", "") == route.path]
            known = {name for other in same for name in getattr(other, "methods", None) or ()}
            path = route.path.replace("{name}", "next-token")
            for method in set(METHODS) - known:
                status, headers, body = ask(open_gate, scope("http", path, {"host": "localhost"}, method))
                assert status in (404, 405), (path, method)
                assert b'"error"' in body
                assert "content-security-policy" in headers


WRONG = (
    {}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": f"Basic {TOKEN}"},
    {"cookie": f"fluoroscope={TOKEN}", "origin": "http://lab.example"}, {"authorization": "Bearer é\xff"},
    {"cookie": "fluoroscope=\x80; =;;", "origin": "http://lab.example"},
)  # fmt: skip


def test_without_the_token_no_route_answers(token_gate):
    for kind, path, methods in addresses(token_gate):
        for wrong in WRONG:
            for method in set(methods) - {"OPTIONS"}:
                asked = scope(kind, path, {"host": "lab.example", **wrong}, method)
                asked["client"] = (f"{method}-{path}", 1)
                status, answered, body = ask(token_gate, asked)
                assert status == 401, (kind, path, method, wrong)
                assert TOKEN.encode() not in body + str(answered).encode()


def test_the_token_enters_by_the_header_everywhere_and_by_the_address_of_the_page_alone(token_gate):
    for kind, path, _ in addresses(token_gate):
        headers = {"host": "lab.example:8321", "authorization": f"Bearer {TOKEN}"}
        if path != "/api/model":  # which waits for a model
            assert ask(token_gate, scope(kind, path, headers))[0] not in (400, 401, 403)
    for path in ("/api/health", "/api/model", "//", "/index.html", "/api/session"):
        assert ask(token_gate, scope("http", f"{path}?token={TOKEN}", {"host": "lab.example"}))[0] == 401
    asked = scope("websocket", f"/api/session?token={TOKEN}", {"host": "lab.example", "origin": "http://lab.example"})
    assert ask(token_gate, asked)[0] == 401
    status, headers, _ = ask(token_gate, scope("http", f"/?token={TOKEN}", {"host": "lab.example"}))
    assert (status, headers["location"]) == (303, "./")
    cookie, *marks = headers["set-cookie"].split("; ")
    assert set(marks) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    assert TOKEN not in cookie
    known = {"host": "lab.example", "cookie": f"other=1; {cookie}", "origin": "http://lab.example"}
    assert ask(token_gate, scope("http", "/api/health", known))[0] == 200
    assert ask(token_gate, scope("websocket", "/api/session", known))[0] == 101


def test_a_named_origin_is_told_that_it_may_read_and_no_other():
    guard = application(Settings(model="nowhere", origins=("http://localhost:5173",)))
    theirs = {"host": "localhost:8000", "origin": "http://localhost:5173", "sec-fetch-site": "same-site"}
    status, headers, _ = ask(guard, scope("http", "/api/health", theirs))
    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, "http://localhost:5173", "origin")
    status, headers, _ = ask(guard, scope("http", "/api/analyze", theirs, "OPTIONS"))
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST")
    assert headers["access-control-allow-headers"] == "content-type, authorization"
    assert ask(guard, scope("websocket", "/ws/analyze", theirs))[0] == 101
    own = {"host": "localhost:8000", "origin": "http://localhost:8000"}
    assert "access-control-allow-origin" not in ask(guard, scope("http", "/api/health", own))[1]
    foreign = {"host": "localhost:8000", "origin": "http://localhost:5174"}
    assert ask(guard, scope("http", "/api/analyze", foreign, "OPTIONS"))[0] == 403


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_may_not_be_long(open_gate, declared):
    headers = {"host": "localhost", "content-type": "application/json"}
    long = b'{"prompt": "' + b"a" * gate.MAX_BODY + b'"}'
    length = {"content-length": str(len(long))} if declared else {}
    status, _, body = ask(open_gate, scope("http", "/api/analyze", headers | length, "POST"), long)
    assert status == 413
    assert b"hint" in body


def test_sockets_are_counted_and_let_go(open_gate, monkeypatch):
    monkeypatch.setattr(gate, "MAX_SOCKETS", 1)
    for _ in range(3):
        assert ask(open_gate, scope("websocket", "/api/session", {"host": "localhost"}))[0] == 101
    monkeypatch.setattr(gate, "MAX_SOCKETS", 0)
    asked = scope("websocket", "/api/session", {"host": "localhost"})
    status, headers, body = ask(open_gate, asked)
    assert (status, json.loads(body)["hint"]) == (503, "Close a page of the lab.")
    assert headers["retry-after"] == "1"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    asked["extensions"] = {}  # a server that can refuse a socket by 403 alone
    assert ask(open_gate, asked)[0] == 403


RAW = [
    b"GET http://evil.example/api/health HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET http://localhost/api/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
    b"GET /api/health HTTP/1.0\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\n Host: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"\x16\x03\x01\x02\x00", b"\x00" * 100, b"GET\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", RAW, ids=range(len(RAW)))
def test_raw_requests_that_are_not_for_this_server(lab, sent):
    with socket.create_connection(("127.0.0.1", lab.port), timeout=10) as raw:
        raw.sendall(sent + b"\r\n\r\n")
        answer = raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"frame-ancestors 'none'" in answer.partition(b"\r\n\r\n")[0]
