"""Attacks 1 to 20: bytes that another reader of ZIP files would take for something else (attacks.md)."""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from kolm.artifact import write_artifact
from kolm.container import Container, Limits
from kolm.errors import ArtifactError
from kolm.verify import verify_bundle
from tests.bundles import Bundle
from tests.kolm.hostile_zips import GOOD, HOSTILE, A, M, archive, named
from tests.tampering.lies import audit, failed

Refusal = Callable[[bytes], tuple[int, str | None]]

FOUND = {
    4: {"E_ZIP_PREFIX"},
    5: {"E_ZIP_SUFFIX"},
    7: {"E_ZIP_DUPLICATE"},
    8: {"E_ZIP_NAME_COLLISION"},
    11: {"E_ZIP_HEADER_MISMATCH"},
    13: {"E_ZIP_OVERLAP"},
    14: {"E_ZIP_EOCD"},
    15: {"E_ZIP64"},
    16: {"E_ZIP_METHOD"},
    17: {"E_ZIP_EXTRA"},
    18: {"E_ZIP_TYPE"},
}
"""Attacks that are told by their code; those of names and layout are told by their words."""

PATHS = (
    "a step upwards",
    "a step upwards inside",
    "an absolute name",
    "a drive letter",
    "a backslash",
    "an empty part",
    "a dot as a part",
    "an empty name",
)


@pytest.fixture
def refused(bundle: Bundle, tmp_path: Path) -> Refusal:
    """Say which check refuses these bytes beside a good receipt, and with which code."""

    def ask(data: bytes) -> tuple[int, str | None]:
        path = tmp_path / "hostile.kolm"
        path.write_bytes(data)
        return failed(verify_bundle(path, bundle.receipt, bundle.trust))

    return ask


def of(attack: int) -> pytest.MarkDecorator:
    """Parametrise with the archives that have this attack's code."""
    return pytest.mark.parametrize(
        "defect", [defect for defect, (code, _) in HOSTILE.items() if code in FOUND[attack]]
    )


def recoded(data: bytes, name: str) -> bytes:
    """Flip the first bit of a member's data and make its checksum anew in both headers."""
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        row = other.getinfo(name)
        content = bytearray(other.read(name))
        directory = other.start_dir
    content[0] ^= 1
    old, fresh = (struct.pack("<L", crc) for crc in (row.CRC, zlib.crc32(content)))
    start = row.header_offset + 30 + len(name)
    edited = data[:start] + bytes(content) + data[start + len(content) :]
    head, tail = edited[:directory], edited[directory:]
    local = row.header_offset + 14
    assert head[local : local + 4] == old
    assert tail.count(old) == 1
    return head[:local] + fresh + head[local + 4 :] + tail.replace(old, fresh)


def test_attack_01_a_flipped_byte_of_a_members_data(bundle: Bundle, tmp_path: Path) -> None:
    data = bundle.artifact_path.read_bytes()
    place = data.index(bundle.facts.artifact.read("spec.yaml"))
    path = tmp_path / "flipped.kolm"
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert failed(verify_bundle(path, bundle.receipt, bundle.trust)) == (1, "E_MEMBER_DIGEST")


def test_attack_01_a_flipped_byte_under_a_checksum_made_anew(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "flipped.kolm"
    path.write_bytes(recoded(bundle.artifact_path.read_bytes(), "spec.yaml"))
    asked = verify_bundle(path, bundle.receipt, bundle.trust, expected_cid=bundle.cid)
    assert failed(asked) == (1, "E_CID_MISMATCH")
    assert asked.checks[1].code is None  # what is not the artifact that was asked for is not looked into
    unasked = verify_bundle(path, bundle.receipt, bundle.trust)
    assert failed(unasked) == (2, "E_MEMBER_DIGEST")
    assert unasked.checks[3].code == "E_SUBJECT_MISMATCH"


@pytest.mark.parametrize(
    ("how", "code"),
    [("a date", "E_ZIP_HEADER_MISMATCH"), ("another order", "E_ZIP_LAYOUT"), ("deflated", "E_ZIP_METHOD")],
)
def test_attack_03_the_same_files_packed_otherwise(
    bundle: Bundle, refused: Refusal, how: str, code: str
) -> None:
    container, out = bundle.facts.artifact.container, io.BytesIO()
    first, *rest = container.names
    with zipfile.ZipFile(out, "w") as other:
        for name in (first, *(reversed(rest) if how == "another order" else rest)):
            row = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0) if how == "a date" else (1980, 1, 1, 0, 0, 0))
            row.external_attr, row.create_version, row.extract_version = 0o100644 << 16, 10, 10
            row.compress_type = zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED
            other.writestr(row, container.read(name))
    assert refused(out.getvalue()) == (1, code)


def test_attack_03_the_same_files_under_another_manifest(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "again.kolm"
    base = bundle.facts.artifact.manifest.base.model_dump()
    write_artifact(path, bundle.members, name="digits", task="other", family="qwen2_5_vl", base=base)
    assert failed(verify_bundle(path, bundle.receipt, bundle.trust)) == (4, "E_SUBJECT_MISMATCH")


@of(4)
def test_attack_04_bytes_before_the_first_header(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_PREFIX")


@of(5)
def test_attack_05_bytes_after_the_end(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_SUFFIX")


def test_attack_06_two_archives_joined(bundle: Bundle, neighbour: Bundle, refused: Refusal) -> None:
    honest, other = (made.artifact_path.read_bytes() for made in (bundle, neighbour))
    for data in (HOSTILE["two archives joined"][1], honest + other, other + honest):
        assert refused(data) == (1, "E_ZIP_LAYOUT")


@of(7)
def test_attack_07_one_name_twice(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_DUPLICATE")


@of(8)
def test_attack_08_names_that_are_one_to_another_system(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_NAME_COLLISION")


@pytest.mark.parametrize("name", ["caf\u00e9", "cafe\u0301", "\ufb01le", "\uff41"])
def test_attack_08_names_that_unicode_folds_are_not_names(refused: Refusal, name: str) -> None:
    assert refused(named(name.encode())) == (1, "E_ZIP_NAME")


@pytest.mark.parametrize("defect", PATHS)
def test_attack_09_a_name_that_leaves_its_folder(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_NAME")


@pytest.mark.parametrize(
    "defect",
    [defect for defect, (code, _) in HOSTILE.items() if code == "E_ZIP_NAME" and defect not in PATHS],
)
def test_attack_10_a_name_that_systems_read_differently(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_NAME")


@of(11)
def test_attack_11_the_two_headers_of_a_member_differ(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_HEADER_MISMATCH")


@pytest.mark.parametrize(
    "defect",
    [
        "a member hidden at the end",
        "a member hidden in the middle",
        "members and no directory",
        "a row without a member",
        "bytes between members",
    ],
)
def test_attack_12_a_member_that_only_one_list_has(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_LAYOUT")


@of(13)
def test_attack_13_members_that_share_bytes(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_OVERLAP")


@of(14)
def test_attack_14_an_end_record_that_lies(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_EOCD")


@of(15)
def test_attack_15_64_bit_records_that_are_not_needed_or_lie(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP64")


@of(16)
def test_attack_16_data_that_is_not_stored_as_it_is(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_METHOD")


@of(17)
def test_attack_17_an_extra_field(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_EXTRA")


@of(18)
def test_attack_18_a_member_that_is_no_plain_file(refused: Refusal, defect: str) -> None:
    assert refused(HOSTILE[defect][1]) == (1, "E_ZIP_TYPE")


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (
            archive(M, A, locals_={1: {"size": 0xFFFFFFF0, "packed": 0xFFFFFFF0}}),
            Limits(member_bytes=1 << 20),
        ),
        (GOOD, Limits(members=2)),
        (GOOD, Limits(file_bytes=len(GOOD) - 1)),
    ],
    ids=["a declared size", "too many members", "too large a file"],
)
def test_attack_19_more_than_a_reader_looks_at(data: bytes, limits: Limits) -> None:
    with pytest.raises(ArtifactError) as caught:
        Container.open(data, limits=limits)
    assert caught.value.check == "E_LIMIT"


def test_attack_19_a_file_without_an_end(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "endless.kolm"
    with path.open("wb") as handle:
        handle.write(bundle.artifact_path.read_bytes()[:40])
        handle.truncate((64 << 30) + 1)  # sparse: it takes no room, and is refused by its size alone
    assert failed(verify_bundle(path, bundle.receipt, bundle.trust)) == (1, "E_LIMIT")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_attack_20_a_file_that_was_cut_off(bundle: Bundle, refused: Refusal, share: float) -> None:
    data = bundle.artifact_path.read_bytes()
    assert refused(data[: int(share * len(data))]) == (1, "E_ZIP_TRUNCATED")


@pytest.mark.parametrize("how", ["replaced", "grown", "cut off", "written to"])
def test_attack_20_a_file_that_changes_after_it_was_hashed(
    bundle: Bundle, neighbour: Bundle, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "x.kolm"
    path.write_bytes(bundle.artifact_path.read_bytes())
    with Container.open(path) as container:
        if how == "replaced":
            (tmp_path / "y").write_bytes(neighbour.artifact_path.read_bytes())
            (tmp_path / "y").replace(path)
        else:
            with path.open("ab" if how == "grown" else "r+b") as handle:
                handle.truncate(200) if how == "cut off" else handle.write(b"more")
            os.utime(path, ns=(1, 1))
        with pytest.raises(ArtifactError) as caught:
            json.loads(container.read("modules.json"))
    assert caught.value.check == "E_IO_CHANGED"


def test_an_honest_file_is_none_of_these(bundle: Bundle) -> None:
    assert audit(bundle, expected_cid=bundle.cid).ok
