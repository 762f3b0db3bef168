"""Run every benchmark, one after the other: `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run each file of the folder in a process of its own."""
    failed = 0
    for path in sorted(HERE.glob("*.py")):
        if path.name not in {"run.py", "machine.py", "original_way.py"}:
            failed += subprocess.run([sys.executable, path], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
