"""`surefoot install CLIENT`: registers the server with a host, in the host's own file.

`jsonc.py` and `edit.py` change a text, `hosts.py` knows the hosts, `launch.py` the command that is
written, `answer.py` tries it, `file.py` writes; `change.py` puts them in order for `verb.py` and
for `uninstall`. `found.py` looks at what is registered, for `doctor`.
"""

from surefoot_cli.install.verb import command

__all__ = ["command"]
