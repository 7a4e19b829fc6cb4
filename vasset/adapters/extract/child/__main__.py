"""Start the nursery: ``python -I …/extract/child/__main__.py CONTROL_DESCRIPTOR``.

Isolated mode ignores the environment and the working folder, so the package's own root has to be named here.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[4]))
    from vasset.adapters.extract.child.nursery import serve

    serve(int(sys.argv[1]))
