"""How much a file in a request comes to: its pages and its text, which are packed in its bytes.

A page of a PDF is billed as its picture, and the text on it besides:
https://docs.claude.com/en/docs/build-with-claude/pdf-support,
https://platform.openai.com/docs/guides/pdf-files. Of office files the text alone is.
"""

from __future__ import annotations

import binascii
import io
import zipfile
from base64 import b64decode
from collections import OrderedDict
from hashlib import blake2b
from importlib import import_module
from threading import Lock
from typing import Any, Final, NamedTuple

PACKED: Final = ("JVBERi", "UEsDB", "0M8R4KGx", "H4sI", "data:application/")
"""How texts begin that are PDFs, office files and archives: old ones, and such as are zipped."""
_PDF, _ZIP, _OLE, _GZIP = b"%PDF", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b"
_HEAD: Final = 1_024
"""Where a PDF may begin: readers take what stands before it for nothing."""
_PLAIN: Final = str.maketrans("-_", "+/")
_KEPT: Final = 64
_MOST_PACKED: Final = 1 << 28


class Document(NamedTuple):
    """What a file comes to.

    Attributes:
        pages: of which each is a picture.
        text: UTF-8 bytes.
        unbounded: why that is not known, if it is not.
    """

    pages: int = 0
    text: int = 0
    unbounded: str | None = None


def document(packed: str | bytes) -> Document | None:
    """Return what a file comes to; None if it is none that is packed: its bytes bound it.

    Args:
        packed: in base64, as a data URL or without its head, or as it is.
    """
    data = packed.encode(errors="replace") if isinstance(packed, str) else packed
    key = blake2b(data, digest_size=16).digest()
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = _read(data if isinstance(packed, bytes) else _decoded(packed))
    with _lock:
        _known[key] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


def _decoded(text: str) -> bytes:
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        # google-genai writes "-" and "_" for "+" and "/"
        return b64decode(payload.translate(_PLAIN) + "=" * (-len(payload) % 4))
    except (binascii.Error, ValueError):
        return b""


def _read(data: bytes) -> Document | None:
    if data.startswith(_ZIP):
        return _zipped(data)
    if data.startswith((_OLE, _GZIP)):
        return Document(unbounded="a packed file, whose text cannot be measured")
    return _pdf(data) if _PDF in data[:_HEAD] else None


def _pdf(data: bytes) -> Document:
    try:
        pdfium: Any = import_module("pypdfium2")  # an extra
    except ImportError:
        return Document(
            unbounded="a PDF, whose pages cannot be counted without pypdfium2 "
            "(pip install 'budget-suite[pdf]')"
        )
    try:
        with _pdfium, pdfium.PdfDocument(data) as file:
            text = 0
            for page in file:
                words = page.get_textpage()
                text += len(words.get_text_range(errors="replace").encode(errors="replace"))
                words.close()
                page.close()
            return Document(len(file), text)
    except (pdfium.PdfiumError, ValueError, RuntimeError):
        return Document(unbounded="a PDF that cannot be read here, so that its pages are not known")


def _zipped(data: bytes) -> Document:
    """Measure a file of Word or PowerPoint: what it is unpacked, and its pictures."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            parts = file.infolist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return Document(unbounded="a packed file that cannot be read here")
    names = [part.filename for part in parts]
    texts = [part.file_size for part in parts if part.filename.endswith((".xml", ".rels"))]
    # a table may repeat one text in a thousand cells; others are archives of anything
    if not any(name.startswith(("word/", "ppt/")) for name in names) or sum(texts) > _MOST_PACKED:
        return Document(unbounded="a packed file, whose text cannot be measured")
    return Document(sum("/media/" in name for name in names), sum(texts))


_lock: Final = Lock()
_pdfium: Final = Lock()  # which is not safe to use in several threads
_known: Final[OrderedDict[bytes, Document | None]] = OrderedDict()
