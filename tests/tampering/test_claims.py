"""Every claim about the artifact is compared with something, or is known to be the signer's word alone.

A trusted key changes one value of the compile statement, the provenance or the test result, and signs it all
again. What is believed is listed here, and stands under "signed only" in specs/formats/verification.md 7.
"""

import re

import pytest

from kolm.canonical import canonical_json
from kolm.verify import verify_bundle
from tests.bundles import Bundle
from tests.tampering.lies import COMPILE, PROVENANCE, TEST_RESULT, chain, changed, enveloped, leaves, payloads

SIGNED_ONLY = {
    "environment.threads": "the machine",
    "k_score.attempts": "how often the pack was scored",
    "memory.peak_bytes": "how much memory it took",
    "planned.(peak_bytes|step_ns)": "what the plan predicted",
    r"timings.rows.\d+.(base_ns|tuned_ns)": "how long an answer took, where no printed digit follows",
    r"timings.steps_ns.\d+": "how long a step took",
    r"vlm_train.papers.\d+": "what to read about the base",
    "vlm_train.reopened.(largest_logit|merged|reloaded)": "how far the saved result is from the trained one",
}
"""Places of the compile statement, by their pattern."""


@pytest.mark.parametrize("place", [COMPILE, PROVENANCE, TEST_RESULT])
def test_every_claim_is_compared_or_is_the_signers_word(bundle: Bundle, place: int) -> None:
    statements = payloads(bundle.receipt)
    trained = len(bundle.facts.artifact.modules.trainable)
    reopened = {"tensors": trained, "largest_logit": 9.5, "reloaded": 0.0, "merged": 0.25}
    statements[COMPILE]["predicate"]["vlm_train"]["reopened"] = reopened
    believed = set()
    for path in leaves(statements[place]):
        signed = [*statements]
        signed[place] = changed(statements[place], path)
        chain(signed)
        receipt = enveloped(bundle, [canonical_json(statement) for statement in signed])
        report = verify_bundle(bundle.artifact_path, receipt, bundle.trust, stop_at_first=True)
        if report.ok:
            believed.add(".".join(map(str, path[1:])))
    listed = SIGNED_ONLY if place == COMPILE else {}
    assert {name for name in believed if not any(re.fullmatch(p, name) for p in listed)} == set()
    assert [p for p in listed if not any(re.fullmatch(p, name) for name in believed)] == []
