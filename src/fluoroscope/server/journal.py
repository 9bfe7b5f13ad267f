"""One line of the log for each request: what, how long, how many tokens, how it ended; never a prompt or a token."""

import json
import logging
import time
import traceback
from typing import Any

LOG = logging.getLogger("fluoroscope.server")


class Entry:
    """A request that is under way.

    Args:
        what: the kind of request, in words of the server's own.
        facts: further ones, such as the analysis; `tokens` is added while it is answered.
    """

    def __init__(self, what: str, **facts: Any) -> None:
        self.what, self.facts = what, facts
        self._start = time.perf_counter()

    def close(self, status: int | str) -> None:
        """Writes the line.

        Args:
            status: of HTTP, or the word for how a run of a socket ended.
        """
        took = round((time.perf_counter() - self._start) * 1000, 1)
        known = {name: value for name, value in self.facts.items() if value is not None}
        LOG.info(json.dumps({"at": round(time.time(), 3), "what": self.what, "status": status, "ms": took, **known}))


def defect(error: BaseException) -> None:
    """Notes an exception that nobody foresaw: its type and where it arose; its text may hold a prompt."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{last[0].filename}:{last[0].lineno}" if last else "nowhere"
    LOG.error(json.dumps({"at": round(time.time(), 3), "what": "defect", "kind": type(error).__name__, "where": where}))
