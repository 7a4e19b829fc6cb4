"""``python -m benchmarks.get.timed COMMAND…``: its wall and CPU seconds with everything it started, as one line of JSON.

A process that is killed by its parent, and not waited for, is nobody's CPU: ``vasset get`` leaves its children so. Here they come
to this program, which waits for all of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time

SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def main() -> int:
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    while True:
        try:
            _, _, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu += used.ru_utime + used.ru_stime
    print(json.dumps({"wall": wall, "CPU": cpu}))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
