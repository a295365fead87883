"""Import every module of the package; run by `make check`."""

from __future__ import annotations

import importlib
import pkgutil

import aedo


def main() -> None:
    names = [module.name for module in pkgutil.walk_packages(aedo.__path__, "aedo.")]
    for name in names:
        importlib.import_module(name)
    print(f"{len(names)} modules import")


if __name__ == "__main__":
    main()
