"""A file that is inline may come to far more tokens than it has bytes: it is packed."""

import base64
import gzip
import io
import threading
import zipfile
import zlib
from contextlib import contextmanager

import anthropic
import openai
import pytest
from google import genai

from budget_core import AgentBudget, BudgetExhausted, Unbounded
from budget_core.calls import context, documents
from budget_core.calls.documents import document
from budget_core.calls.prompt import PAGE_TOKENS, measure
from budget_core.sdk import installing

WORDS = "The sea is salt because rivers carry minerals into it. " * 20


def pdf(pages, text=WORDS):
    """Write a PDF with so many pages, each with the text, packed as writers pack it."""
    lines = [text[at : at + 90] for at in range(0, len(text), 90)]
    shown = "".join(f"({line}) Tj T* " for line in lines)
    stream = zlib.compress(f"BT /F1 9 Tf 10 TL 30 800 Td {shown}ET".encode())
    kids = " ".join(f"{4 + n} 0 R" for n in range(pages))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    last = 4 + pages
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
        f"/Resources << /Font << /F1 3 0 R >> >> /Contents {last} 0 R >>"
    )
    parts += [page.encode()] * pages
    head = f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode()
    parts.append(head + stream + b"\nendstream")
    body, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n".encode() + part + b"\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start, size = len(body), len(parts) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return body + f"{end}startxref\n{start}\n%%EOF\n".encode()


def office(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return file.getvalue()


def encoded(data):
    return base64.b64encode(data).decode()


def url(data, kind="application/pdf"):
    return f"data:{kind};base64,{encoded(data)}"


WAYS = {
    "OpenAI, chat": lambda data: {"type": "file", "file": {"file_data": url(data)}},
    "OpenAI, responses": lambda data: {"type": "input_file", "file_data": url(data)},
    "Anthropic": lambda data: {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(data)},
    },
    "Gemini": lambda data: {"inlineData": {"mimeType": "application/pdf", "data": encoded(data)}},
    "Gemini, in snakes": lambda data: {
        "inline_data": {"mime_type": "application/pdf", "data": encoded(data)}
    },
    "Mistral": lambda data: {"type": "document_url", "document_url": url(data)},
    "LangChain": lambda data: {
        "type": "file",
        "source_type": "base64",
        "mime_type": "application/pdf",
        "data": encoded(data),
    },
    "bytes": lambda data: {"data": data},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_page_is_a_picture_and_its_text(way):
    size = measure(WAYS[way](pdf(14)))
    assert (size.pages, size.unbounded) == (14, None)
    assert 14 * len(WORDS) * 0.95 < size.text < 14 * len(WORDS) * 1.2
    assert size.tokens("claude-sonnet-4-6") == size.text + 14 * PAGE_TOKENS


def test_a_small_file_may_have_many_pages():
    packed = pdf(200)
    assert len(packed) < 40_000
    assert measure(WAYS["Anthropic"](packed)).tokens("claude-sonnet-4-6") > 200 * 6_000


def test_a_scan_is_bounded_by_its_pages_and_not_by_its_bytes():
    scanned = pdf(2, text="") + b"%" + b"x" * 3_000_000
    assert measure(WAYS["OpenAI, chat"](scanned)).tokens("gpt-4o") < 20_000


def test_a_page_of_gpt_4o_mini_is_as_dear_as_its_images():
    size = measure(WAYS["OpenAI, chat"](pdf(3)))
    assert size.tokens("gpt-4o-mini") > 3 * 36_835


@pytest.mark.parametrize("way", ["Anthropic", "Gemini", "OpenAI, chat"])
@pytest.mark.parametrize(
    "data", [b"%PDF-1.4\nno more", b"no PDF at all", pdf(1)[:200]], ids=["head", "none", "cut"]
)
def test_what_cannot_be_read_has_no_bound(way, data):
    size = measure(WAYS[way](data))
    if way == "OpenAI, chat" and data == b"no PDF at all":
        assert size.unbounded is None  # bytes that are no file come to no more
    else:
        assert "PDF" in size.unbounded


def test_where_nobody_can_count_its_pages_it_has_no_bound(monkeypatch):
    monkeypatch.setattr(documents, "import_module", lambda _: (_ for _ in ()).throw(ImportError))
    size = measure(WAYS["Anthropic"](pdf(5, "not seen before")))
    assert "budget-suite[pdf]" in size.unbounded


class TestOffice:
    KIND = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

    @pytest.mark.parametrize(
        "parts",
        [
            {"word__document_xml": WORDS * 100},
            {"ppt__slides__slide1_xml": WORDS * 60, "ppt__slides__slide2_xml": WORDS * 40},
        ],
        ids=["Word", "PowerPoint"],
    )
    def test_its_text_is_measured_unpacked(self, parts):
        data = office(**parts)
        assert len(data) < 10_000
        part = {"type": "input_file", "file_data": url(data, self.KIND)}
        assert measure(part).text > 100 * len(WORDS)

    def test_its_pictures_are_counted(self):
        data = office(word__document_xml="x", word__media__a_png="y", word__media__b_png="z")
        assert document(data).pages == 2

    @pytest.mark.parametrize(
        "data",
        [
            office(xl__workbook_xml="x", xl__sharedStrings_xml="y"),
            office(anything="x"),
            b"PK\x03\x04 no archive",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 an old one",
            gzip.compress(b"x" * 1_000),
        ],
        ids=["Excel", "an archive", "broken", "before 2007", "gzip"],
    )
    def test_what_cannot_be_measured_has_no_bound(self, data):
        part = {"type": "input_file", "file_data": url(data, "application/zip")}
        assert "packed file" in measure(part).unbounded


@pytest.mark.parametrize(
    "text", ["data:text/plain;base64,AAAA", "data:application/json;base64,e30=", "JVBERi is no PDF"]
)
def test_what_is_not_packed_is_bounded_by_its_bytes(text):
    assert measure(text).text == len(text) + 3


def test_a_file_is_read_once(monkeypatch):
    data = WAYS["Anthropic"](pdf(4, "read once"))
    first = measure(data)
    monkeypatch.setattr(documents, "_read", None)
    assert measure(data) == first


def test_threads_may_measure_at_once():
    found = []
    files = [pdf(3, f"file {number}") for number in range(12)]
    threads = [
        threading.Thread(target=lambda data=data: found.append(document(data).pages))
        for data in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 12


# -- over the SDKs ---------------------------------------------------------------------------

ASK = {"type": "text", "text": "Sum it up."}


@pytest.fixture
def guarded():
    """Open a session that every SDK call is charged to."""
    lease = installing.GuardLease()

    @contextmanager
    def claim(budget):
        session = AgentBudget(budget).session()
        context.guard(session)
        try:
            yield session
        finally:
            context.unguard(session)

    yield claim
    lease.release()


def by_chat(provider, part, model="gpt-4o"):
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        message = {"role": "user", "content": [part, ASK]}
        client.chat.completions.create(model=model, messages=[message], max_completion_tokens=50)


def by_messages(provider, part):
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="k") as client:
        message = {"role": "user", "content": [part, ASK]}
        client.messages.create(model="claude-sonnet-4-6", max_tokens=50, messages=[message])


def by_gemini(provider, part):
    client = genai.Client(api_key="k", http_options={"base_url": provider.google_url})
    data = base64.b64decode(part["inlineData"]["data"])
    parts = [genai.types.Part.from_bytes(data=data, mime_type="application/pdf"), "Sum it up."]
    client.models.generate_content(
        model="gemini-2.5-pro", contents=parts, config={"max_output_tokens": 50}
    )


SDKS = {"OpenAI, chat": by_chat, "Anthropic": by_messages, "Gemini": by_gemini}


@pytest.mark.parametrize("way", SDKS)
def test_a_file_that_the_money_does_not_cover_is_refused(provider, guarded, way):
    with guarded("$0.05"), pytest.raises(BudgetExhausted):
        SDKS[way](provider, WAYS[way](pdf(80)))
    assert provider.requests == 0


@pytest.mark.parametrize("way", SDKS)
def test_one_that_it_covers_is_sent(provider, guarded, way):
    with guarded("$5"):
        SDKS[way](provider, WAYS[way](pdf(80)))
    assert provider.requests == 1


@pytest.mark.parametrize("way", SDKS)
def test_one_that_nobody_can_read_is_refused(provider, guarded, way):
    with guarded("$5"), pytest.raises(Unbounded, match="PDF"):
        SDKS[way](provider, WAYS[way](b"%PDF-1.4 no more"))
    assert provider.requests == 0
