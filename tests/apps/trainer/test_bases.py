"""Bases: what belongs to one, what is refused, and whose code may run."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.trainer.bases import Base, find_base, recall_base, remember_base
from apps.trainer.checkpoint import read_licence
from apps.trainer.headers import elements_held, shapes_of
from apps.trainer.job import Job
from apps.trainer.load import load_model, meta_model
from apps.trainer.modelcode import only_code_of
from apps.trainer.origins import Origins, tensor_digest
from apps.trainer.plan import plan_for
from kolm.errors import KolmError, SpecError, TrainError, UnknownFamilyError
from kolm.spec import VLMTrainConfig, parse_spec
from tests.hub.client import use
from tests.hub.server import Hub, files_of

CODE = Path(__file__).resolve().parents[2] / "hub" / "phi3_v"
SIZE, WORDS = 8, 32


def tensors() -> dict[str, torch.Tensor]:
    """Weights for the model that CODE defines."""
    shapes = {
        "model.embed_tokens.weight": (WORDS, SIZE),
        "model.vision_embed_tokens.img_processor.weight": (SIZE, 3, 4, 4),
        "model.vision_embed_tokens.img_processor.bias": (SIZE,),
        "model.vision_embed_tokens.img_projection.weight": (SIZE, SIZE),
        "model.vision_embed_tokens.img_projection.bias": (SIZE,),
        "model.norm.weight": (SIZE,),
        "model.norm.bias": (SIZE,),
        "lm_head.weight": (WORDS, SIZE),
    }
    for n in range(2):
        shapes |= {
            f"model.layers.{n}.self_attn.qkv_proj.weight": (3 * SIZE, SIZE),
            f"model.layers.{n}.self_attn.o_proj.weight": (SIZE, SIZE),
            f"model.layers.{n}.mlp.gate_up_proj.weight": (4 * SIZE, SIZE),
            f"model.layers.{n}.mlp.down_proj.weight": (SIZE, 2 * SIZE),
        }
    return {name: torch.rand(shape) for name, shape in shapes.items()}


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """A checkpoint that brings the code of its model."""
    folder = tmp_path / "phi3-v-tiny"
    shutil.copytree(CODE, folder, ignore=shutil.ignore_patterns("__pycache__", "processing_*"))
    auto = {
        "AutoConfig": "configuration_phi3_v.Phi3VConfig",
        "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM",
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "phi3_v", "auto_map": auto}))
    save_file(tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(autouse=True)
def modules_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give transformers a folder of the test's own to import code from."""
    from transformers import dynamic_module_utils

    cache = tmp_path / "modules"
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(cache))
    yield cache
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place != str(cache)]


@pytest.fixture
def copy(qwen_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen_base, tmp_path / "base"))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def find(folder: Path, *, trust: bool = False, weights: bool = True) -> Base:
    return find_base(folder, model="base", trust=trust, weights=weights)


def test_a_base_is_described_by_its_files_and_licence(qwen_base: Path):
    base = find_base(qwen_base, model="base/tiny")
    assert base.licence == "apache-2.0"
    assert base.identity["model"] == "base/tiny"
    assert [entry["path"] for entry in base.files] == sorted(entry["path"] for entry in base.files)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {entry["path"] for entry in base.files}


def test_a_folder_has_no_revision(qwen_base: Path):
    with pytest.raises(SpecError, match="hub models"):
        find_base(qwen_base, model="base", revision="0" * 40)


def test_a_base_is_found_again_by_its_files(copy: Path, kolm_home: Path):
    base = find(copy)
    remember_base(base)
    assert recall_base(base.identity).directory == copy.resolve()
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    with pytest.raises(TrainError, match=r"config\.json differs"):
        recall_base(base.identity)


def test_a_folder_that_is_named_is_looked_in_and_nowhere_else(copy: Path, kolm_home: Path):
    base = find(copy)
    remember_base(base)
    with pytest.raises(SpecError, match="no folder at "):
        recall_base(base.identity, directory=copy / "moved")


@pytest.mark.parametrize("name", ["consolidated.safetensors", "notes.py", "training_args.bin"])
def test_files_that_loading_does_not_read_are_not_part_of_a_base(copy: Path, name: str):
    before = find(copy)
    (copy / name).write_bytes(b"anything")
    assert find(copy) == before


def test_a_shard_that_the_index_does_not_name_is_not_part_of_a_base(copy: Path):
    (copy / "model.safetensors").rename(copy / "model-00001-of-00001.safetensors")
    (copy / "model-00002-of-00001.safetensors").write_bytes(b"stray")
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert find(copy).weights == ("model-00001-of-00001.safetensors",)


def test_a_second_copy_of_the_weights_is_no_origin(copy: Path):
    shutil.copy(copy / "model.safetensors", copy / "consolidated.safetensors")
    base = find(copy)
    origins = Origins(base.directory, base.weights)
    for name, tensor in load_file(copy / "model.safetensors").items():
        assert origins.of([name], tensor, tensor_digest(tensor)).file == "model.safetensors"


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def missing_shard(folder: Path) -> None:
    no_weights(folder)
    index = '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)


def broken_index(folder: Path) -> None:
    no_weights(folder)
    (folder / "model.safetensors.index.json").write_text("[]")


def weights_named_elsewhere(folder: Path) -> None:
    edit_config(folder, transformers_weights="other.safetensors")


def an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')


def an_adapter_alone(folder: Path) -> None:
    an_adapter(folder)
    no_config(folder)


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def config_that_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        (no_weights, "holds no safetensors weights"),
        (pickled, "only pickled weights, such as pytorch_model.bin"),
        (missing_shard, "lacks 1 of the 1 weight files its index names"),
        (broken_index, "cannot be read"),
        (weights_named_elsewhere, "transformers_weights"),
        (an_adapter, "holds an adapter"),
        (an_adapter_alone, "holds an adapter"),
        (no_config, "not a model checkpoint"),
        (config_that_is_a_list, "not a model checkpoint"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_folder_that_is_no_base_is_refused(copy: Path, defect: object, says: str):
    defect(copy)  # type: ignore[operator]
    with pytest.raises(SpecError, match=says) as raised:
        find(copy)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\ntext", "mit"),
        ("\ufeff---\r\nlicense:   'apache-2.0'  # really\r\n---\r\n", "apache-2.0"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\n---\n", "other: own (LICENSE)"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\ntags:\n- a\nnested:\n  license: mit\n---\n", None),
        ("# license: mit\n", None),
        ("---\nlicense: mit\n", None),
        ("---\nlicense: {{ template }}\n---\n", None),
        ("---\n- a\n---\nlicense: mit\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_is_what_the_cards_front_matter_says(tmp_path: Path, card: str, licence: str | None):
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert read_licence(tmp_path) == licence


def test_a_plan_needs_a_config_alone(copy: Path):
    with_weights = find(copy, weights=False)
    assert with_weights.has_weights
    assert "model.safetensors" not in [file["path"] for file in with_weights.files]
    no_weights(copy)
    base = find(copy, weights=False)
    assert not base.has_weights
    assert sum(p.numel() for p in meta_model(base).parameters()) > 0
    with pytest.raises(SpecError, match="no complete weights to read names and shapes from"):
        shapes_of(base)


def test_a_weight_file_that_was_cut_off_is_named(copy: Path):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(TrainError, match=r"model\.safetensors: .* the file has 5000") as raised:
        shapes_of(find(copy))
    assert raised.value.hint


def test_headers_name_what_the_model_has(copy: Path):
    base = find(copy)
    names = {name.removeprefix("model.") for name, _ in meta_model(base).named_parameters()}
    assert {name.removeprefix("language_model.") for name in names} & {
        name.removeprefix("language_model.") for name in shapes_of(base)
    }
    assert elements_held(base) == sum(torch.Size(shape).numel() for shape in shapes_of(base).values())


def test_a_base_that_is_stored_quantised_is_planned_as_it_was_before(copy: Path):
    """As bitsandbytes stores it: two weights in a byte, a scale per block beside them."""
    plain = {name: tuple(p.shape) for name, p in meta_model(find(copy)).named_parameters()}
    packed = {}
    for name, tensor in load_file(copy / "model.safetensors").items():
        if "language_model.layers" in name and tensor.dim() == 2:
            packed[name] = torch.zeros((tensor.numel() + 1) // 2, 1, dtype=torch.uint8)
            packed[f"{name}.absmax"] = torch.ones((tensor.numel() + 63) // 64)
        else:
            packed[name] = tensor
    save_file(packed, copy / "model.safetensors", metadata={"format": "pt"})
    edit_config(copy, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    base = find(copy)
    assert base.quantization == {"quant_method": "bitsandbytes", "load_in_4bit": True}
    assert {name: tuple(p.shape) for name, p in meta_model(base).named_parameters()} == plain


def test_code_of_a_model_runs_only_when_it_is_trusted(coded: Path):
    with pytest.raises(SpecError, match="Python code of its own repository") as raised:
        find(coded)
    assert "base.trust_remote_code: true" in raised.value.hint
    base = find(coded, trust=True)
    model = load_model(base, VLMTrainConfig())
    assert type(model).__module__.startswith("transformers_modules.")
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()
    plan = plan_for(meta_model(base), base.family, VLMTrainConfig())
    assert {plan.parts[name.removeprefix("model.")] for name in tensors()} == {
        "vision", "projector", "language", "head"
    }  # fmt: skip


SPEC = """\
kolm: 1
name: coded
base: {{model: phi3-v-tiny, trust_remote_code: {trust}}}
data: {{train: train.jsonl, eval: pack.yaml}}
eval: {{min_accuracy: 0.5}}
"""


def test_a_spec_says_whether_code_runs(coded: Path):
    def opened(trust: str) -> Job:
        return Job.open(parse_spec(SPEC.format(trust=trust).encode(), path=coded.parent / "spec.yaml"))

    job = opened("true")
    assert {file["path"] for file in job.base_identity["files"]} >= {"modeling_phi3_v.py"}
    assert {name.rpartition(".")[2] for name in job.targets} == {
        "qkv_proj", "o_proj", "gate_up_proj", "down_proj"
    }  # fmt: skip
    with pytest.raises(SpecError, match="Python code of its own repository"):
        opened("false")


def test_every_code_file_is_a_file_of_the_base(coded: Path):
    (coded / "more").mkdir()
    (coded / "more" / "layers.py").write_text("SIZE = 8\n")
    base = find(coded, trust=True)
    digests = {file["path"]: file["sha256"] for file in base.files if file["path"].endswith(".py")}
    assert set(digests) == {"configuration_phi3_v.py", "modeling_phi3_v.py", "more/layers.py"}
    assert digests["more/layers.py"] == hashlib.sha256(b"SIZE = 8\n").hexdigest()


def test_a_changed_code_file_is_a_changed_base(coded: Path):
    base = find(coded, trust=True)
    remember_base(base)
    with pytest.raises(SpecError, match="runs 2 Python files of its own"):
        recall_base(base.identity)
    assert recall_base(base.identity, trust=True).files == base.files
    code = coded / "modeling_phi3_v.py"
    code.write_text(code.read_text() + "# another\n")
    with pytest.raises(TrainError, match=r"modeling_phi3_v\.py differs"):
        recall_base(base.identity, trust=True)
    with pytest.raises(TrainError, match="is not the code that base came with"):
        meta_model(base)
    assert find(coded, trust=True).files != base.files


def test_a_copy_of_the_code_that_was_changed_is_found_out(coded: Path, modules_cache: Path):
    """Transformers imports copies; one that is not the base's must not go unnoticed."""
    base = find(coded, trust=True)

    def load_and_change() -> None:
        import transformers

        with only_code_of(base):
            transformers.AutoConfig.from_pretrained(coded, trust_remote_code=True)
            (found,) = modules_cache.glob("transformers_modules/*/*/configuration_phi3_v.py")
            found.write_text(found.read_text() + "raise SystemExit\n")

    with pytest.raises(TrainError, match="is not the code that base came with"):
        load_and_change()


@pytest.mark.parametrize("line", ["1 / 0", "def", "undefined_name", "import no_such_package"])
def test_code_that_fails_ends_in_one_message(coded: Path, line: str):
    code = coded / "modeling_phi3_v.py"
    code.write_text(f"{code.read_text()}\n{line}\n")
    with pytest.raises(KolmError) as raised:
        meta_model(find(coded, trust=True))
    assert raised.value.hint


@pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
def test_code_of_another_repository_is_refused_by_name(coded: Path, name: str):
    path = coded / name
    config = json.loads(path.read_text()) if path.is_file() else {}
    foreign = {"auto_map": {"AutoTokenizer": ["org/other--tokenization.Slow", None]}}
    path.write_text(json.dumps({**config, "image_processor": foreign}))
    with pytest.raises(SpecError, match=r"takes org/other--tokenization\.Slow from another"):
        find(coded, trust=True)


def test_trust_is_not_given_where_it_is_not_needed(qwen_base: Path):
    with pytest.raises(SpecError, match="transformers' own code"):
        find(qwen_base, trust=True)


def test_a_model_without_any_code_is_planned_and_not_loaded(copy: Path):
    edit_config(copy, model_type="cambrian_llama")
    base = find(copy, weights=False)
    assert shapes_of(base)
    for use_it in (lambda: meta_model(base), lambda: find(copy)):
        with pytest.raises(UnknownFamilyError, match="transformers has no class for cambrian") as raised:
            use_it()
        assert raised.value.hint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        yield hub


def test_code_of_the_hub_runs_at_one_commit(hub: Hub, coded: Path):
    name = "org/phi3-v-tiny"
    commit = hub.add(name, {**files_of(coded), "extra.safetensors": b"", "docs/guide.md": b""})

    def from_hub(*, trust: bool, revision: str | None, weights: bool = True) -> Base:
        return find_base(name, model=name, revision=revision, trust=trust, weights=weights)

    for revision in (None, "main", commit[:12]):
        with pytest.raises(SpecError, match=r"base\.trust_remote_code runs code of org/phi3"):
            from_hub(trust=True, revision=revision)
    assert hub.served == []
    with pytest.raises(SpecError, match="Python code of its own repository"):
        from_hub(trust=False, revision=commit)
    assert hub.sent == ["config.json"]
    planned = from_hub(trust=True, revision=commit, weights=False)
    assert meta_model(planned).config.hidden_size == SIZE
    assert "model.safetensors" not in hub.sent
    base = from_hub(trust=True, revision=commit)
    assert sorted(set(hub.sent)) == [
        "config.json", "configuration_phi3_v.py", "model.safetensors", "modeling_phi3_v.py"
    ]  # fmt: skip
    load_model(base, VLMTrainConfig())


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("microsoft/Phi-3.5-vision-instruct", SpecError, "Python code of its own repository"),
        ("nyu-visionx/cambrian-8b", UnknownFamilyError, "transformers has no class"),
    ],
)
def test_without_a_hub_the_id_alone_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[KolmError], says: str
):
    use("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(KolmError, match=says) as raised:
        find_base(name, model=name)
    assert type(raised.value) is error
