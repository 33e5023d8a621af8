"""Every promised behaviour: its id, where it is promised, and the tests that hold it.

`tests/test_requirements.py` looks at both directions: each test named here exists, and each source
is there.
"""

from tests.requirement import Requirement
from tests.requirements_policy import POLICY
from tests.requirements_reliability import RELIABILITY
from tests.requirements_shell import SHELL
from tests.requirements_wire import WIRE

MAIN: dict[str, Requirement] = {
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
        "A command runs once and its own record tells how it ended; without one it is in doubt.",
        "README.md",
        (
            "crash/test_kill_points.py::test_a_command_is_run_once_and_its_own_record_tells_how_it_ended",
            "crash/test_kill_points.py::test_a_command_of_which_nothing_is_left_is_in_doubt_and_stays_so",
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
    "shell.confined": Requirement(
        "A command sees the roots and the system's programs, and reaches nothing else.",
        "docs/sandbox.md",
        (
            "tools/test_sandbox.py::test_in_a_room_no_attack_gets_out",
            "tools/test_sandbox.py::test_landlock_keeps_what_it_can",
            "tools/test_shell_attacks.py::test_every_attack_is_answered_as_expected_and_none_gets_out",
        ),
    ),
    "shell.level": Requirement(
        "Instructions, results and doctor say how commands are confined.",
        "docs/sandbox.md",
        (
            "tools/test_run_command.py::test_the_result_says_how_the_command_was_confined",
            "server/test_stdio.py::test_the_handshake_era_is_served_as_well",
            "cli/test_sandbox.py::test_doctor_tells_the_level_and_how_to_get_a_better_one",
        ),
    ),
    "shell.refused": Requirement(
        "Where commands cannot be confined they are refused, and the other tools go on.",
        "docs/sandbox.md",
        (
            "tools/test_run_command.py::test_where_commands_cannot_be_confined_they_are_refused_and_other_tools_go_on",
            "cli/test_sandbox.py::test_where_nothing_can_be_confined_a_simulated_run_says_so_and_goes_on",
        ),
    ),
    "shell.touched": Requirement(
        "A protected path that a command makes is told, and read-only from the next one on.",
        "docs/sandbox.md",
        (
            "tools/test_sandbox_protected.py::test_a_new_protected_path_is_told_and_then_protected",
            "tools/test_sandbox_protected.py::test_where_nothing_protects_a_change_is_told",
        ),
    ),
    "shell.bounded": Requirement(
        "Whatever a command does, its call ends by its deadline and nothing of it survives.",
        "docs/sandbox.md",
        (
            "tools/test_must_hold.py::test_whatever_a_command_does_its_call_ends_and_nothing_survives",
        ),
    ),
    "shell.floods": Requirement(
        "Commands run side by side; floods of output delay no other answer.",
        "docs/shell.md",
        (
            "tools/test_must_hold.py::test_fifteen_commands_run_side_by_side",
            "tools/test_must_hold.py::test_floods_delay_no_other_answer_and_take_little_memory",
            "tools/test_must_hold.py::test_beyond_the_queue_commands_are_refused_and_the_others_run",
        ),
    ),
    "files.confined": Requirement(
        "No path leaves the roots, also not by a symbolic link.",
        "README.md",
        (
            "tools/test_files_attacks.py::test_every_attack_comes_out_as_expected",
            "tools/test_files_attacks.py::test_without_the_confinement_of_the_open_a_link_leads_out",
        ),
    ),
    "files.roots": Requirement(
        "A root has a name and is read-only if the server is told so; confined commands obey it.",
        "docs/files.md",
        (
            "tools/test_files_roots.py::test_a_path_that_begins_with_a_name_means_that_root",
            "tools/test_files_roots.py::test_nothing_is_changed_in_a_read_only_root_by_any_way",
            "cli/test_serve_roots.py::test_a_named_root_is_read_by_its_name_and_not_changed",
            "cli/test_serve_roots.py::test_a_command_changes_nothing_in_a_read_only_root",
        ),
    ),
    "files.moves": Requirement(
        "A move or a deletion happens once or not at all, whatever comes in between.",
        "docs/files.md",
        (
            "tools/test_files_move.py::test_recovery_after_any_cut_finds_one_of_both_names",
            "tools/test_files_delete.py::test_recovery_after_any_cut_knows_whether_it_was_deleted",
            "crash/test_every_syscall.py::test_killed_at_any_syscall_of_a_call_the_key_comes_back_to_exactly_one_effect",
        ),
    ),
    "files.trash": Requirement(
        "What was deleted is kept where no tool looks, and comes back without overwriting.",
        "docs/files.md",
        (
            "tools/test_files_delete.py::test_no_tool_looks_into_the_trash_or_writes_it",
            "tools/test_files_delete.py::test_the_trash_is_neither_listed_nor_searched",
            "cli/test_restore.py::test_what_exists_is_not_overwritten_and_another_name_is_taken",
        ),
    ),
    "database.mysql": Requirement(
        "A query changes nothing in MySQL and MariaDB, a cut COMMIT ends in one effect, and what"
        " commits by itself acts at most once and says so.",
        "docs/databases.md",
        (
            "tools/test_mysql_query.py::test_an_attack_comes_out_as_expected_and_harms_nothing",
            "tools/test_mysql_interruption.py::test_many_cut_commits_end_in_one_effect_each",
            "tools/test_mysql_execute.py::test_ddl_says_that_it_is_no_transaction_and_its_key_runs_it_once",
        ),
    ),
    "database.conformance": Requirement(
        "Every engine keeps the same promises.",
        "docs/databases.md",
        (
            "tools/test_database_conformance.py::test_the_same_key_again_gives_the_same_and_runs_nothing",
            "tools/test_database_conformance.py::test_a_failing_statement_rolls_back_all_and_frees_the_key",
        ),
    ),
    "database.boundary": Requirement(
        "A query changes nothing and reaches nothing outside of its database.",
        "docs/reference.md",
        ("tools/test_database_attacks.py::test_an_attack_comes_out_as_expected_and_harms_nothing",),
    ),
    "reconcile.names": Requirement(
        "The driver's book and the server's balance, or the row is named.",
        "README.md",
        (
            "client/test_reconcile.py::test_the_books_of_a_run_with_slips_and_faults_balance",
            "client/test_reconcile.py::test_a_row_missing_or_doubled_in_the_journal_is_named",
            "client/test_reconcile.py::test_a_field_altered_in_the_journal_is_named",
            "client/test_reconcile.py::test_a_record_missing_or_doubled_in_the_drivers_log_is_named",
            "client/test_reconcile.py::test_a_field_altered_in_the_drivers_log_is_named",
        ),
    ),
    "run.faults": Requirement(
        "Over a rough connection every trial passes or stops in doubt, and the books balance.",
        "docs/tutorial.md",
        (
            "client/test_run_end_to_end.py::test_one_sequence_passes_over_a_rough_connection_and_its_books_balance",
            "client/test_run_end_to_end.py::test_over_a_rough_connection_every_trial_passes_or_ends_in_doubt",
        ),
    ),
    "run.rates": Requirement(
        "The measured interval covers the profile's rate.",
        "docs/reference.md",
        (
            "client/test_run_end_to_end.py::test_the_measured_interval_covers_the_rate_of_the_profile",
        ),
    ),
    "run.resume": Requirement(
        "An interrupted run exits with 130 and goes on with --resume.",
        "docs/reference.md",
        (
            "client/test_run.py::test_an_interrupted_run_says_so_and_is_resumed_under_the_next_number",
            "client/test_run.py::test_a_run_whose_driver_was_killed_is_resumed_and_keeps_what_had_ended",
        ),
    ),
    "report.simulated": Requirement(
        "Every table calls a simulated model simulated, and no figure is printed unmeasured.",
        "README.md",
        (
            "client/test_report.py::test_every_table_and_the_top_say_that_a_model_is_simulated",
            "client/test_report.py::test_the_matrix_has_the_rows_of_the_article_and_no_figure_that_was_not_measured",
        ),
    ),
    "suite.mistakes": Requirement(
        "A mistake in a suite is reported with file, line and what is expected.",
        "docs/reference.md",
        ("client/test_suite.py::test_a_mistake_is_named_by_file_line_and_what_is_expected",),
    ),
    "suite.checks": Requirement(
        "The final checks see every effect left out or done twice, and every emptied fixture.",
        "README.md",
        (
            "suites/test_standard.py::test_a_step_left_out_fails_the_checks",
            "suites/test_standard.py::test_a_call_made_twice_that_counts_once_fails_the_checks",
            "suites/test_standard.py::test_an_emptied_fixture_fails_the_checks",
        ),
    ),
    "journal.unavailable": Requirement(
        "What cannot be recorded is not begun; reading goes on.",
        "docs/why.md",
        (
            "server/test_journal.py::test_without_a_journal_nothing_with_an_effect_is_begun_and_reading_goes_on",
        ),
    ),
    "crash.any-point": Requirement(
        "Killed at any point, also in recovery, a file is whole and the effect is there once.",
        "README.md",
        (
            "crash/test_every_syscall.py::test_killed_at_any_syscall_of_a_call_the_key_comes_back_to_exactly_one_effect",
            "crash/test_random_kills.py::test_killed_under_a_stream_of_calls_the_server_loses_and_doubles_nothing",
            "crash/test_random_kills.py::test_the_next_call_on_a_file_does_not_leave_the_one_before_it_in_doubt",
        ),
    ),
    "identity.patience": Requirement(
        "A joined request that waits too long is told so, and the run goes on.",
        "docs/keys.md",
        ("server/test_hostile.py::test_patience_that_ends_is_not_a_request_that_goes_away",),
    ),
    "identity.transaction-in-doubt": Requirement(
        "A transaction in doubt is never told as not applied; its inbox row finds what committed.",
        "docs/keys.md",
        ("server/test_hostile.py::test_a_transaction_in_doubt_is_never_told_as_not_applied",),
    ),
    "guards.databases": Requirement(
        "The file tools write no file of a database, and no journal lies inside a root.",
        "docs/reference.md",
        (
            "server/test_guards.py::test_the_files_of_a_database_are_not_written_by_the_file_tools",
            "server/test_guards.py::test_a_journal_inside_a_root_is_refused",
        ),
    ),
    "annotations": Requirement(
        "Annotations are true to the effects.",
        "docs/reference.md",
        ("server/test_guards.py::test_annotations_are_true_to_the_effects",),
    ),
}

REQUIREMENTS = MAIN | POLICY | RELIABILITY | SHELL | WIRE
