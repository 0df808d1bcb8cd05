"""Secrets that were read, in whatever form a text quotes them."""

import base64
import json
import subprocess
import sys
from urllib.parse import quote, quote_plus

import click
import pytest
from click.testing import CliRunner

from zsad.command import Command
from zsad.credentials import conceal_secrets, learn_secret, mask_credentials
from zsad.errors import InputError
from zsad.sinks import SecretRef


def test_a_secret_that_begins_with_another_is_concealed_whole():
    assert conceal_secrets("abcdef") == "abcdef", "none was met yet"
    learn_secret("abcd", "${env:SHORT}")
    learn_secret("abcdef", "${env:LONG}")
    assert conceal_secrets("no abcdef in abcd") == "no ${env:LONG} in ${env:SHORT}"


@pytest.mark.parametrize("secret", ["hunter2", "it's \\ a\ttab", 'p@ss/wörd%+"', "two\nlines"])
@pytest.mark.parametrize(
    "encode",
    [str, repr, json.dumps, quote, quote_plus, lambda s: quote(s, safe=""), lambda s: f"<{s!r}>"],
)
def test_it_is_found_however_it_is_encoded(secret, encode):
    learn_secret(secret, "${env:S}")
    text = f"the value {encode(secret)} is bad"
    assert encode(secret).strip("'\"<>") not in conceal_secrets(text)
    assert "${env:S}" in conceal_secrets(text)


def test_what_stands_for_a_secret_stays_as_it_is():
    learn_secret("mqtt", "${file:/run/secrets/mqtt}")
    once = conceal_secrets("mqtt is refused")
    assert once == "${file:/run/secrets/mqtt} is refused"
    assert conceal_secrets(once) == once


def test_a_short_secret_is_hidden_as_a_word_and_leaves_numbers_alone():
    learn_secret("3", "${env:S}")
    assert conceal_secrets("'3' of 13.5 s") == "'${env:S}' of 13.5 s"


@pytest.mark.parametrize("blank", [" ", "\n"])
def test_a_blank_secret_hides_nothing(blank):
    learn_secret(blank, "${env:S}")
    assert conceal_secrets("two words") == "two words"


def test_bytes_that_are_no_text_are_a_secret_too():
    learn_secret("p\udcffss", "${env:S}")
    assert conceal_secrets("no p%FFss") == "no ${env:S}"


def test_the_password_of_a_url_is_a_secret_by_itself_and_in_pieces():
    learn_secret("rtsp://op:hunter/word22@10.0.0.5/live", "${env:CAMERA}")
    assert mask_credentials("no port 'hunter', user op, word22") == (
        "no port '${env:CAMERA}', user op, ${env:CAMERA}"
    )
    assert mask_credentials("10.0.0.5 does not answer") == "10.0.0.5 does not answer"


def test_a_sinks_secret_is_known_as_soon_as_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("KEY", "from outside")
    assert SecretRef(file=str(tmp_path / "key")).read() == "from a file"
    assert SecretRef(env="KEY").read() == "from outside"
    shown = conceal_secrets("from a file, from outside")
    assert shown == f"${{file:{tmp_path / 'key'}}}, ${{env:KEY}}"


@pytest.mark.parametrize(
    "error", [InputError("no hunter two"), OSError(28, "No space left", "/hunter two")]
)
def test_the_one_line_of_an_error_hides_it(error):
    @click.command(cls=Command)
    def main():
        learn_secret("hunter two", "${env:S}")
        raise error

    result = CliRunner().invoke(main)
    assert (result.exit_code, "hunter" in result.output) == (2, False)
    assert "${env:S}" in result.stderr


def test_log_threads_and_tracebacks_of_a_command_hide_it():
    program = f"""
import base64, logging, threading, click
from zsad.command import Command
from zsad.credentials import learn_secret
secret = base64.b64decode({base64.b64encode(b"hunter two")!r}).decode()

def fail(what):
    raise RuntimeError(f'{{what}} fails with {{secret}}')

@click.command(cls=Command)
def main():
    learn_secret(secret, "${{env:S}}")
    logging.getLogger('zsad.x').info('zsad says %s', secret)
    logging.getLogger('another').error('a library says %s', secret)
    thread = threading.Thread(target=fail, args=["a thread"])
    thread.start()
    thread.join()
    fail("the command")

main()
"""
    paths = [path for path in sys.path if path]
    code = f"import sys; sys.path[:] = {paths!r}\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "hunter" not in done.stdout + done.stderr
    for said in ("zsad says", "a library says", "a thread fails with", "the command fails with"):
        assert f"{said} ${{env:S}}" in done.stderr, done.stderr
    assert done.returncode == 1
