"""Models on code of their own whose images are numbered: rows, and what such code may lack."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from apps.trainer.bases import Base, find_base
from apps.trainer.collate import Encoder, Row
from apps.trainer.draft import open_draft
from apps.trainer.load import load_model, meta_model, model_to_plan
from apps.trainer.processor import load_processor
from apps.trainer.rows import shown, supervised
from apps.trainer.skeleton import skeleton
from apps.trainer.targets import linear_modules
from kolm.dataset import dataset_of
from kolm.errors import DataError, SpecError
from kolm.spec import VLMTrainConfig, parse_spec
from tests.hub import repositories
from tests.pictures import two_tone

RED, GREEN = two_tone(60, 40, "red"), two_tone(60, 40, "green")
FEATURES = 313
"""Of one image of one tile of 336 x 336."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    root = tmp_path_factory.mktemp("phi3")
    with repositories.modules_in(root / "modules"):
        yield find_base(repositories.phi3_v(root / "base"), model="base", trust=True)


@pytest.fixture(scope="module")
def encoder(base: Base) -> Encoder:
    return Encoder(load_processor(base), meta_model(base).config, base.family)


def encode(encoder: Encoder, record: dict[str, Any]) -> Row:
    data = dataset_of([record])
    return encoder.encode(data.examples[0], data, VLMTrainConfig())


def test_images_are_numbered_in_their_order(encoder: Encoder):
    row = encode(encoder, {"image": [RED, GREEN], "prompt": "What?", "response": "red"})
    ids = row.inputs["input_ids"]
    assert [int((ids == -number).sum()) for number in (1, 2, 3)] == [FEATURES, FEATURES, 0]
    assert row.cost.tokens == 2 * FEATURES
    assert not torch.equal(*row.inputs["pixel_values"])
    assert supervised(row, encoder.processor) == ["red<|end|>"]
    assert shown(row, encoder.processor) == (
        "<|user|>\n<|image_1|> x 313\n<|image_2|> x 313\nWhat?<|end|>\n<|assistant|>\nred<|end|>\n"
    )


def test_a_row_without_an_image_is_a_row(encoder: Encoder):
    turns = [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "yes"}]
    row = encode(encoder, {"messages": turns})
    assert row.cost.tokens == 0
    assert supervised(row, encoder.processor) == ["yes<|end|>"]


def test_a_text_cannot_pass_for_an_image(encoder: Encoder):
    with pytest.raises(DataError, match=r"<\|image_2\|>"):
        encode(encoder, {"image": RED, "prompt": "<|image_2|> What?", "response": "red"})


def test_the_model_sees_what_stands_behind_a_number(base: Base, encoder: Encoder):
    model = load_model(base, VLMTrainConfig()).eval()
    rows = [encode(encoder, {"image": image, "prompt": "What?", "response": "red"}) for image in (RED, GREEN)]
    red, green = (model(**row.inputs).logits[:, -1] for row in rows)
    assert (red - green).abs().max().item() > 1e-4


def test_checkpointing_that_the_code_does_not_have_is_refused(base: Base):
    with pytest.raises(SpecError, match=r"train\.gradient_checkpointing: the code of Phi3VForCausalLM"):
        model_to_plan(base, VLMTrainConfig(gradient_checkpointing=True))


SPEC = """\
kolm: 1
name: coded
base: {{model: {model}, trust_remote_code: {trust}}}
data: {{train: train.jsonl, eval: pack.yaml}}
eval: {{min_accuracy: 0.5}}
"""


@pytest.mark.parametrize("trust", [False, True])
def test_a_plan_is_verified_when_the_code_may_run(base: Base, trust: bool):
    text = SPEC.format(model=base.directory.name, trust=str(trust).lower())
    draft = open_draft(parse_spec(text.encode(), path=base.directory.parent / "spec.yaml"))
    assert draft.verified == trust
    said = "3 Python files of the model ran" if trust else "its code is in its own repository and did not run"
    assert any(said in note for note in draft.notes)
    assert len(draft.job.plan.targets) == 8  # four layers in each of two blocks, either way


def test_a_linear_layer_is_one_whichever_of_its_tensors_is_named_first():
    tree = skeleton({"a.fc.bias": (4,), "a.fc.weight": (4, 3)}, model_type="any", dtype="float32")
    assert linear_modules(tree) == {"a.fc": (3, 4)}
