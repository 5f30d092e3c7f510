"""Complete signed bundles without torch: a small base, a made-up adapter for it, and everything around.

`make_bundle` writes what a compile writes, with answers that a model might have given. Whoever wants a
bundle that lies passes `edit` (changes members after everything was computed honestly) or `claim`
(changes the statements), and gets it signed by the bundle's key all the same.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from kolm.artifact import Artifact, write_artifact
from kolm.canonical import canonical_json, canonical_lines
from kolm.cid import CID, sha256_hex
from kolm.dataset import Salts, dataset_of, parse_set, set_document
from kolm.draws import timed_rows
from kolm.images import to_png
from kolm.keys import PrivateKey
from kolm.metrics import get_metric
from kolm.pack import EvalPack, load_pack, pack_members
from kolm.receipt import CompileFacts, build_receipt, seal, statements_of
from kolm.schedule import passes
from kolm.scorecard import score_artifact
from kolm.spec import SEVEN_PROJECTIONS, parse_spec
from kolm.trainlog import Chain, base_digest, effective_seed
from kolm.trust import TrustStore
from tests.fake_model import (
    TARGET,
    adapter_config,
    adapter_tensors,
    base_files,
    module_manifest,
    safetensors,
    write_base,
)

Members = dict[str, bytes | Path]
RUN = "0123456789abcdef" * 2
VERSIONS = {"kolm": "0.1.0", "torch": "2.13.0", "peft": "0.21.2"}

SETTINGS = (
    "method",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_targets",
    "bias",
    "freeze_vision",
    "learning_rate",
    "lr_scheduler",
    "optim",
    "max_seq_length",
    "num_train_epochs",
    "seed",
)
"""Settings that a training block repeats from the lock."""

SPEC = """\
kolm: 1
name: {name}
task: read the digit
base: {{model: base}}
data: {{train: train/pairs.jsonl, validation: validation/pairs.jsonl, eval: eval/pack.yaml}}
train:
  lora_r: 2
  lora_alpha: 4
  method: {method}
  parts: {{projector: {projector}, language: {language}}}
  learning_rate: 0.001
  num_train_epochs: 2
  max_seq_length: 64
  seed: {seed}
eval: {{min_accuracy: 0.5, gate: {{k: 0.5}}}}
"""

PACK = """\
kolm-pack: 1
name: digits
version: 1
rows: pack.jsonl
cluster: image
slices: {read: {metric: exact@1}}
"""


@dataclass(frozen=True)
class Bundle:
    """One finished compile on disk, and what made it."""

    artifact_path: Path
    receipt_path: Path
    modules_path: Path
    base_dir: Path
    cid: CID
    key: PrivateKey
    trust: TrustStore
    """Trusts `key` and nothing else; in memory."""
    facts: CompileFacts
    members: Members

    @property
    def receipt(self) -> bytes:
        """The receipt's bytes."""
        return self.receipt_path.read_bytes()

    @property
    def statements(self) -> list[dict[str, Any]]:
        """The statements of the receipt before they were signed."""
        return statements_of(self.facts)

    def sealed(self, statements: list[dict[str, Any]]) -> bytes:
        """Return a receipt over other statements, signed by the bundle's key."""
        return seal(self.cid, statements, self.key)


def make_bundle(
    tmp: Path,
    *,
    name: str = "digits",
    seed: int = 0,
    rows: int = 104,
    run: str = RUN,
    key: PrivateKey | None = None,
    projector: str = "frozen",
    method: str = "lora",
    text: bool = False,
    withhold: bool = False,
    base_config: Mapping[str, Any] | str = "",
    tuned_right: float = 0.95,
    train_pictures: Sequence[int] = (1000, 1001, 1002),
    edit: Callable[[Members], None] | None = None,
    claim: Callable[[dict[str, Any]], None] | None = None,
    **facts: Any,
) -> Bundle:
    """Write `<name>.kolm`, `<name>.receipt.json` and `<name>.modules.json` under `tmp`.

    `rows` below 100 give the verdict INCONCLUSIVE; `projector="full"` trains it, `method` may be `dora`,
    or `full`: then only the projector is trained and there is no adapter; `edit` changes the members and
    `claim` the compile statement's facts (`train_block`, `k_score`, ...) before signing;
    `text` makes everything as a text-only model would have it, `withhold` leaves the eval pictures out,
    `base_config` adds to the base's config.json, or is all of it as a string; further keywords replace
    fields of `CompileFacts`. The eval pack shows pictures 0 to `rows` - 1; `train_pictures` are those
    trained on.
    """
    tmp.mkdir(parents=True, exist_ok=True)
    key = key or PrivateKey.generate()
    base_dir, family = write_base(tmp / "base", text=text, config=base_config), _family(text=text)
    base = {"model": "base", "revision": None, "licence": "apache-2.0", "files": base_files(base_dir)}
    pack = write_eval_pack(tmp / "pack", rows=rows, text=text, withhold=withhold)
    if method == "full":
        projector, language = "full", "frozen"
    else:
        language = "lora"
    members = honest_members(
        base_dir,
        base,
        pack,
        spec=SPEC.format(name=name, seed=seed, projector=projector, language=language, method=method),
        projector=projector,
        text=text,
        tuned_right=tuned_right,
        train_pictures=train_pictures,
    )
    path = tmp / f"{name}.kolm"
    write_artifact(path, members, name=name, task="read the digit", family=family, base=base)
    compiled = compile_facts(Artifact.open(path), pack=pack, run=run, facts=facts)
    if edit is not None:
        edit(members)
        write_artifact(path, members, name=name, task="read the digit", family=family, base=base)
        compiled = replace(compiled, artifact=Artifact.open(path))
    if claim is not None:
        stated = {field: json.loads(json.dumps(getattr(compiled, field))) for field in CLAIMS}
        claim(stated)
        compiled = replace(compiled, **stated)
    receipt_path, modules_path = tmp / f"{name}.receipt.json", tmp / f"{name}.modules.json"
    receipt_path.write_bytes(build_receipt(compiled, key))
    modules_path.write_bytes(compiled.artifact.read("modules.json"))
    trust = TrustStore.of(key.public)
    return Bundle(
        path, receipt_path, modules_path, base_dir, compiled.artifact.cid, key, trust, compiled, members
    )


def _family(*, text: bool) -> str:
    return "llama" if text else "qwen2_5_vl"


NO_NEAR_DUPLICATES = {"found": 0, "reviewed": 0, "waiting": 0}
CLAIMS = ("train_block", "k_score", "environment", "timings", "near_duplicates", "evaluation", "memory")


def honest_members(
    base_dir: Path,
    base: Mapping[str, Any],
    pack: EvalPack,
    *,
    spec: str,
    projector: str,
    text: bool,
    tuned_right: float,
    train_pictures: Sequence[int],
) -> Members:
    """Return the members of a compile in which everything follows from everything else."""
    parsed = parse_spec(spec.encode(), path=Path("spec.yaml")).spec
    method = parsed.train.method
    adapter = adapter_tensors(parsed.train.seed, projector=projector, method=method)
    targets = [] if method == "full" else [TARGET]
    words = {word: ["q_proj"] if word == "q_proj" else [] for word in SEVEN_PROJECTIONS}
    modules = module_manifest(base_dir, adapter, projector=projector, family=_family(text=text))
    train_set = training_set(base_dir.parent, train_pictures, text=text)
    effective = effective_seed(parsed.train.seed, root=sha256_hex(train_set))
    lock = canonical_json(
        {
            "kind": "kolm-lock/1",
            "base": dict(base),
            "seed": {"spec": parsed.train.seed, "effective": effective},
            "config": parsed.train.model_dump(mode="json"),
            "targets": targets,
            "target_parameters": [],
            "processor": {
                "class": "LlamaTokenizer" if text else "Qwen2_5_VLProcessor",
                "image_processor": None if text else "Qwen2VLImageProcessorPil",
                "backend": None if text else "pil",
                "size": {} if text else {"shortest_edge": 16, "longest_edge": 64},
                "min_pixels": parsed.processor.min_pixels,
                "max_pixels": parsed.processor.max_pixels,
            },
            "metrics": {"read": "exact@1"},
            "generation": {"max_new_tokens": parsed.generation.max_new_tokens, "batch": 1, "greedy": True},
            "eval": parsed.eval.model_dump(include={"min_accuracy", "gate", "budget", "seed"}),
            "cost": {
                "language_params": modules.size("language", "head", added=False),
                "added_params": modules.size("language", added=True),
                "vision_params": modules.size("vision", "projector", added=False),
            },
            "resolved": {
                "device": "cpu",
                "dtype": "float32",
                "keep": "best",
                "parts": modules.treatments(),
                "servable_as": modules.servable_as,
                "stands": words if targets else {},
            },
            "versions": VERSIONS,
        }
    )
    commitment = {
        "spec": sha256_hex(spec.encode()),
        "lock": sha256_hex(lock),
        "set": sha256_hex(train_set),
        "pack": pack.digest,
        "base": base_digest(base["files"]),
        "seed": effective,
    }
    settings = "tokenizer_config.json" if text else "preprocessor_config.json"
    trained: Members = {
        "adapter/adapter_config.json": adapter_config(projector=projector, method=method),
        "adapter/adapter_model.safetensors": safetensors(adapter),
    }
    if method == "full":
        trained = {"weights/model.safetensors": safetensors(adapter)}
    return {
        "spec.yaml": spec.encode(),
        "spec.lock.json": lock,
        **trained,
        f"processor/{settings}": (base_dir / settings).read_bytes(),
        "modules.json": modules.to_bytes(),
        "train/set.json": train_set,
        "train/log.jsonl": training_log(commitment, rows=len(train_pictures)),
        **pack_members(pack),
        "eval/rows.jsonl": canonical_lines(eval_rows(pack, tuned_right=tuned_right)),
    }


def compile_facts(artifact: Artifact, *, pack: EvalPack, run: str, facts: Mapping[str, Any]) -> CompileFacts:
    """Return what a pipeline would have observed while making this artifact."""
    config, modules = artifact.lock.config, artifact.modules
    trained_on = parse_set(artifact.read("train/set.json")).rows
    timings = {
        "rows": [
            {"id": row_id, "base_ns": 2_000_000 + n, "tuned_ns": 3_000_000 + n}
            for n, row_id in enumerate(timed_rows(pack.digest, [row.id for row in pack.rows]))
        ],
        "steps_ns": [5_000_000, 5_000_001],
    }
    observed: dict[str, Any] = {
        "run": run,
        "artifact": artifact,
        "train_block": {
            "model_id": artifact.manifest.base.model,
            "papers": ["arXiv:2502.13923", "arXiv:2304.08485"],
            "parts": modules.treatments(),
            "servable_as": modules.servable_as,
            "frozen_modules": modules.frozen_modules,
            "trainable_modules": modules.trainable_modules,
            "train_examples": len(trained_on),
            "steps": len(timings["steps_ns"]),
            "best_step": 2,
            "checkpoint": "best",
            **{key: config[key] for key in SETTINGS if modules.sees_images or key != "freeze_vision"},
        },
        "k_score": scored(artifact, timings=timings["rows"]),
        "environment": {
            "versions": VERSIONS,
            "device": "cpu",
            "image_backend": artifact.lock.processor.backend,
            "threads": 2,
        },
        "timings": timings,
        "near_duplicates": dict(NO_NEAR_DUPLICATES),
        "evaluation": {"batch": 1, "compared": 0, "differing": 0},
        "planned": {"peak_bytes": 120_000_000, "step_ns": 4_000_000},
        "memory": {"peak_bytes": 123_456_789},
        "started": "2026-01-31T12:00:00Z",
        "finished": "2026-01-31T12:01:00Z",
        "block": "vlm_train" if modules.sees_images else "text_train",
    }
    return CompileFacts(**(observed | dict(facts)))


_SCORES: dict[CID, dict[str, Any]] = {}


def scored(artifact: Artifact, *, timings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the K-score document of an artifact, computed once for each."""
    if artifact.cid not in _SCORES:
        _SCORES[artifact.cid] = score_artifact(
            artifact, timings=timings, attempts=1, near_duplicates=NO_NEAR_DUPLICATES["waiting"]
        )
    return _SCORES[artifact.cid]


def training_set(root: Path, pictures: Sequence[int], *, text: bool = False) -> bytes:
    """Return the commitments of training rows that show these pictures, and of one validation row.

    With `text` the rows show none.
    """
    rows = [
        {
            "id": f"train-{n}",
            "image": picture(shown),
            "prompt": "Which digit?",
            "response": str(n),
            "group": f"writer-{n}",
        }
        for n, shown in enumerate(pictures)
    ]
    held = [{"id": "held-0", "image": picture(2000), "prompt": "Which digit?", "response": "0"}]
    for row in (*rows, *held) if text else ():
        del row["image"]
    train, validation = (dataset_of(r, root=root, salts=Salts(b"s" * 32, b"k" * 32)) for r in (rows, held))
    return set_document(train, validation=validation)


def training_log(commitment: Mapping[str, Any], *, rows: int) -> bytes:
    """Return a log of two passes over up to 8 rows, each with a validation, the second the better one."""
    log, orders = Chain(commitment), passes(rows, seed=commitment["seed"])
    for step in (1, 2):
        log.append(
            {
                "step": step,
                "rows": [f"train-{n}" for n in next(orders)],
                "batch": sha256_hex(bytes([step])),
                "lr": 0.001 / step,
                "loss": 2.5 / step,
                "grad_norm": 1.25,
            }
        )
        log.append({"step": step, "validation_loss": 3.0 / step})
    return log.to_bytes()


def write_eval_pack(directory: Path, *, rows: int, text: bool = False, withhold: bool = False) -> EvalPack:
    """Write and load an eval pack of `rows` pictures, or of as many questions without any.

    One that says `withhold` keeps its pictures out of artifacts.
    """
    (directory / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for n in range(rows):
        (directory / "images" / f"{n}.png").write_bytes(to_png(picture(n)))
        row = {"id": f"row-{n:03}", "image": f"images/{n}.png", "prompt": "Which digit?", "gold": str(n % 10)}
        row |= {"image": [], "prompt": f"Which digit ends {n}?"} if text else {}
        lines.append(json.dumps({**row, "slice": "read"}))
    (directory / "pack.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    withheld = "withhold: images\n" if withhold else ""
    (directory / "pack.yaml").write_text(PACK + withheld, encoding="utf-8")
    return load_pack(directory / "pack.yaml")


def eval_rows(pack: EvalPack, *, tuned_right: float) -> list[dict[str, Any]]:
    """Return answers: the base is right in 3 of 10 rows, the blind controls in 1 of 10.

    A changed question is answered right in 9 of 10 rows, if the tuned model is at all.
    """
    metric = get_metric("exact@1")
    shares = {"base": 0.3, "tuned": tuned_right, "perturbed": min(0.9, tuned_right)}
    if any(row.images for row in pack.rows):
        shares |= {"grey": 0.1, "shuffled": 0.1}
    rows = []
    for n, asked in enumerate(pack.rows):
        outputs = {}
        for model, share in shares.items():
            right = math.floor((n + 1) * share) > math.floor(n * share)
            raw = asked.gold[0] if right else "no digit"
            extracted = metric.extract(raw)
            outputs[model] = {
                "raw": raw,
                "extracted": extracted,
                "score": metric.score(extracted, asked.gold),
                "tokens": 2,
                "finish": "stop",
            }
        seen = {"image_tokens": 4, "patches": 16} if asked.images else {"image_tokens": 0, "patches": 0}
        counts = {"prompt_tokens": 20, **seen}
        rows.append({"id": asked.id, "slice": asked.slice, **counts, "outputs": outputs})
    return rows


def picture(n: int) -> Image.Image:
    """Return an 8 x 8 picture that only this number gives."""
    image = Image.new("RGB", (8, 8), (n % 256, n // 256, 7))
    image.putpixel((n % 8, 3), (255, 255, 255))
    return image
