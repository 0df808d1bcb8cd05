"""The shell of every command: what an error becomes."""

import errno
import os
import tempfile

import click
import pytest
from click.testing import CliRunner

from zsad.command import Command, check_writable
from zsad.errors import EngineError, InferenceError, InputError, ParityError


def run(error):
    @click.command(cls=Command)
    def main():
        raise error

    return CliRunner().invoke(main)


@pytest.mark.parametrize(
    ("kind", "code"), [(InputError, 2), (ParityError, 3), (EngineError, 4), (InferenceError, 4)]
)
def test_a_known_error_is_one_line_and_its_code(kind, code):
    result = run(kind("two\nlines"))
    assert (result.exit_code, result.stderr) == (code, "main: error: two lines\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_bug_of_ours(number):
    result = run(OSError(number, os.strerror(number), "model.onnx"))
    assert result.exit_code == 2
    assert result.stderr == "main: error: the disk is full for model.onnx: free some\n"


def test_a_name_that_is_too_long_is_no_bug_of_ours():
    result = run(OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "a" * 300))
    assert (result.exit_code, result.stderr) == (2, "main: error: no file has so long a name\n")


def test_what_nobody_foresaw_keeps_its_traceback():
    result = run(OSError(errno.EIO, "broken"))
    assert result.exit_code == 1 and isinstance(result.exception, OSError)


def test_a_file_that_cannot_be_written_is_refused_with_its_reason(tmp_path, monkeypatch):
    check_writable(tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []
    for path, reason in (
        (tmp_path / "none" / "x.json", f"folder {tmp_path / 'none'} does not exist: make it first"),
        (tmp_path, f"{tmp_path} is a folder: name a file"),
    ):
        with pytest.raises(InputError) as refused:
            check_writable(path)
        assert str(refused.value) == reason

    def refuse(dir):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=f"written into {tmp_path}: Permission denied"):
        check_writable(tmp_path / "x.json")
