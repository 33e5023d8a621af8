"""`python -m surefoot_cli`: the command `surefoot` of this interpreter."""

from surefoot_cli.main import main

main()
