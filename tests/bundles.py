"""Complete signed bundles without torch: a small base, a made-up adapter for it, and everything around.

`make_bundle` writes what a compile writes, with answers that a model might have given. Whoever wants a
bundle that lies passes `edit` (changes members after everything was computed honestly) or `claim`
(changes the statements), and gets it signed by the bundle's key all the same.
"""

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from kolm.artifact import Artifact, write_artifact
from kolm.canonical import canonical_json, canonical_lines
from kolm.cid import CID, sha256_hex, sha256_hex_of_file
from kolm.dataset import Salts, dataset_of, set_document
from kolm.images import to_png
from kolm.keys import PrivateKey
from kolm.metrics import get_metric
from kolm.modules import Buffer, Gradient, ModuleManifest, Origin, Parameter
from kolm.pack import EvalPack, load_pack, pack_members
from kolm.receipt import CompileFacts, build_receipt, seal, statements_of
from kolm.scorecard import score_artifact
from kolm.spec import parse_spec
from kolm.tensors import read_tensors
from kolm.trainlog import Chain, base_digest, effective_seed
from kolm.trust import TrustStore

Members = dict[str, bytes | Path]
RUN = "0123456789abcdef" * 2
TARGET = "model.language_model.layers.0.self_attn.q_proj"

SPEC = """\
kolm: 1
name: {name}
task: read the digit
base: {{model: base}}
data: {{train: train/pairs.jsonl, eval: eval/pack.yaml}}
train: {{lora_r: 2, lora_alpha: 4, learning_rate: 0.001, max_seq_length: 64, seed: {seed}}}
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
    tuned_right: float = 0.95,
    edit: Callable[[Members], None] | None = None,
    claim: Callable[[dict[str, Any]], None] | None = None,
    **facts: Any,
) -> Bundle:
    """Write `<name>.kolm`, `<name>.receipt.json` and `<name>.modules.json` under `tmp`.

    `rows` below 100 give the verdict INCONCLUSIVE; `projector="full"` trains it; `edit` changes the
    members and `claim` the compile statement's facts (`train_block`, `k_score`, ...) before signing;
    further keywords replace fields of `CompileFacts`.
    """
    tmp.mkdir(parents=True, exist_ok=True)
    key = key or PrivateKey.generate()
    base_dir = write_base(tmp / "base")
    base = {"model": "base", "revision": None, "licence": "apache-2.0", "files": base_files(base_dir)}
    pack = write_eval_pack(tmp / "pack", rows=rows)
    members = honest_members(
        base_dir,
        base,
        pack,
        spec=SPEC.format(name=name, seed=seed),
        projector=projector,
        tuned_right=tuned_right,
    )
    path = tmp / f"{name}.kolm"
    write_artifact(path, members, name=name, task="read the digit", family="qwen2_5_vl", base=base)
    compiled = compile_facts(Artifact.open(path), pack=pack, run=run, facts=facts)
    if edit is not None:
        edit(members)
        write_artifact(path, members, name=name, task="read the digit", family="qwen2_5_vl", base=base)
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


CLAIMS = ("train_block", "k_score", "environment", "timings", "memory")


def honest_members(
    base_dir: Path, base: Mapping[str, Any], pack: EvalPack, *, spec: str, projector: str, tuned_right: float
) -> Members:
    """Return the members of a compile in which everything follows from everything else."""
    parsed = parse_spec(spec.encode(), path=Path("spec.yaml")).spec
    adapter = adapter_tensors(parsed.train.seed, projector=projector)
    modules = module_manifest(base_dir, adapter, projector=projector)
    train_set = training_set(base_dir.parent)
    effective = effective_seed(parsed.train.seed, root=sha256_hex(train_set))
    lock = canonical_json(
        {
            "kind": "kolm-lock/1",
            "base": dict(base),
            "seed": {"spec": parsed.train.seed, "effective": effective},
            "config": parsed.train.model_dump(mode="json"),
            "targets": [TARGET],
            "processor": {"class": "Qwen2_5_VLProcessor", "image_processor": "pil"},
            "metrics": {"read": "exact@1"},
            "generation": {"max_new_tokens": parsed.generation.max_new_tokens, "batch": 1, "greedy": True},
            "eval": parsed.eval.model_dump(include={"min_accuracy", "gate", "budget", "seed"}),
            "cost": {
                "language_params": modules.size("language", "head", added=False),
                "added_params": modules.size("language", added=True),
                "vision_params": modules.size("vision", "projector", added=False),
            },
            "versions": {"kolm": "0.1.0", "torch": "2.13.0"},
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
    return {
        "spec.yaml": spec.encode(),
        "spec.lock.json": lock,
        "adapter/adapter_config.json": adapter_config(),
        "adapter/adapter_model.safetensors": safetensors(adapter),
        "processor/preprocessor_config.json": b"{}",
        "modules.json": modules.to_bytes(),
        "train/set.json": train_set,
        "train/log.jsonl": training_log(commitment),
        **pack_members(pack),
        "eval/rows.jsonl": canonical_lines(eval_rows(pack, tuned_right=tuned_right)),
    }


def compile_facts(artifact: Artifact, *, pack: EvalPack, run: str, facts: Mapping[str, Any]) -> CompileFacts:
    """Return what a pipeline would have observed while making this artifact."""
    config, modules = artifact.lock.config, artifact.modules
    timings = {
        "rows": [
            {"id": row.id, "base_ns": 2_000_000 + n, "tuned_ns": 3_000_000 + n}
            for n, row in enumerate(pack.rows)
        ],
        "steps_ns": [5_000_000, 5_000_001],
    }
    observed: dict[str, Any] = {
        "run": run,
        "artifact": artifact,
        "train_block": {
            "model_id": artifact.manifest.base.model,
            "papers": ["arXiv:2502.13923", "arXiv:2304.08485"],
            "freeze_vision": True,
            "frozen_modules": modules.frozen_modules,
            "trainable_modules": modules.trainable_modules,
            "train_examples": 3,
            **{
                key: config[key]
                for key in ("lora_r", "lora_alpha", "lora_targets", "learning_rate", "max_seq_length")
            },
        },
        "k_score": score_artifact(artifact, timings=timings["rows"], attempts=1),
        "environment": {"python": "3.11.7", "device": "cpu", "threads": 2},
        "timings": timings,
        "memory": {"peak_bytes": 123_456_789},
        "started": "2026-01-31T12:00:00Z",
        "finished": "2026-01-31T12:01:00Z",
    }
    return CompileFacts(**(observed | dict(facts)))


def write_base(directory: Path) -> Path:
    """Write a base checkpoint of a few tensors: `model.safetensors` and `config.json`."""
    directory.mkdir(exist_ok=True)
    tensors = {
        "model.visual.patch_embed.proj.weight": numbers("patch", 4, 3),
        "model.visual.blocks.0.attn.qkv.weight": numbers("qkv", 4, 4),
        "model.visual.merger.mlp.0.weight": numbers("merger", 2, 4),
        "model.language_model.embed_tokens.weight": numbers("embed", 5, 2),
        "model.language_model.layers.0.self_attn.q_proj.weight": numbers("q", 2, 2),
    }
    (directory / "model.safetensors").write_bytes(safetensors(tensors))
    (directory / "config.json").write_text('{"model_type": "qwen2_5_vl"}\n', encoding="utf-8")
    return directory


def base_files(directory: Path) -> list[dict[str, Any]]:
    """Return a base's `[{path, sha256, bytes}]`."""
    files = sorted(directory.iterdir())
    return [{"path": f.name, "sha256": sha256_hex_of_file(f), "bytes": f.stat().st_size} for f in files]


PARTS = {"visual.merger": "projector", "visual": "vision", "language_model": "language", "lm_head": "head"}


def module_manifest(base_dir: Path, adapter: Mapping[str, "Tensor"], *, projector: str) -> ModuleManifest:
    """Return the manifest of the made-up model: the base's parameters, a tied head, two LoRA factors."""
    held = read_tensors(base_dir / "model.safetensors")
    saved = read_tensors(safetensors(dict(adapter)))
    parameters = []
    for key, info in held.items():
        name = key.removeprefix("model.")
        part = next(part for prefix, part in PARTS.items() if name.startswith(prefix))
        trained = projector == "full" and part == "projector"
        parameters.append(
            Parameter(
                name=name,
                shape=list(info.shape),
                dtype=info.dtype,
                part=part,
                base=Origin(file="model.safetensors", key=key, relation="identical"),
                state="trainable" if trained else "frozen",
                before=info.sha256,
                after=saved[f"base_model.model.{key}"].sha256 if trained else info.sha256,
                gradient=Gradient(seen=True, max_norm=0.5) if trained else None,
            )
        )
    embed = next(p for p in parameters if p.name == "language_model.embed_tokens.weight")
    tied = Origin(file="model.safetensors", key=embed.base.key, relation="tied")
    parameters.append(embed.model_copy(update={"name": "lm_head.weight", "part": "head", "base": tied}))
    for factor in "AB":
        info = saved[f"base_model.model.{TARGET}.lora_{factor}.weight"]
        parameters.append(
            Parameter(
                name=f"{TARGET.removeprefix('model.')}.lora_{factor}",
                shape=list(info.shape),
                dtype=info.dtype,
                part="language",
                base=Origin(file=None, key=None, relation="absent"),
                state="trainable",
                before=None,
                after=info.sha256,
                gradient=Gradient(seen=True, max_norm=1.25),
            )
        )
    nothing = sha256_hex(b"")
    buffer = Buffer(
        name="visual.rotary_pos_emb.inv_freq",
        shape=[0],
        dtype="float32",
        part="vision",
        base=Origin(file=None, key=None, relation="absent"),
        before=nothing,
        after=nothing,
    )
    return ModuleManifest.of(
        family="qwen2_5_vl", model_type="qwen2_5_vl", parameters=parameters, buffers=[buffer]
    )


def adapter_tensors(seed: int, *, projector: str) -> dict[str, "Tensor"]:
    """Return what training left behind, by the keys PEFT saves."""
    tensors = {
        f"base_model.model.{TARGET}.lora_A.weight": numbers(f"A{seed}", 2, 2),
        f"base_model.model.{TARGET}.lora_B.weight": numbers(f"B{seed}", 2, 2),
    }
    if projector == "full":
        tensors["base_model.model.model.visual.merger.mlp.0.weight"] = numbers(f"merger{seed}", 2, 4)
    return tensors


def adapter_config() -> bytes:
    """Return PEFT's config for the adapter."""
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": [TARGET], "bias": "none"}
    return json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"


def training_set(root: Path) -> bytes:
    """Return the commitments of three training rows, whose pictures the pack does not show."""
    rows = [
        {"id": f"train-{n}", "image": picture(1000 + n), "prompt": "Which digit?", "response": str(n)}
        for n in range(3)
    ]
    return set_document(dataset_of(rows, root=root, salts=Salts(b"s" * 32, b"k" * 32)))


def training_log(commitment: Mapping[str, Any]) -> bytes:
    """Return a log of two steps and a validation."""
    log = Chain(commitment)
    for step in (1, 2):
        log.append(
            {
                "step": step,
                "rows": ["train-0", "train-2"],
                "batch": sha256_hex(bytes([step])),
                "lr": 0.001 / step,
                "loss": 2.5 / step,
                "grad_norm": 1.25,
            }
        )
    log.append({"step": 2, "validation_loss": 1.5})
    return log.to_bytes()


def write_eval_pack(directory: Path, *, rows: int) -> EvalPack:
    """Write and load an eval pack of `rows` pictures."""
    (directory / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for n in range(rows):
        (directory / "images" / f"{n}.png").write_bytes(to_png(picture(n)))
        row = {"id": f"row-{n:03}", "image": f"images/{n}.png", "prompt": "Which digit?", "gold": str(n % 10)}
        lines.append(json.dumps({**row, "slice": "read"}))
    (directory / "pack.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "pack.yaml").write_text(PACK, encoding="utf-8")
    return load_pack(directory / "pack.yaml")


def eval_rows(pack: EvalPack, *, tuned_right: float) -> list[dict[str, Any]]:
    """Return answers: the base is right in 3 of 10 rows, the blind controls in 1 of 10."""
    metric = get_metric("exact@1")
    shares = {"base": 0.3, "tuned": tuned_right, "grey": 0.1, "shuffled": 0.1}
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
        counts = {"prompt_tokens": 20, "image_tokens": 4, "patches": 16}
        rows.append({"id": asked.id, "slice": asked.slice, **counts, "outputs": outputs})
    return rows


def picture(n: int) -> Image.Image:
    """Return an 8 x 8 picture that only this number gives."""
    image = Image.new("RGB", (8, 8), (n % 256, n // 256, 7))
    image.putpixel((n % 8, 3), (255, 255, 255))
    return image


Tensor = tuple[tuple[int, ...], bytes]
"""Shape and little-endian float32 bytes."""


def numbers(name: str, *shape: int) -> Tensor:
    """Return a tensor of small numbers that its name decides."""
    count = math.prod(shape)
    digest = hashlib.shake_256(name.encode()).digest(count)
    return shape, struct.pack(f"<{count}f", *(byte / 256 for byte in digest))


def safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a safetensors file of float32 tensors."""
    header, data = {}, b""
    for name in sorted(tensors):
        shape, raw = tensors[name]
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data
