"""Verifying 1 GiB against `openssl dgst -sha256` of the same file, and recomputing the scores of 500 rows.

`pytest -m slow -s tests/benchmarks` prints the medians. Both commands run in turn, start-up included, with a
warm page cache. The ratio of times is a measurement, since it depends on how idle both cores are; memory is a
limit, and so is processor time: twice the ratio is what two cores can do in the time that is promised.
"""

import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kolm.trust import trust_key
from kolm.verify import CHECKS
from kolm.verify.case import Case
from tests.bundles import Bundle, make_bundle
from tests.conftest import program
from tests.tampering.lies import audit

MEMBER = "processor/tokenizer.model"
SIZE, ROUNDS = 1 << 30, 7
RESIDENT_KB, RATIO, SECONDS = 100_000, 1.5, 1.0
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def large(tmp_path: Path) -> Bundle:
    """Return a signed bundle with one processor file of 1 GiB, which the base has too."""
    weights = tmp_path / "base" / "tokenizer.model"
    weights.parent.mkdir()
    with weights.open("wb") as handle:
        for _ in range(SIZE >> 20):
            handle.write(os.urandom(1 << 20))
    bundle = make_bundle(tmp_path, rows=1, edit=lambda members: members.update({MEMBER: weights}))
    trust_key(tmp_path / "trust", bundle.key.public)
    return bundle


LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process, because a command inherits the peak of whoever starts it: of a test run, gigabytes."""


def timed(*command: str | Path) -> tuple[float, float, int]:
    """Run a command and return seconds, seconds of processor time and peak resident kB (getrusage(2))."""
    launched = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launched, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    seconds, processor, peak = done.stdout.split()
    return float(seconds), float(processor), int(peak)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_gibibyte_is_verified_in_little_time_and_memory(tmp_path: Path) -> None:
    bundle = large(tmp_path)
    artifact, peer = bundle.artifact_path, (program("openssl"), "dgst", "-sha256")
    verify = (sys.executable, "-m", "kolm", "verify", artifact, "--trust", tmp_path / "trust")
    timed(*verify)  # compiles the modules, as an installation does
    theirs, ours = zip(*((timed(*peer, artifact), timed(*verify)) for _ in range(ROUNDS)), strict=True)
    ratios = sorted(kolm[0] / openssl[0] for kolm, openssl in zip(ours, theirs, strict=True))
    work = statistics.median(kolm[1] / openssl[1] for kolm, openssl in zip(ours, theirs, strict=True))
    peak = max(kolm[2] for kolm in ours)
    sys.stdout.write(
        f"\nkolm verify {statistics.median(kolm[0] for kolm in ours):.2f} s, "
        f"openssl {statistics.median(openssl[0] for openssl in theirs):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
        f"of processor time {work:.2f}, at most {peak} kB\n"
    )
    assert peak <= RESIDENT_KB
    assert work <= 2 * RATIO, "more work than two cores do in the time"


@pytest.mark.slow
def test_the_scores_of_500_rows_are_recomputed_within_a_second(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, rows=500)
    whole, times = audit(bundle), []
    assert whole.ok
    for _ in range(ROUNDS):
        case = Case(bundle.artifact_path, bundle.receipt, bundle.trust, None, None, datetime.now(UTC))
        for step in CHECKS[:15]:
            step.run(case)
        began = time.perf_counter()
        CHECKS[15].run(case)
        times.append(time.perf_counter() - began)
    sys.stdout.write(f"\nscores of 500 rows: {statistics.median(times):.2f} s\n")
    assert statistics.median(times) <= SECONDS
