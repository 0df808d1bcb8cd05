import click
import pytest
from click.testing import CliRunner

from steps import Step, StepFailedError, run_steps, shown
from zsad.errors import InputError


def writer(name, folder, text="done"):
    """A step whose command writes a file and says so."""
    path = folder / name
    code = f"open({str(path)!r}, 'w').write({text!r}); print('wrote', {name!r})"
    return Step(name, f"Write {name}.", ("python", "-c", code), (path,))


def run(steps, folder, force=False):
    """Run the steps and return their seconds and what the terminal showed."""
    found = {}

    @click.command()
    def command():
        found.update(run_steps(steps, folder, force))

    result = CliRunner().invoke(command, catch_exceptions=False)
    return found, result.output


def ran(seconds):
    return [name for name, value in seconds.items() if value > 0]


def test_steps_run_in_order_and_show_what_they_say(tmp_path):
    seconds, output = run([writer("a", tmp_path), writer("b", tmp_path)], tmp_path)
    assert ran(seconds) == ["a", "b"]
    assert output.index("[1/2] Write a.") < output.index("wrote a") < output.index("wrote b")


def test_a_second_run_repeats_the_words_but_not_the_work(tmp_path):
    steps = [writer("a", tmp_path), writer("b", tmp_path)]
    run(steps, tmp_path)
    (tmp_path / "a").write_text("kept")
    seconds, output = run(steps, tmp_path)
    assert ran(seconds) == []
    assert "wrote a" in output
    assert (tmp_path / "a").read_text() == "kept"


@pytest.mark.parametrize("spoil", ["output", "words"])
def test_a_missing_result_repeats_its_step_and_those_after_it(tmp_path, spoil):
    steps = [writer(name, tmp_path) for name in "abc"]
    run(steps, tmp_path)
    (tmp_path / ("b" if spoil == "output" else "b.txt")).unlink()
    assert ran(run(steps, tmp_path)[0]) == ["b", "c"]


def test_a_changed_command_repeats_its_step_and_those_after_it(tmp_path):
    run([writer("a", tmp_path), writer("b", tmp_path)], tmp_path)
    changed = [writer("a", tmp_path, "else"), writer("b", tmp_path)]
    assert ran(run(changed, tmp_path)[0]) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "else"


def test_force_repeats_everything(tmp_path):
    steps = [writer("a", tmp_path)]
    run(steps, tmp_path)
    assert ran(run(steps, tmp_path, force=True)[0]) == ["a"]


def test_a_failure_keeps_its_exit_code_and_what_was_done_before(tmp_path):
    broken = Step("b", "Fail.", ("python", "-c", "raise SystemExit(3)"), ())
    with pytest.raises(StepFailedError, match="step 'b' ended with exit code 3") as caught:
        run([writer("a", tmp_path), broken], tmp_path)
    assert caught.value.exit_code == 3
    assert ran(run([writer("a", tmp_path), writer("b", tmp_path)], tmp_path)[0]) == ["b"]


def test_a_step_interrupted_halfway_is_not_taken_for_done(tmp_path):
    run([writer("a", tmp_path)], tmp_path)
    code = f"open({str(tmp_path / 'a')!r}, 'w').write('half'); raise SystemExit(1)"
    half = Step("a", "Fail late.", ("python", "-c", code), (tmp_path / "a",))
    with pytest.raises(StepFailedError):
        run([half], tmp_path)
    assert ran(run([writer("a", tmp_path)], tmp_path)[0]) == ["a"]


def test_a_function_can_be_a_step(tmp_path):
    step = Step("f", "Count.", ("count",), (), lambda: "three")
    assert "three" in run([step], tmp_path)[1]
    assert (tmp_path / "f.txt").read_text() == "three\n"


def test_a_command_that_is_not_installed_says_how(tmp_path):
    step = Step("x", "Miss.", ("zsad-no-such-command",), ())
    with pytest.raises(InputError, match="make install"):
        run([step], tmp_path)


def test_words_with_blanks_are_quoted():
    assert shown(Step("x", "", ("zsad-run", "my parts"), ())) == "zsad-run 'my parts'"
