import base64
import hashlib
import json
import time
from pathlib import Path

import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.cid import cid_of, cid_of_digest, cid_of_file, digest_of, parse_cid, sha256_hex, sha256_hex_of_file
from kolm.errors import ArtifactError, StorageError

HELLO = cid_of(b"hello")


def spelled(raw: bytes) -> str:
    return "b" + base64.b32encode(raw).decode().rstrip("=").lower()


def accepted(text: str) -> bool:
    try:
        return parse_cid(text) == text
    except ArtifactError as err:
        return (err.check, bool(err.hint)) not in [("E_CID_SYNTAX", True), ("E_CID_PROFILE", True)]


@given(st.binary())
def test_the_cid_is_what_multiformats_makes_of_the_same_bytes(data):
    text = cid_of(data)
    digest = multiformats.multihash.digest(data, "sha2-256")
    assert text == str(multiformats.CID("base32", 1, "raw", digest))
    assert len(text) == 59
    assert parse_cid(text) == text
    assert digest_of(text) == hashlib.sha256(data).digest()
    assert sha256_hex(data) == digest_of(text).hex()


@given(
    st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52).map(lambda s: "bafkrei" + s)
    | st.tuples(st.integers(0, 58), st.characters(codec="utf-8")).map(
        lambda c: HELLO[: c[0]] + c[1] + HELLO[c[0] + 1 :]
    )
    | st.text(max_size=130)
    | st.binary(max_size=60).map(spelled)
    | st.binary(min_size=32, max_size=34).map(lambda raw: spelled(b"\x01\x55\x11\x20" + raw))
)
def test_strictly_accepted_texts_are_a_subset_of_what_multiformats_accepts(text):
    if accepted(text):
        cid = multiformats.CID.decode(text)
        assert str(cid) == text
        assert cid.raw_digest == digest_of(text)


def test_endings_with_unused_bits_set_are_refused():
    """58 characters hold 290 bits, two more than a CID: one in four endings can be its only spelling."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    spellings = [HELLO[:-1] + character for character in alphabet]
    assert sum(accepted(text) for text in spellings) == len(alphabet) // 4


def test_vectors(format_vectors):
    document = json.loads((format_vectors / "cid.json").read_bytes())
    for case in document["valid"]:
        data = bytes.fromhex(case["bytes"])
        assert cid_of(data) == case["cid"]
        assert sha256_hex(data) == case["sha256"]
    for case in document["invalid"]:
        with pytest.raises(ArtifactError) as caught:
            parse_cid(case["text"])
        assert caught.value.check == case["check"], case["defect"]


@pytest.mark.parametrize("text", ["b" * 1_000_000, "z" * 100_000, "bafkrei" + "a" * 100_000, "Qm" * 50_000])
def test_a_hostile_text_costs_less_than_a_millisecond(text):
    def cost() -> float:
        start = time.perf_counter()
        assert not accepted(text)
        return time.perf_counter() - start

    assert min(cost() for _ in range(5)) < 0.001


def test_a_cid_is_parsed_in_about_ten_microseconds():
    def cost() -> float:
        start = time.perf_counter()
        for _ in range(1000):
            parse_cid(HELLO)
        return (time.perf_counter() - start) / 1000

    assert min(cost() for _ in range(5)) < 20e-6


def test_something_that_is_not_text_is_refused():
    assert not accepted(None)
    assert not accepted(b"bafkrei")


def test_files_are_named_by_their_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"hello")
    assert cid_of_file(path) == HELLO
    assert sha256_hex_of_file(path) == sha256_hex(b"hello")
    with pytest.raises(StorageError, match="no such file"):
        cid_of_file(tmp_path / "missing")


def test_a_read_that_fails_is_named():
    with pytest.raises(StorageError, match="/proc/self/mem"):
        cid_of_file(Path("/proc/self/mem"))


def test_a_digest_of_another_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="32 bytes"):
        cid_of_digest(b"short")


def test_the_example_of_the_format_page_is_a_vector(format_vectors):
    page = (format_vectors.parent / "cid.md").read_text()
    assert f"\n{HELLO}\n" in page
    assert f"01 55 12 20  {sha256_hex(b'hello')}\n" in page
