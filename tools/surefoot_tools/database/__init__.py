"""The database tools: `query_database`, `execute_sql`, `describe_database`.

`databases.py` says which databases there are, `engine.py` what a kind of database can do,
`sqlite.py`, `postgres.py` and `mysql.py` do it; the tools are one file each.
"""

from typing import Any

from surefoot_tools.database.databases import Databases
from surefoot_tools.database.describe_database import DescribeDatabase
from surefoot_tools.database.execute_sql import ExecuteSql
from surefoot_tools.database.query_database import QueryDatabase
from surefoot_tools.tool import Tool


def database_tools(databases: Databases) -> list[Tool[Any, Any]]:
    """The tools over these databases, in the order in which they are offered."""
    return [QueryDatabase(databases), ExecuteSql(databases), DescribeDatabase(databases)]
