"""Start the nursery: ``python -I …/extract/child/__main__.py CONTROL_DESCRIPTOR``.

Isolated mode ignores the environment and the working folder, so the package is found by this file's own place: the server and its
children always run the same V-Asset, even when another one is installed. The rest of that folder comes last.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[4])
    sys.path.insert(0, root)
    importlib.import_module("vasset")
    sys.path.remove(root)
    sys.path.append(root)
    from vasset.adapters.extract.child.nursery import serve

    serve(int(sys.argv[1]))
