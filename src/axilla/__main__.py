"""`python -m axilla` is `axilla`."""

from axilla.cli import main

if __name__ == "__main__":
    main()
