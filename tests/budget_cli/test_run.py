"""``budget run``: each script runs in a process of its own, as it would for a user."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from budget_core.testing import Reply

ASK = """
    import openai, os, sys
    client = openai.OpenAI(base_url=os.environ["URL"], api_key="test", max_retries=0)
    question = [{"role": "user", "content": "Why is the sea salt?"}]
    def ask():
        return client.chat.completions.create(model="gpt-4o-mini", messages=question)
"""
ENOUGH, TOO_LITTLE = "$1", "$0.000001"


@pytest.fixture
def script(tmp_path):
    def write(code, name="agent.py"):
        file = tmp_path / name
        file.write_text(dedent(ASK) + dedent(code), encoding="utf-8")
        return str(file)

    return write


@pytest.fixture
def run(process, provider):
    def budget(*args, **options):
        return process("run", *args, URL=provider.openai_url, **options)

    return budget


def report(done):
    return json.loads(done.stderr.splitlines()[-1])


class TestArguments:
    def test_the_help_names_options_and_exit_codes(self, budget):
        shown = budget("run", "--help")
        assert shown.exit_code == 0
        for word in ("--limit", "--agents", "--module", "--json", "--report", "Exit codes", "130"):
            assert word in shown.stdout

    def test_what_stands_behind_the_script_is_the_scripts(self, run, script):
        file = script("import json; print(json.dumps(sys.argv))")
        for ours, theirs in (
            (["--limit", "1"], ["-x", "--limit", "9", "--json", "--help", "--", "-m"]),
            (["--limit=1", "--json"], []),
        ):
            done = run(*ours, file, *theirs)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == [file, *theirs]

    def test_the_options_may_stand_last(self, run, script):
        file = script("import json; print(json.dumps(sys.argv))")
        done = run("--json", file, "-x", "--help", "--limit", "$0.25", "--agents", "a=$0.10")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [file, "-x", "--help"]
        assert report(done)["budget"] == 0.25

    def test_two_dashes_leave_everything_to_the_script(self, budget, script):
        refused = budget("run", "--", script(""), "--limit", "1")
        assert refused.exit_code == 2
        assert "--limit" in refused.stderr

    @pytest.mark.parametrize(
        ("args", "word"),
        [
            (["{file}"], "--limit"),
            ([], "SCRIPT"),
            (["--limit", "plenty", "{file}"], "plenty"),
            (["--limit", "1", "nowhere.py"], "nowhere.py"),
            (["--limit", "1", "--agents", "scout", "{file}"], "NAME=AMOUNT"),
            (["--limit", "1", "--agents", "=1", "{file}"], "NAME=AMOUNT"),
            (["--limit", "1", "--agents", "scout=much", "{file}"], "much"),
        ],
    )
    def test_what_cannot_be_read_exits_with_2(self, budget, script, args, word):
        shown = budget("run", *(arg.format(file=script("")) for arg in args))
        assert shown.exit_code == 2
        assert word.lower() in shown.stderr.lower()


class TestAsPython:
    """A script sees what python would show it."""

    SHOWN = """
        import json, __main__
        print(json.dumps([
            __name__, __file__, sys.argv, sys.path[0], __main__.__dict__ is globals(),
            __package__, __spec__ and __spec__.name, __doc__,
        ]))
    """

    def both(self, run, *args, cwd=None):
        ours = run("--limit", "1", *args)
        args = [sys.executable, *args]
        theirs = subprocess.run(args, capture_output=True, text=True, check=True)  # noqa: S603
        assert ours.returncode == 0, ours.stderr
        return json.loads(ours.stdout), json.loads(theirs.stdout)

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path, monkeypatch, provider):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("URL", provider.openai_url)

    def test_a_script(self, run, script):
        script(self.SHOWN)
        ours, theirs = self.both(run, "agent.py", "-v")
        assert ours == theirs

    def test_a_link_to_a_script(self, run, script, tmp_path):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "link.py").symlink_to(script(self.SHOWN))
        ours, theirs = self.both(run, "bin/link.py")
        assert ours == theirs

    def test_a_module(self, run, script, tmp_path):
        (tmp_path / "package").mkdir()
        script(self.SHOWN, "package/__main__.py")
        ours, theirs = self.both(run, "-m", "package", "-v")
        assert ours == theirs

    def test_a_directory(self, run, script, tmp_path):
        (tmp_path / "package").mkdir()
        script("print('[1]')", "package/__main__.py")
        assert self.both(run, "package") == ([1], [1])

    def test_its_neighbours_are_found(self, run, script):
        script("answer = 42", "neighbour.py")
        done = run("--limit", "1", script("import neighbour; print(neighbour.answer)"))
        assert done.stdout == "42\n"

    def test_an_error_is_shown_as_python_shows_it(self, run, script):
        def last_lines(text):
            return text.partition("╭")[0]

        for code in ("def f():\n    raise KeyError('lost')\nf()", "x = ("):
            file = script("")
            Path(file).write_text(code, encoding="utf-8")
            ours = run("--limit", "1", file)
            theirs = subprocess.run(  # noqa: S603
                [sys.executable, file], capture_output=True, text=True, check=False
            )
            assert ours.returncode == theirs.returncode == 1
            assert last_lines(ours.stderr) == theirs.stderr

    def test_its_own_hook_is_told_of_an_error(self, run, script):
        done = run(
            "--limit", "1",
            script("sys.excepthook = lambda kind, error, trace: print(kind.__name__); 1 / 0"),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "ZeroDivisionError\n")
        assert "Traceback" not in done.stderr

    def test_threads_are_waited_for_and_paid_for(self, run, script, provider):
        done = run(
            "--json", "--limit", ENOUGH,
            script("""
                import threading
                from concurrent.futures import ThreadPoolExecutor
                def late():
                    print(__import__("__main__").__name__ is __name__)
                    ask()
                pool = ThreadPoolExecutor(1)  # nobody shuts it down
                pool.submit(threading.Event().wait, 0.2)
                pool.submit(late)
            """),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "True\n")
        assert provider.requests == 1
        assert report(done)["total_spent_nanos"] == provider.bill_nanos

    def test_what_it_does_at_its_exit_has_a_budget_too(self, run, script, provider):
        done = run(
            "--limit", TOO_LITTLE,
            script("""
                import atexit
                client.chat.completions  # what it imports cannot be imported so late
                def last():
                    try:
                        ask()
                    except Exception as error:
                        print(type(error).__name__)
                atexit.register(last)
            """),
        )  # fmt: skip
        assert done.stdout == "BudgetExhausted\n"
        assert provider.requests == 0


class TestOutcome:
    def test_under_the_budget_it_is_the_scripts_own(self, run, script, provider):
        done = run("--limit", ENOUGH, script("ask(); print('salt')"))
        assert (done.returncode, done.stdout) == (0, "salt\n")
        assert "budget run agent.py" in done.stderr
        assert "of $1.00" in done.stderr
        assert "gpt-4o-mini" in done.stderr
        assert provider.requests == 1

    @pytest.mark.parametrize(
        ("code", "exit_code", "said"),
        [("sys.exit(7)", 7, ""), ("sys.exit()", 0, ""), ("sys.exit('no salt')", 1, "no salt\n")],
    )
    def test_the_script_says_how_it_ended(self, run, script, code, exit_code, said):
        done = run("--limit", ENOUGH, script(code))
        assert done.returncode == exit_code
        assert done.stderr.startswith(said + "╭")

    def test_a_spent_budget_is_one_line(self, run, script, provider):
        done = run("--limit", TOO_LITTLE, script("ask()"))
        assert done.returncode == 3
        assert provider.requests == 0
        assert "Traceback" not in done.stderr
        first, *shown = done.stderr.splitlines()
        assert first.startswith("budget: gpt-4o-mini was refused before it was sent")
        assert "budget exhausted after" in shown[0]

    def test_so_it_is_in_a_group(self, run, script):
        done = run(
            "--limit", TOO_LITTLE,
            script("""
                import asyncio
                async def main():
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.to_thread(ask))
                asyncio.run(main())
            """),
        )  # fmt: skip
        assert done.returncode == 3
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "code",
        [
            "raise RuntimeError('agent failed') from error",
            "raise RuntimeError('agent failed')",
            "raise ExceptionGroup('agent failed', [error, KeyError()])",
        ],
    )
    def test_behind_another_error_it_counts_as_well(self, run, script, code):
        done = run(
            "--limit", TOO_LITTLE,
            script(f"""
                from budget_core import BudgetExhausted
                try:
                    ask()
                except BudgetExhausted as error:
                    {code}
            """),
        )  # fmt: skip
        assert done.returncode == 3
        assert "agent failed" in done.stderr
        assert "budget: gpt-4o-mini was refused" in done.stderr

    def test_swallowed_it_counts_too(self, run, script):
        done = run(
            "--limit", TOO_LITTLE,
            script("""
                try:
                    ask()
                except Exception:
                    print("never mind")
            """),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (3, "never mind\n")
        assert done.stderr.startswith("budget: The budget was exhausted")

    def test_a_budget_inside_the_script_is_a_part_of_it(self, run, script, provider):
        done = run(
            "--json", "--limit", TOO_LITTLE,
            script("""
                import threading, budget_core
                def request():
                    with budget_core.init(None):
                        ask()
                thread = threading.Thread(target=request)
                thread.start()
                thread.join()
            """),
        )  # fmt: skip
        assert done.returncode == 3
        assert provider.requests == 0
        assert "hard_limit" in [event["type"] for event in report(done)["events"]]

    def test_agents_have_their_limits(self, run, script, provider):
        provider.default = Reply("Salt.", input_tokens=300, output_tokens=20)
        done = run(
            "--json", "--limit", ENOUGH, "--agents", "scout=$0.000001", "--agents", "a=b=$1",
            script("""
                from langchain.agents import create_agent
                from langchain_openai import ChatOpenAI
                model = ChatOpenAI(
                    model="gpt-4o-mini", base_url=os.environ["URL"], api_key="test", max_retries=0
                )
                for name in ("writer", "scout"):
                    create_agent(model, [], name=name).invoke({"messages": [("user", "go")]})
            """),
        )  # fmt: skip
        assert done.returncode == 3
        assert provider.requests == 1
        assert report(done)["breakdown"]["agents"]["by_agent"] == {
            "writer": provider.bill_nanos / 1e9
        }

    @pytest.mark.parametrize("caught", [False, True])
    def test_an_interrupt_in_a_call_still_reports(self, script, provider, interruptible, caught):
        """The script's call is under way for certain: the provider holds its answer back."""
        provider.default = Reply("Salt.", delay=60)
        file = script(
            "try:\n    ask()\nexcept KeyboardInterrupt:\n    sys.exit(5)" if caught else "ask()"
        )
        command = [sys.executable, "-m", "budget_cli", "run", "--json", "--limit", "1", file]
        environ = {**os.environ, "URL": provider.openai_url}
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        ) as running:
            provider.wait_for_requests(1, timeout=60)
            running.send_signal(signal.SIGINT)
            stdout, stderr = running.communicate(timeout=60)
        assert running.returncode == (5 if caught else 130)
        assert (stdout, len(stderr.splitlines())) == ("", 1)
        found = json.loads(stderr)
        assert found["reserved"] == 0
        assert found["total_spent"] > 0  # it was under way: nobody knows that it is free


class TestReport:
    def test_json_is_the_last_line_of_stderr(self, run, script, provider):
        done = run("--json", "--limit", ENOUGH, script("ask(); sys.stderr.write('mine\\n')"))
        assert done.stderr.splitlines()[0] == "mine"
        assert len(done.stderr.splitlines()) == 2
        assert done.stdout == ""
        assert report(done)["total_spent_nanos"] == provider.bill_nanos > 0

    def test_what_was_left_open_is_charged(self, run, script):
        done = run(
            "--json", "--limit", ENOUGH,
            script("""
                import budget_core
                request = budget_core.CallRequest(kind="tool", name="map", cost=10**8)
                call = budget_core.get_session().open_call(request)
            """),
        )  # fmt: skip
        found = report(done)
        assert (found["total_spent"], found["reserved"]) == (0.1, 0)

    def test_a_saved_one_can_be_shown_again(self, run, script, budget, tmp_path):
        saved = tmp_path / "report.json"
        done = run("--report", str(saved), "--limit", ENOUGH, script("ask()"))
        assert done.returncode == 0
        shown = budget("report", saved)
        assert shown.exit_code == 0
        assert "budget run agent.py" in shown.stdout

    def test_one_that_cannot_be_saved_is_told_and_the_exit_code_stays(self, run, script, tmp_path):
        nowhere = str(tmp_path / "nowhere" / "report.json")
        done = run("--report", nowhere, "--limit", ENOUGH, script("sys.exit(7)"))
        assert done.returncode == 7
        assert "cannot be written" in done.stderr
        assert "of $1.00" in done.stderr
