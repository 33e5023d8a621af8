"""Groups of tools on the command line."""

import click

from surefoot_tools.tool import Group

ALL_GROUPS = ",".join(
    group.value for group in Group if group not in (Group.ACCOUNTING, Group.OTHERS)
)


def groups(text: str) -> frozenset[Group]:
    """The groups of a list with commas; that of accounting is always among them.

    Raises:
        BadParameter: one of them is none.
    """
    chosen = {name.strip() for name in text.split(",") if name.strip()}
    unknown = chosen - {group.value for group in Group}
    if unknown:
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: there is {ALL_GROUPS}", param_hint="--tools"
        )
    return frozenset(Group(name) for name in chosen) | {Group.ACCOUNTING}
