"""Finding artifacts by base, family, name, K, and by what was frozen and trained."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from kolm.globs import expand
from registry.app import create_app
from registry.index import Partition
from registry.schemas import ArtifactQuery
from registry.settings import RegistrySettings
from tests.registry.offers import FROZEN, TRAINED, TakesItsWord, make_offer

MERGER = "visual.merger.mlp.0.weight"
SHELF = {
    "frozen-merger": {"base": "Qwen/Qwen2.5-VL-3B-Instruct", "k": 0.9},
    "trained-merger": {
        "base": "specs/bases/qwen2_5_vl-tiny",
        "k": 0.6,
        "frozen": tuple(name for name in FROZEN if name != MERGER),
        "trained": (*TRAINED, MERGER),
    },
    "llava": {
        "base": "acme/llava-tiny",
        "family": "llava",
        "k": 0.7,
        "frozen": ("vision_tower.encoder.layers.0.mlp.fc1.weight",),
        "trained": (
            "multi_modal_projector.linear_1.weight",
            "language_model.layers.0.self_attn.q_proj.lora_A",
        ),
    },
    "llava-again": {"base": "other/llava-tiny", "family": "llava", "k": 0.8},
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A registry with these artifacts; the tests only read it."""
    folder = tmp_path_factory.mktemp("shelf")
    settings = RegistrySettings(data=folder / "data", trust=folder / "trust")
    with TestClient(create_app(settings, verifier=TakesItsWord())) as client:
        for name, facts in SHELF.items():
            offer = make_offer(folder / name, name=name, **facts)
            assert client.post("/v1/artifacts", files=offer.parts()).status_code == 201
        yield client


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["llava-again", "llava", "trained-merger", "frozen-merger"]),
        ({"base": "Qwen/Qwen2.5-VL-3B-Instruct"}, ["frozen-merger"]),
        ({"base": "qwen2_5_vl-tiny"}, ["trained-merger"]),
        ({"base": "llava-tiny"}, ["llava-again", "llava"]),
        ({"base": "acme/llava-tiny"}, ["llava"]),
        ({"base": "tiny"}, []),
        ({"family": "llava"}, ["llava-again", "llava"]),
        ({"name": "llava"}, ["llava"]),
        ({"min_k": "0.8"}, ["llava-again", "frozen-merger"]),
        ({"family": "llava", "min_k": "0.75"}, ["llava-again"]),
        ({"frozen": "visual.merger"}, ["llava-again", "frozen-merger"]),
        ({"trainable": "visual.merger"}, ["trained-merger"]),
        ({"frozen": "visual"}, ["llava-again", "frozen-merger"]),
        ({"trainable": "visual"}, []),
        ({"frozen": "*.weight"}, ["llava-again", "frozen-merger"]),
        ({"trainable": "*.lora_A"}, ["llava-again", "llava", "trained-merger", "frozen-merger"]),
        ({"trainable": "multi_modal_projector"}, ["llava"]),
        ({"frozen": "vision_tower", "trainable": "multi_modal_projector"}, ["llava"]),
        ({"trainable": ["*.lora_A", "visual.merger"]}, ["trained-merger"]),
        ({"frozen": "audio_tower"}, []),
        ({"frozen": "visual.mer"}, []),
    ],
    ids=str,
)
def test_conditions(shelf: TestClient, query: dict[str, str], names: list[str]):
    answer = shelf.get("/v1/artifacts", params=query)
    assert answer.status_code == 200
    assert [item["name"] for item in answer.json()["items"]] == names


def test_an_item_says_what_the_newest_receipt_says(shelf: TestClient):
    (item,) = shelf.get("/v1/artifacts", params={"name": "frozen-merger"}).json()["items"]
    assert list(item) == ["cid", "name", "base", "family", "k", "verdict", "created"]
    assert item | {"cid": ""} == {
        "cid": "",
        "name": "frozen-merger",
        "base": "Qwen/Qwen2.5-VL-3B-Instruct",
        "family": "qwen2_5_vl",
        "k": 0.9,
        "verdict": "PASS",
        "created": "2026-01-31T12:00:00Z",
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_are_the_whole_in_order(shelf: TestClient, limit: int):
    def pages() -> Iterator[list[str]]:
        cursor: dict[str, str] = {}
        while True:
            page = shelf.get("/v1/artifacts", params={"limit": limit, **cursor}).json()
            yield [item["name"] for item in page["items"]]
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    collected = list(pages())
    assert [name for page in collected for name in page] == list(reversed(SHELF))
    assert all(len(page) == limit for page in collected[:-1])


_piece = st.sampled_from(["a", "b", "0", "ab"])
_name = st.lists(_piece, min_size=1, max_size=3).map(".".join)
_pattern = st.text("ab0.*", min_size=1, max_size=6)


@law(deadline=None)
@given(names=st.lists(_name, unique=True, max_size=8), data=st.data(), pattern=_pattern)
def test_a_pattern_answers_frozen_when_it_covers_only_frozen_names(names, data, pattern: str):
    frozen = [name for name in names if data.draw(st.booleans())]
    partition = Partition(frozen, [name for name in names if name not in frozen])
    covered = set(expand([pattern], names))
    is_frozen = partition.answers(ArtifactQuery(frozen=[pattern]))
    is_trained = partition.answers(ArtifactQuery(trainable=[pattern]))
    assert is_frozen == (bool(covered) and covered <= set(frozen))
    assert is_trained == (bool(covered) and not covered & set(frozen))
