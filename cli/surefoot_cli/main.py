"""The command `surefoot`. Each verb lives in a module of its own, imported when it is used."""

import importlib
import sys
from typing import cast

import click

USAGE, ENVIRONMENT = 2, 3
"""Exit codes: bad usage or input; something missing around us (a server, a key)."""

VERBS = {
    "serve": "Offer the tools over MCP.",
    "wrap": "Stand before another MCP server, and make its calls safe to repeat.",
    "token": "Make, list and revoke the bearer tokens of a server over HTTP.",
    "run": "Run a suite with models and record every attempt.",
    "report": "Report on runs, from their records alone.",
    "reconcile": "Balance a run's sends against the server's journal.",
    "journal": "Look at the journal; say what became of a call in doubt.",
    "restore": "List what was deleted, or bring it back.",
    "failures": "Show what failed, from the journal.",
    "install": "Register the server with Claude, VS Code or Cursor.",
    "uninstall": "Take the server out of them again.",
    "doctor": "Look at this machine and say what is missing.",
}


class Verbs(click.Group):
    """Imports a verb only when it is asked for: `serve` need not load the driver."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of their use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"surefoot_cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="surefoot")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """MCP tools that do not slip, and a driver that says which model slips on what."""
    context.obj = {"debug": debug}


def main() -> None:
    """Run the command; errors are one clear line, tracebacks only with --debug."""
    debug = "--debug" in sys.argv
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except Exception as e:
        if debug:
            raise
        cause = _cause(e)
        # Ours say all there is to say; of a bug or a driver the name helps.
        ours = type(cause).__module__.startswith("surefoot_")
        said = f"{cause}" if ours else f"{type(cause).__name__}: {cause} (--debug shows where)"
        click.echo(f"surefoot: {said}", err=True)
        sys.exit(ENVIRONMENT)
    sys.exit(code if isinstance(code, int) else 0)


def _cause(error: BaseException) -> BaseException:
    """What lies inside the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error
