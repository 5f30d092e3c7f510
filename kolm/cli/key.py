"""`kolm key`: the keys that sign, and the keys whose signatures count here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kolm.cli.console import command, emit

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
        emit({"keys": own, "trusted": trusted}, as_json=True)
        return
    lines = [
        f"sign   {row['key_id'] or '(public half missing)':<64}  {row['name']}{_note(row)}" for row in own
    ]
    lines += [f"trust  {row['key_id']}  {row['label']}{_window(row)}" for row in trusted]
    emit("\n".join(lines) or "no keys; make one with `kolm key new`")


@app.command()
@command
def trust(
    key: Annotated[Path, typer.Argument(help="A public key in PEM form.")],
    label: Annotated[str, typer.Option(help="Whose key it is.")] = "",
    directory: TrustDir = None,
    as_json: AsJson = False,
) -> None:
    """Let the signatures of a publisher's key count."""
    from kolm.errors import SigningError
    from kolm.files import read_bytes
    from kolm.keys import PublicKey
    from kolm.trust import default_trust_dir, trust_key

    try:
        text = read_bytes(key, what="public key", max_bytes=64 * 1024).decode("ascii")
    except UnicodeDecodeError as err:
        raise SigningError(f"{key} is not a public key in PEM form", hint="name its .pub.pem file") from err
    public = PublicKey.from_pem(text)
    path = trust_key(directory or default_trust_dir(), public, label=label)
    row = {"key_id": public.key_id, "label": label, "path": str(path)}
    emit(row if as_json else f"trusted {public.key_id} in {path.parent.parent}", as_json=as_json)


@app.command()
@command
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, 64 hex digits.")],
    reason: Annotated[str, typer.Option(help="What happened, in a few words.")],
    directory: TrustDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a key no longer count, whatever it signed."""
    from kolm.trust import default_trust_dir, revoke_key

    path = revoke_key(directory or default_trust_dir(), key_id, reason)
    row = {"key_id": key_id, "reason": reason, "path": str(path)}
    emit(row if as_json else f"revoked {key_id} in {path.parent}", as_json=as_json)


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
    rows += [{"key_id": keyid} | blank for keyid in trust.revocations if keyid not in trust.keys]
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
