import base64
import math
import struct

import pytest
from langchain_openai import OpenAIEmbeddings

from budget_core.testing import Reply


def embed(client, **options):
    return client.embeddings.create(
        **{"model": "text-embedding-3-small", "input": ["Hello", "World"], **options}
    )


def test_vectors_are_unit_and_deterministic(client, provider):
    first, second = embed(client).data
    assert len(first.embedding) == 16
    assert math.hypot(*first.embedding) == pytest.approx(1, abs=1e-6)
    assert first.embedding != second.embedding
    (again,) = embed(client, input="Hello").data
    assert again.embedding == first.embedding
    assert [bill.input_tokens for bill in provider.bills] == [4, 2]
    assert provider.bill_nanos == 6 * 20


def test_both_encodings_agree(http, client):
    body = {"model": "text-embedding-3-large", "input": "Hi", "dimensions": 5}
    floats = http.post("/v1/embeddings", json=body).json()
    packed = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    unpacked = struct.unpack("<5f", base64.b64decode(packed["data"][0]["embedding"]))
    assert floats["data"][0]["embedding"] == pytest.approx(unpacked, abs=1e-6)
    assert floats["usage"] == {"prompt_tokens": 1, "total_tokens": 1}


def test_token_ids_are_counted(client, provider):
    assert len(embed(client, input=[[1, 2, 3], [4]]).data) == 2
    assert len(embed(client, input=[1, 2, 3]).data) == 1
    assert [bill.input_tokens for bill in provider.bills] == [4, 3]


def test_scripted_usage(client, provider):
    provider.script(Reply(input_tokens=500, output_tokens=99), Reply(usage=False))
    assert embed(client).usage.prompt_tokens == 500
    assert provider.bill_nanos == 500 * 20
    assert embed(client).usage is None


def test_langchain(provider):
    model = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.openai_url,
        api_key="test",
        check_embedding_ctx_length=False,
    )
    assert len(model.embed_documents(["a", "b"])) == 2
    assert provider.bill_nanos == 2 * 20
