"""A process that appends to a log and says each index once it is acknowledged; it is killed from outside.

python appender.py DIRECTORY TAG JOURNAL_ENTRIES
"""

import sys
import threading
from pathlib import Path

from registry.sequencer import Sequencer
from tests.registry.sequencers import opened


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
    with opened(Path(sys.argv[1]), journal_entries=int(sys.argv[3])) as log:
        speaking = threading.Lock()
        threads = [
            threading.Thread(target=append_forever, args=(log, f"{sys.argv[2]}-{at}", speaking), daemon=True)
            for at in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
