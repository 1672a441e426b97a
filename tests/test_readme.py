"""The README is true: its Python runs, its links lead somewhere, its commands are those of CI."""

import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from budget_core.money.prices import lookup, registry
from budget_core.testing import Reply

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.name: path
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}


def blocks(language):
    """Return fenced blocks with the line on which each begins."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(README[: m.start()].count("\n") + 2, m[1]) for m in fence.finditer(README)]


@pytest.fixture
def _openai(provider, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    provider.default = Reply("The sea is salt because rivers bring it salt.", output_tokens=40)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "false")
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    yield
    registry.clear()
    lookup.forget()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")  # frameworks'
@pytest.mark.usefixtures("_openai")
@pytest.mark.parametrize(
    "code", [pytest.param(code, id=f"line-{line}") for line, code in blocks("python")]
)
def test_python_runs(code):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102


def test_the_first_block_can_be_pasted():
    code = blocks("python")[0][1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12


def test_each_command_is_one_line_that_pins_what_it_installs():
    commands = re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert [name for name, _ in commands] == ["demo", "test"]
    for _, command in commands:
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && ")
        assert "-c constraints.txt" in command


def test_ci_finds_the_command_for_the_tests():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(r"^command=\$\((.*)\)$", script, re.MULTILINE)
    done = subprocess.run(  # noqa: S602
        found[1], shell=True, cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == re.search(r"<!-- command: test -->\n```sh\n(.*\n)```", README)[1]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = PAGES[page]
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (path.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_are_named_are_there(page):
    text = PAGES[page].read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:from|import) (budget_[\w.]+)", text, re.MULTILINE))
    if page != "CHANGELOG.md":  # which also says what was
        named |= set(re.findall(r"`(budget_(?:core|cli|compat)\.[a-z_.]+)`", text))
    for name in named:
        pkgutil.resolve_name(name)


def test_every_cell_of_the_guarantees_that_says_yes_has_a_test():
    table = re.search(r"<!-- guarantees -->\n(.*?)<!-- /guarantees -->", README, re.DOTALL)[1]
    rows = [row.strip("|").split("|") for row in table.strip().splitlines()[2:]]
    assert len(rows) >= 8
    for path, *cells in rows:
        for cell in cells:
            shown = re.search(r"\]\([\w/-]*\btests/", cell)
            assert shown or cell.strip().startswith(("no", "—")), (path, cell)


def test_every_console_command_is_real():
    from typer.testing import CliRunner

    from budget_cli.app import app

    known = CliRunner().invoke(app, ["--help"]).stdout
    for name in re.findall(r"^budget (\w+)", README, re.MULTILINE):
        assert f" {name} " in known
