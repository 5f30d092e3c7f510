"""Bases from a hub: what is fetched, what is reused, and one message for each thing that goes wrong."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from apps.trainer.bases import Base, find_base, recall_base, remember_base
from apps.trainer.headers import shapes_of, tensors_of
from kolm.errors import KolmError, SpecError, StorageError, TrainError, UnknownFamilyError
from tests.hub.client import use
from tests.hub.server import TOKEN, Hub, files_of

NAME = "org/llava-small"
CARD = b"---\nlanguage: en\nlicense: mit\n---\n# A small model\n"
WEIGHTS = save(
    {"model.language_model.embed_tokens.weight": torch.zeros(4, 2), "lm_head.weight": torch.ones(4, 2)}
)
FILES = {
    "config.json": b'{"model_type": "llava"}',
    "README.md": CARD,
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "original/consolidated.safetensors": WEIGHTS,
    "modeling_other.py": b"raise SystemExit('this code must not run')",
}


@dataclass
class Site:
    """A hub and the cache that this process keeps of it."""

    hub: Hub
    cache: Path
    monkeypatch: pytest.MonkeyPatch

    def offline(self) -> None:
        use(self.hub, self.cache, self.monkeypatch, offline=True)

    def cached(self, name: str) -> Path:
        (found,) = self.cache.glob(f"models--*/snapshots/*/{name}")
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Hub() as hub:
        cache = tmp_path / "cache"
        use(hub, cache, monkeypatch)
        yield Site(hub, cache, monkeypatch)


def find(revision: str | None = None, *, name: str = NAME, weights: bool = True, trust: bool = False) -> Base:
    return find_base(name, model=name, revision=revision, weights=weights, trust=trust)


def test_a_branch_a_tag_and_a_commit_are_all_one_commit(site: Site):
    commit = site.hub.add(NAME, FILES)
    site.hub.repositories[NAME].refs["v1.0"] = commit
    by = {revision: find(revision) for revision in (None, "main", "v1.0", commit)}
    assert {base.revision for base in by.values()} == {commit}
    assert {base.directory.name for base in by.values()} == {commit}
    assert [by[r].asked for r in (None, "main", "v1.0", commit)] == ["main", "main", "v1.0", None]
    assert commit in (by["v1.0"].note or "")
    assert by[commit].note is None


def test_only_what_loading_reads_is_fetched(site: Site):
    site.hub.add(NAME, FILES)
    base = find()
    assert sorted(site.hub.sent) == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert [file["path"] for file in base.files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert base.licence == "mit"


def test_of_a_sharded_checkpoint_the_shards_of_its_index_are_fetched(site: Site):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    shards = {name: save({key: torch.ones(2)}) for key, name in index["weight_map"].items()}
    spare = {"consolidated.safetensors": WEIGHTS, "model-00003-of-00002.safetensors": WEIGHTS}
    config = {"config.json": FILES["config.json"], "model.safetensors.index.json": json.dumps(index).encode()}
    site.hub.add(NAME, {**config, **shards, **spare})
    assert find().weights == tuple(shards)
    assert sorted(site.hub.sent) == sorted([*config, *shards])


def test_what_is_in_the_cache_is_not_asked_for_again(site: Site):
    commit = site.hub.add(NAME, FILES)
    first = find(commit)
    site.hub.served.clear()
    assert find(commit) == first
    assert site.hub.served == []


def test_a_branch_that_moved_is_another_base(site: Site):
    site.hub.add(NAME, FILES)
    first = find("main")
    site.hub.repositories[NAME].commit({**FILES, "tokenizer.json": b'{"added": 1}'})
    site.hub.sent.clear()
    second = find("main")
    assert second.revision != first.revision
    assert second.identity["files"] != first.identity["files"]
    assert "model.safetensors" not in site.hub.sent  # the same blob as before


@pytest.mark.parametrize("revision", [None, "main", "the commit"])
def test_offline_the_cache_is_enough(site: Site, revision: str | None):
    commit = site.hub.add(NAME, FILES)
    asked = commit if revision == "the commit" else revision
    online = find(asked)
    site.offline()
    site.hub.served.clear()
    assert find(asked) == online
    assert site.hub.served == []


def test_offline_a_cache_without_a_listing_is_enough(site: Site):
    commit = site.hub.add(NAME, FILES)
    online = find(commit)
    (listing,) = site.cache.glob("models--*/trees/*.json")
    listing.unlink()
    site.offline()
    assert find(commit) == online


@pytest.mark.parametrize("weights", [True, False])
def test_a_plan_needs_no_weights(site: Site, weights: bool):
    site.hub.add(NAME, FILES)
    base = find(weights=weights)
    assert base.has_weights == weights == ("model.safetensors" in site.hub.sent)
    assert ("model.safetensors" in [file["path"] for file in base.files]) == weights
    assert shapes_of(base) == {"language_model.embed_tokens.weight": (4, 2), "lm_head.weight": (4, 2)}
    assert {dtype for dtype, _ in tensors_of(base).values()} == {"float32"}
    assert ("model.safetensors" in site.hub.sent) == weights


def test_a_long_header_is_read_whole(site: Site):
    names = [f"model.language_model.layers.{n}.{'x' * 200}" for n in range(600)]
    site.hub.add(NAME, {**FILES, "model.safetensors": save({name: torch.zeros(1) for name in names})})
    base = find(weights=False)
    assert len(shapes_of(base)) == 600
    assert "model.safetensors" not in site.hub.sent


def gated(site: Site) -> str | None:
    site.hub.add(NAME, FILES, gated=True)
    return None


def gated_for_this_account(site: Site) -> str | None:
    site.monkeypatch.setenv("HF_TOKEN", TOKEN)
    return gated(site)


def wrong_token(site: Site) -> str | None:
    site.monkeypatch.setenv("HF_TOKEN", "hf_expired")
    site.hub.add(NAME, FILES)
    return None


def not_there(site: Site) -> str | None:
    return None


def not_there_with_a_token(site: Site) -> str | None:
    site.monkeypatch.setenv("HF_TOKEN", TOKEN)
    return None


def missing_branch(site: Site) -> str | None:
    site.hub.add(NAME, FILES)
    return "v9"


def missing_commit(site: Site) -> str | None:
    site.hub.add(NAME, FILES)
    return "0" * 40


def no_network(site: Site) -> str | None:
    use("http://127.0.0.1:9", site.cache, site.monkeypatch)
    site.monkeypatch.setattr("tests.apps.trainer.test_hub.NAME", "Qwen/Qwen2.5-VL-3B-Instruct")
    return None


def broken_hub(site: Site) -> str | None:
    site.hub.add(NAME, FILES)
    site.hub.broken = 503
    return None


def only_pickle(site: Site) -> str | None:
    site.hub.add(NAME, {k: v for k, v in FILES.items() if not k.endswith(".safetensors")})
    return None


def unreadable_layout(site: Site) -> str | None:
    site.hub.add(NAME, {"config.json": FILES["config.json"], "consolidated.safetensors": WEIGHTS})
    return None


def no_config(site: Site) -> str | None:
    site.hub.add(NAME, {"model.safetensors": WEIGHTS})
    return None


def incomplete_upload(site: Site) -> str | None:
    index = b'{"weight_map": {"a": "model-00001-of-00001.safetensors"}}'
    site.hub.add(NAME, {"config.json": FILES["config.json"], "model.safetensors.index.json": index})
    return None


def index_that_leaves_the_folder(site: Site) -> str | None:
    index = b'{"weight_map": {"a": "../../../outside.safetensors"}}'
    site.hub.add(NAME, {"config.json": FILES["config.json"], "model.safetensors.index.json": index})
    return None


def changed_on_the_way(site: Site) -> str | None:
    site.hub.swapped["model.safetensors"] = WEIGHTS[:-1] + b"\x01"
    site.hub.add(NAME, FILES)
    return None


def changed_small_file(site: Site) -> str | None:
    site.hub.add(NAME, FILES)
    site.hub.swapped["config.json"] = b'{"model_type":"llava" }'  # as long as the right one
    return None


def cut_short(site: Site) -> str | None:
    site.hub.cut.add("model.safetensors")
    site.hub.add(NAME, FILES)
    return None


def too_large_for_the_disk(site: Site) -> str | None:
    site.hub.sizes["model.safetensors"] = 10**18
    site.hub.add(NAME, FILES)
    return None


def not_a_hub(site: Site) -> str | None:
    site.hub.add(NAME, FILES)
    site.hub.broken = 204
    return None


def offline_and_not_cached(site: Site) -> str | None:
    site.hub.add("Qwen/Qwen2.5-VL-3B-Instruct", FILES)
    site.monkeypatch.setattr("tests.apps.trainer.test_hub.NAME", "Qwen/Qwen2.5-VL-3B-Instruct")
    site.offline()
    return "0" * 40


def offline_with_another_branch(site: Site) -> str | None:
    offline_and_not_cached(site)
    return "v2"


@pytest.mark.parametrize(
    ("defect", "error", "says"),
    [
        (not_there, SpecError, "there is no model org/llava-small"),
        (not_there_with_a_token, SpecError, "there is no model org/llava-small"),
        (gated, TrainError, "gated: its licence has to be accepted"),
        (gated_for_this_account, TrainError, "gated: its licence has to be accepted"),
        (wrong_token, TrainError, "does not know the token"),
        (missing_branch, SpecError, "no revision 'v9'"),
        (missing_commit, SpecError, "no revision '0000"),
        (no_network, TrainError, "no connection to the hub"),
        (broken_hub, TrainError, "HTTP 503"),
        (not_a_hub, TrainError, "does not answer like a hub"),
        (only_pickle, SpecError, "only pickled weights, such as pytorch_model.bin"),
        (unreadable_layout, SpecError, "transformers would not read it"),
        (no_config, SpecError, "holds no config.json"),
        (incomplete_upload, SpecError, "lacks 1 of the 1 weight files"),
        (index_that_leaves_the_folder, SpecError, "outside"),
        (changed_on_the_way, TrainError, "is not the file that org/llava-small has at"),
        (changed_small_file, TrainError, r"config\.json is not the file that org/llava-small has at"),
        (cut_short, TrainError, "arrived incomplete"),
        (too_large_for_the_disk, StorageError, "needs 1000000000.0 GB more"),
        (offline_and_not_cached, TrainError, "HF_HUB_OFFLINE"),
        (offline_with_another_branch, TrainError, "at v2 is not in the cache"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_goes_wrong_is_said_once(
    site: Site, defect: Callable[[Site], str | None], error: type[KolmError], says: str
):
    revision = defect(site)
    with pytest.raises(KolmError, match=says) as raised:
        find(revision, name=NAME)
    assert type(raised.value) is error
    assert raised.value.exit_code == (2 if error is SpecError else 5)
    assert raised.value.hint
    assert "\n" not in raised.value.message


def test_an_id_that_nobody_knows_is_told_so_even_without_a_hub(site: Site):
    site.offline()
    with pytest.raises(UnknownFamilyError, match="no trainer knows the model 'acme/unheard-of'"):
        find(name="acme/unheard-of")


def test_a_model_of_any_name_is_routed_by_its_config(site: Site):
    site.hub.add("acme/unheard-of", FILES)
    assert find(name="acme/unheard-of").family.name == "llava"
    site.hub.add("acme/bert", {**FILES, "config.json": b'{"model_type": "bert"}'})
    with pytest.raises(UnknownFamilyError, match="bert"):
        find(name="acme/bert")
    assert "model.safetensors" not in site.hub.sent[len(site.hub.sent) - 3 :]


def test_an_accepted_licence_opens_a_gated_model(site: Site):
    site.hub.add(NAME, FILES, gated=True, readers={TOKEN})
    site.monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find().has_weights


def test_a_private_model_is_there_for_its_readers_only(site: Site):
    site.hub.add(NAME, FILES, private=True, readers={TOKEN})
    with pytest.raises(SpecError, match="or it is private"):
        find()
    site.monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find().has_weights


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("replaced", [False, True], ids=["the blob", "the link"])
def test_a_cached_file_that_was_changed_is_found_and_fetched_anew(site: Site, name: str, replaced: bool):
    commit = site.hub.add(NAME, FILES)
    first = find(commit)
    path = site.cached(name)
    content = path.read_bytes()
    if replaced:
        path.unlink()
    path.write_bytes(content + b" ")
    with pytest.raises(TrainError, match="is not the file that") as raised:
        find(commit)
    assert str(path.resolve()) in raised.value.hint
    path.resolve().unlink()
    assert find(commit) == first


def test_a_file_that_the_commit_does_not_have_is_refused(site: Site):
    commit = site.hub.add(NAME, FILES)
    directory = find(commit).directory
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(TrainError, match=r"chat_template\.jinja is not in org/llava-small"):
        find(commit)


def test_offline_a_shard_that_was_deleted_is_named(site: Site):
    commit = site.hub.add(NAME, FILES)
    find(commit)
    site.cached("model.safetensors").resolve().unlink()
    site.offline()
    with pytest.raises(TrainError, match=r"model\.safetensors is not in the cache"):
        find(commit)


def test_a_full_disk_stops_before_the_download(site: Site):
    site.hub.sizes["model.safetensors"] = 10**18
    site.hub.add(NAME, FILES)
    with pytest.raises(StorageError):
        find()
    assert "model.safetensors" not in site.hub.sent


def test_a_disk_that_refuses_the_download_is_told_so(site: Site):
    """What a full disk does, with another errno: the process may write no file this large."""
    site.hub.add(NAME, {**FILES, "model.safetensors": save({"a": torch.zeros(1 << 16)})})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write to .*larger than this system allows") as raised:
            find()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.hint
    assert find().has_weights


def test_a_compiled_base_is_found_again_in_the_cache(site: Site):
    site.hub.add(NAME, FILES)
    base = find()
    remember_base(base)
    site.offline()
    assert recall_base(base.identity).files == base.files


def test_a_compiled_base_is_found_again_on_the_hub(site: Site):
    """On another machine: no note of where it was, nothing in the cache."""
    site.hub.add(NAME, FILES)
    identity = find().identity
    site.hub.repositories[NAME].commit({**FILES, "tokenizer.json": b'{"other": 1}'})
    use(site.hub, site.cache / "elsewhere", site.monkeypatch)
    assert recall_base(identity).identity == identity


TRAIN = """
import json, sys
from pathlib import Path
from apps.trainer.vlm import VLMTrainConfig, vlm_trainer
from tests.digits import rows

config = VLMTrainConfig(max_steps=1, per_device_train_batch_size=2, gradient_accumulation_steps=1, bf16=False)
trainer = vlm_trainer(
    model_id="org/llava-tiny", train_dataset=rows(4), config=config, output_dir=Path(sys.argv[1])
)
assert trainer.train().metrics["steps"] == 1
print(json.dumps(trainer.base.identity))
"""

RECALL = """
import json, sys
from apps.trainer.bases import recall_base

print(json.dumps(recall_base(json.loads(sys.argv[1])).identity))
"""


def test_a_model_of_the_hub_is_trained_and_found_again_without_a_network(
    tmp_path: Path, llava_base: Path, kolm_home: Path
):
    """As a user has it: the client configured by the environment, in a process of its own."""
    with Hub() as hub:
        commit = hub.add("org/llava-tiny", files_of(llava_base))
        variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | variables

        def python(code: str, argument: str, **more: str) -> dict[str, object]:
            command = [sys.executable, "-c", code, argument]
            done = subprocess.run(command, check=False, capture_output=True, text=True, env={**env, **more})
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        trained = python(TRAIN, str(tmp_path / "out"))
        assert trained["revision"] == commit
        asked = len(hub.served)
        assert python(RECALL, json.dumps(trained), HF_HUB_OFFLINE="1") == trained
        assert len(hub.served) == asked
