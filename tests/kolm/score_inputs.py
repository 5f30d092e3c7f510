"""Made-up eval rows and measurements that a K-score can be computed from."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from kolm.kscore import CostModel, KInputs

VECTOR = json.loads((Path(__file__).parents[2] / "specs/formats/vectors/kscore.json").read_text())["document"]
OUTPUTS = ("base", "tuned", "perturbed", "grey", "shuffled")


def vector_inputs(**changes: Any) -> KInputs:
    given_inputs = VECTOR["inputs"]
    return KInputs(**{**given_inputs, "cost": CostModel(**given_inputs["cost"]), **changes})


def output(score: float, *, tokens: int = 2, finish: str = "stop") -> dict[str, Any]:
    return {"raw": "7", "extracted": "7", "score": score, "tokens": tokens, "finish": finish}


def row(name: str, scores: dict[str, float], *, slice_: str = "read") -> dict[str, Any]:
    outputs = {variant: output(score) for variant, score in scores.items()}
    counts = {"prompt_tokens": 40, "image_tokens": 16, "patches": 64}
    return {"id": name, "slice": slice_, **counts, "outputs": outputs}


def make(scores: list[dict[str, float]], **changes: Any) -> KInputs:
    n = len(scores)
    inputs = KInputs(
        rows=[row(f"r{i}", each, slice_="read" if i % 3 else "parity") for i, each in enumerate(scores)],
        clusters=[f"c{i}" for i in range(n)],
        metric_ids=["exact@1"] * n,
        perturbations=["jpeg"] * n,
        adapter_bytes=140_000,
        base_bytes=1_400_000,
        cost=CostModel(language_params=900_000, added_params=50_000, vision_params=300_000),
        timed=[f"r{i}" for i in range(n)],
        base_ns=[9_000_000] * n,
        tuned_ns=[10_000_000 + 1000 * i for i in range(n)],
        budget_latency_p95_s=1.0,
        seed=0,
    )
    return replace(inputs, **changes)


def answers(n: int, *, tuned: float = 0.95, seed: int = 1) -> list[dict[str, float]]:
    chance = random.Random(seed)  # noqa: S311  # test data
    likely = {"base": 0.3, "tuned": tuned, "perturbed": tuned, "grey": 0.1, "shuffled": 0.1}
    return [{name: float(chance.random() < p) for name, p in likely.items()} for _ in range(n)]
