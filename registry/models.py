"""The tables of the index: what was stored, and the columns that searches need.

Receipts and artifacts live as verbatim bytes in the blobs; nothing here is ever signed or re-serialised.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Float, ForeignKey, Index, LargeBinary, String, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kolm.errors import StorageError

CID_LENGTH = 59


class Base(DeclarativeBase):
    """The metadata all tables share."""


class BlobRow(Base):
    """Bytes this registry vouches to have; a file without a row was left by a crash and is not served."""

    __tablename__ = "blobs"

    cid: Mapped[str] = mapped_column(String(CID_LENGTH), primary_key=True)
    size_bytes: Mapped[int]


class PartitionRow(Base):
    """Which parameters are frozen and which are trained; artifacts with the same two lists share one row."""

    __tablename__ = "partitions"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    frozen: Mapped[bytes] = mapped_column(LargeBinary)
    """Canonical JSON list of exact names."""
    trainable: Mapped[bytes] = mapped_column(LargeBinary)


class ArtifactRow(Base):
    """One stored artifact."""

    __tablename__ = "artifacts"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of arrival; cursors count in it."""
    cid: Mapped[str] = mapped_column(ForeignKey("blobs.cid"), unique=True)
    modules: Mapped[str] = mapped_column(ForeignKey("blobs.cid"))
    name: Mapped[str] = mapped_column(index=True)
    base: Mapped[str] = mapped_column(index=True)
    base_leaf: Mapped[str] = mapped_column(index=True)
    """Last path component of `base`."""
    family: Mapped[str] = mapped_column(index=True)
    partition: Mapped[int] = mapped_column(ForeignKey("partitions.id"), index=True)


class ReceiptRow(Base):
    """One accepted receipt; an artifact may have several."""

    __tablename__ = "receipts"
    __table_args__ = (Index("receipts_of_artifact", "artifact", "number"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of acceptance."""
    cid: Mapped[str] = mapped_column(ForeignKey("blobs.cid"), unique=True)
    artifact: Mapped[str] = mapped_column(ForeignKey("artifacts.cid"))
    verdict: Mapped[str]
    k: Mapped[float | None] = mapped_column(Float)
    kscore: Mapped[bytes] = mapped_column(LargeBinary)
    """The receipt's `k_score` as canonical JSON."""
    created: Mapped[str]
    """When the compile finished, from the receipt."""


class LoggedRow(Base):
    """Where an entry stands in the log; made again from the log if it is missing."""

    __tablename__ = "logged"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of the entry."""
    place: Mapped[int] = mapped_column(index=True)


def open_engine(path: Path) -> Engine:
    """Open the SQLite index at `path`, with its tables made. Raises StorageError."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        Base.metadata.create_all(engine)
    except OperationalError as err:
        raise StorageError(
            f"{path}: cannot be opened as an index: {err.orig}", hint="check the directory given as --data"
        ) from err
    return engine


def writing(engine: Engine) -> Engine:
    """Return `engine` with transactions that take SQLite's write lock when they begin."""
    return engine.execution_options(kolm_writes=True)


def _configure(connection: Any, _record: Any) -> None:
    # None: the driver starts no transactions of its own, so that _begin decides how they start.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "busy_timeout=10000", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("kolm_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
