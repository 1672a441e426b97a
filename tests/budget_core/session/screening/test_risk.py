"""Personal data and secrets: what is found, what is not, and how long hostile texts take."""

import base64
import json
import random
import re
import tracemalloc

import pytest

from budget_autogen.saved import restore, save
from budget_core import AgentBudget, CallRequest, Prompt, RiskDetected, analyze_text
from budget_core.session.screening.cards import has_card
from budget_core.session.screening.risk import RISKS

# secrets are put together here, so that no scanner takes this file for a leak
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
STRIPE = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
GITHUB = "ghp_" + "a1B2" * 9
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Contact user@example.com", ["PII_EMAIL"]),
        ("Contact user@example.com.", ["PII_EMAIL"]),
        ("first.last+tag@mail.example.co.uk", ["PII_EMAIL"]),
        ("a@127.0.0.1.example", ["PII_EMAIL"]),
        ("SSN 123-45-6789", ["PII_SSN"]),
        ("123 45 6789", ["PII_SSN"]),
        ("card 4111111111111111", ["FINANCIAL_CREDIT_CARD"]),
        ("4111 1111 1111 1111", ["FINANCIAL_CREDIT_CARD"]),
        ("4111-1111-1111-1111", ["FINANCIAL_CREDIT_CARD"]),
        ("order 12 4111 1111 1111 1111 123", ["FINANCIAL_CREDIT_CARD"]),
        ("4111 1111 1111 1111 1225", ["FINANCIAL_CREDIT_CARD"]),
        ("1234 4111 1111 1111 1111", ["FINANCIAL_CREDIT_CARD"]),
        ("378282246310005", ["FINANCIAL_CREDIT_CARD"]),
        ("3782 822463 10005", ["FINANCIAL_CREDIT_CARD"]),
        ("4222222222222", ["FINANCIAL_CREDIT_CARD"]),
        ("3056 930902 5904", ["FINANCIAL_CREDIT_CARD"]),
        ("\N{NO-BREAK SPACE}".join(["4111"] + 3 * ["1111"]), ["FINANCIAL_CREDIT_CARD"]),
        ("\N{NON-BREAKING HYPHEN}".join(["4111"] + 3 * ["1111"]), ["FINANCIAL_CREDIT_CARD"]),
        ("\u5361\u53f74111111111111111\U0001f600", ["FINANCIAL_CREDIT_CARD"]),
        ("\u90ae\u7bb1user@example.com\u8bf7", ["PII_EMAIL"]),
        ("\ud800user@example.com\udfff", ["PII_EMAIL"]),
        ("SSN-123-45-6789.", ["PII_SSN"]),
        ("123\N{EN DASH}45\N{EN DASH}6789", ["PII_SSN"]),
        ("6011000990139424,", ["FINANCIAL_CREDIT_CARD"]),
        ("5555555555554444x", ["FINANCIAL_CREDIT_CARD"]),
        ("4111111111111112 4111111111111111", ["FINANCIAL_CREDIT_CARD"]),
        (f"key={AWS}", ["SECRET_AWS_ACCESS_KEY"]),
        ("AKIA" + "1234567890ABCDEF", ["SECRET_AWS_ACCESS_KEY"]),
        (f"{STRIPE};", ["SECRET_STRIPE"]),
        (STRIPE.replace("sk_live", "rk_test"), ["SECRET_STRIPE"]),
        (f"https://{GITHUB}@github.com/x", ["PII_EMAIL", "SECRET_GITHUB"]),
        ("github_pat_" + "a1B2_" * 5, ["SECRET_GITHUB"]),
        ("ghs_123456_eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3Mi", ["SECRET_GITHUB"]),
        (f"Authorization: Bearer {JWT}", ["SECRET_JWT"]),
        (f"token%3D{JWT}", ["SECRET_JWT"]),
        (f"{JWT} of user@example.com", ["PII_EMAIL", "SECRET_JWT"]),
    ],
)
def test_found(text, tags):
    assert analyze_text(text) == tags


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing to see",
        "@decorator and @mention, a @ b, user@localhost, 3 @ 4.50, x@1.2",
        "000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000 123-45 6789",
        "0123-45-6789 123-45-67890 123-45-6789-0 2123456789",
        "4111111111111112",
        "4111 1111 1111 1112",
        "41111111111111111",  # seventeen digits
        "4" * 40,
        "1111111111111117",  # passes Luhn's test, and is no card's beginning
        "411111111111111\N{ARABIC-INDIC DIGIT ONE}",  # the last digit is an Arabic one
        "1000 2000 4111 1111 1111 1111 3000 4000",  # a table
        "2024-01-01 2024-01-02 2024-01-03",
        "+1 415 555 2671 or 0044 20 7946 0958",
        "xAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX AKIA",
        "task_live_4eC39HqLyjWDarjtT1zdp7dc sk_live_short",
        "ghp_short xghp_" + "a" * 36,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0 eyJ. x" + JWT,
    ],
)
def test_not_found(text):
    assert analyze_text(text) == []


def luhn(number):
    odd, even = number[-1::-2], number[-2::-2]
    return (sum(map(int, odd)) + sum(sum(map(int, str(2 * int(n)))) for n in even)) % 10 == 0


def test_no_card_without_luhn_and_every_one_with_it():
    chance = random.Random(7)
    valid = 0
    for _ in range(2_000):
        length = chance.randrange(13, 20)
        number = chance.choice("23456") + "".join(chance.choices("0123456789", k=length - 1))
        assert bool(analyze_text(f"a {number} b")) is luhn(number), number
        valid += luhn(number)
    assert valid > 100


def test_one_card_among_many_numbers_that_are_none():
    numbers = [f"41{n:014}" for n in range(5_000) if not luhn(f"41{n:014}")]
    assert analyze_text(" ".join(numbers)) == []
    numbers.insert(3_333, "4111111111111111")
    assert analyze_text(" ".join(numbers)) == ["FINANCIAL_CREDIT_CARD"]


def is_card(digits):
    return digits[0] in "23456" and luhn(digits)


def has_card_plainly(text):
    """Look at one number after the other."""
    fours = (re.split("[ -]", run) for run in re.findall(r"(?<!\d)\d{4}(?:[ -]\d{4}(?!\d))+", text))
    found = re.findall(r"(?<!\d)\d{13,19}(?!\d)", text)
    found += ["".join(run[n : n + 4]) for run in fours if len(run) < 6 for n in range(len(run) - 3)]
    apart = re.findall(r"(?<!\d)(?=(3\d{3}[ -]\d{6}[ -]\d{4,5}(?!\d)))", text)
    found += [re.sub("[ -]", "", number) for number in apart]
    return any(map(is_card, found))


PIECES = [
    "4111 ", "4111-", "1111 ", "3782 ", "822463 ", "10005 ", "3056-", "930902-", "5904 ", "0004 ",
    "4111111111111111", "378282246310005 ", "x", "0", " ", "-",
]  # fmt: skip


def test_numbers_are_found_wherever_they_stand():
    chance, found = random.Random(64), 0
    for _ in range(9_000):
        text = "".join(chance.choices(PIECES, k=chance.randrange(1, 14)))
        text += "".join(chance.choices("0123456789" * 4 + " -x", k=chance.randrange(30)))
        expected = has_card_plainly(text)
        assert has_card(text.encode()) is expected, text
        found += expected
    assert 1_500 < found < 7_500


HOSTILE = {
    "digits": "4",
    "groups": "4111 ",
    "cards that are none": "4111111111111112 4111 1111 1111 1112x3782 822463 10006 ",
    "groups that are none": "1234 5678-9012 3456 ",
    "dots": ".",
    "labels": "a.",
    "ats": "a@",
    "addresses": "a@a.1 ",
    "base64": base64.b64encode(random.Random(1).randbytes(3_000)).decode(),
    "tokens": "eyJaaaaaaaaa.eyJaaaa.",
    "heads of tokens": "eyJ",
    "social security": "123-45-0000 ",
    "keys": "AKIA",
    "stripe": "sk_live_",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_take_memory_in_proportion_to_their_length(unit):
    text = (unit * (100_000 // len(unit) + 1))[:100_000]
    tracemalloc.start()
    try:
        analyze_text(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(text)


def request(*texts, system=None):
    messages = [{"role": "user", "content": text} for text in texts]
    return CallRequest(model="gpt-4o", prompt=Prompt(messages, {"system": system}), output_cap=9)


class TestInSessions:
    def test_nobody_looks_unless_asked(self):
        session = AgentBudget("$1").session()
        session.open_call(request("user@example.com")).settle(None)
        assert [event.kind for event in session.events()] == ["call"]
        assert session.events()[0].data["risks"] == []

    def test_tagged_prompts_are_told_once_and_each_call_carries_its_tags(self):
        session = AgentBudget("$1", on_risk="tag").session()
        for texts in (["Hi"], ["Hi", "user@example.com"], ["Hi", "user@example.com", "ok"]):
            session.open_call(request(*texts)).settle(None)
        told = [
            (event.kind, event.data.get("tags", event.data.get("risks")))
            for event in session.events()
        ]
        email = ["PII_EMAIL"]
        assert told == [("call", []), ("risk", email), ("call", email), ("call", email)]
        assert "user@example.com" not in repr(session.events()) + repr(vars(session))
        assert "user@example.com" not in repr(session._admission.screening.__dict__)

    def test_refused_prompts_are_not_sent(self):
        session = AgentBudget("$1", on_risk="refuse").session("s")
        for _ in range(2):
            with pytest.raises(RiskDetected, match="holds PII_EMAIL, SECRET_GITHUB") as raised:
                session.open_call(request("Hi", system=f"{GITHUB} of user@example.com"))
        assert raised.value.tags == ("PII_EMAIL", "SECRET_GITHUB")
        assert raised.value.session_id == "s"
        assert GITHUB not in str(raised.value)
        session.open_call(request("Hi")).settle(None)
        assert [event.kind for event in session.events()] == ["risk", "risk", "call"]
        assert session.reserved == 0

    async def test_in_tasks_too(self):
        session = AgentBudget("$1", on_risk="refuse").session("s")
        with pytest.raises(RiskDetected):
            await session.open_call_async(request("user@example.com"))

    def test_who_only_observes_refuses_nothing(self):
        session = AgentBudget("$1", on_risk="refuse", mode="observe").session()
        session.open_call(request("user@example.com")).settle(None)
        assert [event.data.get("refused") for event in session.events()] == [False, None]

    def test_children_look_as_well(self):
        child = AgentBudget("$1", on_risk="refuse").session().child_session("$0.50")
        with pytest.raises(RiskDetected):
            child.open_call(request("user@example.com"))

    def test_a_body_that_a_guard_sees_is_looked_at_as_it_is_sent(self):
        session = AgentBudget("$1", on_risk="refuse").session()
        call = session.open_call(request("Hi"))
        with pytest.raises(RiskDetected):
            call.reprice(request("Hi", "user@example.com"))
        assert call.ended
        assert session.reserved == 0

    def test_detectors_of_others_add_their_tags(self, caplog):
        def iban(text):
            return ["PII_IBAN"] if "DE89" in text else []

        detectors = [iban, lambda text: 1 / 0]
        session = AgentBudget("$1", on_risk="tag", risk_detectors=detectors).session()
        call = session.open_call(request("user@example.com of DE89 3704 0044 0532 0130 00"))
        assert call.risks == ("PII_EMAIL", "PII_IBAN")
        assert "ZeroDivisionError" in caplog.text

    def test_a_session_that_is_written_down_goes_on_looking(self):
        budget = AgentBudget(
            "$1", on_risk="refuse", risk_detectors=[lambda _: []], labels={"project": "crawler"}
        )
        again = restore({**json.loads(json.dumps(save(budget.session("s")))), "key": "another"})
        with pytest.raises(RiskDetected):
            again.open_call(request("user@example.com"))
        assert again.events()[0].data["project"] == "crawler"

    @pytest.mark.parametrize(
        "content",
        [
            "data: mail user@example.com",
            [{"type": "image_url", "image_url": {"url": "data:text/plain,user@example.com"}}],
            [{"type": "tool_use", "name": "write", "input": {"to": {"user@example.com": 1}}}],
            [{"type": "tool_use", "name": "send", "input": {"to": [["user@example.com"]]}}],
        ],
    )
    def test_texts_are_found_wherever_they_are(self, content):
        session = AgentBudget("$1", on_risk="tag").session()
        assert session.open_call(request(content)).risks == ("PII_EMAIL",)

    @pytest.mark.parametrize("number", [4111111111111111, 378282246310005])
    def test_a_number_may_be_a_card_s(self, number):
        session = AgentBudget("$1", on_risk="tag").session()
        tool = {"type": "tool_use", "name": "pay", "input": {"card": number, "large": 10**30}}
        assert session.open_call(request([tool])).risks == ("FINANCIAL_CREDIT_CARD",)

    def test_images_are_no_text(self):
        session = AgentBudget("$1", on_risk="tag").session()
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + JWT}}
        call = session.open_call(request([image]))
        call.settle(None)
        assert call.risks == ()


def test_the_tags_are_those_that_are_documented():
    assert RISKS == (
        "PII_EMAIL", "PII_SSN", "FINANCIAL_CREDIT_CARD", "SECRET_AWS_ACCESS_KEY",
        "SECRET_STRIPE", "SECRET_GITHUB", "SECRET_JWT",
    )  # fmt: skip
