"""What a server is started with; the variables of Circuit Trace (CT_MODEL, CT_PORT, …) are understood as well."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fluoroscope.errors import ArgumentError

_VARIABLES = {
    "model": ("FLUOROSCOPE_MODEL", "CT_MODEL"),
    "device": ("FLUOROSCOPE_DEVICE", "CT_DEVICE"),
    "host": ("FLUOROSCOPE_HOST", "CT_HOST"),
    "port": ("FLUOROSCOPE_PORT", "CT_PORT"),
    "max_tokens": ("FLUOROSCOPE_MAX_TOKENS", "CT_MAX_TOKENS"),
    "origins": ("FLUOROSCOPE_ORIGINS", "CT_CORS"),
    "token": ("FLUOROSCOPE_TOKEN",),
}


@dataclass(frozen=True)
class Settings:
    """How a lab is served.

    Args:
        model: what is loaded first; None for the embedded specimen.
        models: what else may be chosen in the page, by name or folder, beside the embedded ones.
        device: None for the default one; "auto" likewise.
        host: where to listen; one that is not loopback needs a token.
        hosts: names by which others reach it, beside `host` itself, when it is not loopback.
        origins: pages of other origins that may talk to it, exactly as a browser names them.
        token: what a request has to bring unless the server listens on loopback alone.
        max_tokens: longest prompt.
        max_cells: most numbers that a result may hold in one grid, such as layers x heads x tokens x tokens.
        seconds: longest time that one request may compute.
        waiting: how many requests may wait for the model.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    device: str | None = None
    host: str = "127.0.0.1"
    port: int = 8321
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = None
    max_tokens: int = 512
    max_cells: int = 1 << 26
    seconds: float = 300.0
    waiting: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ArgumentError(f"{self.port} is no port", "Ports run from 0, which picks a free one, to 65535.")
        if self.max_tokens < 1:
            raise ArgumentError(f"max_tokens={self.max_tokens} leaves no prompt", "Give 1 or more.")
        if not self.loopback and self.token is None:
            raise ArgumentError(
                f"{self.host} can be reached by others, and there is no token",
                "Set FLUOROSCOPE_TOKEN to a long random text, or listen on 127.0.0.1.",
            )
        if self.token is not None and len(self.token) < 16:
            raise ArgumentError("the token is shorter than 16 characters", "python -c 'import secrets; …' makes one.")
        if "*" in (*self.hosts, *self.origins):
            raise ArgumentError("'*' would let every page in", "Name the hosts and origins one by one.")

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
        own = {"localhost", "127.0.0.1", "[::1]"} if self.loopback else {self.host}
        return frozenset(name.lower() for name in (*own, *self.hosts))

    @classmethod
    def read(cls, environ: Mapping[str, str], **given: Any) -> "Settings":
        """From what is given, else from variables of the environment, else by default; the first name counts.

        Raises:
            ArgumentError: a value that cannot be, with the name of its variable.
        """
        found: dict[str, Any] = {}
        kinds = {field.name: field.type for field in fields(cls)}
        for name, variables in _VARIABLES.items():
            variable = next((each for each in variables if environ.get(each)), None)
            if given.get(name) is not None or variable is None:
                continue
            text = environ[variable]
            if name == "origins":
                found[name] = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
            elif "int" in str(kinds[name]):
                if not text.strip().isdigit():
                    raise ArgumentError(f"{variable}={text!r} is no whole number", "Write digits only.")
                found[name] = int(text)
            else:
                found[name] = None if name == "device" and text == "auto" else text
        return cls(**found, **{name: value for name, value in given.items() if value is not None})
