import sys

import pytest

import budget_cli as cli
from budget_cli import output


def test_help_names_every_command_and_the_exit_codes(budget):
    shown = budget("--help")
    assert shown.exit_code == 0
    for word in ("demo", "report", "models", "estimate", "Exit codes"):
        assert word in shown.stdout


@pytest.mark.parametrize("command", ["demo", "report", "models", "estimate"])
def test_each_command_has_help(budget, command):
    shown = budget(command, "--help")
    assert shown.exit_code == 0
    assert "--json" in shown.stdout
    assert "Exit codes" in shown.stdout


def test_version(budget, monkeypatch):
    monkeypatch.setattr("budget_cli.app.version", lambda _: "1.2.3")
    assert budget("--version").stdout == "budget-suite 1.2.3\n"


def test_unknown_arguments_exit_with_2(budget):
    assert budget("models", "--nonsense").exit_code == 2
    assert budget("estimate", "--model", "gpt-4o", "--in", "many", "--out", "1").exit_code == 2
    assert budget("demo", "--run", "sideways").exit_code == 2


def test_importing_the_package_imports_neither_typer_nor_rich(process):
    code = (
        "import sys, budget_core, budget_cli;"
        "sys.exit(any(name in sys.modules for name in ('typer', 'rich')))"
    )
    assert process(code, run="-c").returncode == 0


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_error_is_one_line(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == (
        f"budget: {missing} is missing; run: pip install 'budget-suite[cli]'"
    )


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'else'", name="else")

    monkeypatch.setattr(cli, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_main_runs_the_app(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["budget", "models", "gpt-4o", "--json"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    assert '"gpt-4o"' in capsys.readouterr().out


def test_a_pipe_gets_no_colours_and_a_hundred_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    plain = output.console()
    assert plain.width == output.PLAIN_WIDTH
    assert plain.color_system is None


def test_no_color_is_honoured_on_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.console().no_color


def test_brackets_in_errors_are_shown(budget):
    shown = budget("models", "my[model]")
    assert shown.exit_code == 1
    assert "'my[model]'" in shown.stderr
