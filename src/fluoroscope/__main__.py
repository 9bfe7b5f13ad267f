"""`python -m fluoroscope` is `fluoro`."""

from fluoroscope.cli.main import main

main()
