"""No parser crashes, hangs, or accepts what its writer would not write."""

import base64
import io
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kolm.canonical import canonical_json, canonical_lines, parse_canonical, parse_canonical_lines
from kolm.cid import cid_of, parse_cid
from kolm.container import Container
from kolm.container.layout import Entry, Zip64, central_header, end_records, local_header
from kolm.entries import parse_entry, receipt_entry, revocation_entry
from kolm.errors import CheckedError
from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.note import Note, NoteKey
from kolm.tlog.proof import LogProof
from tests.kolm.hostile_zips import GOOD
from tests.logs import Log

FUZZ = settings(max_examples=200, deadline=None, derandomize=True)
"""The same examples in every run; what failed once is kept as an `example`."""

CID = cid_of(b"seed")
LOG = Log([receipt_entry(CID, CID), revocation_entry({"artifact": CID}, statement="0" * 64), b"{}"])
PROOF = LOG.proof(1)
NOTE = LOG.checkpoint()
JSON = canonical_json({"a": [1, -0.5, "\u20ac\n", None, True], "b": {"": {}}, "z": 1e21})
LINES = canonical_lines([{"a": 1}, [], "x"])


def spelled_note(note: Note) -> bytes:
    """Write a note as it must have been written."""
    lines = [f"— {name} {base64.b64encode(data).decode()}\n" for name, data in note.signatures]
    return f"{note.text}\n{''.join(lines)}".encode()


def rewritten_note(data: bytes) -> bytes:
    return spelled_note(Note.parse(data))


def rewritten_checkpoint(data: bytes) -> bytes:
    """Write the three lines again; the lines after them mean nothing and are carried along."""
    text = data.decode("latin-1") + "\n"
    rest = text[:-1].split("\n")[3:]
    again = Checkpoint.parse(text).text + "".join(f"{line}\n" for line in rest)
    return again[:-1].encode("latin-1")


def rewritten_container(data: bytes) -> bytes:
    """Write the members again, in the order in which they were found."""
    container, out, entries = Container.open(data), io.BytesIO(), []
    for name in container.names:
        content = container.read(name)
        entries.append(Entry(name, out.tell(), len(content), zlib.crc32(content)))
        out.write(local_header(entries[-1], zip64=Zip64()) + content)
    start = out.tell()
    for entry in entries:
        out.write(central_header(entry, zip64=Zip64()))
    out.write(b"".join(end_records(len(entries), start=start, size=out.tell() - start, zip64=Zip64())))
    return out.getvalue()


def rewritten_entry(data: bytes) -> bytes:
    return canonical_json(parse_entry(data).model_dump())


def rewritten_vkey(data: bytes) -> bytes:
    """Write a key again within the white space around it, which a file may have."""
    text = data.decode("latin-1")
    return text.replace(text.strip(), NoteKey.parse(text).vkey).encode("latin-1")


def rewritten_cid(data: bytes) -> bytes:
    return parse_cid(data.decode("latin-1")).encode("latin-1")


Rewrite = Callable[[bytes], bytes]

PARSERS: dict[str, tuple[Rewrite, list[bytes]]] = {
    "json": (lambda data: canonical_json(parse_canonical(data, what="value")), [JSON, b"[]", b'"\\u0000"']),
    "lines": (lambda data: canonical_lines(parse_canonical_lines(data, what="rows")), [LINES, b""]),
    "cid": (rewritten_cid, [CID.encode()]),
    "note": (rewritten_note, [NOTE]),
    "checkpoint": (rewritten_checkpoint, [Note.parse(NOTE).text.encode()[:-1]]),
    "proof": (lambda data: LogProof.parse(data).to_bytes(), [PROOF]),
    "vkey": (rewritten_vkey, [LOG.note_key.vkey.encode()]),
    "entry": (rewritten_entry, LOG.entries[:2]),
    "container": (rewritten_container, [GOOD]),
}
"""Each parser as a function that writes again what it read, and texts that it accepts."""

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 3), st.one_of(st.binary(max_size=4), st.sampled_from(
            [b"\n", b"\r\n", b"\n\n", b" ", b"0", b"-", b"+", b"=", b"\x00", b"\xe2\x80\x94 ", b"PK\x03\x04",
             b"1e400", b"[" * 70, b"9" * 20, b'{"a":1,"a":2}', b"\xff", b"\xef\xbb\xbf", b"NaN"]))),
    min_size=1, max_size=4,
)  # fmt: skip
"""Cuts and insertions, by place (a share of the length)."""


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for share, cut, insert in edits:
        place = int(share * len(data))
        data = data[:place] + insert + data[place + cut :]
    return data


def assert_strict(rewrite: Rewrite, data: bytes) -> None:
    """Whatever is accepted is what the writer writes; whatever is not has a code and a hint."""
    start = time.perf_counter()
    try:
        again: Any = rewrite(data)
    except CheckedError as err:
        refusal: CheckedError | None = err
    else:
        refusal = None
        assert again == data
    assert refusal is None or (refusal.check.startswith("E_") and refusal.message)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("kind", PARSERS)
def test_what_the_writer_wrote_is_accepted(kind: str) -> None:
    rewrite, good = PARSERS[kind]
    for data in good:
        assert rewrite(data) == data


@pytest.mark.parametrize("kind", PARSERS)
def test_arbitrary_bytes_are_refused_with_a_code(kind: str) -> None:
    rewrite, _ = PARSERS[kind]

    @FUZZ
    @given(st.binary(max_size=200))
    @example(b"")
    @example(b"\n\n")
    @example(b"\x00" * 64)
    @example(b"PK\x05\x06" + bytes(18))
    def run(data: bytes) -> None:
        assert_strict(rewrite, data)

    run()


@pytest.mark.parametrize("kind", PARSERS)
def test_edited_documents_are_refused_or_written_the_same(kind: str) -> None:
    rewrite, good = PARSERS[kind]

    @FUZZ
    @given(st.sampled_from(good), EDITS)
    @example(good[0], [(1.0, 0, b"\n")])
    @example(good[0], [(0.0, 0, b"\xef\xbb\xbf")])
    @example(good[0], [(0.5, 1, b"")])
    def run(data: bytes, edits: list[tuple[float, int, bytes]]) -> None:
        assert_strict(rewrite, edited(data, edits))

    run()


HOSTILE = {
    "zeros": bytes(1_000_000),
    "newlines": b"\n" * 1_000_000,
    "nested": b"[" * 1_000_000,
    "digits": b"9" * 1_000_000,
    "base 32": b"b" + b"a" * 999_999,
    "quotes": b'"' * 1_000_000,
    "backslashes": b'"' + b"\\" * 999_999,
    "random": random.Random(7).randbytes(1_000_000),  # noqa: S311
    "local headers": b"PK\x03\x04" * 250_000,
    "dashes": "— a b\n".encode() * 125_000,
}


@pytest.mark.parametrize("defect", HOSTILE)
@pytest.mark.parametrize("kind", PARSERS)
def test_a_hostile_megabyte_is_refused_at_once(kind: str, defect: str) -> None:
    rewrite, _ = PARSERS[kind]
    start = time.perf_counter()
    with pytest.raises(CheckedError):
        rewrite(HOSTILE[defect])
    assert time.perf_counter() - start < 2


def test_a_proof_by_another_key_is_refused_whatever_it_says() -> None:
    stranger = NoteKey(LOG.origin, PrivateKey.generate().public)
    with pytest.raises(CheckedError) as caught:
        LogProof.parse(PROOF).check(LOG.entries[1], stranger)
    assert caught.value.check == "E_LOG_KEY"
