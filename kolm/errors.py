"""Every error kolm raises on purpose.

    KolmError                 hint: the next step for the reader; exit_code: what the command line returns
      SpecError               2  the spec, or the way a command was called, is wrong
        UnknownFamilyError    2  no trainer knows this base model
      DataError               6  pairs, images, eval packs
      TrainError              5  loading the base, training, saving
        FreezeMismatchError   7  the live model is not what the plan promised
      EvalError               5  running a model over a pack
      ArtifactError           7  cannot be read: malformed container, CID, manifest, receipt, tensors
      SigningError            5  keys and signatures that could not be made
      VerificationError       7  was read and is wrong
      RegistryError           5  the registry refused, is unreachable, or does not have it
      StorageError            5  the disk refused: full, read-only, not permitted

`ArtifactError` and `VerificationError` carry `check`, a code of the closed list in
specs/formats/verification.md: malformed is not wrong, and the code says which.
Foreign exceptions are translated once, where the foreign code is called, with `from err`.
"""


class KolmError(Exception):
    """Root of everything kolm raises on purpose; the command line prints message and hint."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(KolmError):
    """The spec or the call is wrong; the message carries file, line and column where there is one."""

    exit_code = 2


class UnknownFamilyError(SpecError):
    """No family, or more than one, claims the base model."""


class DataError(KolmError):
    """Pairs, images or an eval pack cannot be used; the message names row and reason."""

    exit_code = 6


class TrainError(KolmError):
    """The base could not be loaded, training failed, or its result could not be saved."""

    exit_code = 5


class FreezeMismatchError(TrainError):
    """What is frozen and trained in the live model differs from the plan; nothing is signed."""

    exit_code = 7


class EvalError(KolmError):
    """The model could not be run over the eval pack."""

    exit_code = 5


class CheckedError(KolmError):
    """An error that names the verification check it belongs to."""

    exit_code = 7

    def __init__(self, message: str, *, check: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


class ArtifactError(CheckedError):
    """An artifact, receipt, manifest or CID cannot be read."""


class VerificationError(CheckedError):
    """An artifact or receipt was read and is wrong."""


class SigningError(KolmError):
    """A key could not be made, read or used."""

    exit_code = 5


class RegistryError(KolmError):
    """The registry refused, does not have it, or cannot be reached."""

    exit_code = 5


class StorageError(KolmError):
    """The file system refused a write: full, read-only or not permitted."""

    exit_code = 5
