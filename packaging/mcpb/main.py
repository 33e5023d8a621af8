"""What the bundle starts: `surefoot serve` with a root for each folder given.

A host gives several chosen folders as several arguments, and `--root` takes one each.
"""

import sys

from surefoot_cli.main import main

roots = [word for folder in sys.argv[1:] for word in ("--root", folder)]
sys.argv = ["surefoot", "serve", *roots]
main()
