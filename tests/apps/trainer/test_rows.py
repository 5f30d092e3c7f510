"""All rows of a run: checked once, kept while memory allows, the same either way."""

from pathlib import Path

import pytest
import torch

from apps.trainer.bases import find_base
from apps.trainer.collate import Encoder
from apps.trainer.load import meta_model
from apps.trainer.processor import load_processor
from apps.trainer.rows import Rows
from kolm.dataset import dataset_of
from kolm.errors import DataError
from kolm.spec import VLMTrainConfig
from tests.digits import rows


@pytest.fixture(scope="module")
def encoder(qwen_base: Path) -> Encoder:
    base = find_base(qwen_base, model="base")
    return Encoder(load_processor(base), meta_model(base).config, base.family)


def test_rows_beyond_the_memory_are_encoded_again_to_the_same_tensors(encoder: Encoder):
    data = dataset_of(rows(4))
    roomy = Rows(encoder, data, VLMTrainConfig())
    tight = Rows(encoder, data, VLMTrainConfig(), cache_bytes=roomy[0].size_bytes + 1)
    assert tight[0] is tight[0]
    assert tight[3] is not tight[3]
    for a, b in zip(roomy, tight, strict=True):
        assert a.id == b.id
        assert all(torch.equal(a.inputs[key], b.inputs[key]) for key in a.inputs)
        assert torch.equal(a.labels, b.labels)


def test_rows_are_a_sequence(encoder: Encoder):
    whole = Rows(encoder, dataset_of(rows(3)), VLMTrainConfig())
    assert [row.id for row in whole[1:]] == ["row-000002", "row-000003"]


def test_dropping_every_row_leaves_nothing_to_train_on(encoder: Encoder):
    with pytest.raises(DataError, match="no row is left"):
        Rows(encoder, dataset_of(rows(2)), VLMTrainConfig(max_seq_length=4, on_overlong="drop"))
