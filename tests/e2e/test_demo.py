"""The demo as a newcomer runs it: its figures are the promise, and the gate holds them."""

import re

from kolm.cid import cid_of
from tests.e2e.conftest import Demo
from tests.e2e.test_compile import statement


def test_the_demo_keeps_its_promise_on_500_real_digits(demo: Demo):
    predicate = statement(demo.root / "demo/out/digits.receipt.json", "urn:kolm:compile:v1")
    accuracy = predicate["k_score"]["accuracy"]
    assert predicate["data"]["eval"] == accuracy["tuned"]["n"] == 500
    assert accuracy["base"]["value"] < 0.5
    assert accuracy["tuned"]["interval"][0] >= 0.85
    assert accuracy["grey"]["value"] <= 0.20
    assert predicate["k_score"]["gate"]["verdict"] == "PASS"


def test_the_demo_prints_its_figures(demo: Demo):
    assert re.search(r"^eval +base 0\.\d+ \[.*tuned 0\.\d+ \[.*grey 0\.\d+ \[", demo.output, re.MULTILINE)
    assert re.search(r"^gate +PASS$", demo.output, re.MULTILINE)


def test_what_came_back_from_the_registry_is_what_was_compiled(demo: Demo):
    made, pulled = demo.root / "demo/out", demo.root / "demo/pulled"
    for name in ("digits.kolm", "digits.receipt.json", "digits.modules.json", "digits.proof"):
        assert (pulled / name).read_bytes() == (made / name).read_bytes()
    assert f"VERIFIED {cid_of((made / 'digits.kolm').read_bytes())}" in demo.output
