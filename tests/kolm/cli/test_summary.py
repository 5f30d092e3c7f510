"""What every command says of a K-score: what is not judged is told from what was not measured."""

from kolm.cli.summary import score_lines


def test_what_is_missing_is_no_number() -> None:
    measured = {"value": 0.5, "interval": [0.25, 0.75]}
    conditions = [
        {"id": "no_leak", "required": 0, "observed": 0, "ok": True},
        {"id": "no_near_duplicate", "required": None, "observed": None, "ok": None},
        {"id": "k_lower", "required": 0.8, "observed": None, "ok": False},
    ]
    lines = score_lines(
        {
            "accuracy": {"base": measured, "tuned": measured, "gain": None, "image_gain": None},
            "axes": {"A": {"value": 0.5}, "L": {"value": None}},
            "value": None,
            "interval": None,
            "gate": {"verdict": "FAIL", "conditions": conditions},
        }
    )
    assert lines[2:] == [
        "K        missing   A 0.500  L missing",
        "gate     FAIL",
        "  FAIL k_lower            required 0.8, observed nothing",
        "  ok   no_leak            required 0, observed 0",
        "  n/a  no_near_duplicate  not judged",
    ]
