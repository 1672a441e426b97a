"""Recorded answers of every provider: a budget changes nothing of them, and charges them exactly.

Each file in ``data`` is a server's: one JSON a line, the first with its address and its prices (odd
ones, no two alike: nanos for a million tokens, so that each mistake shows), the others with a
recording each. A server may not be known to heed caps (``heeds``), and is not asked for the usage
of a stream that it tells anyway (``asks``).

=============  ==================================================================================
``api``        the method of the SDK; ``ask`` is what it is called with
``status``     of the answer, 200 if it is not said; ``headers`` likewise
``body``       its chunks; one in ``{"asked": …}`` is sent where a stream's usage is asked for
``broken``     the connection ends in mid-body
``billed``     what the provider's documentation makes of it: tokens of each price, no token twice
``fees``       what it bills beside tokens; ``unpriced`` if that has no price
``reasoning``  tokens of the output that were thoughts
``settings``   of the budget; with ``costs="provider"`` the nanos are its ``cost``
``beyond``     more is billed than a budget can know before
``charged``    "exactly" as billed if it is not said; "held": it does not say what it used, and the
               whole hold is charged; "within": at least what is billed, and at most the hold
=============  ==================================================================================
"""

import contextvars
import json
from pathlib import Path

import pytest

from budget_core import AgentBudget, hooks
from budget_core.calls import context
from budget_core.money.prices import lookup
from budget_core.money.prices.rates import Rates
from budget_core.sdk import installing

from .conftest import WHOLE, streams

DATA = Path(__file__).parent / "data"
SHAPES = ("anthropic", "gemini", "groq", "moonshot", "openai", "openai_responses", "openrouter")
"""Servers whose streams differ in more than their numbers."""
MILLION = 1_000_000
METHODS = {
    "chat": "chat.completions.create",
    "responses": "responses.create",
    "completions": "completions.create",
    "embeddings": "embeddings.create",
    "messages": "messages.create",
    "beta messages": "beta.messages.create",
    "generate": "models.generate_content",
    "generate stream": "models.generate_content_stream",
    "embed": "models.embed_content",
}
INPUT = (
    "input",
    "text_input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "audio_cache_read",
)
OUTPUT = ("output", "text_output", "audio_output")


def _files():
    for path in sorted(DATA.glob("*.jsonl")):
        server, *recordings = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        server |= {"name": path.stem, "recordings": recordings}
        for recording in recordings:
            yield pytest.param(server, recording, id=f"{path.stem}: {recording['name']}")


RECORDED = list(_files())
STREAMS = [one for one in RECORDED if streams(one.values[1]) and one.values[0]["name"] in SHAPES]


def nanos(server, recording):
    """Return what a recording costs by its server's prices, rounded up as a whole."""
    if "cost" in recording:
        return recording["cost"]
    table = server["prices"][recording.get("priced", recording["ask"]["model"])]
    table = {**table, **table.get(recording.get("tier"), {})}
    tokens = sum(n for kind, n in recording["billed"].items() if kind in INPUT)
    steps = [int(step) for step in table.get("steps", ()) if tokens > int(step)]
    rates = {**table, **table["steps"][str(max(steps))]} if steps else table
    exact = sum(n * rates[kind] for kind, n in recording["billed"].items())
    fees = sum(
        -(-n * table["fees"][unit] // 1_000) for unit, n in recording.get("fees", {}).items()
    )
    request = recording.get("request", table.get("request", 0)) if recording["billed"] else 0
    others = recording.get("others", {})
    beside = sum(nanos(server, {**recording, "priced": m, "billed": b, "others": {}, "fees": {}, "request": 0}) for m, b in others.items())  # fmt: skip
    return -(-exact // MILLION) + fees + request + beside


def rates(table):
    plain = {key: value for key, value in table.items() if isinstance(value, int)}
    plain = {"audio_cache_read": plain.get("cache_read", 0), **plain}
    for name in ("cache_read", "cache_write", "cache_write_1h", "audio_input"):
        plain.setdefault(name, plain["input"])
    plain.setdefault("audio_output", plain["output"])
    steps = tuple(
        (int(at), rates({**plain, **step})) for at, step in table.get("steps", {}).items()
    )
    return Rates(**plain, steps=steps, fees=tuple(table.get("fees", {}).items()))


@pytest.fixture(scope="module")
def shelf():
    """The prices that count: those of the server that is put in."""

    class Shelf:
        prices = {}

        @hooks.hookimpl(tryfirst=True)
        def budget_price(self, request):
            table = self.prices.get(request.model)
            return table and rates({**table, **table.get(request.tier, {})})

    plugin = Shelf()
    hooks.register(plugin)
    yield plugin
    hooks.unregister(plugin)


class Player:
    """Plays recordings to an SDK, with a budget and without.

    Attributes:
        held: nanos, when the latest request had come.
        answer: the latest, which its program keeps: nothing is held for it even so.
    """

    def __init__(self, tape, clients, shelf):
        self.tape, self.clients, self.shelf = tape, clients, shelf
        self._raw, self._lease = {}, None

    def close(self):
        if self._lease is not None:
            self._lease.release()

    def raw(self, server, recording, *, asynchronous):
        """Return what a program gets without a budget, and the request that it sends.

        All of a server's are played before the SDKs are guarded: that takes a while.
        """
        if server["name"] not in self._raw:
            self.close()
            self._lease, self.tape.cut = None, None
            self._raw[server["name"]] = {
                (one["name"], how): (self._heard(server, one, how), self.tape.bodies[-1])
                for one in server["recordings"]
                for how in (False, True)
            }
        if self._lease is None:
            self._lease = installing.GuardLease()
        return self._raw[server["name"]][recording["name"], asynchronous]

    def guarded(self, server, recording, *, asynchronous):
        if self.shelf.prices is not server["prices"]:
            self.shelf.prices = server["prices"]
            lookup.forget()
        session = AgentBudget("$1000", **recording.get("settings", {})).session()
        self.held = []
        self.tape.watch = lambda: self.held.append(self._balance(session).reserved.usd)
        context.guard(session)
        try:
            heard = self._heard(server, recording, asynchronous)
        finally:
            context.unguard(session)
            self.tape.watch = lambda: None
        assert self._balance(session).reserved.usd == 0
        return heard, session

    @staticmethod
    def _balance(session):
        return session.ledger.balance(session.account)

    def _heard(self, server, recording, asynchronous):
        self.tape.recording = recording
        self.tape.bodies.clear()
        client = self.clients.of(server, asynchronous=asynchronous)
        method = client.aio if asynchronous and server["client"] == "google" else client
        for name in METHODS[recording["api"]].split("."):
            method = getattr(method, name)
        if asynchronous:
            listening = self._listen_async(method, recording)
            return self.clients.runner.run(listening, context=contextvars.copy_context())
        return self._listen(method, recording)

    def _listen(self, method, recording):
        heard = []
        try:
            answer = self.answer = method(**recording["ask"])
            for chunk in answer if streams(recording) else (answer,):
                heard.append(_told(chunk))
        except Exception as error:
            heard.append(_told(error))
        return heard

    async def _listen_async(self, method, recording):
        heard = []
        try:
            answer = self.answer = await method(**recording["ask"])
            if streams(recording):
                async for chunk in answer:
                    heard.append(_told(chunk))
            else:
                heard.append(_told(answer))
        except Exception as error:
            heard.append(_told(error))
        return heard


def _told(thing):
    """Return all that a program can see of what it got; NaN is no equal of itself, its text is."""
    if isinstance(thing, Exception):
        about = [
            getattr(thing, name, None)
            for name in ("status_code", "code", "body", "details", "type", "param")
        ]
        return repr((type(thing).__name__, str(thing), about))
    return repr((type(thing).__name__, thing.model_dump(warnings=False)))


@pytest.fixture(scope="module")
def _player(tape, clients, shelf):
    made = Player(tape, clients, shelf)
    yield made
    made.close()


@pytest.fixture
def player(_player):
    _player.tape.cut = None
    return _player


def check(server, recording, held, session):
    spent = session.spent_nanos
    billed = nanos(server, recording)
    match recording.get("charged", "exactly"):
        case "held":
            # where a server may ignore the cap, more may have been written than was seen
            more = 0 if server.get("heeds", True) else 80 * max(_output_prices(server, recording))
            assert billed < held[-1] <= spent <= held[-1] + more // MILLION
        case "within":
            assert billed <= spent <= held[-1]
        case "exactly":
            assert spent == billed
            assert spent <= held[-1] or recording.get("beyond") or "fees" in recording
            told = session.report()["breakdown"]["tokens"]
            parts = {kind: recording["billed"].get(kind, 0) for kind in (*INPUT, *OUTPUT)}
            assert told["input"] == sum(parts[kind] for kind in INPUT)
            assert told["output"] == sum(parts[kind] for kind in OUTPUT)
            assert told["cache_read"] == parts["cache_read"] + parts["audio_cache_read"]
            assert told["cache_write"] == parts["cache_write"] + parts["cache_write_1h"]
            assert told["reasoning"] == recording.get("reasoning", 0)
            assert session.report()["unpriced_calls"] == recording.get("unpriced", 0)


def _output_prices(server, recording):
    table = server["prices"][recording["ask"]["model"]]
    return [table[kind] for kind in OUTPUT if kind in table]


def _spelled(body):
    """Return a request in one spelling: Google's SDK mixes two, and its API takes both."""
    if not isinstance(body, dict):
        return body
    return {key.replace("_", "").lower(): _spelled(value) for key, value in body.items()}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("server", "recording"), RECORDED)
def test_a_budget_changes_nothing_and_charges_exactly(player, server, recording, asynchronous):
    raw, wanted = player.raw(server, recording, asynchronous=asynchronous)
    heard, session = player.guarded(server, recording, asynchronous=asynchronous)
    assert heard == raw
    check(server, recording, player.held, session)
    (sent,), wanted = map(_spelled, player.tape.bodies), _spelled(wanted)
    if server.get("asks", True) and "streamoptions" not in wanted:
        sent.pop("streamoptions", None)
    assert sent == wanted


@pytest.mark.parametrize(("server", "recording"), STREAMS)
def test_wherever_the_connection_cuts_a_stream(player, server, recording):
    raw, _ = player.raw(server, recording, asynchronous=False)
    for player.tape.cut in (7, WHOLE):
        heard, session = player.guarded(server, recording, asynchronous=False)
        assert heard == raw
        check(server, recording, player.held, session)
