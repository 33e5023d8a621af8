"""Every promised behaviour: its id, where it is promised, and the tests that hold it.

`tests/test_requirements.py` looks at both directions: each test named here exists, and each source
is there.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """One promise."""

    promise: str
    source: str
    """A file of the repository that makes it."""
    tests: tuple[str, ...]
    """`file::test function`, below `tests/`."""


REQUIREMENTS: dict[str, Requirement] = {
    "identity.replay": Requirement(
        "A known key answers the stored outcome and runs nothing.",
        "docs/keys.md",
        (
            "server/test_identity.py::test_a_repeated_key_replays_the_outcome_and_does_not_run_again",
            "server/test_identity.py::test_a_key_is_replayed_by_the_next_server_too",
            "server/test_identity.py::test_a_failure_is_replayed_as_well",
        ),
    ),
    "identity.join": Requirement(
        "The same key at the same time runs once and answers the same, also in two servers.",
        "docs/keys.md",
        (
            "server/test_identity.py::test_the_same_key_sent_many_times_at_once_runs_once_and_answers_the_same",
            "server/test_identity.py::test_two_servers_on_one_journal_run_a_key_once",
        ),
    ),
    "identity.conflict": Requirement(
        "Another call under a known key is refused and shows nothing of the first.",
        "docs/keys.md",
        ("server/test_identity.py::test_a_key_of_another_call_is_refused_and_shows_nothing_of_it",),
    ),
    "identity.no-key": Requirement(
        "A call without a key is a call of its own.",
        "docs/keys.md",
        ("server/test_identity.py::test_equal_calls_without_a_key_are_calls_of_their_own",),
    ),
    "identity.safe": Requirement(
        "A safe call under a known key runs again, as the next attempt.",
        "docs/keys.md",
        (
            "server/test_identity.py::test_a_safe_call_with_a_known_key_runs_again_as_the_next_attempt",
        ),
    ),
    "identity.source": Requirement(
        "The key is taken from the first place that has one; malformed keys of ours are refused.",
        "docs/keys.md",
        (
            "server/test_identity.py::test_a_key_is_taken_from_the_first_place_that_has_one",
            "server/test_identity.py::test_a_malformed_key_of_ours_is_refused",
            "server/test_identity.py::test_a_malformed_id_of_the_host_is_ignored_and_a_key_of_ours_is_not",
        ),
    ),
    "identity.refused": Requirement(
        "Invalid and denied calls take no key.",
        "docs/keys.md",
        ("server/test_identity.py::test_invalid_and_denied_calls_leave_the_key_free",),
    ),
    "crash.files": Requirement(
        "After kill -9 a file is the old or the new one; the key again ends in one effect.",
        "README.md",
        ("crash/test_kill_points.py::test_a_file_is_changed_exactly_once",),
    ),
    "crash.rows": Requirement(
        "After kill -9 the key again ends in one effect on rows.",
        "README.md",
        ("crash/test_kill_points.py::test_rows_are_changed_exactly_once",),
    ),
    "crash.commands": Requirement(
        "A command that nobody saw end is in doubt and never runs again by itself.",
        "README.md",
        (
            "crash/test_kill_points.py::test_a_command_runs_at_most_once_and_is_in_doubt_where_nobody_can_tell",
            "crash/test_kill_points.py::test_a_command_killed_with_its_server_is_a_new_call_under_a_new_key",
        ),
    ),
    "accounting.identities": Requirement(
        "Receipts, calls and attempts add up whatever happens.",
        "README.md",
        (
            "server/test_accounting.py::test_the_books_add_up_whatever_happens",
            "server/test_accounting.py::test_the_failure_report_says_what_failed_and_whose_fault_it_was",
        ),
    ),
    "accounting.exit-code": Requirement(
        "A command that exits with a status other than 0 has run.",
        "docs/reference.md",
        ("server/test_accounting.py::test_a_command_that_exits_with_1_is_a_call_that_succeeded",),
    ),
    "secrets": Requirement(
        "Arguments are stored without secrets.",
        "docs/reference.md",
        ("server/test_accounting.py::test_secrets_do_not_reach_the_journal",),
    ),
    "wire.answers": Requirement(
        "Whatever has a readable id is answered.",
        "README.md",
        (
            "server/test_stdio.py::test_each_line_that_is_no_message_is_answered_and_the_next_request_too",
            "server/test_stdio.py::test_the_top_level_id_is_found_and_no_other",
        ),
    ),
    "wire.quiet": Requirement(
        "Nothing but MCP is on stdout; stderr is quiet.",
        "README.md",
        ("server/test_stdio.py::test_only_mcp_on_stdout_and_nothing_on_stderr_by_default",),
    ),
    "wire.eras": Requirement(
        "Both protocol eras are served.",
        "README.md",
        ("server/test_stdio.py::test_the_handshake_era_is_served_as_well",),
    ),
    "wire.shadow": Requirement(
        "Started inside a folder with modules of our names, our code runs.",
        "docs/why.md",
        (
            "server/test_stdio.py::test_a_folder_with_modules_of_our_names_does_not_replace_our_code",
        ),
    ),
    "shell.group": Requirement(
        "A command's process group dies at its timeout, its end, and its cancel.",
        "docs/reference.md",
        (
            "tools/test_run_command.py::test_a_timeout_kills_the_process_group_and_keeps_the_output",
            "tools/test_run_command.py::test_what_it_leaves_in_the_background_ends_with_it",
            "tools/test_run_command.py::test_a_cancelled_command_is_killed_and_recorded",
        ),
    ),
    "shell.unconfined": Requirement(
        "Instructions and results say that commands are not confined.",
        "README.md",
        (
            "tools/test_run_command.py::test_the_result_says_that_the_command_was_not_confined",
            "server/test_stdio.py::test_the_handshake_era_is_served_as_well",
        ),
    ),
}
