"""Everything a compile reads besides the base, checked before anything is trained."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kolm.dataset import Dataset, Example, load_dataset, set_document, split_dataset
from kolm.errors import DataError
from kolm.leaks import Leaks, near_duplicates, text_overlaps
from kolm.metrics import get_metric
from kolm.overlaps import exact_overlaps, shared_groups
from kolm.pack import EvalPack, PackRow, load_pack
from kolm.review import NOTHING_REVIEWED, Review, read_review
from kolm.spec import LoadedSpec


@dataclass(frozen=True)
class Sets:
    """The rows of a spec: what is trained on, and what is evaluated on."""

    dataset: Dataset
    validation: Dataset | None
    pack: EvalPack

    @property
    def trained_on(self) -> list[Dataset]:
        """Training rows and, where there are any, validation rows: their loss chooses the weights."""
        return [self.dataset, *([self.validation] if self.validation else [])]

    @property
    def examples(self) -> list[Example]:
        """Every row that is trained on."""
        return [example for dataset in self.trained_on for example in dataset.examples]


@dataclass(frozen=True)
class Inputs(Sets):
    """Everything a compile reads, checked before anything is trained."""

    metrics: dict[str, str]
    """Metric id of each slice."""
    set_document: bytes
    leaks: Leaks


def read_inputs(loaded: LoadedSpec, *, sees_images: bool) -> Inputs:
    """Read data, pack and metrics of a spec whose base looks at images, or is text-only.

    Raises DataError, also for images that a text-only base would not see; SpecError.
    """
    review = _review(loaded)
    pack = load_pack(loaded.root / loaded.spec.data.eval)
    metrics = _metrics(loaded, pack)
    check_pictures(pack, sees_images=sees_images)
    check_gold(pack, metrics)
    sets = _sets(loaded, pack)
    if not sees_images:
        _refuse_images(sets.examples, what="rows")
    document = set_document(sets.dataset, validation=sets.validation)
    leaks = _leaks(sets, document, review)
    return Inputs(sets.dataset, sets.validation, pack, metrics, document, leaks)


def read_leaks(loaded: LoadedSpec) -> tuple[Sets, Leaks]:
    """Read the rows of a spec and find what is in both, without asking what its base is. Raises DataError."""
    review = _review(loaded)
    sets = _sets(loaded, load_pack(loaded.root / loaded.spec.data.eval))
    return sets, _leaks(sets, set_document(sets.dataset, validation=sets.validation), review)


def _sets(loaded: LoadedSpec, pack: EvalPack) -> Sets:
    data, root = loaded.spec.data, loaded.root
    dataset = load_dataset(data.train, root=root)
    validation = load_dataset(data.validation, root=root) if data.validation else None
    if data.split:
        dataset, validation = split_dataset(dataset, fraction=data.split.validation)
    return Sets(dataset, validation, pack)


def _review(loaded: LoadedSpec) -> Review:
    reviewed = loaded.spec.data.reviewed
    return read_review(loaded.root / reviewed) if reviewed else NOTHING_REVIEWED


def _leaks(sets: Sets, document: bytes, review: Review) -> Leaks:
    return Leaks(
        overlaps=tuple(exact_overlaps(document, sets.pack)),
        groups=tuple(shared_groups(document, sets.pack)),
        texts=tuple(text_overlaps(sets.examples, sets.pack)),
        near=tuple(near_duplicates(sets.trained_on, sets.pack)),
        review=review,
    )


def check_pictures(pack: EvalPack, *, sees_images: bool) -> None:
    """Refuse a pack that says nothing about what its model sees. Raises DataError."""
    if not sees_images:
        _refuse_images(pack.rows, what="eval rows")
    elif not any(row.images for row in pack.rows):
        raise DataError(
            f"pack {pack.name} has no image in any row",
            hint="a vision-language model is judged on rows with images",
        )


def check_gold(pack: EvalPack, metrics: Mapping[str, str]) -> None:
    """Refuse accepted answers that the metric of their slice cannot compare with, before a model is asked.

    Raises DataError naming the first rows, SpecError.
    """
    faults = []
    for row in pack.rows:
        try:
            get_metric(metrics[row.slice]).check(row.gold)
        except DataError as err:
            faults.append((f"row {row.id} for {metrics[row.slice]}: {err.message}", err.hint))
    if faults:
        told = "; ".join(message for message, _ in faults[:5])
        rest = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise DataError(f"pack {pack.name}: {told}{rest}", hint=faults[0][1])


def _refuse_images(rows: Iterable[Example | PackRow], *, what: str) -> None:
    """Refuse rows that show images to a text-only model. Raises DataError naming the first ones."""
    shown = [row.id for row in rows if row.images]
    if shown:
        raise DataError(
            f"{what} that show images, which a text-only base never sees: {', '.join(shown[:5])}"
            + (f" and {len(shown) - 5} more" if len(shown) > 5 else ""),
            hint="leave them out, or choose a vision-language base",
        )


def _metrics(loaded: LoadedSpec, pack: EvalPack) -> dict[str, str]:
    """Return the metric of each slice: the spec's, else the pack's own. Raises SpecError, DataError."""
    asked = loaded.spec.eval.metric
    unknown = sorted(asked.keys() - pack.slices.keys())
    if unknown:
        raise loaded.error(
            "eval", "metric", unknown[0],
            message=f"the pack has no slice `{unknown[0]}`",
            hint=f"its slices are {', '.join(sorted(pack.slices))}",
        )  # fmt: skip
    metrics = {name: asked.get(name, part.metric) for name, part in pack.slices.items()}
    for metric_id in metrics.values():
        get_metric(metric_id)
    return metrics
