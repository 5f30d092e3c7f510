"""`kolm key`: the keys that sign, and the keys whose signatures count here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kolm.cli.console import command, emit
from kolm.cli.verify import one_line

app = typer.Typer(no_args_is_help=True, help="Make, list, trust and revoke signing keys.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
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
    from kolm.trust import TrustStore, default_trust_dir

    trust = TrustStore.open(directory or default_trust_dir())
    own, trusted = _own_keys(), _trusted_keys(trust)
    if as_json:
        emit({"keys": own, "trusted": trusted, "log": trust.log and trust.log.vkey}, as_json=True)
        return
    lines = [
        f"sign   {row['key_id'] or '(public half missing)':<64}  {row['name']}{_note(row)}" for row in own
    ]
    lines += [f"trust  {row['key_id']}  {row['label']}{_window(row)}" for row in trusted]
    lines += [f"log    {trust.log.vkey}"] if trust.log else []
    emit("\n".join(map(one_line, lines)) or "no keys; make one with `kolm key new`")


@app.command()
@command
def trust(
    key: Annotated[Path | None, typer.Argument(help="A public key in PEM form.")] = None,
    label: Annotated[str, typer.Option(help="Whose key it is.")] = "",
    log: Annotated[
        str | None, typer.Option(metavar="VKEY", help="Instead: the key of the log whose proofs count.")
    ] = None,
    directory: TrustDir = None,
    as_json: AsJson = False,
) -> None:
    """Let the signatures of a publisher's key count, or the proofs of one log."""
    from kolm.errors import SpecError
    from kolm.trust import default_trust_dir, trust_log

    folder = directory or default_trust_dir()
    if (key is None) == (log is None):
        raise SpecError("name a key file, or a log with --log", hint="kolm key trust KEY.pub.pem")
    if key is not None:
        _trust_publisher(key, label=label, folder=folder, as_json=as_json)
        return
    path = trust_log(folder, log or "")
    vkey = path.read_text(encoding="utf-8").strip()
    emit({"log": vkey, "path": str(path)} if as_json else f"log {vkey} in {folder}", as_json=as_json)


@app.command()
@command
def revoke(
    subject: Annotated[
        str, typer.Argument(metavar="KEYID|CID", help="A key's id, or the CID of an artifact.")
    ],
    reason: Annotated[str, typer.Option(help="What happened, in a few words.")],
    index: Annotated[
        int | None, typer.Option(min=0, help="Where the log says so: what it held before still counts.")
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
    from kolm.trust import default_trust_dir
    from kolm.trust import revoke as revoke_here

    signed = _statement(subject, reason, name=name) if statement else b""
    path = revoke_here(directory or default_trust_dir(), subject, reason, index=index)
    if statement is not None:
        write_atomic(statement, signed)
    row = {"revoked": subject, "reason": reason, "path": str(path)}
    row |= {"statement": str(statement)} if statement else {}
    emit(row if as_json else f"revoked {subject} in {path.parent}", as_json=as_json)


def _trust_publisher(key: Path, *, label: str, folder: Path, as_json: bool) -> None:
    from kolm.errors import SigningError
    from kolm.files import read_bytes
    from kolm.keys import PublicKey
    from kolm.trust import trust_key

    try:
        text = read_bytes(key, what="public key", max_bytes=64 * 1024).decode("ascii")
    except UnicodeDecodeError as err:
        raise SigningError(f"{key} is not a public key in PEM form", hint="name its .pub.pem file") from err
    public = PublicKey.from_pem(text)
    path = trust_key(folder, public, label=label)
    row = {"key_id": public.key_id, "label": label, "path": str(path)}
    emit(row if as_json else f"trusted {public.key_id} in {folder}", as_json=as_json)


def _statement(subject: str, reason: str, *, name: str) -> bytes:
    """Sign a revocation with a key of this home. Raises SigningError for a key that is not its own."""
    import sys

    from kolm.cid import parse_cid
    from kolm.errors import ArtifactError, SigningError
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
    from kolm.keys import PublicKey, is_encrypted, key_path, public_path

    folder = key_path().parent
    rows = []
    for path in sorted(folder.glob("*.pem")):
        if path.name.endswith(".pub.pem"):
            continue
        public = public_path(path)
        known = public.exists() and PublicKey.from_pem(
            read_bytes(public, what="public key").decode("latin-1")
        )
        encrypted = is_encrypted(read_bytes(path, what="key"))
        key_id = known.key_id if known else None
        rows.append({"name": path.stem, "key_id": key_id, "path": str(path), "encrypted": encrypted})
    return rows


def _trusted_keys(trust: Any) -> list[dict[str, Any]]:
    """Describe the trusted keys, and the revoked ones with their reason."""
    rows = [
        {
            "key_id": keyid,
            "label": key.label,
            "from": key.from_ and key.from_.isoformat(),
            "until": key.until and key.until.isoformat(),
            "revoked": None,
        }
        for keyid, key in trust.keys.items()
    ]
    blank: dict[str, Any] = {"label": "", "from": None, "until": None, "revoked": None}
    rows += [{"key_id": known} | blank for known in trust.revocations if known not in trust.keys]
    for row in rows:
        revocation = trust.revoked(row["key_id"])
        row["revoked"] = revocation.reason if revocation else None
    return rows


def _note(row: dict[str, Any]) -> str:
    return "" if row["encrypted"] else "  UNENCRYPTED"


def _window(row: dict[str, Any]) -> str:
    """Say from when until when a key counts, and why it no longer does."""
    parts = [f"  {word} {row[word]}" for word in ("from", "until") if row[word]]
    return "".join(parts) + (f"  REVOKED: {row['revoked']}" if row["revoked"] else "")
