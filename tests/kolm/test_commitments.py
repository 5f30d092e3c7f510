import hashlib
import hmac
import json
import threading
from pathlib import Path

import pytest

from kolm.commitments import Salts, group_commitment, image_commitment, row_salt, share, text_commitment
from kolm.errors import DataError, StorageError
from kolm.rows import TextPart, Turn

SALT = bytes(32)
KEY = bytes(range(32))
TALK = (Turn("user", (TextPart("q"),)), Turn("assistant", (TextPart("r"),)))


def test_vectors_of_the_format_page(format_vectors: Path) -> None:
    """specs/formats/set.md 5: recompute every commitment from its page's vector file."""
    vector = json.loads((format_vectors / "set.json").read_text())
    salt, key = bytes.fromhex(vector["salt"]), bytes.fromhex(vector["key"])
    assert (
        image_commitment(salt, label="bytes", digest=vector["bytes"]["digest"])
        == vector["bytes"]["commitment"]
    )
    assert (
        image_commitment(salt, label="pixels", digest=vector["pixels"]["digest"])
        == vector["pixels"]["commitment"]
    )
    assert group_commitment(salt, group=vector["group"]["name"]) == vector["group"]["commitment"]
    assert row_salt(key, part="rows", row_id="row-000001").hex() == vector["text"]["row_salt"]
    assert (
        text_commitment(key, part="rows", row_id="row-000001", messages=TALK) == vector["text"]["commitment"]
    )
    assert share(salt, group="g", label="validation") == vector["share"]["validation"]


def test_commitment_is_hmac_of_label_zero_byte_and_digest() -> None:
    digest = hashlib.sha256(b"picture")
    expected = hmac.new(SALT, b"pixels\0" + digest.digest(), "sha256").hexdigest()
    assert image_commitment(SALT, label="pixels", digest=digest.hexdigest()) == expected


def test_labels_parts_rows_and_keys_are_kept_apart() -> None:
    digest = "00" * 32
    assert image_commitment(SALT, label="bytes", digest=digest) != image_commitment(
        SALT, label="pixels", digest=digest
    )
    texts = {
        text_commitment(key, part=part, row_id=row_id, messages=TALK)
        for key in (SALT, KEY)
        for part in ("rows", "validation")
        for row_id in ("a", "b")
    }
    assert len(texts) == 8


def test_shares_are_even_and_independent_of_each_other() -> None:
    shares = [share(SALT, group=str(n), label="validation") for n in range(4000)]
    others = [share(SALT, group=str(n), label="eval") for n in range(4000)]
    assert all(0 <= value < 1 for value in shares)
    assert 0.47 < sum(shares) / 4000 < 0.53
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(shares, others, strict=True))
    assert 900 < both < 1100


def test_salts_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pairs.salts.json"
    salts = Salts.load_or_create(path)
    assert Salts.load_or_create(path) == salts
    assert path.stat().st_mode & 0o777 == 0o600
    assert salts.salt != salts.key
    assert [file.name for file in path.parent.iterdir()] == ["pairs.salts.json"]


def test_salts_made_by_many_at_once_are_the_same_for_all(tmp_path: Path) -> None:
    made: list[Salts] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.append(Salts.load_or_create(tmp_path / "s.json"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


BROKEN = {
    "empty": b"",
    "a list": b"[]",
    "another kind": json.dumps({"kind": "x", "salt": "00" * 32, "key": "00" * 32}).encode(),
    "extra member": json.dumps(
        {"kind": "kolm-salts/1", "salt": "00" * 32, "key": "00" * 32, "x": 1}
    ).encode(),
    "short salt": json.dumps({"kind": "kolm-salts/1", "salt": "00", "key": "00" * 32}).encode(),
    "no hex": json.dumps({"kind": "kolm-salts/1", "salt": "zz" * 32, "key": "00" * 32}).encode(),
    "number": json.dumps({"kind": "kolm-salts/1", "salt": 1, "key": "00" * 32}).encode(),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_salts_are_refused_and_kept(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match="does not hold salts"):
        Salts.load_or_create(path)
    assert path.read_bytes() == data


def test_folder_that_cannot_hold_salts_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Salts.load_or_create(tmp_path / "file" / "s.json")
