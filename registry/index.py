"""What is stored and how it is found: one transaction per upload, and the searches."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, func, or_, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from kolm.canonical import canonical_json
from kolm.cid import CID, sha256_hex
from kolm.errors import StorageError
from kolm.globs import expand
from registry.models import ArtifactRow, BlobRow, LoggedRow, PartitionRow, ReceiptRow, writing
from registry.problems import Problem
from registry.schemas import ArtifactItem, ArtifactPage, ArtifactQuery, ReceiptItem, Verdict


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the index keeps about one verified artifact and its receipt."""

    cid: CID
    modules: CID
    receipt: CID
    sizes: dict[CID, int]
    """Size in bytes of the three blobs above."""
    name: str
    base: str
    family: str
    frozen: Sequence[str]
    trainable: Sequence[str]
    verdict: Verdict
    k: float | None
    kscore: bytes
    created: str


@dataclass(frozen=True)
class Partition:
    """The exact names that an artifact froze and trained."""

    frozen: list[str]
    trainable: list[str]

    def answers(self, query: ArtifactQuery) -> bool:
        """Return whether every pattern of `query` covers a name and none of the other list."""
        return all(_covers(p, self.frozen, self.trainable) for p in query.frozen) and all(
            _covers(p, self.trainable, self.frozen) for p in query.trainable
        )


class Index:
    """The database of one registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._partitions: dict[int, Partition] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held by who writes: waiting for it is fairer than asking SQLite for its lock again and again."""

    def record(self, entry: Entry) -> bool:
        """Store `entry` in one transaction and return whether anything of it was new.

        The write lock is taken first, so of several equal uploads exactly one is new.
        """
        with self._writing() as session:
            for cid, size in entry.sizes.items():
                if session.get(BlobRow, cid) is None:
                    session.add(BlobRow(cid=cid, size_bytes=size))
            session.flush()
            artifact = self._add_artifact(session, entry)
            receipt = self._add_receipt(session, entry)
            return artifact or receipt

    def holds(self, cid: CID) -> bool:
        """Return whether these bytes were stored by a finished upload."""
        with Session(self._engine) as session:
            return session.get(BlobRow, cid) is not None

    def is_artifact(self, cid: CID) -> bool:
        """Return whether `cid` is a stored artifact."""
        return self._has(select(ArtifactRow.number).where(ArtifactRow.cid == cid))

    def is_receipt(self, cid: CID) -> bool:
        """Return whether `cid` is an accepted receipt."""
        return self._has(select(ReceiptRow.number).where(ReceiptRow.cid == cid))

    def is_modules(self, cid: CID) -> bool:
        """Return whether `cid` is the module manifest of a stored artifact."""
        return self._has(select(ArtifactRow.number).where(ArtifactRow.modules == cid))

    def modules_of(self, cid: CID) -> CID | None:
        """Return the CID of an artifact's module manifest."""
        with Session(self._engine) as session:
            found = session.scalar(select(ArtifactRow.modules).where(ArtifactRow.cid == cid))
        return None if found is None else CID(found)

    def receipts_of(self, cid: CID) -> list[ReceiptItem]:
        """Return an artifact's receipts, newest accepted first."""
        rows = select(ReceiptRow).where(ReceiptRow.artifact == cid).order_by(ReceiptRow.number.desc())
        with Session(self._engine) as session:
            return [ReceiptItem.model_validate(row, from_attributes=True) for row in session.scalars(rows)]

    def kscore_of(self, receipt: CID) -> bytes | None:
        """Return the `k_score` of a receipt as canonical JSON."""
        with Session(self._engine) as session:
            return session.scalar(select(ReceiptRow.kscore).where(ReceiptRow.cid == receipt))

    def place_of(self, digest: str) -> int | None:
        """Return the place in the log of the entry with this SHA-256."""
        with Session(self._engine) as session:
            return session.scalar(select(LoggedRow.place).where(LoggedRow.digest == digest))

    def note_places(self, rows: Iterator[tuple[str, int]]) -> None:
        """Keep where entries stand in the log, in one transaction; the first place of a digest stays."""
        with self._writing() as session:
            for digest, place in rows:
                if session.get(LoggedRow, digest) is None:
                    session.add(LoggedRow(digest=digest, place=place))

    def noted(self) -> int:
        """Return how many entries of the log, from the first, were noted; 0 if one of them is missing."""
        with Session(self._engine) as session:
            kept, last = session.execute(select(func.count(), func.max(LoggedRow.place))).one()
        return int(kept) if last is not None and last + 1 == kept else 0

    def keep_blob(self, cid: CID, *, size_bytes: int) -> None:
        """Vouch for the bytes of a blob that belongs to no artifact."""
        with self._writing() as session:
            if session.get(BlobRow, cid) is None:
                session.add(BlobRow(cid=cid, size_bytes=size_bytes))

    def search(self, query: ArtifactQuery) -> ArtifactPage:
        """Return one page of the artifacts that answer `query`, newest upload first."""
        with Session(self._engine) as session:
            rows = session.execute(self._statement(session, query)).all()
        page = rows[: query.limit]
        following = str(page[-1].number) if len(rows) > query.limit else None
        items = [ArtifactItem.model_validate(row, from_attributes=True) for row in page]
        return ArtifactPage(items=items, next=following)

    def check(self) -> None:
        """Ask the database for something. Raises Problem `not_ready`."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError as err:
            raise Problem("not_ready", "the index does not answer") from err

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """Open a transaction that writes. Raises StorageError when the database cannot."""
        try:
            with self._turn, Session(writing(self._engine)) as session, session.begin():
                yield session
        except OperationalError as err:
            raise StorageError(
                f"the index cannot be written: {err.orig}", hint="is the disk full, or the index busy?"
            ) from err

    def _has(self, statement: Select[int]) -> bool:
        with Session(self._engine) as session:
            return session.scalar(statement.limit(1)) is not None

    def _add_artifact(self, session: Session, entry: Entry) -> bool:
        if session.scalar(select(ArtifactRow.number).where(ArtifactRow.cid == entry.cid)) is not None:
            return False
        session.add(
            ArtifactRow(
                cid=entry.cid,
                modules=entry.modules,
                name=entry.name,
                base=entry.base,
                base_leaf=entry.base.rstrip("/").rpartition("/")[2],
                family=entry.family,
                partition=_partition_id(session, entry),
            )
        )
        session.flush()
        return True

    def _add_receipt(self, session: Session, entry: Entry) -> bool:
        if session.scalar(select(ReceiptRow.number).where(ReceiptRow.cid == entry.receipt)) is not None:
            return False
        session.add(
            ReceiptRow(
                cid=entry.receipt,
                artifact=entry.cid,
                verdict=entry.verdict,
                k=entry.k,
                kscore=entry.kscore,
                created=entry.created,
            )
        )
        return True

    def _statement(self, session: Session, query: ArtifactQuery) -> Select[*tuple[Any, ...]]:
        newest = (
            select(func.max(ReceiptRow.number))
            .where(ReceiptRow.artifact == ArtifactRow.cid)
            .correlate(ArtifactRow)
            .scalar_subquery()
        )
        statement = (
            select(
                ArtifactRow.number,
                ArtifactRow.cid,
                ArtifactRow.name,
                ArtifactRow.base,
                ArtifactRow.family,
                ReceiptRow.k,
                ReceiptRow.verdict,
                ReceiptRow.created,
            )
            .join(ReceiptRow, ReceiptRow.number == newest)
            .order_by(ArtifactRow.number.desc())
            .limit(query.limit + 1)
        )
        return self._narrow(statement, session, query)

    def _narrow(
        self, statement: Select[*tuple[Any, ...]], session: Session, query: ArtifactQuery
    ) -> Select[*tuple[Any, ...]]:
        if query.base is not None:
            statement = statement.where(
                or_(ArtifactRow.base == query.base, ArtifactRow.base_leaf == query.base)
            )
        if query.family is not None:
            statement = statement.where(ArtifactRow.family == query.family)
        if query.name is not None:
            statement = statement.where(ArtifactRow.name == query.name)
        if query.min_k is not None:
            statement = statement.where(ReceiptRow.k >= query.min_k)
        if query.cursor is not None:
            statement = statement.where(ArtifactRow.number < _cursor(query.cursor))
        if query.frozen or query.trainable:
            statement = statement.where(ArtifactRow.partition.in_(self._answering(session, query)))
        return statement

    def _answering(self, session: Session, query: ArtifactQuery) -> list[int]:
        """Return the ids of the partitions that answer the patterns of `query`.

        A registry holds few distinct partitions, so each is tried; rows never change, so they are
        read once.
        """
        known = session.scalars(select(PartitionRow.id)).all()
        self._load(session, known)
        return [number for number in known if self._partitions[number].answers(query)]

    def _load(self, session: Session, numbers: Iterable[int]) -> None:
        with self._lock:
            for number in numbers:
                if number not in self._partitions:
                    row = session.get_one(PartitionRow, number)
                    self._partitions[number] = Partition(json.loads(row.frozen), json.loads(row.trainable))


def _partition_id(session: Session, entry: Entry) -> int:
    frozen, trainable = canonical_json(list(entry.frozen)), canonical_json(list(entry.trainable))
    digest = sha256_hex(frozen + b"\n" + trainable)
    found = session.scalar(select(PartitionRow.id).where(PartitionRow.digest == digest))
    if found is not None:
        return found
    row = PartitionRow(digest=digest, frozen=frozen, trainable=trainable)
    session.add(row)
    session.flush()
    return row.id


def _covers(pattern: str, own: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether `pattern` covers at least one name, and only names of `own`."""
    return bool(expand([pattern], own)) and not expand([pattern], other)


def _cursor(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise Problem("bad_cursor", "cursor: use the value of `next` from the page before")
    return int(value)
