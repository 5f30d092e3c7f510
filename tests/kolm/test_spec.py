"""The spec reader against its vectors, and the places it can point at."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import SpecError
from kolm.spec import CompileSpec, LoadedSpec, VLMTrainConfig, load_spec, parse_spec, schema_text

FORMATS = Path(__file__).parents[2] / "specs" / "formats"
VECTORS = json.loads((FORMATS / "vectors" / "spec.json").read_text())
GOOD = VECTORS["valid"][0]["text"]


def parse(text: str) -> LoadedSpec:
    return parse_spec(text.encode(), path=Path("spec.yaml"))


def refusal(text: str | bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode() if isinstance(text, str) else text, path=Path("spec.yaml"))
    return caught.value


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_a_valid_spec_resolves_as_its_vector_says(vector: dict) -> None:
    spec = parse(vector["text"]).spec.model_dump(mode="json")
    for dotted, wanted in vector["resolved"].items():
        found = spec
        for key in dotted.split("."):
            found = found[key]
        assert (found, type(found)) == (wanted, type(wanted)), dotted


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["name"])
def test_an_invalid_spec_is_refused_in_the_words_of_its_vector(vector: dict) -> None:
    error = refusal(vector["text"])
    blocks = error.message.split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == vector["errors"]
    assert [note for note in vector["notes"] if note not in error.message] == []
    assert error.hint
    assert error.exit_code == 2


def test_the_offending_words_are_shown_with_carets_and_a_suggestion() -> None:
    assert refusal(GOOD.replace("learning_rate:", "learning_rat:")).message == "\n".join(
        [
            "spec.yaml:10:3: unknown key `learning_rat` in `train`",
            "    |",
            " 10 |   learning_rat: 1e-4",
            "    |   ^^^^^^^^^^^^ did you mean `learning_rate`?",
        ]
    )


def test_all_mistakes_are_listed_in_the_order_of_the_file() -> None:
    text = GOOD.replace("name: digits", "name: 7").replace("  method: lora", "  lora_r: x\n  seed: -1")
    firsts = [block.split(": ")[0] for block in refusal(text).message.split("\n\n")]
    assert firsts == ["spec.yaml:2:7", "spec.yaml:9:11", "spec.yaml:10:9"]


def test_at_most_ten_mistakes_are_listed() -> None:
    blocks = refusal(GOOD + "".join(f"zzz{i}: 1\n" for i in range(13))).message.split("\n\n")
    assert len(blocks) == 11
    assert blocks[-1] == "and 3 more"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "spec.yaml: the file is empty"),
        (b"# only a comment\n", "spec.yaml: the file is empty"),
        (b"kolm: 1\nname: caf\xe9\n", "spec.yaml:2: byte 17 is not UTF-8"),
        (b"name: a\x00b\n", "special characters are not allowed"),
        (b"# " + b"x" * (1 << 20), "more than a settings file may have"),
    ],
    ids=["empty", "only a comment", "latin-1", "NUL", "over 1 MB"],
)
def test_bytes_that_are_no_settings_file(data: bytes, said: str) -> None:
    error = refusal(data)
    assert said in error.message
    assert error.hint


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    assert refusal("\n".join(lines)).message.startswith("spec.yaml:1:5: anchors and aliases are not read")


def test_a_million_brackets_end_in_one_short_message() -> None:
    message = refusal("a: " + "[" * 1_000_000).message
    assert "nested more than 16 levels deep" in message
    assert len(message) < 400


def test_a_number_of_a_hundred_thousand_digits_is_text() -> None:
    assert (
        "`seed` must be a whole number"
        in refusal(GOOD.replace("method: lora", "seed: " + "9" * 100_000)).message
    )


@given(st.text(max_size=80))
def test_any_text_is_a_spec_or_one_spec_error(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert refusal(data).message


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"))
def test_one_changed_character_is_a_spec_or_one_spec_error(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        parse(changed)
    except SpecError:
        error = refusal(changed)
        assert error.message.startswith("spec.yaml")
        assert error.hint


def test_a_key_can_be_located_and_an_absent_one_points_at_its_section() -> None:
    loaded = parse(GOOD)
    assert loaded.locate("train", "learning_rate") == "spec.yaml:10:18"
    assert loaded.locate("train", "lora_r") == "spec.yaml:8:1"
    assert loaded.locate("sign", "key") == "spec.yaml:1:1"


def test_a_later_mistake_shows_the_line_of_its_key() -> None:
    error = parse(GOOD).error("data", "eval", message="the pack is empty", hint="add rows")
    assert error.message.startswith("spec.yaml:7:9: the pack is empty\n")
    assert "^" * len("eval/pack.yaml") in error.message
    assert error.hint == "add rows"


def test_paths_are_relative_to_the_spec_and_its_bytes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spec.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    loaded = load_spec(path)
    assert loaded.root == path.parent
    assert loaded.text == GOOD.encode()


def test_a_base_is_a_directory_if_there_is_one_and_a_hub_id_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD)
    assert load_spec(path).base_source() == "org/tiny-vlm"
    (tmp_path / "org" / "tiny-vlm").mkdir(parents=True)
    assert load_spec(path).base_source() == tmp_path / "org" / "tiny-vlm"


def test_a_missing_base_directory_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "bases" / "qwen-tiny").mkdir(parents=True)
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace("org/tiny-vlm", "./bases/qwen-tny"))
    loaded = load_spec(path)
    with pytest.raises(SpecError, match=r"spec\.yaml:4:15: no directory `\./bases/qwen-tny`") as caught:
        loaded.base_source()
    assert "did you mean `bases/qwen-tiny`?" in caught.value.message


def test_a_word_that_resembles_a_directory_is_no_hub_id(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace("org/tiny-vlm", "bsae"))
    with pytest.raises(SpecError, match=r"spec\.yaml:4:15: no directory `bsae`") as caught:
        load_spec(path).base_source()
    assert "did you mean `base`?" in caught.value.message


def test_a_file_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "digits.kolm").write_bytes(b"PK")
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace("org/tiny-vlm", "digits.kolm"))
    with pytest.raises(SpecError, match=r"no directory `digits\.kolm`"):
        load_spec(path).base_source()


def test_a_base_that_is_neither_directory_nor_hub_id_is_refused() -> None:
    with pytest.raises(SpecError, match="no directory `a/b/c`"):
        parse(GOOD.replace("org/tiny-vlm", "a/b/c")).base_source()


def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(GOOD)
    with pytest.raises(SpecError, match="no spec at") as caught:
        load_spec(tmp_path / "digit.yaml")
    assert caught.value.hint == f"did you mean {tmp_path / 'digits.yaml'}?"


def test_a_name_no_file_can_have_is_one_spec_error() -> None:
    with pytest.raises(SpecError, match="cannot be read: File name too long"):
        load_spec(Path("x" * 5000))


@pytest.mark.parametrize("model", ["x" * 5000 + "/y", '"a\\0b"'], ids=["too long", "NUL"])
def test_a_base_no_directory_can_be_called_is_one_spec_error(model: str) -> None:
    with pytest.raises(SpecError, match="no directory"):
        parse(GOOD.replace("org/tiny-vlm", model)).base_source()


@pytest.mark.parametrize("version", ["true", "1.0", "[1]", '"1"', "~"])
def test_a_version_that_only_looks_like_one_is_refused(version: str) -> None:
    assert refusal(GOOD.replace("kolm: 1", f"kolm: {version}")).message.startswith("spec.yaml:1:")


def test_the_example_of_the_format_page_is_a_spec() -> None:
    page = (FORMATS / "spec.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert parse(example).spec.eval.gate.k == 0.80


def test_a_directory_is_not_a_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is a directory") as caught:
        load_spec(tmp_path)
    assert str(tmp_path / "spec.yaml") in caught.value.hint


def test_a_spec_survives_its_own_json() -> None:
    spec = parse(GOOD).spec
    assert CompileSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_a_locked_config_reads_back_as_the_same_config() -> None:
    config = VLMTrainConfig(lora_r=4, parts={"projector": "full"}, lora_targets=["q_proj"])
    assert VLMTrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_shipped_schema_is_that_of_the_models() -> None:
    shipped = (FORMATS / "schema" / "spec.schema.json").read_text()
    assert shipped == schema_text(), "write it again: kolm schema --out specs/formats/schema/spec.schema.json"


def test_every_key_of_the_schema_says_what_it_means() -> None:
    schema = json.loads(schema_text())
    silent = [
        f"{section}.{key}"
        for section, body in [("", schema), *schema["$defs"].items()]
        for key, field in body.get("properties", {}).items()
        if not field.get("description") and "$ref" not in field  # a section is described where it is defined
    ]
    assert silent == []


@pytest.mark.parametrize("given", ["parts: {projector: warmup}", "projector_warmup_steps: 3"])
def test_half_a_warm_up_is_shown_where_it_is_given(given: str) -> None:
    text = GOOD.replace("  method: lora", f"  method: lora\n  {given}")
    assert given in refusal(text).message
