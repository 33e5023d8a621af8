"""What identity, doubt, crash and the journal promise; part of `requirements.py`."""

from tests.requirement import Requirement

RELIABILITY: dict[str, Requirement] = {
    "states.table": Requirement(
        "Every row of the answers table is reached, and every sight has one.",
        "docs/states.md",
        (
            "server/test_states.py::test_every_row_of_the_answers_table_is_reached_and_every_sight_has_one",
            "server/test_states.py::test_nothing_runs_again_under_a_key_of_another_call_or_beside_a_live_run",
            "server/test_journal_conformance.py::test_a_change_of_state_that_is_not_in_the_table_is_refused",
            "server/test_chain.py::test_after_any_history_the_chain_holds_and_each_change_of_state_is_one_of_the_table",
        ),
    ),
    "states.page": Requirement(
        "The page of states is what is drawn from the code.",
        "docs/states.md",
        ("test_docs.py::test_the_page_of_states_is_what_is_drawn_from_the_code",),
    ),
    "identity.expired": Requirement(
        "A result past its time is 'done'; a key past its time is new.",
        "docs/keys.md",
        (
            "server/test_states.py::test_a_call_whose_result_expired_is_known_to_be_done_until_it_is_forgotten",
            "server/test_states.py::test_a_failure_does_not_expire_before_its_key_is_forgotten",
        ),
    ),
    "identity.in-doubt": Requirement(
        "A call in doubt says since when, what is known, and the ways out.",
        "docs/keys.md",
        (
            "server/test_states.py::test_a_key_in_doubt_says_since_when_and_what_is_known_and_the_ways_out",
        ),
    ),
    "identity.recovery": Requirement(
        "A call of a server that died is answered by what its tool finds.",
        "docs/keys.md",
        (
            "server/test_states.py::test_an_idempotent_call_of_a_dead_server_runs_again",
            "server/test_states.py::test_a_verifiable_call_of_a_dead_server_whose_state_is_as_after_has_succeeded",
            "server/test_states.py::test_a_verifiable_call_of_a_dead_server_whose_state_is_as_before_runs",
            "server/test_states.py::test_a_verifiable_call_of_a_dead_server_over_which_another_wrote_is_in_doubt",
            "server/test_states.py::test_a_transaction_of_a_dead_server_runs_again_and_commits_once",
            "server/test_states.py::test_a_command_of_a_dead_server_that_finished_is_answered_from_its_own_record",
            "server/test_states.py::test_a_command_of_a_dead_server_that_still_runs_is_adopted_and_joined",
            "server/test_states.py::test_a_command_of_a_dead_server_without_a_record_is_in_doubt",
        ),
    ),
    "resolve.happened": Requirement(
        "A call that happened as a person says is done, and its key says so.",
        "docs/keys.md",
        (
            "cli/test_journal_resolve.py::test_a_call_that_happened_is_done_and_its_key_says_so",
            "cli/test_journal_postgres.py::test_a_call_in_doubt_is_resolved_in_postgresql",
        ),
    ),
    "resolve.not-happened": Requirement(
        "A call that did not happen as a person says may run again under its key.",
        "docs/keys.md",
        (
            "cli/test_journal_resolve.py::test_a_call_that_did_not_happen_may_run_again_under_its_key",
            "cli/test_journal_resolve.py::test_a_live_server_answers_by_what_was_said_meanwhile",
        ),
    ),
    "resolve.refused": Requirement(
        "Only a call in doubt is resolved, and a key of several callers is not guessed at.",
        "docs/journal.md",
        (
            "cli/test_journal_resolve.py::test_a_call_that_is_not_in_doubt_is_refused_with_what_it_is",
            "cli/test_journal_resolve.py::test_a_running_call_is_refused_and_a_dead_server_is_named",
            "cli/test_journal_resolve.py::test_a_key_of_two_principals_is_not_guessed_and_both_are_listed",
        ),
    ),
    "journal.look": Requirement(
        "tail, show and export tell what is recorded, also while servers write.",
        "docs/journal.md",
        (
            "cli/test_journal.py::test_tail_shows_the_newest_events_last_with_tool_key_and_state",
            "cli/test_journal.py::test_tail_that_follows_prints_what_is_written_after_it_began",
            "cli/test_journal.py::test_show_tells_of_a_call_its_attempts_requests_and_events",
            "cli/test_journal.py::test_exported_json_lines_have_every_row_of_every_table",
            "cli/test_journal.py::test_exported_csv_reads_back_as_the_rows_of_the_json_lines",
            "cli/test_journal_postgres.py::test_each_verb_reads_a_journal_in_postgresql",
        ),
    ),
    "journal.exit-codes": Requirement(
        "No such call exits with 1, bad usage with 2, no journal with 3.",
        "docs/reference.md",
        (
            "cli/test_journal.py::test_a_name_that_no_call_has_exits_with_1",
            "cli/test_journal.py::test_bad_usage_exits_with_2",
            "cli/test_journal.py::test_without_a_journal_every_verb_exits_with_3_and_makes_none",
        ),
    ),
    "journal.secrets": Requirement(
        "No secret is in what the command line prints of a journal.",
        "docs/journal.md",
        (
            "cli/test_journal.py::test_no_secret_is_in_any_output",
            "cli/test_journal.py::test_a_password_in_the_url_of_a_journal_is_not_shown",
        ),
    ),
    "journal.store-arguments": Requirement(
        "Arguments are stored as --store-arguments asks.",
        "docs/journal.md",
        (
            "cli/test_serve_options.py::test_arguments_are_stored_as_asked_in_the_journal_that_was_named",
        ),
    ),
    "journal.private": Requirement(
        "The journal's files are readable by their owner alone.",
        "docs/journal.md",
        (
            "server/test_journal.py::test_the_journal_is_readable_by_its_owner_alone",
            "cli/test_journal_health.py::test_doctor_finds_a_journal_that_others_may_read_and_one_that_is_damaged",
        ),
    ),
    "chain.verify": Requirement(
        "A row or an event that was changed, taken out or put in is named.",
        "docs/journal.md",
        (
            "server/test_chain.py::test_one_byte_changed_in_any_column_of_any_row_is_told",
            "server/test_chain.py::test_a_row_taken_out_of_any_table_is_told",
            "server/test_chain.py::test_an_event_or_a_row_put_in_is_told",
            "server/test_chain.py::test_two_events_that_changed_places_are_told",
            "server/test_chain.py::test_a_cut_end_of_a_chain_is_told",
            "cli/test_journal_verify.py::test_verify_names_what_was_changed_past_the_journal",
        ),
    ),
    "chain.heads": Requirement(
        "Heads kept elsewhere tell a history that was written anew.",
        "docs/journal.md",
        (
            "cli/test_journal_verify.py::test_heads_kept_elsewhere_tell_a_history_that_was_written_anew",
            "cli/test_journal_verify.py::test_a_head_before_the_anchor_is_no_problem",
        ),
    ),
    "retention": Requirement(
        "What is past its time is dropped, the chain still holds, and nothing grows.",
        "docs/journal.md",
        (
            "server/test_journal_retention.py::test_results_go_first_then_all_that_is_known_and_the_chain_still_holds",
            "server/test_journal_retention.py::test_servers_that_died_get_an_end_and_are_forgotten_in_time",
            "server/test_simulated_day.py::test_the_books_of_a_day_add_up_and_nothing_grows",
        ),
    ),
    "spool": Requirement(
        "Safe calls and deliveries survive kill -9 without a flush of their own.",
        "docs/journal.md",
        (
            "server/test_spool.py::test_after_a_kill_each_acknowledged_line_is_there_in_whole",
            "server/test_journal_conformance_receipts.py::test_what_a_dead_server_had_spooled_is_folded_by_the_next",
        ),
    ),
    "ballast": Requirement(
        "On a full disk or a full table no outcome is lost and nothing happens without intent.",
        "docs/reliability.md",
        (
            "crash/test_full_disk.py::test_a_full_disk_loses_no_outcome_and_lets_nothing_happen_without_an_intent",
            "crash/test_full_disk.py::test_without_ballast_a_full_disk_does_lose_outcomes",
            "crash/test_full_disk.py::test_a_full_table_of_descriptors_is_answered_with_what_is_there",
        ),
    ),
    "journal.owed": Requirement(
        "An outcome that the journal could not take is told to its key once it works again.",
        "docs/reliability.md",
        (
            "crash/test_owed.py::test_an_outcome_refused_twice_is_told_to_its_key_once_the_journal_works",
            "crash/test_owed.py::test_an_owed_outcome_of_a_server_that_dies_is_found_out_or_in_doubt",
        ),
    ),
    "crash.power-cut": Requirement(
        "After a power cut each acknowledged call is on record.",
        "docs/reliability.md",
        (
            "crash/test_power_cut.py::test_after_a_power_cut_each_acknowledged_call_is_on_record",
            "crash/test_power_cut.py::test_without_flushes_a_power_cut_takes_acknowledged_calls",
        ),
    ),
    "crash.random": Requirement(
        "Killed at random moments no effect is doubled and no answer is lost.",
        "docs/reliability.md",
        (
            "crash/test_kill_anywhere.py::test_killed_at_random_moments_no_effect_is_doubled_and_no_answer_is_lost",
            "crash/test_kill_anywhere.py::test_the_same_look_finds_what_is_doubled_where_keys_are_not_kept",
        ),
    ),
    "crash.cut-commit": Requirement(
        "A COMMIT cut on its way and sent again doubles nothing and loses nothing.",
        "docs/reliability.md",
        (
            "crash/test_cut_commit.py::test_cut_commits_double_nothing_and_lose_nothing",
            "crash/test_cut_commit.py::test_a_fresh_key_for_each_attempt_doubles",
        ),
    ),
    "crash.racing": Requirement(
        "Servers that race for the same keys have one effect each.",
        "docs/reliability.md",
        (
            "crash/test_racing.py::test_two_servers_that_race_for_the_same_keys_have_one_effect_each",
        ),
    ),
    "postgres.fenced": Requirement(
        "A server that lost its lock cannot end what it began.",
        "docs/journal.md",
        (
            "server/test_journal_postgres.py::test_a_server_that_lost_its_lock_cannot_finish_what_it_began",
            "server/test_journal_postgres_opening.py::test_a_failure_to_open_tells_no_password_and_leaves_nothing_open",
        ),
    ),
    "doubt.replayed": Requirement(
        "Without a key, a call whose answer was lost is not run again blindly.",
        "docs/keys.md",
        (
            "server/test_doubt.py::test_a_lost_answer_is_replayed_to_the_next_equal_call",
            "server/test_doubt.py::test_the_answer_of_a_server_that_died_is_replayed_to_the_next_equal_call",
            "server/test_doubt.py::test_a_call_that_completed_in_spite_of_a_cancel_is_replayed",
            "server/test_doubt.py::test_after_a_lost_failure_without_effect_an_equal_call_runs",
            "crash/test_repeats.py::test_the_same_again_after_a_lost_answer_is_never_run_blindly",
        ),
    ),
    "doubt.on-purpose": Requirement(
        "The same twice on purpose is two effects.",
        "docs/keys.md",
        (
            "server/test_doubt.py::test_two_equal_calls_at_once_on_live_connections_are_two_calls",
            "server/test_doubt.py::test_an_equal_call_after_a_delivered_answer_simply_runs",
            "server/test_doubt.py::test_repeat_runs_once_more_on_purpose_and_clears_the_doubt",
            "server/test_doubt.py::test_doubt_ends_after_fifteen_minutes",
            "crash/test_repeats.py::test_the_same_again_after_a_delivered_answer_is_another_effect",
        ),
    ),
    "doubt.repeat": Requirement(
        "repeat: true is offered by the tools with an effect, and means nothing under a key.",
        "docs/keys.md",
        (
            "server/test_doubt.py::test_repeat_is_offered_by_the_tools_with_an_effect_and_by_no_other",
            "server/test_doubt.py::test_repeat_has_no_meaning_under_a_key_and_is_not_in_the_fingerprint",
        ),
    ),
    "grace.keyed": Requirement(
        "A keyed call whose connection is lost is kept for the grace.",
        "docs/keys.md",
        (
            "server/test_grace.py::test_a_keyed_run_whose_connection_is_lost_is_kept_and_joined_by_its_key",
            "server/test_grace.py::test_after_the_grace_a_keyed_run_is_killed_and_recorded",
        ),
    ),
    "grace.unkeyed": Requirement(
        "A cancel, or a lost connection without a key, ends a call at once.",
        "docs/keys.md",
        (
            "server/test_grace.py::test_an_unkeyed_run_whose_connection_is_lost_is_killed_at_once",
            "server/test_grace.py::test_a_cancel_ends_a_run_that_nobody_else_waits_for_at_once",
            "server/test_grace.py::test_a_cancel_does_not_end_a_run_that_another_waits_for",
        ),
    ),
    "deadline": Requirement(
        "A caller's deadline bounds all that is done for the request.",
        "docs/keys.md",
        (
            "server/test_deadline.py::test_a_deadline_that_is_over_at_arrival_is_refused_and_takes_no_key",
            "server/test_deadline.py::test_a_deadline_bounds_the_wait_for_somebody_else_s_run",
            "server/test_deadline.py::test_the_attempts_of_one_call_share_its_deadline",
        ),
    ),
    "supervisor.adopts": Requirement(
        "A command outlives its server; the next one finds its end or adopts it.",
        "docs/why.md",
        (
            "tools/test_supervisor.py::test_exit_code_and_output_survive_a_killed_server",
            "tools/test_supervisor.py::test_a_command_whose_server_was_killed_is_adopted_to_its_end",
            "tools/test_supervisor.py::test_nobody_comes_within_the_grace_so_all_is_killed_and_recorded",
        ),
    ),
    "supervisor.killed": Requirement(
        "A killed supervisor takes its tree along, and the call is in doubt.",
        "docs/reliability.md",
        (
            "tools/test_supervisor.py::test_a_killed_supervisor_takes_its_tree_along_and_leaves_the_call_in_doubt",
        ),
    ),
    "supervisor.daemons": Requirement(
        "No daemon outlives its command.",
        "docs/reference.md",
        ("crash/test_daemons.py::test_no_daemon_outlives_its_command",),
    ),
    "retry.table": Requirement(
        "Only what can do no harm is tried again, in one place and within a budget.",
        "README.md",
        (
            "tools/test_retry.py::test_what_may_have_happened_is_never_repeated",
            "tools/test_retry.py::test_only_the_factory_imports_tenacity",
            "tools/test_retry.py::test_retries_stay_below_a_tenth_of_the_calls_and_one_a_second",
            "tools/test_retry_rows.py::test_each_error_of_each_edge_is_decided_as_its_row_says",
        ),
    ),
    "retry.circuit": Requirement(
        "A target that keeps failing is left alone, and tried again after a while.",
        "README.md",
        (
            "tools/test_circuit.py::test_it_opens_at_the_last_of_n_failures_in_a_row",
            "tools/test_circuit.py::test_after_the_cool_down_one_attempt_is_let_through_and_closes_it",
        ),
    ),
    "failures.by": Requirement(
        "Failures are counted by what is asked for, and the calls in doubt are listed.",
        "docs/reference.md",
        (
            "cli/test_journal_health.py::test_failures_are_counted_by_what_is_asked",
            "cli/test_journal_health.py::test_failures_names_the_calls_in_doubt_and_how_to_resolve_them",
        ),
    ),
    "jobs.rows": Requirement(
        "A job is in the books once, and ends there once, whoever dies.",
        "docs/journal.md",
        (
            "server/test_job_rows.py::test_the_books_of_jobs_add_up_over_any_history_of_ends_and_crashes",
            "server/test_job_rows.py::test_a_job_that_ended_while_nobody_looked_is_settled_at_the_next_start",
            "cli/test_job_books.py::test_jobs_are_recorded_as_they_end_and_every_verb_tells_of_them",
        ),
    ),
    "jobs.replay": Requirement(
        "An answer 'running' that is told again tells of the job as it is now.",
        "docs/states.md",
        (
            "server/test_job_rows.py::test_an_answer_that_names_a_job_is_told_again_as_the_job_is_now",
        ),
    ),
    "doctor.journal": Requirement(
        "doctor tells the health of the journal.",
        "docs/journal.md",
        ("cli/test_journal_health.py::test_doctor_tells_the_health_of_the_journal",),
    ),
}
