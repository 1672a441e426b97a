import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from budget_core.errors import InvalidBudget
from budget_core.events import http, outbox
from budget_core.events.sender import Sender


@pytest.fixture
def sender(receiver):
    made = []

    def make(url=None, **options):
        box = Sender(url or receiver.url, **{"interval": 0, "pause": 0.001, **options})
        made.append(box)
        return box

    yield make
    receiver.over.set()
    for box in made:
        box.close(0)


def tell(sender, count):
    for n in range(count):
        sender.put({"n": n})


def numbers(receiver):
    return [[event["n"] for event in got.json["events"]] for got in receiver.all()]


class TestBatches:
    def test_a_full_batch_goes_at_once_and_in_order(self, sender, receiver):
        box = sender(batch=3, interval=60)
        tell(box, 7)
        assert [receiver.next().json, receiver.next().json] == [
            {"events": [{"n": 0}, {"n": 1}, {"n": 2}]},
            {"events": [{"n": 3}, {"n": 4}, {"n": 5}]},
        ]
        assert box.flush(20)
        assert numbers(receiver) == [[6]]
        assert box.counts == (7, 0, 0, 0)

    def test_what_is_less_goes_after_the_interval(self, sender, receiver):
        tell(sender(interval=0.05), 2)
        assert receiver.next().json == {"events": [{"n": 0}, {"n": 1}]}

    def test_until_then_it_waits(self, sender, receiver):
        box = sender(interval=60)
        tell(box, 2)
        assert box.counts.waiting == 2
        assert receiver.got.empty()

    def test_what_cannot_be_told_in_json_is_told_in_words(self, sender, receiver):
        sender().put({"at": {1}})
        assert receiver.next().json == {"events": [{"at": "{1}"}]}

    def test_headers_are_sent(self, sender, receiver):
        tell(sender(headers={"Authorization": "Bearer x"}), 1)
        headers = receiver.next().headers
        assert headers["Authorization"] == "Bearer x"
        assert headers["Content-Type"] == "application/json"


class TestFaults:
    @pytest.mark.parametrize("answer", [408, 429, 500, 503])
    def test_what_may_pass_is_tried_again(self, sender, receiver, answer):
        receiver.answers += [answer, answer]
        box = sender()
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (1, 0, 0, 2)
        assert numbers(receiver) == [[0], [0], [0]]

    @pytest.mark.parametrize("answer", [302, 307, 400, 401, 404])
    def test_what_will_not_pass_is_dropped(self, sender, receiver, answer, caplog):
        receiver.answers.append(answer)
        box = sender()
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (0, 1, 0, 0)
        assert receiver.got.qsize() == 1
        assert f"it answered {answer}" in caplog.text

    def test_after_the_last_attempt_it_is_dropped(self, sender, receiver, caplog):
        receiver.answers += [500] * 6
        box = sender(attempts=3)
        tell(box, 1)
        assert box.flush(20)
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (0, 2, 0, 4)
        assert caplog.text.count("do not reach") == 1  # told once, however long it lasts
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (1, 2, 0, 4)
        assert "again; 2 were dropped" in caplog.text

    def test_a_receiver_that_is_down(self, sender, receiver, caplog):
        receiver.server_close()
        box = sender(attempts=2)
        tell(box, 5)
        assert box.flush(20)
        assert box.counts.dropped == 5
        assert "ConnectionRefusedError Connection refused" in caplog.text

    def test_one_that_hangs_is_given_up(self, sender, receiver):
        receiver.answers += [None]
        box = sender(timeout=0.05)
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (1, 0, 0, 1)

    def test_while_it_hangs_the_newest_are_kept(self, sender, receiver):
        receiver.answers.append(None)
        box = sender(buffer=3, timeout=20)
        tell(box, 1)
        assert receiver.hung.acquire(timeout=20)
        tell(box, 10)
        assert box.counts == (0, 7, 4, 0)  # the one under way, and three
        assert not box.flush(0)
        receiver.over.set()  # it hangs up, and takes the rest
        assert box.flush(20)
        assert box.counts == (4, 7, 0, 1)
        assert numbers(receiver) == [[0], [0], [7, 8, 9]]

    def test_what_json_has_no_words_for_is_told_in_others(self, sender, receiver):
        class Mute:
            def __str__(self):
                raise RuntimeError

        loop = {}
        loop["itself"] = loop
        box = sender(interval=60)
        for n in (float("nan"), {("a", 1): [2, None]}, Mute(), loop, 5):
            box.put({"n": n})
        assert box.flush(20)
        (told,) = numbers(receiver)
        assert told[:3] == ["nan", {"('a', 1)": [2, None]}, "<Mute>"]
        assert set(told[3]) == {"itself"}
        assert told[4] == 5

    def test_what_cannot_be_written_at_all_is_dropped_alone(self, sender, receiver, caplog):
        class Last:
            def __str__(self):
                raise SystemExit

        box = sender(interval=60)
        for n in (1, Last(), 2):
            box.put({"n": n})
        assert box.flush(20)
        assert box.counts == (2, 1, 0, 0)
        assert numbers(receiver) == [[1, 2]]
        assert "cannot be written as JSON: SystemExit" in caplog.text

    def test_what_is_wrong_with_a_header_is_told(self, sender, caplog):
        box = sender(headers={"Authorization": "Bearer …"})
        tell(box, 1)
        assert box.flush(20)
        assert "UnicodeEncodeError" in caplog.text

    def test_a_buffer_that_is_less_than_a_batch_is_one(self, sender, receiver):
        box = sender(batch=100, buffer=2, interval=60)
        tell(box, 2)
        assert receiver.next().json == {"events": [{"n": 0}, {"n": 1}]}

    @pytest.mark.parametrize(
        ("told", "least", "most"),
        [
            ("7", 7, 7),
            ("3600", 60, 60),
            (format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 60, 60),
            (format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0, 0.01),
            ("soon", 0, 0.01),
            ("-7", 0, 0.01),
            ("9" * 9_999, 60, 60),
        ],
        ids=["7 s", "an hour", "tomorrow", "yesterday", "soon", "-7", "for ever"],
    )
    @pytest.mark.parametrize("answer", [429, 503])
    def test_one_that_asks_for_time_is_given_it(self, receiver, answer, told, least, most):
        waits = []

        class Hasty(Sender):
            def _count_retry(self, state):
                waits.append(state.next_action.sleep)
                super()._count_retry(state)
                self._stop.set()  # wait no longer

        receiver.answers.append((answer, {"Retry-After": told}))
        box = Hasty(receiver.url, interval=0, pause=0.001)
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (1, 0, 0, 1)
        (wait,) = waits
        assert least <= wait <= most

    @pytest.mark.parametrize(
        "said",
        [(b"HTTP/1.1 204 No Content\r\nSlow: ", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    )
    def test_one_that_answers_for_ever_is_given_up(self, sender, said, caplog):
        over = threading.Event()

        def answer():
            client, _ = server.accept()
            with client:
                client.sendall(said[0])
                with suppress(OSError):
                    while not over.wait(0.01):
                        client.sendall(said[1])

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=answer)
            thread.start()
            box = sender(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.2, attempts=1)
            tell(box, 1)
            assert box.flush(20)
            assert box.counts == (0, 1, 0, 0)
            over.set()
            thread.join()
        assert "TimeoutError" in caplog.text

    def test_many_threads_add_up(self, sender, receiver):
        receiver.answers += [500, 204] * 20
        box = sender(batch=7, buffer=40)
        threads = [threading.Thread(target=tell, args=(box, 50)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert box.flush(20)
        sent, dropped, waiting, _ = box.counts
        assert (sent + dropped, waiting) == (400, 0)
        assert sum(map(len, numbers(receiver))) >= sent


class TestCertificates:
    @pytest.fixture
    def certified(self, receiver, tmp_path):
        """A receiver by TLS, whose certificate nobody vouches for; and where that is."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        address = x509.IPAddress(ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1)
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
        pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, private)
        receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
        http._trust.cache_clear()
        yield receiver.url.replace("http:", "https:"), pem
        http._trust.cache_clear()

    def test_one_that_nobody_vouches_for_is_refused_and_told_once(self, sender, certified, caplog):
        box = sender(certified[0])
        for _ in range(3):
            tell(box, 1)
            assert box.flush(20)
        assert box.counts == (0, 3, 0, 0)
        assert caplog.text.count("do not reach") == 1
        assert "SSLCertVerificationError" in caplog.text

    def test_one_that_this_machine_trusts_is_taken(self, sender, receiver, certified, monkeypatch):
        url, pem = certified
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        box = sender(url)
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (1, 0, 0, 0)
        assert numbers(receiver) == [[0]]


class TestEnds:
    @pytest.mark.parametrize("wrong", [{"batch": 0}, {"buffer": 0}])
    def test_what_could_hold_nothing_is_refused(self, sender, wrong):
        with pytest.raises(ValueError, match="1 or more"):
            sender(**wrong)

    def test_what_is_closed_drops_what_comes(self, sender, receiver):
        box = sender(interval=60)
        tell(box, 1)
        assert box.close(20)
        tell(box, 1)
        assert box.counts == (1, 1, 0, 0)
        assert box.flush(0)

    def test_closing_waits_no_longer_than_it_may(self, sender, receiver):
        receiver.answers += [500]
        box = sender(pause=3_600)
        tell(box, 2)
        receiver.next()
        assert not box.close(0)
        receiver.answers.clear()
        assert box.flush(20)  # the pause is cut short
        sent, dropped, waiting, _ = box.counts
        assert (sent + dropped, waiting) == (2, 0)

    def test_one_that_nobody_holds_is_collected_when_it_is_idle(self, receiver, monkeypatch):
        monkeypatch.setattr("budget_core.events.outbox._LINGER", 0)
        box = Sender(receiver.url, interval=0)
        tell(box, 1)
        assert box.flush(20)
        if (thread := box._thread) is not None:
            thread.join()
        kept = weakref.ref(box)
        del box, thread
        gc.collect()
        assert kept() is None

    def test_a_thread_that_has_ended_is_followed_by_another(self, sender, monkeypatch):
        monkeypatch.setattr("budget_core.events.outbox._LINGER", 0)
        box = sender()
        for _ in range(20):
            tell(box, 1)
            assert box.flush(20)
        assert box.counts.sent == 20

    def test_in_an_event_loop(self, sender):
        box = sender(interval=60)

        async def main():
            tell(box, 3)
            return await asyncio.to_thread(box.flush, 20)

        assert asyncio.run(main())
        assert box.counts.sent == 3


class Refused(threading.Thread):
    """As while the interpreter ends, from Python 3.12 on."""

    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")


def python(code, *, timeout=60):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )


class TestThreads:
    def test_a_flush_waits_for_what_is_under_way_whatever_is_dropped(self, sender, receiver):
        receiver.answers.append(None)
        box = sender(batch=3, buffer=3, timeout=20, attempts=1)
        tell(box, 1)
        assert receiver.hung.acquire(timeout=20)
        tell(box, 3)
        flushed = threading.Event()

        def flush():
            assert box.flush(20)
            flushed.set()

        thread = threading.Thread(target=flush)
        thread.start()
        while not box._hurried:
            pass
        tell(box, 10)
        assert not flushed.wait(0.1)
        receiver.over.set()
        assert flushed.wait(20)
        thread.join()

    def test_where_none_can_be_started_a_flush_ends_in_time(self, sender, receiver, monkeypatch):
        receiver.answers += [None] * 9
        box = sender(batch=1, timeout=0.2)
        with monkeypatch.context() as patched:
            patched.setattr("budget_core.events.outbox.Thread", Refused)
            tell(box, 3)
            for timeout in (0.1, 0):
                assert not box.flush(timeout)
                assert box.counts == (0, 1, 2, 0)

    def test_where_none_can_be_started_a_flush_sends(self, sender, receiver, monkeypatch):
        box = sender()
        receiver.answers += [500, 204]
        with monkeypatch.context() as patched:
            patched.setattr("budget_core.events.outbox.Thread", Refused)
            tell(box, 1)
            assert box.counts.waiting == 1
            assert box.flush(20)
            tell(box, 1)
            assert box.flush(20)
        assert box.counts == (1, 1, 0, 0)  # of one attempt each
        receiver.answers.append(500)
        tell(box, 1)
        assert box.flush(20)
        assert box.counts == (2, 1, 0, 1)

    def test_nor_do_many_that_end_with_the_program(self, sender, receiver, monkeypatch):
        receiver.answers += [None] * 9
        boxes = [sender(timeout=0.2) for _ in range(9)]
        monkeypatch.setattr(outbox, "Thread", Refused)
        monkeypatch.setattr(outbox, "EXIT_SECONDS", 0.1)
        monkeypatch.setattr(outbox, "_all", weakref.WeakSet(boxes))
        for box in boxes:
            tell(box, 1)
        outbox._close_all()
        assert receiver.got.qsize() == 1  # the others have no time left
        assert [box.counts for box in boxes] == [(0, 1, 0, 0)] * 9

    def test_one_survives_what_is_no_plain_exception(self, sender, receiver):
        def headers(body):
            if b"1" in body:
                raise SystemExit
            return {}

        box = sender(headers=headers, batch=1)
        tell(box, 3)
        assert box.flush(20)
        assert box.counts == (2, 1, 0, 0)

    def test_one_survives_handlers_of_logs_that_raise(self, sender, receiver):
        def broken(record):
            raise ValueError(record)

        log = logging.getLogger("budget_core")
        log.addFilter(broken)
        try:
            receiver.answers.append(404)
            box = sender()
            tell(box, 1)
            assert box.flush(20)
            tell(box, 1)
            assert box.flush(20)
        finally:
            log.removeFilter(broken)
        assert box.counts == (1, 1, 0, 0)


class TestProcesses:
    PUT = "from budget_core.events.sender import Sender; box = Sender({url!r}); box.put({{'n': 1}})"

    def test_one_that_ends_sends_what_is_left(self, receiver):
        done = python(self.PUT.format(url=receiver.url))
        assert (done.returncode, done.stderr) == (0, "")
        assert numbers(receiver) == [[1]]

    def test_one_that_raises_too(self, receiver):
        done = python(self.PUT.format(url=receiver.url) + "; raise SystemExit(3)")
        assert (done.returncode, done.stderr) == (3, "")
        assert numbers(receiver) == [[1]]

    def test_what_is_put_by_what_runs_at_exit(self, receiver):
        put = self.PUT.format(url=receiver.url)
        done = python(f"{put}; import atexit; atexit.register(box.put, {{'n': 2}})")
        assert (done.returncode, done.stderr) == (0, "")
        assert numbers(receiver) == [[1, 2]]

    def test_what_is_put_only_then(self, receiver):
        put = self.PUT.format(url=receiver.url).replace(
            "box.put(", "import atexit; atexit.register(box.put, "
        )
        done = python(put)
        assert (done.returncode, done.stderr) == (0, "")
        assert numbers(receiver) == [[1]]

    def test_a_receiver_that_hangs_holds_it_up_for_a_bounded_time(self, receiver):
        receiver.answers.append(None)
        shorter = "import budget_core.events.outbox as o; o.EXIT_SECONDS = 0.2; "
        done = python(shorter + self.PUT.format(url=receiver.url), timeout=15)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_forked_child_sends_its_own_only(self, sender, receiver):
        box = sender(interval=60)
        tell(box, 1)
        child = os.fork()
        if not child:
            box.put({"n": "child"})
            done = box.flush(20)
            os._exit(0 if done and box.counts == (1, 0, 0, 0) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert numbers(receiver) == [["child"]]
        assert box.flush(20)
        assert numbers(receiver) == [[0]]

    def test_a_child_that_is_forked_while_others_put_does_not_hang(self, sender):
        box = sender(interval=60, buffer=10)
        over = threading.Event()

        def put():
            while not over.is_set():
                box.put({})

        threads = [threading.Thread(target=put) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if not child:
                signal.alarm(20)
                box.put({})
                os._exit(0 if box.counts.waiting == 1 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        over.set()
        for thread in threads:
            thread.join()

    def test_a_child_of_multiprocessing_flushes_when_it_ends(self, receiver):
        done = python(
            "import multiprocessing as mp\n"
            "from budget_core.events.sender import Sender\n"
            f"box = Sender({receiver.url!r}, interval=60)\n"
            "box.put({'n': 1}); assert box.flush(20)\n"
            "child = mp.get_context('fork').Process(target=box.put, args=({'n': 2},))\n"
            "child.start(); child.join()\n"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert numbers(receiver) == [[1], [2]]

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_so_does_one_that_began_afresh(self, receiver, tmp_path, method):
        (tmp_path / "main.py").write_text(
            "import multiprocessing as mp\n"
            "from budget_core.events.sender import Sender\n"
            "def work():\n"
            f"    Sender({receiver.url!r}, interval=60).put({{'n': 1}})\n"
            "if __name__ == '__main__':\n"
            f"    child = mp.get_context({method!r}).Process(target=work)\n"
            "    child.start(); child.join()\n"
        )
        done = subprocess.run(  # noqa: S603
            [sys.executable, str(tmp_path / "main.py")],
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert done.stderr == b""
        assert numbers(receiver) == [[1]]


class TestSecrets:
    def test_what_a_url_says_is_told_to_nobody(self, sender, receiver, caplog):
        caplog.set_level(logging.DEBUG)
        receiver.answers += [500, 404]
        box = sender(f"{receiver.url}services/hush?token=hush")
        tell(box, 2)
        assert box.flush(20)
        tell(box, 1)
        assert box.flush(20)
        assert receiver.next().path == "/services/hush?token=hush"
        assert "do not reach" in caplog.text
        assert "again" in caplog.text
        assert "hush" not in caplog.text + repr(box)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hush",
            "ftp://host/hush",
            "https:///hush",
            "https://u:hush@host/",
            "https://host/hush\n",
            "https://[hush/",
            "https://host:hush/",
            "https://host/hu sh",
            "https://host/hüsh",
        ],
    )
    def test_nor_what_one_says_that_cannot_be_posted_to(self, url):
        with pytest.raises(InvalidBudget) as caught:
            Sender(url)
        assert "hush" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
