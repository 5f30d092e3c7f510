"""`kolm eval`: score a compiled model on another eval pack; nobody signs what comes of it."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.options import AsJson, MovedBase, TrustCode
from kolm.cli.pack import read_pack
from kolm.cli.summary import GATE_EXIT, score_lines

if TYPE_CHECKING:
    from apps.eval.run import Outputs
    from kolm.artifact import Artifact
    from kolm.pack import EvalPack

KIND = "kolm-eval/1"


@command
def eval_(
    artifact: Annotated[Path, typer.Argument(help="Compiled artifact (.kolm).")],
    pack: Annotated[Path, typer.Option(help="Eval pack: its folder, or its pack.yaml.")],
    base: MovedBase = None,
    out: Annotated[Path | None, typer.Option(help="Folder for rows.jsonl and kscore.json.")] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Score a compiled model and its base on an eval pack, as a compile does; the result is not signed."""
    from kolm.artifact import Artifact, check_members
    from kolm.files import staging

    opened, asked = Artifact.open(artifact), read_pack(pack)
    check_members(opened)
    _check_pack(opened, asked)
    require_extra("torch", "train")
    note("not verified: `kolm verify` checks signatures and claims")
    with staging(out) if out else nullcontext() as work, Bars() as bars:
        outputs = _asked(opened, asked, base=base, trust_code=trust_code, bars=bars)
        document = _document(opened, asked, outputs)
        if out and work:
            _write(work, out, document=document, rows=outputs.rows)
    _say_what_is_missing(asked)
    emit(document if as_json else _text(document, out), as_json=as_json)
    raise typer.Exit(GATE_EXIT[document["verdict"]])


def _check_pack(artifact: "Artifact", pack: "EvalPack") -> None:
    """Refuse a pack that this model cannot be judged on. Raises DataError, SpecError."""
    from kolm.inputs import check_gold, check_pictures

    check_pictures(pack, sees_images=artifact.modules.sees_images)
    check_gold(pack, {name: part.metric for name, part in pack.slices.items()})


def _asked(
    artifact: "Artifact", pack: "EvalPack", *, base: Path | None, trust_code: bool, bars: Bars
) -> "Outputs":
    """Join the two apps: the trainer opens an artifact's models, the evaluator asks them."""
    from apps.eval.run import evaluate
    from apps.trainer.pair import ModelPair, environment_for

    with ModelPair.open(artifact, base=base, trust_code=trust_code) as pair:
        return evaluate(
            pair.open_base,
            pair.open_tuned,
            pack,
            metrics={name: part.metric for name, part in pack.slices.items()},
            max_new_tokens=artifact.lock.generation.max_new_tokens,
            sees_images=artifact.modules.sees_images,
            batch=artifact.lock.generation.batch,
            facts={
                "artifact": artifact.cid,
                "pack": pack.digest,
                "environment": environment_for(artifact),
            },
            progress=bars.asking,
        )


def _document(artifact: "Artifact", pack: "EvalPack", outputs: "Outputs") -> dict[str, Any]:
    """Score what was said and return all that is known of it (specs/formats/eval.md)."""
    from apps.trainer.pair import environment_for
    from kolm.attempts import count_attempt
    from kolm.scorecard import score_elsewhere

    attempts, timings = count_attempt(pack.digest), outputs.timings
    k_score = score_elsewhere(artifact, outputs.rows, pack=pack, timings=timings, attempts=attempts)
    return {
        "kind": KIND,
        "signed": False,
        "artifact": artifact.cid,
        "name": artifact.manifest.name,
        "pack": {"name": pack.name, "version": pack.version, "digest": pack.digest, "rows": len(pack.rows)},
        "verdict": k_score["gate"]["verdict"],
        "k_score": k_score,
        "timings": timings,
        "evaluation": outputs.evaluation,
        "environment": environment_for(artifact),
    }


def _write(work: Path, out: Path, *, document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write both files, or neither. Raises StorageError."""
    from kolm.canonical import canonical_json, canonical_lines
    from kolm.files import replace_all, write_atomic

    files = {"rows.jsonl": canonical_lines(rows), "kscore.json": canonical_json(document) + b"\n"}
    for name, data in files.items():
        write_atomic(work / name, data)
    replace_all([(work / name, out / name) for name in files])


def _say_what_is_missing(pack: "EvalPack") -> None:
    blank = sum(not row.images for row in pack.rows)
    alike = "near duplicates of training pictures were not looked for"
    same = f"{blank} questions without pictures were not compared with training rows"
    missing = [*([alike] if blank < len(pack.rows) else []), *([same] if blank else [])]
    note(f"{' and '.join(missing)}: the artifact holds commitments, not the training data")
    note("not signed: this is your own measurement, and no receipt of the artifact speaks of it")


def _text(document: dict[str, Any], out: Path | None) -> str:
    pack = document["pack"]
    lines = [
        f"pack     {pack['name']} {pack['version']}  {pack['rows']} rows  {pack['digest']}",
        *score_lines(document["k_score"]),
        f"attempts {document['k_score']['attempts']} on this pack, on this machine",
    ]
    return "\n".join([*lines, *([f"wrote    {out / 'kscore.json'}  rows.jsonl"] if out else [])])
