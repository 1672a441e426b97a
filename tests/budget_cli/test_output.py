"""Nothing that somebody else named is obeyed by a terminal, whatever the command."""

import json
import re
import unicodedata

import pytest
import typer

from budget_cli.demo.run import Outcome, Setting, Step
from budget_cli.demo.screen import Screen
from budget_cli.output import SafeConsole, cell, fail
from budget_core import AgentBudget, Limit, declare, register_model
from budget_core.ledger import ledger_from
from budget_core.quota import Api, Watch

EVIL = "\x1b]0;mine\x07\x1b[2J\x9b31m\u202e\u2066\u2028[bold]x[/]\r\nerror: mine\x00\x7f"
SHOWN = r"\x1b]0;mine\x07\x1b[2J\x9b31m\u202e\u2066\u2028[bold]x[/]\r\nerror: mine\x00\x7f"


def harmless(text):
    bad = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}
    assert not bad, text
    assert not re.search(r"^error: mine", text, re.MULTILINE)
    return True


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/budgets.db"
    ledger = ledger_from(url)
    declare(f"team{EVIL}", "$5", "$1/day", ledger=ledger)
    with AgentBudget("$2", ledger=ledger, parent=f"team{EVIL}").session(f"s{EVIL}") as session:
        session.track(cost=0.5, tool_name=EVIL)
        from budget_core import CallRequest

        held = session.open_call(CallRequest(kind="tool", name=EVIL, cost=100))
        yield url
        held.release()
    ledger.close_connection()


@pytest.mark.parametrize("json_too", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["accounts"], ["holds"], ["holds", f"s{EVIL}"], ["entries"], ["entries", f"team{EVIL}"],
        ["verify"], ["top-up", f"team{EVIL}", "$1"], ["cancel", f"team{EVIL}"],
        ["account", "set", f"team{EVIL}", "$9"], ["account", "set", f"new{EVIL}", "$9"],
        ["top-up", f"none{EVIL}", "$1"], ["cancel", EVIL], ["top-up", f"team{EVIL}", EVIL],
        ["account", "set", EVIL, EVIL], ["account", "set", EVIL, "$1", "--parent", EVIL],
        ["quota"],
    ],
)  # fmt: skip
def test_a_ledger_s_names(budget, url, command, json_too):
    done = budget(*command, "--ledger", url, *(["--json"] if json_too else []))
    assert harmless(done.stdout)
    assert harmless(done.stderr)
    assert done.exit_code in (0, 1)
    if json_too and done.exit_code == 0:
        json.loads(done.stdout)


def test_the_names_are_still_told(budget, url):
    lines = budget("accounts", "--ledger", url, "--json").stdout
    assert f"team{EVIL}" in {account["account"] for account in json.loads(lines)}
    shown = "".join(budget("holds", "--ledger", url).stdout.split())
    assert "".join(SHOWN.split())[:30] in shown


@pytest.mark.parametrize("ledger", [f"sqlite:///{EVIL}", f"redis://{EVIL}", f"{EVIL}://x", EVIL])
def test_a_ledger_that_is_none(budget, ledger):
    done = budget("accounts", "--ledger", ledger)
    assert (done.exit_code, done.stdout) == (1, "")
    assert harmless(done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("json_too", [False, True])
def test_a_saved_report(budget, tmp_path, json_too):
    with AgentBudget("$2").session(EVIL) as session:
        session.track(cost=0.5, tool_name=EVIL)
        with session.child_session("$1", name=f"c{EVIL}") as child:
            child.track(cost=0.1, tool_name=EVIL)
        report = session.report()
    report["terminated_by"] = EVIL
    report["limits"] = {EVIL: {"limit": 1, "spent": 1}}
    report["events"].append({"type": EVIL, "timestamp": 1.0, EVIL: EVIL, "name": EVIL})
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    done = budget("report", file, *(["--json"] if json_too else []))
    assert harmless(done.stdout)
    assert done.exit_code == 0


@pytest.mark.parametrize("text", [EVIL, json.dumps({"session_id": EVIL}), f'{{"{EVIL}'])
def test_what_is_no_report(budget, text):
    done = budget("report", "-", stdin=text)
    assert done.exit_code == 1
    assert harmless(done.stderr)


@pytest.mark.parametrize("json_too", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["models", f"my{EVIL}"], ["models", "gpt-4o-mini"], ["models"], ["models", f"none{EVIL}"],
        ["estimate", "--model", f"my{EVIL}", "--in", "10", "--out", "10"],
        ["estimate", "--model", EVIL, "--in", "10", "--out", "10"],
        ["estimate", "--model", "gpt-4o", "--in", "10", "--out", "10", "--budget", EVIL],
        ["report", f"nowhere{EVIL}"], ["run", f"nowhere{EVIL}", "--limit", "5"],
        ["demo", "--model", EVIL], ["demo", "--budget", EVIL], [EVIL],
    ],
)  # fmt: skip
def test_models_and_arguments(budget, command, json_too):
    register_model(f"my{EVIL}", 1, 2)
    done = budget(*command, *(["--json"] if json_too and command[0] != "run" else []))
    assert harmless(done.stdout)
    # a usage error is shown in a frame, which breaks lines
    assert harmless(done.stderr.replace("│", ""))


@pytest.mark.parametrize("json_too", [False, True])
def test_plugins(budget, json_too):
    from budget_core import hooks

    class Evil:
        pass

    plugin = Evil()
    hooks.register(plugin, EVIL)
    try:
        done = budget("plugins", *(["--json"] if json_too else []))
    finally:
        hooks.unregister(plugin)
    assert harmless(done.stdout)
    assert "mine" in done.stdout


@pytest.mark.parametrize("json_too", [False, True])
def test_quotas(budget, tmp_path, monkeypatch, json_too):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    url = f"sqlite:///{tmp_path}/quotas.db"
    with Watch(Api(EVIL, "https://api.example.com", ["5 requests/min"]), ledger=url):
        done = budget("quota", "--ledger", url, *(["--json"] if json_too else []))
    assert harmless(done.stdout)
    assert "mine" in done.stdout


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_run(process, tmp_path, option):
    script = tmp_path / "agent.py"
    script.write_text(
        f"from budget_core import track\ntrack(1, cost=9, tool_name={EVIL!r})\n", encoding="utf-8"
    )
    done = process(
        "run", "--limit", "1", *option, "--agents", f"{EVIL.replace(chr(0), '')}=1", str(script)
    )
    assert done.returncode == 3, done.stderr
    assert harmless(done.stderr)
    assert "mine" in done.stderr


def test_the_demo_s_screen(capsys):
    screen = Screen(
        SafeConsole(highlight=False, width=100), Setting(EVIL, Limit.parse("$1").amount)
    )
    screen.opening()
    screen.began("raise")
    screen.answered("raise", Step(1, EVIL, 1, 1, 1, 1, 1, 0, final=False))
    screen.refused("raise", EVIL)
    screen.ended(Outcome("raise", answer=f"two\nlines {EVIL}"))
    shown = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066]", shown)
    assert "two" in shown


def test_colours_are_our_own(capsys):
    SafeConsole(force_terminal=True, color_system="standard").print(cell(f"{EVIL}", "red"))
    sequences = set(re.findall("\x1b.", capsys.readouterr().out))
    assert sequences == {"\x1b["}
    plain = SafeConsole(force_terminal=True, color_system="standard", highlight=False)
    plain.print(EVIL.replace("[", "{"))  # where somebody forgot that it is a name
    assert "\x1b" not in capsys.readouterr().out


def test_an_error_is_one_line(capsys):
    assert isinstance(fail(f"it is [red]{EVIL}[/] off"), typer.Exit)
    told = capsys.readouterr().err
    assert told == f"error: it is [red]{SHOWN}[/] off\n"
