"""The sequences of the shipped suites, one module each."""

from collections.abc import Callable

from suites.drafting import Draft
from suites.sequences import (
    assemble_release,
    bisect_build,
    import_contacts,
    migrate_orders,
    reconcile_csv,
    refactor_inventory,
    respond_outage,
    rotate_config,
    share_shop,
    triage_logs,
    upgrade_library,
)

STANDARD: tuple[Callable[[], Draft], ...] = (
    refactor_inventory.draft,
    migrate_orders.draft,
    triage_logs.draft,
    rotate_config.draft,
    bisect_build.draft,
    reconcile_csv.draft,
    import_contacts.draft,
    upgrade_library.draft,
    assemble_release.draft,
    respond_outage.draft,
)
"""In the order in which the suite lists them."""

SHARED: tuple[Callable[[], Draft], ...] = (share_shop.draft,)
"""For several drivers in one workspace."""
