"""Checks 1 to 8: the artifact's bytes, the receipt's bytes, and the chain of statements between them."""

from pathlib import Path, PurePosixPath

from kolm.artifact import Artifact, check_members
from kolm.cid import digest_of, parse_cid
from kolm.dsse import open_envelope
from kolm.errors import VerificationError
from kolm.receipt import Receipt, gate_configuration, gate_outcome, stage_plan
from kolm.statements import (
    COMPILE,
    ORDER,
    PROVENANCE,
    STAGES,
    TEST_RESULT,
    ProvenancePredicate,
    StagePredicate,
    Statement,
    TestResultPredicate,
    parse_statement,
)
from kolm.trainlog import base_digest
from kolm.verify.case import Case, Finding, require


def container(case: Case) -> Finding:
    """(1) The artifact is a strict container; its CID is the one asked for."""
    source = case.source
    case.artifact = Artifact.open(source) if isinstance(source, Path) else Artifact(source.result())
    if case.expected_cid is not None:
        require(
            case.artifact.cid == parse_cid(case.expected_cid),
            f"the bytes are {case.artifact.cid}, not {case.expected_cid}",
            check="E_CID_MISMATCH",
            hint="The copy is damaged or is another artifact; fetch it again.",
        )
    return Finding(f"{len(case.artifact.container.names)} members, every byte accounted for")


def members(case: Case) -> Finding:
    """(2) Every member is listed with its size, digest and role, and every listed member is there."""
    check_members(case.artifact)
    return Finding("sizes, digests and roles as listed")


def receipt(case: Case) -> Finding:
    """(3) There is a receipt and it can be read."""
    if case.receipt_bytes is None:
        raise VerificationError(
            "there is no receipt",
            check="E_SIG_MISSING",
            hint="Ask the publisher for NAME.receipt.json and pass it with --receipt.",
        )
    case.receipt = Receipt.parse(case.receipt_bytes)
    return Finding(case.receipt.cid)


def subject(case: Case) -> Finding:
    """(4) The receipt is about this artifact."""
    require(
        case.receipt.artifact == case.artifact.cid,
        f"the receipt is about {case.receipt.artifact}",
        check="E_SUBJECT_MISMATCH",
        hint="This is the receipt of another artifact, or the artifact was changed after it was signed.",
    )
    return Finding("both name one CID")


def signatures(case: Case) -> Finding:
    """(5) Every envelope is signed by a key of the trust directory."""
    require(bool(case.receipt.envelopes), "the receipt holds no signature", check="E_SIG_MISSING")
    known = case.trust.timeless()  # when a signature was made stands in the payload, which check 17 asks
    case.opened = [open_envelope(envelope, known) for envelope in case.receipt.envelopes]
    keys = {opened.keyid for opened in case.opened}
    return Finding(f"{len(case.opened)} envelopes, {len(keys)} trusted key")


def statements(case: Case) -> Finding:
    """(6) Every payload is a statement of a known type, with a closed predicate, about this artifact."""
    case.statements = [parse_statement(opened.payload) for opened in case.opened]
    digest = digest_of(case.receipt.artifact).hex()
    for statement in case.statements:
        if statement.predicate_type in (COMPILE, PROVENANCE, TEST_RESULT):
            _check_subject(statement, digest)
        if statement.predicate_type.startswith("urn:kolm:stage:"):
            stage = statement.as_(StagePredicate).stage
            named = statement.predicate_type == f"urn:kolm:stage:{stage}:v1"
            require(named, f"{statement.predicate_type} says it is {stage}", check="E_STATEMENT_TYPE")
    return Finding(f"{len(case.statements)} statements")


def _check_subject(statement: Statement, digest: str) -> None:
    kind = statement.predicate_type
    require(len(statement.subjects) == 1, f"{kind} has several subjects", check="E_SUBJECT_AMBIGUOUS")
    require(
        statement.subjects[0].digest.sha256 == digest,
        f"{kind} is about {statement.subjects[0].name} with another digest",
        check="E_SUBJECT_MISMATCH",
    )


def stages(case: Case) -> Finding:
    """(7) The stages of one run follow from one another, from this spec to this artifact."""
    found = [statement.predicate_type for statement in case.statements]
    require(
        found == list(ORDER),
        "the statements are not the eight of a receipt, each once and in order",
        check="E_CHAIN_STAGES",
        hint="A stage was removed, repeated or moved after signing.",
    )
    runs = {case.compile.run, *(statement.as_(StagePredicate).run for statement in case.stages)}
    require(len(runs) == 1, "a stage belongs to another run", check="E_CHAIN_RUN")
    _check_links(case)
    _check_inputs(case)
    _check_outputs(case)
    _check_images(case)
    case.linked = True
    return Finding(f"{len(STAGES)} stages of run {runs.pop()}")


def _check_links(case: Case) -> None:
    """Each stage names the payload of the one before (specs/formats/receipt.md 4)."""
    previous: str | None = None
    for stage in case.stages:
        predicate = stage.as_(StagePredicate)
        require(
            predicate.previous == previous,
            f"stage {predicate.stage} does not follow the payload before it",
            check="E_CHAIN_LINK",
        )
        previous = stage.payload_sha256


def _check_inputs(case: Case) -> None:
    """Each input comes from outside or from an earlier stage that made exactly these bytes."""
    made: dict[tuple[str, str], str] = {}
    for statement in case.stages:
        stage = statement.as_(StagePredicate)
        own = {subject.name: subject.digest.sha256 for subject in statement.subjects}
        for item in stage.consumes:
            where = f"stage {stage.stage} consumes {item.name}"
            later = item.origin in STAGES and STAGES.index(item.origin) >= STAGES.index(stage.stage)
            require(
                not later and item.sha256 not in own.values(),
                f"{where}, its own or a later output",
                check="E_CHAIN_CYCLE",
            )
            if item.origin == "external":
                base = base_digest([file.model_dump() for file in case.artifact.manifest.base.files])
                require(item.sha256 == base, f"{where} that is not the base", check="E_CHAIN_LINK")
                continue
            adapter = item.name.startswith(("adapter/", "weights/")) and stage.stage == "eval"
            require(
                made.get((item.origin, item.name)) == item.sha256,
                f"{where}, which stage {item.origin} did not make",
                check="E_EVAL_SUBJECT" if adapter else "E_CHAIN_LINK",
            )
        made |= {(stage.stage, name): digest for name, digest in own.items()}


def _check_outputs(case: Case) -> None:
    """Each stage reads and makes what specs/formats/receipt.md 4 says, and it is what the artifact holds."""
    artifact = case.artifact
    final = (f"{artifact.manifest.name}.kolm", digest_of(artifact.cid).hex())
    for stage, (consumed, made) in stage_plan(artifact).items():
        statement = case.statement(f"urn:kolm:stage:{stage}:v1")
        inputs = [(item.name, item.origin) for item in case.stage(stage).consumes]
        require(inputs == consumed, f"stage {stage} does not name its inputs", check="E_CHAIN_LINK")
        expected = [(name, artifact.container.sha256(name)) for name in made]
        expected = [final, *expected] if stage == STAGES[-1] else expected
        outputs = [(subject.name, subject.digest.sha256) for subject in statement.subjects]
        wrong = next((name for (name, digest) in outputs if (name, digest) not in expected), "a member")
        code = "E_SPEC_MISMATCH" if wrong == "spec.yaml" else "E_CHAIN_LINK"
        require(outputs == expected, f"stage {stage} did not make the artifact's {wrong}", check=code)


def _check_images(case: Case) -> None:
    """The pack's rows name the digests of its pictures, so they pin every picture, and no other."""
    withheld = case.pack.withhold is not None
    pinned = set() if withheld else {digest_of(cid).hex() for cid in case.pack.images}
    held = {PurePosixPath(name).stem for name in case.artifact.members("image")}
    require(held == pinned, "eval/images holds a picture that no row shows", check="E_CHAIN_LINK")
    told = bool(case.artifact.members("pixels"))
    require(told is withheld, "eval/images.json stands beside the pictures", check="E_CHAIN_LINK")


def agreement(case: Case) -> Finding:
    """(8) The compile statement, the SLSA provenance and the test result tell one story."""
    compiled = case.compile
    provenance = case.statement(PROVENANCE).as_(ProvenancePredicate)
    result = case.statement(TEST_RESULT).as_(TestResultPredicate)
    metadata = provenance.run_details.metadata
    run = next((item.uri for item in result.configuration if item.name == "run"), None)
    runs = {
        compiled.run,
        metadata.invocation_id,
        (run or "").removeprefix("urn:kolm:run:"),
        case.stage("spec").run,
    }
    require(len(runs) == 1, "the statements belong to different runs", check="E_CHAIN_RUN")
    times = (metadata.started_on, metadata.finished_on)
    _agree(times == (compiled.started, compiled.finished), "the times")
    _agree(compiled.started <= compiled.finished, "the order of start and finish")
    _check_provenance(case, provenance)
    expected = gate_outcome(compiled.k_score.gate.model_dump())
    outcome = {
        key: value for key, value in result.model_dump(by_alias=True).items() if key != "configuration"
    }
    _agree(outcome == expected, "the gate and the test result")
    tested = [item.model_dump(exclude_none=True) for item in result.configuration]
    _agree(tested == gate_configuration(case.artifact, run=compiled.run), "what was tested")
    return Finding("compile statement, SLSA provenance, test result")


def _check_provenance(case: Case, provenance: ProvenancePredicate) -> None:
    artifact, build = case.artifact, provenance.build_definition
    compiled = case.compile
    manifest, lock = artifact.manifest, artifact.lock
    spec, locked = build.external_parameters.spec, build.internal_parameters.lock
    expected = [(name, artifact.container.sha256(name)) for name in ("spec.yaml", "spec.lock.json")]
    _agree([(item.name, item.digest.sha256) for item in (spec, locked)] == expected, "spec and lock")
    _agree(build.internal_parameters.seed == lock.seed.effective, "the seed")
    _agree(provenance.run_details.builder.version == {"kolm": lock.versions.get("kolm")}, "kolm's version")
    files = [(f"base/{file.path}", file.sha256) for file in manifest.base.files]
    named = [(item.name, item.digest.sha256) for item in build.resolved_dependencies]
    _agree(named == files, "the base's files")
    base = manifest.base
    identity = (
        base.model,
        base.revision,
        base.licence,
        base_digest([file.model_dump() for file in base.files]),
    )
    stated = compiled.base
    _agree((stated.model, stated.revision, stated.licence, stated.files) == identity, "the base")
    names = (compiled.name, compiled.task, compiled.family)
    _agree(names == (manifest.name, manifest.task, manifest.family), "name, task and family")
    _agree(compiled.train.model_id == base.model, "the model id")
    subjects = {statement.subjects[0].name for statement in case.statements[len(STAGES) :]}
    _agree(subjects == {f"{manifest.name}.kolm"}, "the artifact's name")


def _agree(holds: bool, what: str) -> None:
    require(holds, f"the statements and the artifact disagree about {what}", check="E_CHAIN_CONFLICT")
