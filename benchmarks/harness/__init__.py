"""What all benchmarks share: rows, and where they are written."""

import sys
from typing import Any, cast

# numba asks whether the tool `coverage` is there; on the path of these scripts it would find benchmarks/coverage.py instead
cast(dict[str, Any], sys.modules).setdefault("coverage", None)
