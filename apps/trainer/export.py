"""Take a compiled model out of kolm: a folder that PEFT or transformers loads as it is.

`peft` is the artifact's adapter, byte for byte. `merged` is the base with what was trained put into its
weights, in 16 bit. Either is opened again before the folder gets its name.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from apps.trainer.bases import PROCESSOR_FILES, Base, noted_folder, recall_base
from apps.trainer.card import Facts, Form, model_card
from apps.trainer.collate import Encoder
from apps.trainer.decoders import continued
from apps.trainer.families import families
from apps.trainer.foreign import translated
from apps.trainer.load import load_model
from apps.trainer.pair import unpack
from apps.trainer.probe import MERGED, Probe, ask, difference, free_memory, merge
from apps.trainer.processor import load_processor
from apps.trainer.reopen import check_loaded, open_trained
from kolm.artifact import Artifact, check_members
from kolm.cid import CID, sha256_hex_of_file
from kolm.errors import ArtifactError, EvalError, SpecError, StorageError, VerificationError
from kolm.files import new_folder, read_bytes, write_atomic
from kolm.pack import EvalPack, pack_from_members
from kolm.predicates import CompilePredicate
from kolm.receipt import MAX_BYTES, Receipt
from kolm.report.facts import compile_statement
from kolm.spec import VLMTrainConfig

Dtype = Literal["bfloat16", "float16", "float32"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ASKED = 4  # rows of the eval pack that the adapted and the exported model are compared on
_STAND_IN = (224, 224)  # size of the grey picture shown for one that the pack withholds
_ENDS = 8  # last positions of each question whose logits are compared


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    form: Form
    dtype: str
    compared: float | None
    """Largest difference of the exported model's logits to the adapted one's, as a share of the largest
    logit; 0 for an adapter, whose tensors are compared; None when the base was not at hand."""
    receipt: bool = False
    """Whether the receipt is in the folder."""


@dataclass(frozen=True)
class _Source:
    """An opened artifact and its receipt."""

    artifact: Artifact
    receipt: bytes | None
    compiled: CompilePredicate | None
    base: Path | None
    trust_code: bool

    def open_base(self) -> Base:
        """Find the base, checked file by file. Raises TrainError, SpecError."""
        identity = self.artifact.manifest.base.model_dump()
        return recall_base(identity, directory=self.base, trust=self.trust_code)


def export(
    artifact: Path,
    *,
    to: Form,
    out: Path,
    base: Path | None = None,
    receipt: Path | None = None,
    dtype: Dtype | None = None,
    trust_code: bool = False,
) -> Exported:
    """Write an artifact to the new folder `out`, complete or not at all.

    `receipt` is by default the one beside the artifact. An adapter is opened on the base if that is on this
    machine; `merged` needs the base. Raises SpecError for a form that the artifact does not have and for a
    folder that holds something, VerificationError for the receipt of another artifact, ArtifactError,
    TrainError, EvalError when what was written is not the adapted model, StorageError.
    """
    if base is not None and not base.is_dir():
        raise SpecError(f"no folder at {base}", hint="--base names the folder of the base model")
    opened = Artifact.open(artifact)
    check_members(opened)
    if not _NAME.fullmatch(opened.manifest.name):
        raise ArtifactError("manifest.json: its name is none", check="E_SCHEMA")
    data, compiled = _receipt_of(opened, artifact, receipt)
    source = _Source(opened, data, compiled, base, trust_code)
    if to == "peft" and not opened.members("adapter"):
        raise SpecError(
            "this artifact has no adapter: its weights were trained in full", hint="use --to merged"
        )
    if to == "peft" and dtype is not None:
        raise SpecError("--dtype is for --to merged; an adapter is exported as it is", hint="remove it")
    with new_folder(out) as draft:
        written = _write_adapter(source, draft) if to == "peft" else _write_merged(source, draft, dtype)
        _write_papers(source, draft, written)
    return replace(written, folder=out, receipt=data is not None)


def _receipt_of(
    artifact: Artifact, path: Path, given: Path | None
) -> tuple[bytes | None, CompilePredicate | None]:
    """Read the receipt that was named, or the one beside the artifact; there may be none beside it.

    Raises VerificationError when it is about another artifact, ArtifactError, StorageError.
    """
    beside = path.with_name(f"{path.name.removesuffix('.kolm')}.receipt.json")
    place = given or beside
    if given is None and not beside.exists():
        return None, None
    data = read_bytes(place, what="receipt", max_bytes=MAX_BYTES)
    receipt = Receipt.parse(data)
    if receipt.artifact != artifact.cid:
        raise VerificationError(
            f"{place} is about {receipt.artifact}, this artifact is {artifact.cid}",
            check="E_SUBJECT_MISMATCH",
            hint="name the artifact's own receipt with --receipt",
        )
    return data, compile_statement(receipt)


def _write_adapter(source: _Source, draft: Path) -> Exported:
    """Copy the adapter, and open it as PEFT does where the base is at hand. Raises EvalError, TrainError."""
    unpack(source.artifact, draft, roles=("adapter",))
    dtype = source.artifact.lock.resolved.dtype
    folder = source.base or noted_folder(source.artifact.manifest.base.model_dump())
    if folder is None or not folder.is_dir():
        return Exported(draft, "peft", dtype, None)
    from peft import PeftModel

    found = replace(source, base=folder).open_base()
    with translated("PEFT cannot load the adapter", hint="use --to merged", error=EvalError):
        model = PeftModel.from_pretrained(load_model(found, _config(source.artifact)), str(draft))
    check_loaded(model, source.artifact.modules)
    return Exported(draft, "peft", dtype, 0.0)


def _write_merged(source: _Source, draft: Path, dtype: Dtype | None) -> Exported:
    """Merge, save, open again and compare. Raises EvalError, TrainError, StorageError."""
    import torch

    artifact, base = source.artifact, source.open_base()
    if base.quantization is not None:
        raise SpecError(
            f"the base {base.model} is stored quantised: there are no 16-bit weights to merge into",
            hint="use --to peft",
        )
    config = _config(artifact, quantised=False)
    with tempfile.TemporaryDirectory(prefix="kolm-") as folder:
        trained = unpack(artifact, Path(folder), roles=("adapter", "weights"))
        model = open_trained(load_model(base, config), trained)
    check_loaded(model, artifact.modules)
    kind = dtype or ("float16" if model.dtype == torch.float16 else "bfloat16")
    questions = _questions(artifact, base, model.config)
    asked = [ask(model, question) for question in questions]
    if hasattr(model, "merge_and_unload"):
        model = merge(model)
        check_loaded(model, artifact.modules, merged=True)
    _save(model.to(getattr(torch, kind)), base, draft)
    del model
    free_memory(base)
    exported = load_model(replace(base, directory=draft), config.model_copy(update={"dtype": "auto"})).eval()
    return Exported(draft, "merged", kind, _compared(exported, asked, kind))


def _compared(model: Any, asked: list[Probe], kind: str) -> float:
    """Compare a model with what the adapted one said of the same questions. Raises EvalError."""
    largest = max(float(probe.logits.abs().max()) for probe in asked)
    apart = max(difference(model, probe) for probe in asked) / largest
    if not apart <= MERGED[kind]:
        raise EvalError(
            f"the merged model answers otherwise than the adapted one: its logits differ by {apart:.2%} "
            f"of the largest, {MERGED[kind]:.2%} are allowed",
            hint="nothing was written; try --dtype float32",
        )
    return float(f"{apart:.6g}")


def _config(artifact: Artifact, *, quantised: bool = True) -> VLMTrainConfig:
    """The settings that the base is loaded with; without quantisation what was trained goes onto 16 bit."""
    settings = VLMTrainConfig.model_validate(artifact.lock.config)
    if quantised or settings.method != "qlora":
        return settings
    return settings.model_copy(update={"method": "lora", "quantization": None})


def _questions(artifact: Artifact, base: Base, model_config: Any) -> list[dict[str, Any]]:
    """Encode the first questions of the eval pack; the last tokens of each are what is compared."""
    pixels = artifact.lock.processor.model_dump(include={"min_pixels", "max_pixels"})
    encoder = Encoder(load_processor(base, **pixels), model_config, base.family)
    pack = pack_from_members(artifact.read)
    batches = []
    for row in pack.rows[:_ASKED]:
        inputs = encoder.prompt(row.turns, [_picture(pack, cid) for cid in row.images])
        batches.append(continued(inputs, _ENDS))
    return batches


def _picture(pack: EvalPack, cid: CID) -> Any:
    """Open a picture of the pack; a grey one stands in for one withheld: both models are shown the same."""
    return Image.new("RGB", _STAND_IN, (128, 128, 128)) if cid in pack.missing else pack.image(cid)


def _save(model: Any, base: Base, draft: Path) -> None:
    """Write a checkpoint in transformers' layout, with the base's own generation settings and code.

    The settings are copied, not saved: transformers refuses to write some that it reads. Raises StorageError.
    """
    from transformers import GenerationConfig

    own = base.directory / "generation_config.json"
    if own.is_file():
        model.generation_config = GenerationConfig()
    with translated(f"cannot write to {draft}", hint="is the disk full?", error=StorageError):
        model.save_pretrained(str(draft))
        copied = [own] if own.is_file() else []
        copied += [base.directory / e["path"] for e in base.files if e["path"].endswith(".py")]
        for path in copied:
            target = draft / path.relative_to(base.directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _write_papers(source: _Source, draft: Path, written: Exported) -> None:
    """Add processor files, module manifest, receipt and card. Raises ArtifactError, StorageError."""
    artifact, name = source.artifact, source.artifact.manifest.name
    trained = sorted(draft.glob("*.safetensors")) + sorted(draft.glob("adapter_config.json"))
    files = [(path.name, sha256_hex_of_file(path)) for path in trained]
    strange = {Path(member).name for member in artifact.members("processor")} - {*PROCESSOR_FILES}
    if strange:
        raise ArtifactError(f"{sorted(strange)[0]} is no file of a processor", check="E_POLICY_CODE")
    unpack(artifact, draft, roles=("processor",))
    papers: Mapping[str, bytes | None] = {
        f"{name}.modules.json": artifact.read("modules.json"),
        f"{name}.receipt.json": source.receipt,
        "README.md": model_card(
            Facts(artifact, written.form, source.compiled, _loader(artifact), written.dtype, files)
        ).encode(),
    }
    for paper, content in papers.items():
        if content is not None:
            write_atomic(draft / paper, content)


def _loader(artifact: Artifact) -> str:
    """The class of transformers that loads this family; the usual one for a family that is unknown here."""
    known = {family.name: family.loader for family in families()}
    return known.get(artifact.manifest.family, "AutoModelForImageTextToText")
