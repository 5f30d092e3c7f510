"""`kolm doctor`: what this machine has for kolm, line by line, each with the next step where one is due."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import typer

from kolm.cli.console import command, emit
from kolm.cli.options import AsJson

_LEAST_DISK = 5 << 30
_PINS = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?(?P<bounds>[^;]*)(?:;.*extra == ['\"](?P<extra>\w+))?"
)
_BOUND = re.compile(r"(>=|<|==)\s*([0-9][0-9a-z.]*)")


State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    """`problem`: something kolm needs is missing. `note`: some commands or models need it."""
    found: str
    hint: str = ""


@command
def doctor(
    as_json: AsJson = False,
) -> None:
    """Look at what this machine has for kolm: packages, devices, disk, keys, hub access."""
    from kolm.errors import TrainError

    findings = [*_python(), *_packages(), *_torch(), *_home(), *_keys(), *_hub()]
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings]}, as_json=True)
    else:
        emit("\n".join(line for finding in findings for line in _lines(finding)))
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(TrainError.exit_code)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.state:<8} {finding.name:<17} {finding.found}"]
    return [*lines, *([f"{'':<26} {finding.hint}"] if finding.hint else [])]


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with the bounds that kolm's own metadata states.

    bitsandbytes is looked for even where an older installation of kolm does not name it.
    """
    if not any(row.startswith("bitsandbytes") for row in requires("kolm") or []):
        yield _package("bitsandbytes", "", extra="qlora")
    for row in requires("kolm") or []:
        match = _PINS.match(row)
        if match is None or match["name"] == "kolm" or match["extra"] in ("dev", "all"):
            continue
        yield _package(match["name"], match["bounds"].strip(" ()"), extra=match["extra"])


def _package(name: str, bounds: str, *, extra: str | None) -> Finding:
    hint = f"pip install 'kolm[{extra}]'" if extra else "pip install kolm"
    try:
        have = version(name)
    except PackageNotFoundError:
        missing: State = "problem" if extra is None else "note"
        return Finding(name, missing, "not installed" + (f" (extra {extra})" if extra else ""), hint)
    if _within(have, bounds):
        return Finding(name, "ok", have)
    return Finding(name, "problem", f"{have}, kolm needs {bounds}", hint)


def _within(have: str, bounds: str) -> bool:
    """Compare release numbers; a local suffix such as `+cpu` has no say."""
    tests = {">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "==": lambda a, b: a == b}
    return all(tests[sign](_release(have), _release(bound)) for sign, bound in _BOUND.findall(bounds))


def _release(text: str) -> tuple[int, ...]:
    numbers = re.findall(r"\d+", re.split(r"[+a-z]", text)[0])
    return tuple(int(number) for number in numbers)


def _torch() -> Iterator[Finding]:
    """Describe what torch sees; it is only imported where it is installed."""
    if find_spec("torch") is None:
        yield Finding(
            "device", "note", "no torch: specs cannot be planned or compiled, receipts can be verified"
        )
        return
    from apps.trainer.devices import describe_devices

    devices = describe_devices()
    yield Finding("torch build", "ok", devices.build)
    for gpu in devices.gpus:
        yield Finding("gpu", "ok", f"{gpu.name}, {gpu.memory_bytes / 1e9:.0f} GB")
    if not devices.gpus:
        hint = "install the CUDA build of torch" if Path("/dev/nvidia0").exists() else ""
        yield Finding("gpu", "note", "none: training runs on the CPU", hint)
    amx = " with AMX" if _flag("amx_bf16") else ""
    cores = f"{devices.threads} threads of {os.cpu_count()} cores"
    yield Finding("cpu", "ok", f"{devices.capability}{amx}, {cores}")
    yield _memory()
    images = "torchvision" if find_spec("torchvision") else "pil"
    yield Finding("image backend", "ok", images)


def _flag(name: str) -> bool:
    """Say whether the first processor has a feature, where Linux tells."""
    try:
        return f" {name}" in Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return False


def _memory() -> Finding:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "note", "unknown")
    return Finding("memory", "ok", f"{size / 1e9:.0f} GB")


def _home() -> Iterator[Finding]:
    from kolm.files import home

    folder = home()
    place = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    if _writable(place):
        yield Finding("KOLM_HOME", "ok", f"{folder}, writable")
    else:
        hint = "set KOLM_HOME to a folder that can be written"
        yield Finding("KOLM_HOME", "problem", f"{folder} cannot be written", hint)
    free = shutil.disk_usage(place).free
    state: State = "ok" if free >= _LEAST_DISK else "note"
    yield Finding(
        "disk", state, f"{free / 1e9:.0f} GB free", "" if state == "ok" else "checkpoints are large"
    )


def _writable(folder: Path) -> bool:
    """Try it: permissions alone do not tell of read-only disks."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _keys() -> Iterator[Finding]:
    from kolm.files import home

    keys = sorted(p.stem for p in (home() / "keys").glob("*.pem") if not p.stem.endswith(".pub"))
    made = f"{len(keys)}: {', '.join(keys[:5])}" if keys else "none"
    yield Finding("signing keys", "ok" if keys else "note", made, "" if keys else "kolm key new")
    trusted = len(list((home() / "trust" / "keys").glob("*.json")))
    hint = "" if trusted else "kolm key trust PEM"
    yield Finding("trusted keys", "ok" if trusted else "note", str(trusted or "none"), hint)


def _hub() -> Iterator[Finding]:
    cache = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    yield Finding("HF_HOME", "ok", cache)
    token = bool(os.environ.get("HF_TOKEN")) or (Path(cache).expanduser() / "token").is_file()
    yield Finding(
        "HF_TOKEN",
        "ok" if token else "note",
        "set" if token else "not set",
        "" if token else "gated models need one",
    )
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    yield Finding("hub", "note" if offline else "ok", "offline mode" if offline else "online")
