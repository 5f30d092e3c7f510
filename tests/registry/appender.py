"""A process that appends to a log and says each index once it is acknowledged; it is killed from outside.

python appender.py DIRECTORY TAG
"""

import sys
import threading
from pathlib import Path

from registry.sequencer import Sequencer
from tests.kolm.tlog.logs import KEY, ORIGIN


def append_forever(log: Sequencer, tag: str, speaking: threading.Lock) -> None:
    number = 0
    while True:
        entry = f"{tag}-{number}"
        index = log.append(entry.encode()).result()
        with speaking:
            sys.stdout.write(f"{index} {entry}\n")
            sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    with Sequencer(Path(sys.argv[1]), origin=ORIGIN, key=KEY) as log:
        speaking = threading.Lock()
        threads = [
            threading.Thread(target=append_forever, args=(log, f"{sys.argv[2]}-{at}", speaking), daemon=True)
            for at in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
