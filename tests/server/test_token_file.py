"""A token in a file: taken where nobody else can have read or written it, refused with the reason anywhere else."""

import os
import stat

import pytest

from fluoroscope.errors import ArgumentError
from fluoroscope.server import token_file
from fluoroscope.server.settings import Settings

TOKEN = "a-token-of-many-characters"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_what_its_owner_alone_can_read_is_the_token(file, mode):
    file.chmod(mode)
    settings = Settings.read({"FLUOROSCOPE_TOKEN_FILE": str(file)}, host="lab.example")
    assert settings.token == TOKEN
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
def test_what_others_may_use_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(ArgumentError, match=f"mode 0{mode:o}") as refused:
        token_file.read(str(file))
    assert "chmod 600" in refused.value.hint
    assert TOKEN not in str(refused.value)


def test_what_belongs_to_another_user_is_refused(file, monkeypatch):
    other = os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, os.getuid() + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(token_file.os, "fstat", lambda descriptor: other)
    with pytest.raises(ArgumentError, match="another user"):
        token_file.read(str(file))


def test_what_is_no_file_is_refused_without_waiting_for_it(file, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "open")
    (tmp_path / "open").write_text(TOKEN, encoding="utf8")  # what counts is who may use the file at its end
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "", "gone", "token\0"):
        with pytest.raises(ArgumentError, match="token file") as refused:
            token_file.read(str(tmp_path / name))
        assert ("chmod" if name == "link" else "umask 077") in refused.value.hint


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"a" * 100_000 + b" b"])
def test_what_is_no_token_is_refused_and_not_shown(file, content):
    file.write_bytes(content)
    if len(content) < 1000:
        with pytest.raises(ArgumentError, match="16 characters"):
            Settings.read({"FLUOROSCOPE_TOKEN_FILE": str(file)})
    else:  # no more is read than a token can have
        assert len(Settings.read({"FLUOROSCOPE_TOKEN_FILE": str(file)}).token) == 4096


def test_one_is_made_where_it_is_needed_kept_and_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    old = os.umask(0)
    try:
        assert Settings.read({}).token is None
        assert not (tmp_path / "state").exists()
        one, other = (Settings.read({}, host="lab.example") for _ in range(2))
    finally:
        os.umask(old)
    assert one.token == other.token
    assert len(one.token) == 43
    path = tmp_path / "state" / "fluoroscope" / "lab-token"
    assert (one.token_file, path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (
        str(path),
        0o600,
        0o700,
    )
    path.chmod(0o644)
    with pytest.raises(ArgumentError, match="mode 0644"):
        Settings.read({}, host="lab.example")


def test_of_a_token_and_a_file_one_is_given(file):
    with pytest.raises(ArgumentError, match="a token and a token file"):
        Settings.read({"FLUOROSCOPE_TOKEN_FILE": str(file), "FLUOROSCOPE_TOKEN": TOKEN})


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "state").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(ArgumentError, match="cannot be made"):
        token_file.made()
