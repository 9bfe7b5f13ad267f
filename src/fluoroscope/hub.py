"""What can be loaded by name: whether the hub is in reach, and which models are here without it."""

from pathlib import Path

from fluoroscope import specimen
from fluoroscope.errors import nearest

# By name: releases of huggingface_hub bring httpx or its successor, each with classes of its own.
_NO_CONNECTION = ("ConnectError", "ConnectTimeout")


def cut_off() -> str | None:
    """Why nothing can be fetched from the hub now, in words; None where a connection comes about.

    One request, not repeated, within HF_HUB_ETAG_TIMEOUT. A slow or complaining answer is an answer: waiting and
    repeating is then left to huggingface_hub, which without this question repeats for half a minute in vain.
    """
    from huggingface_hub import constants, get_session, is_offline_mode

    if is_offline_mode():
        return "HF_HUB_OFFLINE=1 forbids to ask the hub"
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT, follow_redirects=False)
    except Exception as error:
        if type(error).__name__ in _NO_CONNECTION:
            return f"{constants.ENDPOINT} cannot be reached ({error})"
    return None


def near(name: str) -> str:
    """The hint 'did you mean …?' with the nearest model here: embedded, downloaded, or a folder beside `name`."""
    from huggingface_hub import constants

    downloads = (folder.name.split("--", 1)[1] for folder in Path(constants.HF_HUB_CACHE).glob("models--*"))
    folders = (str(config.parent) for config in Path(name).parent.glob("*/config.json"))
    return nearest(name, [*specimen.NAMES, *(download.replace("--", "/") for download in downloads), *folders])
