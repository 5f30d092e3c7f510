"""How often each eval pack was scored on this machine: choosing the best of many tries is visible.

One file per pack under `$KOLM_HOME/attempts`, one byte per evaluation; its length is the count.
The number is what this machine saw, signed by whoever signs the receipt, and no more than that.
"""

import os

from kolm.files import home, make_folder, refusal


def count_attempt(pack_digest: str) -> int:
    """Note one more evaluation on a pack and return how many there were, this one included.

    Appending is atomic, so two compiles at once are both counted. Raises StorageError.
    """
    path = make_folder(home() / "attempts") / pack_digest
    try:
        with path.open("ab") as handle:
            handle.write(b".")
            handle.flush()
            os.fsync(handle.fileno())
            return handle.tell()
    except OSError as err:
        raise refusal(err, action="write", path=path) from err
