import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from kolm.errors import ArtifactError, StorageError
from kolm.tensors import read_header, read_tensors


def file_of(header: object, data: bytes = b"", *, claim: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if claim is None else claim).to_bytes(8, "little") + raw + data


def row(start: int, end: int, *, dtype: object = "U8", shape: object = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


HOSTILE = {
    "nothing": b"",
    "less than a length": b"\x01\x00",
    "a header beyond the file": file_of({}, claim=1000),
    "a header of 2^63 bytes": file_of({}, claim=2**63),
    "no JSON": file_of(b"{nonsense"),
    "a list": file_of(b"[]"),
    "a number": file_of(b" 1"),
    "no UTF-8": file_of(b'{"\xff":1}'),
    "a name twice": file_of(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'),
    "NaN": file_of(b'{"a":NaN}'),
    "nested beyond the interpreter": file_of(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "overlapping tensors": file_of({"a": row(0, 4), "b": row(2, 6)}, b"123456"),
    "two tensors in one place": file_of({"a": row(0, 4), "b": row(0, 4)}, b"1234"),
    "a gap": file_of({"a": row(0, 2), "b": row(3, 4)}, b"1234"),
    "a tensor beyond the file": file_of({"a": row(0, 9)}, b"1234"),
    "bytes left over": file_of({"a": row(0, 2)}, b"1234"),
    "bytes and no tensor": file_of({}, b"1234"),
    "offsets the wrong way round": file_of({"a": row(4, 0, shape=[4])}, b"1234"),
    "negative offsets": file_of({"a": row(-1, 3, shape=[4])}, b"1234"),
    "a fractional size": file_of({"a": row(0, 4, shape=[4.0])}, b"1234"),
    "true as a size": file_of({"a": row(0, 1, shape=[True])}, b"1"),
    "a negative size": file_of({"a": row(0, 4, shape=[-2, -2])}, b"1234"),
    "another number of elements": file_of({"a": row(0, 4, shape=[5])}, b"1234"),
    "a rank of 100": file_of({"a": row(0, 1, shape=[1] * 100)}, b"1"),
    "a size of 2^64": file_of({"a": row(0, 0, shape=[2**64, 0])}),
    "an unknown dtype": file_of({"a": row(0, 1, dtype="Q9")}, b"1"),
    "a dtype that is a list": file_of({"a": row(0, 1, dtype=["U8"])}, b"1"),
    "a member too many": file_of({"a": row(0, 1) | {"more": 1}}, b"1"),
    "a tensor that is text": file_of({"a": "b"}),
    "metadata that are not text": file_of({"__metadata__": {"a": 1}}),
    "metadata that are a list": file_of({"__metadata__": []}),
    "a pickle": b"\x80\x02}q\x00.",
}


@pytest.mark.parametrize("defect", HOSTILE)
def test_hostile_files_are_refused(defect):
    for reader in (read_header, read_tensors):
        with pytest.raises(ArtifactError) as caught:
            reader(HOSTILE[defect])
        assert caught.value.check == "E_TENSOR_FORMAT"


ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    st.tuples(
        st.sampled_from(
            ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
        ),
        st.lists(st.integers(0, 3), max_size=3),
        st.integers(0, 100),
    ).map(lambda c: np.asarray(np.arange(int(np.prod(c[1]))).reshape(c[1]) + c[2]).astype(c[0])),
    max_size=5,
)


@given(ARRAYS)
def test_tensors_are_those_the_reference_writes(arrays):
    data = save(arrays, metadata={"format": "np"})
    found = read_tensors(data)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        info = found[name]
        assert (info.dtype, info.shape, info.bytes) == (str(array.dtype), array.shape, array.nbytes)
        assert info.sha256 == hashlib.sha256(array.tobytes()).hexdigest()
        entry = read_header(data)[name]
        assert data[entry.start : entry.start + entry.bytes] == array.tobytes()


@given(ARRAYS, st.data())
def test_whatever_is_accepted_the_reference_accepts_too(arrays, draw):
    data = bytearray(save(arrays))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        found = read_tensors(bytes(data))
    except ArtifactError:
        return
    if all(info.dtype not in ("bfloat16", "uint16") and "8_e" not in info.dtype for info in found.values()):
        assert set(load(bytes(data))) == set(found)


def test_files_bytes_and_streams_read_the_same(tmp_path):
    data = save({"a": np.ones((2, 3), np.float32), "b": np.zeros(5, np.int64)})
    (tmp_path / "a.safetensors").write_bytes(data)
    stream = io.BytesIO(data)
    assert read_tensors(tmp_path / "a.safetensors") == read_tensors(data) == read_tensors(stream)
    assert not stream.closed


def test_a_missing_file_is_not_a_malformed_one(tmp_path):
    with pytest.raises(StorageError, match="weights file"):
        read_header(tmp_path / "missing.safetensors")
    with pytest.raises(StorageError, match="weights file"):
        read_header(Path("/sys/class/net/lo/speed"))


def test_torch_names_of_dtypes_without_a_numpy_type():
    for spelled, dtype, size in (("BF16", "bfloat16", 2), ("F8_E4M3", "float8_e4m3fn", 1)):
        found = read_tensors(file_of({"a": row(0, size, dtype=spelled, shape=[1])}, bytes(size)))
        assert found["a"].dtype == dtype
