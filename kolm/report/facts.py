"""What a report shows, gathered from an artifact and its receipt; templates only lay it out."""

from typing import Any, get_args

from kolm.artifact import Artifact
from kolm.dataset import parse_set
from kolm.errors import VerificationError
from kolm.modules import Part
from kolm.pack import pack_from_members
from kolm.predicates import CompilePredicate
from kolm.receipt import Receipt
from kolm.report import figures
from kolm.report.answers import chosen_rows, turned
from kolm.report.tree import module_tree
from kolm.scorecard import read_rows
from kolm.trainlog import read_log

PARTS: tuple[Part, ...] = get_args(Part)

CONDITIONS = {
    "k_lower": "lower bound of K",
    "accuracy_lower": "lower bound of the accuracy",
    "gain_over_base": "gain over the base, lower bound above",
    "image_gain": "gain over grey images, lower bound above",
    "coverage": "share of usable answers",
    "no_leak": "eval pictures that were trained on",
    "frozen_unchanged": "frozen parameters that changed",
    "enough_rows": "rows of the eval pack",
}
"""What each condition of the gate compares."""

AXES = {
    "A": "accuracy",
    "S": "size against the base",
    "L": "latency within the budget",
    "C": "arithmetic against the base",
    "V": "usable answers",
}

EVIDENCE = {
    "recomputable": "recomputed by kolm verify",
    "attested": "signed only",
    "absent": "absent",
}


def facts_of(artifact: Artifact, receipt: Receipt) -> dict[str, Any]:
    """Return everything a template needs. Raises ArtifactError, VerificationError."""
    compiled = _compiled(receipt)
    pack = pack_from_members(artifact.read)
    rows = read_rows(artifact, pack=pack)
    log = read_log(artifact.read("train/log.jsonl"))
    k = compiled.k_score.model_dump()
    return {
        "name": artifact.manifest.name,
        "task": artifact.manifest.task,
        "family": artifact.manifest.family,
        "base": artifact.manifest.base,
        "verdict": k["gate"]["verdict"],
        "conditions": _conditions(k["gate"]["conditions"]),
        "k": k,
        "axes": [
            {**k["axes"][a], "letter": a, "name": AXES[a], "evidence": EVIDENCE[k["axes"][a]["evidence"]]}
            for a in AXES
        ],
        "accuracy": k["accuracy"],
        "models": _models(k["accuracy"]),
        "bars": figures.axes(k),
        "slices": figures.slices(k["accuracy"]),
        "slice_rows": k["accuracy"]["slices"],
        "changes": turned(rows),
        "answers": chosen_rows(rows, pack),
        "rows": len(rows),
        "pack": pack,
        "curves": figures.curves(log),
        "steps": len(log.steps),
        "chain_head": log.head,
        "block": compiled.train,
        "parts": artifact.modules.treatments(),
        "modules": module_tree(artifact.modules),
        "sizes": _sizes(artifact),
        "counts": compiled.modules.counts,
        "data": _data(artifact, compiled),
        "environment": compiled.environment,
        "memory": compiled.memory.peak_bytes,
        "seconds": sum(compiled.timings.steps_ns) / 1e9,
        "cid": artifact.cid,
        "receipt": receipt,
        "compiled": compiled,
        "signers": _signers(receipt),
        "versions": artifact.lock.versions,
        "metrics": artifact.lock.metrics,
    }


def _compiled(receipt: Receipt) -> CompilePredicate:
    found = [s.predicate for s in receipt.unverified() if isinstance(s.predicate, CompilePredicate)]
    if len(found) != 1:
        raise VerificationError("the receipt has no compile statement", check="E_CHAIN")
    return found[0]


def _conditions(conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failing conditions first; every one with the words for what it compares."""
    told = [{**c, "words": CONDITIONS.get(c["id"], c["id"])} for c in conditions]
    return sorted(told, key=lambda c: {False: 0, True: 1, None: 2}[c["ok"]])


def _models(accuracy: dict[str, Any]) -> list[dict[str, Any]]:
    names = {
        "base": "base model",
        "tuned": "tuned model",
        "grey": "tuned, grey images",
        "shuffled": "tuned, wrong images",
    }
    return [{"name": words, **accuracy[key]} for key, words in names.items() if accuracy.get(key)]


def _sizes(artifact: Artifact) -> list[dict[str, Any]]:
    """Parameters of each part: of the base, added, and trained."""
    modules = artifact.modules
    treatments = modules.treatments()
    return [
        {
            "part": part,
            "treatment": treatments[part],
            "base": modules.size(part, added=False),
            "added": modules.size(part, added=True),
            "trained": sum(
                p.elements for p in modules.parameters if p.part == part and p.state == "trainable"
            ),
        }
        for part in PARTS
        if part in treatments
    ]


def _data(artifact: Artifact, compiled: CompilePredicate) -> dict[str, Any]:
    document = parse_set(artifact.read("train/set.json"))
    groups = {row.group for row in document.rows}
    pictures = [image.pixels for row in document.rows for image in row.images]
    return {
        "train": compiled.data.train,
        "validation": compiled.data.validation,
        "eval": compiled.data.eval,
        "groups": len(groups),
        "pictures": len(pictures),
        "distinct": len(set(pictures)),
    }


def _signers(receipt: Receipt) -> list[str]:
    found = set()
    for envelope in receipt.envelopes:
        for signature in envelope.get("signatures", []):
            found.add(str(signature.get("keyid")))
    return sorted(found)
