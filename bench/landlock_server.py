"""`surefoot serve` as it is where there is no bubblewrap: `auto` then confines by landlock."""

from surefoot_cli.main import main
from surefoot_tools.sandbox.sandbox import Sandbox

if __name__ == "__main__":
    Sandbox.program = None  # pyright: ignore[reportAttributeAccessIssue] - as where none is found
    main()
