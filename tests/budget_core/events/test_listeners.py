import json
import logging
import stat
import subprocess
import sys
import threading
from functools import partial

import pytest

from budget_autogen.saved import save
from budget_core import (
    AgentBudget,
    BudgetExhausted,
    CallRequest,
    LoopDetected,
    MemoryLedger,
    Prompt,
    TopUp,
)
from budget_core.errors import LedgerUnavailable
from budget_core.events import Event, listen
from budget_core.events.ingest import Ingest
from budget_core.events.jsonl import JsonLines
from budget_core.events.logs import LogListener
from budget_core.runtime import finalizers


def spend(session):
    session.track(cost="0.95", tool_name="search")


class TestListeners:
    def test_one_of_a_budget_hears_of_its_sessions_and_their_children(self):
        heard = []
        with AgentBudget("$1", listeners=[heard.append]).session("a") as session:
            with session.child_session("$0.50", name="b") as child:
                child.track(cost="0.01")
            AgentBudget("$1", parent=None).session("c").track(cost="0.01")
        assert [(event.session_id, event.kind) for event in heard] == [("b", "call")]
        assert heard[0].session is child

    def test_one_of_the_process_hears_of_every_session_until_it_ends(self):
        heard = []
        end = listen(heard.append)
        spend(AgentBudget("$1").session("a"))
        end()
        spend(AgentBudget("$1").session("b"))
        assert {event.session_id for event in heard} == {"a"}
        assert {event.kind for event in heard} == {"call", "warning", "soft_limit"}

    def test_several_are_told_and_one_that_fails_stops_nobody(self, caplog):
        heard = []

        def broken(event):
            raise ValueError(event.kind)

        end = listen(broken)
        session = AgentBudget("$1", listeners=[broken, heard.append]).session()
        spend(session)
        end()
        assert len(heard) == len(session.events())
        assert session.spent == 0.95
        assert caplog.text.count("ValueError: soft_limit") == 2

    def test_they_are_called_under_no_lock(self):
        session = AgentBudget("$1", listeners=[lambda event: ask(event.session)]).session()
        answers = []

        def ask(session):  # another thread could not, if this one held a lock of the session
            thread = threading.Thread(target=lambda: answers.append(session.report()))
            thread.start()
            thread.join(20)

        spend(session)
        assert len(answers) == len(session.events())

    def test_not_where_the_limit_is_met_either(self):
        """Another thread that meets it while one is told would wait for ever."""
        dear = CallRequest(kind="tool", name="t", cost=2 * 10**9)
        refused = []

        def refuse(session):
            with pytest.raises(BudgetExhausted):
                session.open_call(dear)
            refused.append(threading.get_ident())

        def in_another_thread(event):
            if event.kind in {"hard_limit", "top_up"}:
                thread = threading.Thread(target=refuse, args=(event.session,), daemon=True)
                thread.start()
                thread.join(10)

        answers = [TopUp("$0.50")]
        session = AgentBudget(
            "$1",
            listeners=[in_another_thread],
            on_hard_limit=lambda _: answers.pop() if answers else None,
        ).session()
        refuse(session)
        assert [event.kind for event in session.events()].count("hard_limit") == 2
        assert len(refused) == 4

    def test_nor_where_a_session_is_closed(self):
        """A stream that was dropped is settled then; of one name there is one lock."""
        opened = []
        ledger = MemoryLedger()

        def open_another():
            opened.append(AgentBudget("$1", ledger=ledger, parent=None).session("a"))

        def in_another_thread(event):
            thread = threading.Thread(target=open_another, daemon=True)
            thread.start()
            thread.join(10)
            opened.append("told")

        session = AgentBudget("$1", ledger=ledger, listeners=[in_another_thread]).session("a")
        call = session.open_call(CallRequest(kind="tool", name="t", cost=1))
        session.released(call)  # as if only its stream knew it
        finalizers.later(call.settle)
        session.close()
        assert opened[-1] == "told"
        assert len(opened) == 2

    def test_ending_one_twice_is_once(self):
        end = listen(print)
        end()
        end()

    def test_labels_hide_nothing_of_an_event(self):
        heard = []
        labels = {"type": "x", "session_id": "x", "timestamp": "x", "usage": "batch"}
        session = AgentBudget("$1", labels=labels, listeners=[heard.append]).session("a")
        spend(session)
        told = [event.as_dict() for event in heard]
        assert told == session.report()["events"]
        assert [one["type"] for one in told][:2] == ["call", "warning"]
        assert {one["session_id"] for one in told} == {"a"}
        assert told[1]["usage"] == "batch"

    @pytest.mark.parametrize("wrong", [None, "print"])
    def test_what_cannot_listen_is_refused(self, wrong):
        with pytest.raises(TypeError, match="A listener is called"):
            listen(wrong)

    def test_a_coroutine_function_would_never_run(self):
        class Later:
            async def __call__(self, event):
                pass

        async def later(event):
            pass

        for begin in (listen, lambda one: AgentBudget("$1", listeners=[one])):
            for one in (later, partial(later), Later()):
                with pytest.raises(TypeError, match="not awaited"):
                    begin(one)


class AwayLedger(MemoryLedger):
    """Tells no balances while it is away."""

    away = False

    def balance(self, account_id):
        if self.away:
            raise LedgerUnavailable("s", "away")
        return super().balance(account_id)


def test_a_report_that_cannot_be_made_stops_no_call(caplog):
    ledger = AwayLedger()
    dear = CallRequest(kind="tool", name="t", cost=950_000_000, fingerprint=1)
    session = AgentBudget("$1", ledger=ledger, max_repeated_calls=2).session()
    call = session.open_call(dear)
    ledger.away = True
    call.settle()
    with pytest.raises(LoopDetected):
        session.open_call(dear)
    assert caplog.text == ""  # nobody asked for one
    ledger.away = False
    session = AgentBudget("$1", ledger=ledger, on_soft_limit=print).session()
    call = session.open_call(dear)
    ledger.away = True
    call.settle()
    assert "The callback <built-in function print> failed" in caplog.text


def test_they_are_not_written_down_with_a_session():
    session = AgentBudget("$1", listeners=[print]).session()
    json.dumps(save(session))


SECRET = "my prompt that nobody else may read"  # noqa: S105


def test_what_prompts_say_is_in_no_event_nor_report(penny):
    heard = []
    with AgentBudget("$1", max_repeated_calls=2, listeners=[heard.append]).session() as session:
        prompt = Prompt([{"role": "user", "content": SECRET}])
        request = CallRequest(model=penny, prompt=prompt, fingerprint=(penny, SECRET))
        session.open_call(request).settle()
        with pytest.raises(LoopDetected):
            session.open_call(request)
    assert [event.kind for event in heard] == ["call", "loop_detected"]
    told = [event.as_dict() for event in heard], session.report()
    assert SECRET not in json.dumps(told)
    assert SECRET not in repr(heard)


class TestLogs:
    def test_each_kind_has_its_level(self, caplog):
        caplog.set_level(logging.DEBUG, "budget_core.events")
        spend(AgentBudget("$1", listeners=[LogListener()]).session("a"))
        lines = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert lines[0][0] == "DEBUG"
        assert lines[0][1].startswith("call in a: kind=tool, name=search, cost=0.95")
        assert ("WARNING", "soft_limit in a: share=0.9") in lines
        assert caplog.records[0].budget["session_id"] == "a"

    def test_what_nobody_wants_is_not_written_out(self, caplog):
        log = logging.getLogger("budget_test")
        log.setLevel(logging.ERROR)
        spend(AgentBudget("$1", listeners=[LogListener(log)]).session())
        assert not caplog.records


class TestJsonLines:
    def test_every_event_is_a_line(self, tmp_path):
        lines = JsonLines(tmp_path / "events.jsonl", interval=0)
        session = AgentBudget("$1", listeners=[lines]).session("a")
        spend(session)
        assert lines.close(20)
        told = [json.loads(line) for line in lines.path.read_text().splitlines()]
        assert told == [event.as_dict() for event in session.events()]
        assert stat.S_IMODE(lines.path.stat().st_mode) == 0o600
        assert lines.counts.sent == len(told)

    def test_several_write_to_one_file(self, tmp_path):
        files = [JsonLines(tmp_path / "events.jsonl", interval=0) for _ in range(4)]
        for n in range(500):
            for lines in files:
                lines(Event("call", "s", 0.0, {"n": n}))
        assert all(lines.close(20) for lines in files)
        assert len(list(map(json.loads, files[0].path.read_text().splitlines()))) == 2_000

    def test_a_write_that_fails_half_way_spoils_no_later_line(self, tmp_path):
        """As on a disk that is full for a while; in a process of its own, whose limit it is."""
        code = (
            "import resource, sys\n"
            "from budget_core.events.jsonl import JsonLines\n"
            "lines = JsonLines(sys.argv[1], interval=0)\n"
            "for size in (-1, 15, 15, -1, -1):\n"
            "    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))\n"
            "    lines.put({'n': size}); lines.flush(20)\n"
            "print(*lines.counts)\n"
        )
        file = tmp_path / "events.jsonl"
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
        )
        whole = '{"n": -1}'
        assert file.read_text() == f'{whole}\n{{"n":\n{whole}\n{whole}\n'
        assert done.stdout == "3 2 0 0\n"

    def test_a_file_that_cannot_be_written_loses_events_and_nothing_else(self, tmp_path, caplog):
        lines = JsonLines(tmp_path / "none" / "events.jsonl", interval=0)
        session = AgentBudget("$1", listeners=[lines]).session()
        spend(session)
        assert lines.flush(20)
        assert lines.counts.dropped == len(session.events())
        assert "events.jsonl: FileNotFoundError" in caplog.text
        lines.path.parent.mkdir()
        lines(Event("call", "s", 0.0, {}))
        assert lines.close(20)
        assert lines.counts.sent == 1


def test_ingest_posts_every_event_in_batches(receiver):
    ingest = Ingest(receiver.url, headers={"Authorization": "Bearer x"})
    session = AgentBudget("$1", listeners=[ingest]).session("a")
    spend(session)
    assert receiver.got.empty()
    assert ingest.close(20)
    got = receiver.next()
    assert got.json == {"events": [event.as_dict() for event in session.events()]}
    assert got.headers["Authorization"] == "Bearer x"
