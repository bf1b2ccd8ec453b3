"""Write down the SQL statements of a release, to be prepared against the tables of every later one.

Run it once for each release, in a checkout of the release:

    PYTHONPATH=<the release> python capture_statements.py > tests/golden/statements/<version>.json
"""

from __future__ import annotations

import json
import pkgutil
import re
from importlib import import_module

import worker.db

_STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b")


def statements() -> dict[str, str]:
    """Return the statements by module and name of their constant."""
    found = {}
    for module in pkgutil.iter_modules(worker.db.__path__, "worker.db."):
        for name, value in vars(import_module(module.name)).items():
            # A private constant is a part of other statements.
            if (
                name.isupper()
                and not name.startswith("_")
                and isinstance(value, str)
                and _STATEMENT.match(value)
            ):
                found[f"{module.name}.{name}"] = value
    return found


if __name__ == "__main__":
    print(json.dumps(statements(), indent=1))
