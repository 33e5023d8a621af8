"""`surefoot uninstall`: takes the server out of a host's file again."""

import click

from surefoot_cli.install.change import planned, shared_options
from surefoot_cli.install.edit import take
from surefoot_cli.install.hosts import Scope


@click.command
@shared_options
def command(client: str, scope: str, name: str, dry_run: bool, as_json: bool) -> int:
    """Take the server out of CLIENT: claude-desktop, claude-code, vscode or cursor.

    Shows the change and keeps a backup; all else in the file stays as it is, byte for byte.
    """
    change = planned(
        client,
        Scope(scope),
        name,
        lambda host, text: take(text, host.holder, name, host.dialect),
    )
    written = False
    if change.needed:
        if not as_json:
            click.echo(change.diff, nl=False)
        if not dry_run:
            change.write()
            written = True
    if as_json:
        click.echo(change.told(written))
        return 0
    file, title = change.file.path, change.host.title
    if not change.needed:
        click.echo(f"{name} is not installed in {title}: {file}")
    elif not written:
        click.echo(f"nothing was written ({file})")
    else:
        click.echo(f"{name} is taken out of {title}: {file}\nbackup: {change.backup}")
    return 0
