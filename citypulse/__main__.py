"""`python -m citypulse` is `citypulse`."""

from citypulse.cli import main

main()
