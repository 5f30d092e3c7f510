"""`python -m kolm` is the command line."""

from kolm.cli import main

if __name__ == "__main__":
    main()
