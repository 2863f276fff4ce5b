"""A stand-in for the work on a corpus: what it makes of an utterance is its name backwards; some names kill.

python tests/extraction/backwards.py MANIFEST FOLDER ACTORS SECONDS    # a driver to be killed or interrupted
"""

import os
import signal
import sys
import time
from dataclasses import dataclass

import pyarrow as pa

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest, ManifestError
from vgsr.extraction.parts import Function


@dataclass(frozen=True)
class Backwards:
    """kill: names that end their process, whenever they come; trace: a folder that gets a file for every name seen.

    slow: seconds that each name takes; mistake: a name that raises.
    """

    kill: tuple[str, ...] = ()
    trace: str = ""
    slow: float = 0.0
    mistake: str = ""
    key: str = "backwards"

    title = "names"
    lost = "nameless"
    schema = pa.schema([("backwards", pa.string()), ("problem", pa.string())])

    def rows(self, manifest: Manifest) -> pa.Table:
        return manifest.utterances.select(["utterance_id"])

    def start(self, manifest: Manifest, threads: int, gpu: bool) -> Function:
        def function(rows: pa.Table) -> pa.Table:
            found = []
            for name in rows["utterance_id"].to_pylist():
                time.sleep(self.slow)
                if self.trace:
                    with open(f"{self.trace}/{name}", "a") as file:
                        file.write(f"{os.getpid()}\n")
                if name in self.kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == self.mistake:
                    raise ManifestError(f"{name}: a mistake")
                found.append({"problem": "ends in 7"} if name.endswith("7") else {"backwards": name[::-1]})
            return pa.Table.from_pylist(found, schema=self.schema)

        return function


if __name__ == "__main__":
    from vgsr.extraction import pool

    work = Backwards(trace=sys.argv[2] + ".trace", slow=float(sys.argv[4]))
    pool.run(work, manifests.read(sys.argv[1]), sys.argv[2], actors=int(sys.argv[3]))
