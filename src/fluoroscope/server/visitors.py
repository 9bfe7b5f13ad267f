"""Who is known to a server that asks for a token: by the token itself, by a link that opens once, by a cookie."""

import hmac
import secrets
import time
from collections.abc import Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]

COOKIE = "fluoroscope"
PATIENCE = 10
"""Wrong tokens of one address after which it has to wait."""
_LONGEST = 60.0  # seconds
_ADDRESSES = 1024


class Visitors:
    """Tells who may enter.

    The token is taken as `Authorization: Bearer …`, and in the address of the page alone, which exchanges it for a
    cookie that no script can read, and that is another word than the token.

    Args:
        token: None where everybody may enter.
        once: a word that is taken in the address in place of the token, one time.
        clock: seconds.
    """

    def __init__(self, token: str | None, once: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.token, self._once, self._clock = token, once, clock
        self._key = secrets.token_urlsafe(32)
        self._wrong: dict[str, tuple[int, float]] = {}

    def known(self, scope: Scope) -> int:
        """200 for who may enter, 401 for who may not, 429 for who tried too often."""
        if self.token is None or any(_same(given, self._key) for given in _cookies(scope)):
            return 200
        given = _bearers(scope) + ([] if (asked := self.asked(scope)) is None else [asked])
        if not given:
            return 401
        address = (scope.get("client") or ("", 0))[0]
        tries, until = self._wrong.get(address, (0, 0.0))
        if tries >= PATIENCE and self._clock() < until:
            return 429
        if any(_same(word, self.token) for word in given) or self._opened(given):
            self._wrong.pop(address, None)
            return 200
        if len(self._wrong) >= _ADDRESSES:
            self._wrong.clear()
        pause = min(2.0 ** (tries + 1 - PATIENCE), _LONGEST)
        self._wrong[address] = (tries + 1, self._clock() + pause)
        return 401

    def asked(self, scope: Scope) -> str | None:
        """The word in the address of the page, where there is one."""
        if self.token is None or scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return None
        words = parse_qs(scope.get("query_string", b"").decode("latin1")).get("token", [])
        return words[0] if words else None

    def cookie(self) -> bytes:
        """The header that makes a browser known from now on."""
        return f"{COOKIE}={self._key}; HttpOnly; SameSite=Strict; Path=/".encode()

    def _opened(self, given: list[str]) -> bool:
        if self._once is None or not any(_same(word, self._once) for word in given):
            return False
        self._once = None
        return True


def _same(one: str, other: str) -> bool:
    """In a time that tells nothing; what is no ASCII is compared as well."""
    return hmac.compare_digest(one.encode("utf8", "surrogatepass"), other.encode("utf8"))


def _bearers(scope: Scope) -> list[str]:
    values = [value.decode("latin1") for key, value in scope["headers"] if key == b"authorization"]
    return [value[7:].strip() for value in values if value[:7].lower() == "bearer "]


def _cookies(scope: Scope) -> list[str]:
    found: list[str] = []
    for key, value in scope["headers"]:
        if key == b"cookie":
            try:
                morsel = SimpleCookie(value.decode("latin1")).get(COOKIE)
            except CookieError:
                continue
            found += [] if morsel is None else [morsel.value]
    return found
