"""What a server is started with; the variables of Circuit Trace (CT_MODEL, CT_PORT, …) are understood as well."""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fluoroscope.errors import ArgumentError
from fluoroscope.server import token_file

_CIRCUIT_TRACE = {"model": "MODEL", "device": "DEVICE", "host": "HOST", "port": "PORT", "max_tokens": "MAX_TOKENS",
                  "origins": "CORS"}  # fmt: skip
"""Setting -> the variable CT_… that stands for it as well."""


@dataclass(frozen=True)
class Settings:
    """How a lab is served.

    Args:
        model: what is loaded first, by name or folder; without it the embedded specimen.
        models: what else may be chosen in the page, by name or folder, beside the embedded ones.
        device: where to compute: cpu, cuda, mps; "auto" is the default one.
        host: where to listen; one that is not loopback needs a token.
        port: where to listen; 0 picks a free one.
        hosts: names by which others reach it, beside `host` itself, with commas between them.
        origins: pages of other origins that may talk to it, exactly as a browser names them, with commas between.
        token: what a request has to bring; asked for on loopback as well where it is given.
        token_file: a file with the token, of mode 0600; made in the user's state folder where a token is needed.
        max_tokens: longest prompt.
        max_cells: most numbers in the patterns of a prompt: layers x heads x tokens x tokens.
        max_bytes: longest answer as JSON.
        seconds: longest time that one request may compute.
        waiting: how many requests may wait for the model.
        held: how many models may be in memory, so that two can be compared; those used longest ago are given up.
        store: file of kept runs, `off` for none; on loopback the user's own if not given, elsewhere none.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    device: str | None = None
    host: str = "127.0.0.1"
    port: int = 8321
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    max_tokens: int = 512
    max_cells: int = 1 << 26
    max_bytes: int = 1 << 26
    seconds: float = 300.0
    waiting: int = 32
    held: int = 2
    store: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ArgumentError(f"{self.port} is no port", "Ports run from 0, which picks a free one, to 65535.")
        for name in ("max_tokens", "max_cells", "max_bytes", "seconds", "waiting", "held"):
            if not getattr(self, name) > (-1 if name == "waiting" else 0):
                raise ArgumentError(f"{name}={getattr(self, name)} leaves nothing", "Give more.")
        if not self.loopback and self.token is None:
            raise ArgumentError(f"{self.host} can be reached by others, and there is no token", _HOW)
        if self.token is not None and not re.fullmatch(r"[A-Za-z0-9_.~+/=-]{16,}", self.token):
            raise ArgumentError("the token is shorter than 16 characters, or has others than A-Z a-z 0-9 _.~+/=-", _HOW)
        if "*" in (*self.hosts, *self.origins):
            raise ArgumentError("'*' would let every page in", "Name the hosts and origins one by one.")
        if not self.names:
            raise ArgumentError(
                f"{self.host} is every address", "Name those by which it is reached: FLUOROSCOPE_HOSTS."
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def names(self) -> frozenset[str]:
        """The values of the Host header that are answered, port left aside."""
        own = {"localhost", "127.0.0.1", "[::1]", self.host} if self.loopback else {self.host} - _EVERY
        return frozenset(_bracketed(name.lower()) for name in (*own, *self.hosts))

    @property
    def address(self) -> str:
        """The name by which its owner opens it."""
        return _bracketed(self.host if self.host not in _EVERY else self.hosts[0])

    @classmethod
    def read(cls, environ: Mapping[str, str], **given: Any) -> "Settings":
        """From what is given, else from variables of the environment, else by default; the first name counts.

        A token that is needed and not given is made, in a file.

        Raises:
            ArgumentError: a value that cannot be, with the name of its variable.
        """
        found: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, ())}
        for each in fields(cls):
            variable = next((name for name in variables(each.name) if environ.get(name)), None)
            if each.name not in found and variable is not None:
                found[each.name] = _value(type(each.default), variable, environ[variable])
        if "token" in found and "token_file" in found:
            raise ArgumentError("there are a token and a token file", "Give one of them.")
        if "token_file" in found:
            return cls(**found, token=token_file.read(found["token_file"]))
        if "token" in found or cls(**found, token=_ANY).loopback:
            return cls(**found)
        path = token_file.made()
        return cls(**found, token=token_file.read(path), token_file=path)


def variables(name: str) -> list[str]:
    """The variables that stand for a setting, the first one before the others."""
    theirs = [f"CT_{_CIRCUIT_TRACE[name]}"] if name in _CIRCUIT_TRACE else []
    return [f"FLUOROSCOPE_{name.upper()}", *theirs]


def _value(kind: type, variable: str, text: str) -> Any:
    if kind is tuple:
        return tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    if kind not in (int, float):
        return None if variable.endswith("_DEVICE") and text == "auto" else text
    try:
        number = int(text) if kind is int else float(text)
    except ValueError as error:
        raise ArgumentError(f"{variable}={text!r} is no number", "Write digits only.") from error
    if not math.isfinite(number):
        raise ArgumentError(f"{variable}={text!r} is no number", "Write digits only.")
    return number


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


_EVERY = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - refused without names
_ANY = "x" * 16  # stands for a token while everything else is checked
_HOW = (
    "Give one by FLUOROSCOPE_TOKEN_FILE or FLUOROSCOPE_TOKEN; "
    "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one."
)
