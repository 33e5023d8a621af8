"""The sequences of the standard suite, one module each."""

from collections.abc import Callable

from suites.drafting import Draft
from suites.sequences import (
    bisect_build,
    migrate_orders,
    reconcile_csv,
    refactor_inventory,
    rotate_config,
    triage_logs,
)

DRAFTS: tuple[Callable[[], Draft], ...] = (
    refactor_inventory.draft,
    migrate_orders.draft,
    triage_logs.draft,
    rotate_config.draft,
    bisect_build.draft,
    reconcile_csv.draft,
)
"""In the order in which the suite lists them."""
