"""`python -m aedo` is `aedo`."""

from aedo.cli import main

if __name__ == "__main__":
    main()
