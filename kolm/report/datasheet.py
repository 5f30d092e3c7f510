"""The data card of a report: splits, groups, pictures, duplicates, lengths, and what is withheld."""

from collections.abc import Sequence
from dataclasses import dataclass

from kolm.artifact import Artifact
from kolm.dataset import parse_set
from kolm.pack import EvalPack
from kolm.predicates import CompilePredicate, NearDuplicates
from kolm.scorecard import EvalRow


@dataclass(frozen=True)
class Datasheet:
    """What is known of the data without showing any of it."""

    train: int
    validation: int
    eval: int
    groups: int
    """Groups of training rows that were kept together."""
    pictures: int
    """Pictures that training rows show, each time counted."""
    distinct: int
    """Of these, pictures with different pixels."""
    eval_pictures: int
    """Different pictures of the eval pack."""
    withheld: int
    """Of these, pictures that the artifact names and does not hold."""
    text_overlaps: int | None
    near: NearDuplicates | None
    """Pairs of a trained and an evaluated picture that look alike; None where nobody looked."""
    truncated: int
    """Training rows whose prompt was cut."""
    dropped: int
    """Training rows that did not fit and were left out."""
    image_tokens: Sequence[int]
    """Image tokens of each eval row that shows a picture."""


def datasheet(
    artifact: Artifact, compiled: CompilePredicate, *, pack: EvalPack, rows: Sequence[EvalRow]
) -> Datasheet:
    """Gather the data card. Raises ArtifactError when the training set's commitments cannot be read."""
    document = parse_set(artifact.read("train/set.json"))
    pictures = [image.pixels for row in document.rows for image in row.images]
    return Datasheet(
        train=compiled.data.train,
        validation=compiled.data.validation,
        eval=compiled.data.eval,
        groups=len({row.group for row in document.rows}),
        pictures=len(pictures),
        distinct=len(set(pictures)),
        eval_pictures=len(pack.images),
        withheld=len(pack.missing),
        text_overlaps=compiled.data.text_overlaps,
        near=compiled.data.near_duplicates,
        truncated=compiled.train.truncated_examples,
        dropped=compiled.train.dropped_examples,
        image_tokens=[row.image_tokens for row in rows if row.image_tokens],
    )
