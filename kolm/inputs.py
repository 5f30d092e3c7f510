"""Everything a compile reads besides the base, checked before anything is trained."""

from collections.abc import Iterable
from dataclasses import dataclass

from kolm.dataset import Dataset, Example, load_dataset, set_document, split_dataset
from kolm.errors import DataError
from kolm.leaks import exact_overlaps, text_overlaps
from kolm.metrics import get_metric
from kolm.pack import EvalPack, PackRow, load_pack
from kolm.spec import LoadedSpec


@dataclass(frozen=True)
class Inputs:
    """Everything a compile reads, checked before anything is trained."""

    dataset: Dataset
    validation: Dataset | None
    pack: EvalPack
    metrics: dict[str, str]
    """Metric id of each slice."""
    set_document: bytes
    overlaps: int
    """Pictures that are both trained on and evaluated on."""
    text_overlaps: int
    """Eval rows without pictures whose question is trained on, word for word."""


def read_inputs(loaded: LoadedSpec, *, sees_images: bool) -> Inputs:
    """Read data, pack and metrics of a spec whose base looks at images, or is text-only.

    Raises DataError, also for images that a text-only base would not see; SpecError.
    """
    data, root = loaded.spec.data, loaded.root
    pack = load_pack(root / data.eval)
    metrics = _metrics(loaded, pack)
    _check_pictures(pack, sees_images=sees_images)
    dataset = load_dataset(data.train, root=root)
    validation = load_dataset(data.validation, root=root) if data.validation else None
    if data.split:
        dataset, validation = split_dataset(dataset, fraction=data.split.validation)
    examples = (*dataset.examples, *(validation.examples if validation else ()))
    if not sees_images:
        _refuse_images(examples, what="rows")
    document = set_document(dataset, validation=validation)
    return Inputs(
        dataset,
        validation,
        pack,
        metrics,
        document,
        overlaps=len(exact_overlaps(document, pack)),
        text_overlaps=len(text_overlaps(examples, pack)),
    )


def _check_pictures(pack: EvalPack, *, sees_images: bool) -> None:
    """Refuse a pack that says nothing about what its model sees. Raises DataError."""
    if not sees_images:
        _refuse_images(pack.rows, what="eval rows")
    elif not any(row.images for row in pack.rows):
        raise DataError(
            f"pack {pack.name} has no image in any row",
            hint="a vision-language model is judged on rows with images",
        )


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
