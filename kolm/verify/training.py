"""Check 14: the training log commits to these inputs, and tells of the run that they and the lock give."""

from collections.abc import Sequence, Set
from math import isclose

from kolm.errors import ArtifactError
from kolm.schedule import (
    count_steps,
    learning_rate,
    passes,
    rows_per_step,
    steps_per_epoch,
    validation_interval,
)
from kolm.trainconfig import VLMTrainConfig
from kolm.trainlog import Step, TrainLog, base_digest, effective_seed, read_log
from kolm.verify.case import Case, Finding, require

_PRECISION = 1e-8
"""Rates are logged in 9 significant digits."""

_LEAST = 1e-12
"""Share of the highest rate below which cosines of different machines differ."""


def training_log(case: Case) -> Finding:
    """(14) The step log is an unbroken chain that commits to these inputs and this seed."""
    artifact = case.artifact
    log = read_log(artifact.read("train/log.jsonl"))
    seed, root = artifact.lock.seed, artifact.container.sha256("train/set.json")
    derived = effective_seed(seed.spec, root=root)
    _logged(seed.effective == derived, "the effective seed does not follow from seed and training set")
    expected = {
        "spec": artifact.container.sha256("spec.yaml"),
        "lock": artifact.container.sha256("spec.lock.json"),
        "set": root,
        "pack": case.pack.digest,
        "base": base_digest([file.model_dump() for file in artifact.manifest.base.files]),
        "seed": derived,
    }
    stated = log.commitment.model_dump()
    wrong = next((member for member, value in expected.items() if stated[member] != value), None)
    _logged(wrong is None, f"it commits to another {wrong}")
    known = {row.id for row in case.train_set.rows}
    _logged(bool(case.train_set.validation) or not log.validations, "it validates on rows that are not there")
    fed = {row for step in log.steps for row in step.rows}
    _logged(fed <= known, "it trains on rows that the training set does not hold")
    _logged(bool(log.steps), "it holds no step")
    if case.linked:
        _check_told(case, log)
    return Finding(f"{len(log.steps)} steps, head {log.head[:12]}; losses and batch digests signed only")


def _check_told(case: Case, log: TrainLog) -> None:
    """The receipt tells of the steps that were logged, and the kept weights follow from them."""
    block, lock = case.compile.train, case.artifact.lock
    counted = {block.steps, len(case.compile.timings.steps_ns)}
    _logged(counted == {len(log.steps)}, "the receipt counts or times other steps")
    checkpoint, step = log.kept(lock.config.get("keep"))
    _logged(
        (block.checkpoint, block.best_step) == (checkpoint, step),
        f"it gives checkpoint {checkpoint} of step {step}, not the receipt's",
    )
    _logged(lock.resolved.keep == checkpoint, f"it gives checkpoint {checkpoint}, not the lock's")
    try:
        config, parameters = case.spec.train, case.artifact.modules.parameters
    except ArtifactError:
        return  # check 9 or 10 says so
    trained = {parameter.part for parameter in parameters if parameter.state == "trainable"}
    _check_steps(case, log, config, used=block.train_examples)
    _check_rates(log.steps, config, trained=trained)
    _check_validations(case, log, config, used=block.train_examples)


def _check_steps(case: Case, log: TrainLog, config: VLMTrainConfig, *, used: int) -> None:
    """As many steps as the settings give, and in each pass every row once, in the order that the seed gives.

    Which rows were left out, where any were, is the signer's word: a whole pass shows it.
    """
    steps = log.steps
    _logged(len(steps) == count_steps(used, config), "it has other steps than settings and rows give")
    size, epoch = rows_per_step(config), steps_per_epoch(used, config)
    first = {row for step in steps[:epoch] for row in step.rows}
    ids = [row.id for row in case.train_set.rows]
    ids = ids if used == len(ids) else [name for name in ids if name in first]
    orders = passes(used, seed=log.commitment.seed) if len(ids) == used else None
    for start in range(0, len(steps), epoch):
        fed: list[str] = []
        for step in steps[start : start + epoch]:
            _logged(len(step.rows) == min(size, used - len(fed)), f"step {step.step} has other rows")
            fed += step.rows
        what = f"the pass that step {start + 1} begins"
        _logged(len({*fed}) == len(fed), f"a row is fed twice in {what}")
        if orders is not None:
            order = [ids[place] for place in next(orders)]
            _logged(fed == order[: len(fed)], f"{what} is in another order than the seed gives")


def _check_rates(steps: Sequence[Step], config: VLMTrainConfig, *, trained: Set[str]) -> None:
    """The rate of each step is the scheduler's; the projector's own counts where it is trained alone."""
    own = config.projector_lr if trained == {"projector"} else None
    peak = config.learning_rate if own is None else own
    for step in steps:
        rate = learning_rate(config, step.step, steps=len(steps), peak=peak)
        same = isclose(step.lr, rate, rel_tol=_PRECISION, abs_tol=_LEAST * peak)
        _logged(same, f"step {step.step} has another rate than the settings give")


def _check_validations(case: Case, log: TrainLog, config: VLMTrainConfig, *, used: int) -> None:
    """Validation comes when the settings say, at the end too; rows that are too long may all be left out."""
    last, every = len(log.steps), validation_interval(config, used)
    due = [*range(every, last, every), last] if case.train_set.validation else []
    made = [line.step for line in log.validations]
    left_out = not made and config.on_overlong == "drop"
    _logged(made == due or left_out, "it validates at other steps than the settings say")


def _logged(holds: bool, message: str) -> None:
    require(holds, f"train/log.jsonl: {message}", check="E_TRAINLOG")
