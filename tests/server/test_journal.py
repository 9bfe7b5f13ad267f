"""Lines that programs read, without anybody's words."""

import json

from fluoroscope.server import journal
from fluoroscope.server.journal import Entry


def test_an_entry_is_one_line_of_json(caplog):
    with caplog.at_level("INFO", logger=journal.LOG.name):
        entry = Entry("socket run", analysis="next_token", error=None)
        entry.facts["tokens"] = 15
        entry.close("done")
    line = json.loads(caplog.messages[0])
    assert line.pop("at") > 1e9
    assert 0 <= line.pop("ms") < 1000
    assert line == {"what": "socket run", "status": "done", "analysis": "next_token", "tokens": 15}


def test_a_defect_is_its_type_and_its_place(caplog):
    with caplog.at_level("INFO", logger=journal.LOG.name):
        try:
            raise KeyError("secret\nwords")
        except KeyError as error:
            journal.defect(error)
        journal.defect(ValueError("never raised"))
    first, second = map(json.loads, caplog.messages)
    assert (first["what"], first["kind"]) == ("defect", "KeyError")
    assert first["where"].startswith(__file__)
    assert second["where"] == "nowhere"
    assert "secret" not in caplog.text
