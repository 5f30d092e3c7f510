"""`kolm key`: the keys that sign, and the keys whose signatures count here."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit
from kolm.cli.evidence import trust_folder
from kolm.cli.options import AsJson
from kolm.errors import ArtifactError, KolmError, SpecError
from kolm.instants import read_instant, spell_instant
from kolm.visible import one_line

if TYPE_CHECKING:
    from kolm.trust import Revocation, TrustedKey, TrustStore

app = typer.Typer(no_args_is_help=True, help="Make, list, trust and revoke signing keys.")

TrustDir = Annotated[
    Path | None, typer.Option("--dir", help="Trust directory.", show_default="$KOLM_HOME/trust")
]


@app.command()
@command
def new(
    name: Annotated[str, typer.Option(help="What the key is called here.")] = "default",
    unencrypted: Annotated[bool, typer.Option("--unencrypted", help="Keep it without a passphrase.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a signing key; its public half is written beside it."""
    from kolm.keys import PrivateKey, key_path, passphrase_source, public_path, save_private

    path = key_path(name)
    key = PrivateKey.generate()
    secret = None if unencrypted else passphrase_source(prompt=True, confirm=True)()
    save_private(key, path, passphrase=secret)
    row = {"name": name, "key_id": key.key_id, "path": str(path), "public_path": str(public_path(path))}
    lines = f"key {key.key_id}\nprivate {path}\npublic  {public_path(path)}"
    emit(row if as_json else lines, as_json=as_json)


@app.command("list")
@command
def list_(directory: TrustDir = None, as_json: AsJson = False) -> None:
    """List the keys that can sign here and the keys that are trusted here."""
    from kolm.trust import TrustStore

    trust = TrustStore.open(trust_folder(directory, option="--dir"))
    own, trusted, revoked = _own_keys(), _trusted_keys(trust), _revoked(trust)
    if as_json:
        log = trust.log and trust.log.vkey
        emit({"keys": own, "trusted": trusted, "revoked": revoked, "log": log}, as_json=True)
        return
    lines = [
        f"sign   {row['key_id'] or '(no public half beside it)':<64}  {row['name']}{_note(row)}"
        for row in own
    ]
    lines += [f"trust  {row['key_id']}  {row['label']}{_window(row)}" for row in trusted]
    lines += [f"revoked {row['subject']}  {_why(row)}" for row in revoked]
    lines += [f"log    {trust.log.vkey}"] if trust.log else []
    emit("\n".join(map(one_line, lines)) or "no keys; make one with `kolm key new`")


@app.command()
@command
def trust(
    key: Annotated[Path | None, typer.Argument(help="A public key in PEM form.")] = None,
    label: Annotated[str | None, typer.Option(help="Whose key it is.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME|none", help="What it signed before does not count.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME|none", help="Nor does what it signs from then on.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(metavar="VKEY", help="Instead: the key of the log whose proofs count.")
    ] = None,
    directory: TrustDir = None,
    as_json: AsJson = False,
) -> None:
    """Let the signatures of a publisher's key count, or the proofs of one log.

    Trusted again, a key keeps the label and the times that are not given.
    """
    from kolm.trust import default_trust_dir

    folder = directory or default_trust_dir()
    if (key is None) == (log is None):
        raise SpecError("name a key file, or a log with --log", hint="kolm key trust KEY.pub.pem")
    if key is not None:
        row = _trust_publisher(key, label=label, begin=begin, until=until, folder=folder)
        emit(row if as_json else f"trusted {row['key_id']} in {folder}{_window(row)}", as_json=as_json)
        return
    if (label, begin, until) != (None, None, None):
        raise SpecError("a log has no --label, --from or --until", hint="leave them out")
    row = _trust_log(log or "", folder=folder)
    emit(row if as_json else f"log {row['log']} in {folder}", as_json=as_json)


@app.command()
@command
def revoke(
    subject: Annotated[
        str, typer.Argument(metavar="KEYID|CID", help="A key's id, or the CID of an artifact.")
    ],
    reason: Annotated[str, typer.Option(help="What happened, in a few words.")],
    index: Annotated[
        int | None,
        typer.Option(min=0, help="Where the trusted log says so: what it held before still counts."),
    ] = None,
    statement: Annotated[
        Path | None, typer.Option(help="Also sign it, for a registry's log, into this file.")
    ] = None,
    name: Annotated[str, typer.Option(help="The key of yours that signs the statement.")] = "default",
    directory: TrustDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a key no longer count, or an artifact."""
    from kolm.files import write_atomic
    from kolm.trust import TrustStore, default_trust_dir
    from kolm.trust import revoke as revoke_here

    folder = directory or default_trust_dir()
    if statement is not None:
        write_atomic(statement, _statement(subject, reason, name=name))
    path = revoke_here(folder, subject, reason, index=index)
    held = _revocation(subject, TrustStore.open(folder).revocations[subject])
    row = {"revoked": subject, "path": str(path)} | {name: held[name] for name in ("reason", "index", "log")}
    row |= {"statement": str(statement)} if statement else {}
    emit(row if as_json else one_line(f"revoked {subject} in {folder}: {_why(held)}"), as_json=as_json)


def _trust_publisher(
    key: Path, *, label: str | None, begin: str | None, until: str | None, folder: Path
) -> dict[str, Any]:
    """Trust a key; what is not given stays as it is."""
    from kolm.errors import SigningError
    from kolm.files import read_bytes
    from kolm.keys import PublicKey
    from kolm.trust import TrustedKey, TrustStore, trust_key

    try:
        text = read_bytes(key, what="public key", max_bytes=64 * 1024).decode("ascii")
        public = PublicKey.from_pem(text)
    except UnicodeDecodeError as err:
        raise SigningError(f"{key} is not a public key in PEM form", hint="name its .pub.pem file") from err
    except SigningError as err:
        raise SigningError(f"{key}: {err.message}", hint=err.hint) from err
    known = TrustStore.open(folder).keys.get(public.key_id, TrustedKey(public))
    kept = TrustedKey(
        public,
        _moment(begin, option="--from", known=known.from_),
        _moment(until, option="--until", known=known.until),
        known.label if label is None else label,
    )
    path = trust_key(folder, public, label=kept.label, from_=kept.from_, until=kept.until)
    return _trusted(kept) | {"path": str(path)}


def _trust_log(vkey: str, *, folder: Path) -> dict[str, Any]:
    """Trust a log. Raises SpecError for what is not a log's key, VerificationError for a weak one."""
    from kolm.trust import trust_log

    try:
        path = trust_log(folder, vkey)
    except ArtifactError as err:
        raise SpecError(
            f"{vkey[:80]!r} is not the key of a log",
            hint="it looks like NAME+8 hex digits+base64; `kolm registry serve` prints it after log.vkey",
        ) from err
    return {"log": path.read_text(encoding="utf-8").strip(), "path": str(path)}


def _moment(text: str | None, *, option: str, known: datetime | None) -> datetime | None:
    """Read a time or a day, UTC; `none` is no limit, nothing is what is known. Raises SpecError."""
    if text is None or text == "none":
        return known if text is None else None
    for spelled in (text, f"{text}T00:00:00Z"):
        try:
            return read_instant(spelled)
        except ValueError:
            continue
    raise SpecError(
        f"{option} {text[:40]!r} is not a time", hint="give 2026-01-31, 2026-01-31T12:00:00Z (UTC), or none"
    )


def _statement(subject: str, reason: str, *, name: str) -> bytes:
    """Sign a revocation with a key of this home. Raises SigningError for a key that is not its own."""
    import sys

    from kolm.cid import parse_cid
    from kolm.errors import SigningError
    from kolm.keys import key_path, load_private, passphrase_source
    from kolm.revocation import sign_revocation

    key = load_private(key_path(name), passphrase=passphrase_source(prompt=sys.stdin.isatty()))
    if subject == key.key_id:
        return sign_revocation(key, reason)
    try:
        return sign_revocation(key, reason, artifact=parse_cid(subject))
    except ArtifactError as err:
        raise SigningError(
            f"the key {name} cannot sign that {subject[:80]} is revoked",
            hint="a key revokes itself; an artifact is revoked by a key that signed a receipt of it",
        ) from err


def _own_keys() -> list[dict[str, Any]]:
    """Describe the private keys of this home; a key's id comes from its public half."""
    from kolm.files import read_bytes
    from kolm.keys import is_encrypted, key_path

    rows = []
    for path in sorted(key_path().parent.glob("*.pem")):
        if path.name.endswith(".pub.pem"):
            continue
        encrypted = is_encrypted(read_bytes(path, what="key"))
        row = {"name": path.stem, "key_id": _public_id(path), "path": str(path), "encrypted": encrypted}
        rows.append(row)
    return rows


def _public_id(private: Path) -> str | None:
    """Return the id of a key by its public half; None if that is not there or damaged."""
    from kolm.files import read_bytes
    from kolm.keys import PublicKey, public_path

    try:
        return PublicKey.from_pem(
            read_bytes(public_path(private), what="public key").decode("latin-1")
        ).key_id
    except KolmError:
        return None


def _trusted_keys(trust: "TrustStore") -> list[dict[str, Any]]:
    """Describe the trusted keys; `revoked` is the reason why one counts no longer."""
    rows = []
    for keyid, key in trust.keys.items():
        revocation = trust.revoked(keyid)
        rows.append(_trusted(key) | {"revoked": revocation.reason if revocation else None})
    return rows


def _trusted(key: "TrustedKey") -> dict[str, Any]:
    window = {"from": key.from_ and spell_instant(key.from_), "until": key.until and spell_instant(key.until)}
    return {"key_id": key.public.key_id, "label": key.label} | window


def _revoked(trust: "TrustStore") -> list[dict[str, Any]]:
    """Describe what counts no longer: keys, trusted before or never, and artifacts."""
    return [_revocation(subject, found) for subject, found in trust.revocations.items()]


def _revocation(subject: str, found: "Revocation") -> dict[str, Any]:
    return {"subject": subject, "index": None, "log": None} | found.to_json()


def _why(row: dict[str, Any]) -> str:
    """Say why and since when something counts no longer, and what of it still does."""
    spared = ""
    if row["log"] is not None and len(row["subject"]) == 64:  # of an artifact nothing is spared
        name = row["log"].partition("+")[0]
        spared = f"; what the log {name} holds before entry {row['index']} counts"
    return f"{row['reason']} ({row['at']}{spared})"


def _note(row: dict[str, Any]) -> str:
    return "" if row["encrypted"] else "  UNENCRYPTED"


def _window(row: dict[str, Any]) -> str:
    """Say from when until when a key counts, and whether it no longer does."""
    parts = [f"  {word} {row[word]}" for word in ("from", "until") if row[word]]
    return "".join(parts) + (f"  REVOKED: {row['revoked']}" if row.get("revoked") else "")
