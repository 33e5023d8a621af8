"""What is promised about the wire: HTTP, foreign clients, the other doors, installation."""

from tests.requirement import Requirement

HTTP = "docs/http.md"
WRAP = "docs/wrap.md"

WIRE: dict[str, Requirement] = {
    "http.eras": Requirement(
        "Both protocol eras are served by one endpoint, with the same keys.",
        HTTP,
        ("server/test_http.py::test_both_eras_are_served_by_one_endpoint",),
    ),
    "http.gate": Requirement(
        "A foreign Host or Origin is refused, whatever is asked for.",
        HTTP,
        (
            "server/test_http.py::test_a_foreign_origin_or_host_is_refused",
            "server/test_http.py::test_our_own_origin_is_taken",
        ),
    ),
    "http.bounds": Requirement(
        "A body has 4 MiB; beyond 64 MiB under way requests may be sent again.",
        HTTP,
        (
            "server/test_http.py::test_a_body_that_is_too_long_is_refused_before_it_is_all_there",
            "server/test_http.py::test_a_body_of_four_mebibytes_is_taken",
            "server/test_http.py::test_requests_beyond_the_room_there_is_may_be_sent_again",
        ),
    ),
    "http.one-meaning": Requirement(
        "What parsers would read in two ways is refused, and every attack on the wire survived.",
        HTTP,
        (
            "server/test_attacks.py::test_every_attack_over_http_is_answered_and_survived",
            "server/test_attacks.py::test_every_attack_over_stdio_is_answered_and_survived",
            "server/test_attacks.py::test_the_attacks_on_http_are_refused",
            "server/test_attacks.py::test_what_is_too_large_is_refused_in_bounded_memory",
            "server/test_attacks.py::test_a_flood_of_pings_is_answered_whole",
        ),
    ),
    "http.receipt": Requirement(
        "A tools/call that is refused after its caller is known has its receipt.",
        HTTP,
        ("server/test_http.py::test_a_call_that_the_sdk_refuses_has_its_receipt",),
    ),
    "http.lost": Requirement(
        "A closed connection stops a call without a key, and keeps one with a key for the grace.",
        HTTP,
        (
            "server/test_http.py::test_a_call_without_a_key_ends_with_its_connection",
            "server/test_http.py::test_a_call_with_a_key_outlives_its_connection_and_is_joined",
        ),
    ),
    "http.delivery": Requirement(
        "An answer is delivered once it is fully written.",
        HTTP,
        (
            "server/test_http.py::test_an_answer_that_nobody_reads_is_not_delivered",
            "server/test_http.py::test_an_answer_counts_as_delivered_only_once_it_is_fully_written",
        ),
    ),
    "http.end": Requirement(
        "An orderly end writes the answers of keyed calls; a killed server's keys are answered.",
        HTTP,
        (
            "server/test_http.py::test_an_orderly_end_writes_the_answers_of_keyed_calls",
            "server/test_http.py::test_a_killed_server_is_followed_by_one_that_answers_the_key",
            "server/test_attacks.py::test_two_servers_of_one_journal_run_a_key_once",
        ),
    ),
    "install.hosts": Requirement(
        "surefoot install writes each host's own file, in both scopes, where the host looks.",
        "docs/install.md",
        (
            "cli/test_install.py::test_each_host_finds_the_server_in_a_new_file",
            "cli/test_install.py::test_the_files_lie_where_the_hosts_look",
            "foreign/test_claude_code.py::test_claude_code_connects_after_surefoot_install",
        ),
    ),
    "install.untouched": Requirement(
        "All else in a host's file stays, byte for byte, through installing and uninstalling.",
        "docs/install.md",
        (
            "cli/test_install.py::test_all_else_survives_byte_for_byte_there_and_back",
            "cli/test_install.py::test_the_inputs_of_vs_code_and_its_comments_stay",
            "cli/test_install.py::test_an_entry_of_the_same_name_keeps_what_the_user_added",
            "cli/test_install_edit.py::test_nothing_changes_but_our_entry",
            "cli/test_install_edit.py::test_nothing_changes_but_our_entry_in_many_texts",
        ),
    ),
    "install.twice": Requirement(
        "Installing twice changes nothing.",
        "docs/install.md",
        ("cli/test_install.py::test_a_second_time_changes_nothing_and_keeps_no_backup",),
    ),
    "install.dry-run": Requirement(
        "The change is shown first, without other servers' secrets; --dry-run writes nothing.",
        "docs/install.md",
        ("cli/test_install.py::test_a_dry_run_shows_the_change_and_writes_nothing",),
    ),
    "install.check": Requirement(
        "A server that does not list its tools is not installed.",
        "docs/install.md",
        ("cli/test_install.py::test_a_server_that_does_not_answer_is_not_installed",),
    ),
    "install.refused": Requirement(
        "A file that its host cannot read, and a secret to be written, are refused.",
        "docs/install.md",
        (
            "cli/test_install.py::test_a_file_that_its_host_cannot_read_is_refused_and_left_alone",
            "cli/test_install.py::test_bad_usage_is_refused_with_2_and_writes_nothing",
        ),
    ),
    "install.whole": Requirement(
        "A crash, a link or another writer costs nothing: the file is whole, and a backup is kept.",
        "docs/install.md",
        (
            "cli/test_install_file.py::test_a_kill_on_the_way_leaves_the_old_file_whole",
            "cli/test_install_file.py::test_backups_keep_content_and_mode_and_none_is_overwritten",
            "cli/test_install_file.py::test_a_link_stays_a_link_and_its_target_is_written",
            "cli/test_install_file.py::test_what_someone_else_wrote_in_the_meantime_is_not_lost",
        ),
    ),
    "install.command": Requirement(
        "The command that is written is still there later: of uvx and pipx run it is theirs.",
        "docs/install.md",
        (
            "cli/test_install_launch.py::test_an_environment_that_stays_starts_by_its_interpreter",
            "cli/test_install_launch.py::test_of_uvx_it_is_uvx_with_our_version_or_our_place",
            "cli/test_install_launch.py::test_of_pipx_run_it_is_pipx_run",
        ),
    ),
    "install.shadow": Requirement(
        "Started inside a folder with modules of our names, our code runs.",
        "docs/install.md",
        (
            "cli/test_install.py::test_what_is_installed_was_seen_to_answer_in_a_folder_of_traps",
            "cli/test_install_shadow.py::test_what_is_written_heeds_neither_folder_nor_pythonpath",
            "cli/test_install_shadow.py::test_mcp_json_heeds_neither_folder_nor_pythonpath",
            "cli/test_install_shadow.py::test_the_script_does_not_heed_the_folder",
        ),
    ),
    "install.bundle": Requirement(
        "server.json and the MCPB bundle are what the registry and mcpb take, and they serve.",
        "docs/install.md",
        (
            "cli/test_bundle.py::test_every_version_is_that_of_the_package",
            "cli/test_bundle.py::test_server_json_keeps_the_rules_of_the_registry",
            "cli/test_bundle.py::test_the_bundle_is_what_mcpb_takes_for_one",
            "cli/test_bundle.py::test_the_bundle_serves_each_folder_that_was_chosen",
        ),
    ),
    "doctor.hosts": Requirement(
        "doctor says which hosts are there, where surefoot is registered, and if it can start.",
        "docs/install.md",
        (
            "cli/test_install.py::test_doctor_tells_of_each_host_if_surefoot_is_there_and_starts",
            "cli/test_install.py::test_doctor_finds_hosts_that_are_not_there",
        ),
    ),
    "http.metrics": Requirement(
        "Health, readiness and metrics are told on a second port, from this process's own events.",
        HTTP,
        (
            "server/test_metrics.py::test_metrics_say_what_the_journal_says_and_name_nobody",
            "server/test_metrics.py::test_each_attempt_and_receipt_counts_once_whenever_one_looks",
            "server/test_metrics.py::test_probes_tell_a_journal_that_cannot_be_written_from_one_that_can",
        ),
    ),
    "http.spans": Requirement(
        "Spans join the client's trace and tell no contents; a collector away stops nothing.",
        HTTP,
        (
            "server/test_telemetry.py::test_the_servers_span_joins_the_clients_trace_and_tells_no_contents",
            "server/test_telemetry.py::test_over_http_the_trace_of_the_headers_is_joined",
            "server/test_telemetry.py::test_a_collector_that_is_away_is_said_once_and_stops_nothing",
        ),
    ),
    "run.http": Requirement(
        "The driver sends each message once over HTTP, and its books balance through kills.",
        "docs/reference.md",
        (
            "client/test_streamable_http.py::test_what_http_turns_away_is_an_answer_with_its_cause_and_is_not_sent_again",
            "client/test_streamable_http.py::test_a_redirect_within_the_server_is_not_followed_either",
            "client/test_streamable_http.py::test_a_token_goes_to_the_server_and_into_no_message_and_a_wrong_one_is_told",
            "client/test_http_run.py::test_a_run_against_a_surefoot_server_that_somebody_else_started_balances_with_its_journal",
        ),
    ),
    "run.drivers": Requirement(
        "Ten drivers play in one workspace over HTTP; each effect happens once.",
        "docs/reference.md",
        (
            "suites/test_shared.py::test_ten_drivers_at_the_same_time_meet_their_postconditions_and_every_check",
            "suites/test_shared.py::test_a_step_that_one_driver_leaves_out_fails_the_checks",
            "suites/test_shared.py::test_a_call_that_counts_once_made_twice_by_one_driver_fails_the_checks",
            "client/test_drivers.py::test_ten_drivers_outlive_the_kills_of_their_server_and_every_effect_is_there_once",
            "client/test_drivers.py::test_with_a_fresh_key_for_each_send_the_kills_double_effects",
        ),
    ),
    "http.tokens": Requirement(
        "Without a good token nothing is told; a revocation holds from the next request on.",
        HTTP,
        (
            "server/test_principals.py::test_without_a_good_token_nothing_is_told",
            "server/test_principals.py::test_a_revoked_token_is_refused_from_the_next_request_on_also_in_a_session",
            "cli/test_token.py::test_a_token_is_printed_once_and_listed_without_its_text",
            "cli/test_serve_http.py::test_beyond_loopback_nobody_is_served_without_showing_who_they_are",
        ),
    ),
    "http.grants": Requirement(
        "A token calls what it says, in the folders that it says.",
        HTTP,
        (
            "server/test_principals.py::test_a_token_calls_what_it_says_and_lists_no_more",
            "server/test_principals.py::test_a_token_of_one_folder_reaches_no_other",
            "server/test_principals.py::test_a_token_of_a_foreign_root_is_denied_and_told_why",
        ),
    ),
    "http.principals": Requirement(
        "No answer, key or row of one principal is another's.",
        HTTP,
        (
            "server/test_principals.py::test_no_answer_key_or_row_of_one_principal_is_another_s",
            "server/test_principals.py::test_a_session_is_of_the_one_who_began_it",
        ),
    ),
    "wire.conformance": Requirement(
        "The official conformance suite passes, for both requirement sets.",
        "README.md",
        (
            "foreign/test_conformance.py::test_surefoot_passes_what_asks_for_nothing_of_the_suites_own",
            "foreign/test_conformance.py::test_the_server_stack_with_fixtures_passes_every_scored_scenario",
        ),
    ),
    "wire.clients": Requirement(
        "Clients that others wrote list and call, and read an error whole.",
        "README.md",
        (
            "foreign/test_clients.py::test_a_foreign_client_calls_over_stdio_and_reads_an_error_whole",
            "foreign/test_clients.py::test_a_foreign_client_calls_over_http_and_reads_an_error_whole",
            "foreign/test_inspector.py::test_the_inspector_finds_no_fault_with_our_schemas",
            "foreign/test_inspector.py::test_the_inspector_calls_a_tool",
            "foreign/test_inspector.py::test_the_inspector_shows_an_error_whole",
            "foreign/test_inspector.py::test_every_call_of_the_inspectors_load_run_succeeds",
            "foreign/test_claude_code.py::test_claude_code_connects_after_surefoot_install",
        ),
    ),
    "http.oauth": Requirement(
        "An access token counts only if it is its issuer's, for this server, and good; else 401 or"
        " 403 with the metadata. It is nowhere but in its request.",
        HTTP,
        (
            "server/test_oauth_http.py::test_the_metadata_is_told_without_a_token_and_names_the_issuer",
            "server/test_oauth_http.py::test_a_token_that_is_not_good_for_us_is_refused_with_the_metadata",
            "server/test_oauth_http.py::test_scopes_say_what_may_be_called_and_subjects_are_apart",
            "server/test_oauth_http.py::test_a_token_is_nowhere_but_in_its_request",
            "server/test_oauth.py::test_a_token_that_cannot_be_judged_now_may_be_sent_again",
        ),
    ),
    "extension.identity": Requirement(
        "The tools of any MCPServer get keys, replays, doubt and receipts, each by its effect.",
        "docs/extension.md",
        (
            "server/test_extension.py::test_the_server_of_the_docs_sends_one_mail_for_one_key",
            "server/test_extension.py::test_a_call_sent_again_after_a_kill_does_what_its_effect_allows",
            "server/test_extension_calls.py::test_a_key_replays_the_whole_result_and_the_tool_does_not_run_again",
            "server/test_extension_calls.py::test_equal_calls_without_a_key_are_two_calls",
            "server/test_extension_calls.py::test_an_error_reaches_the_client_whole_also_under_its_key_again",
            "server/test_extension_calls.py::test_a_round_that_asks_back_takes_no_key_yet",
            "server/test_extension_calls.py::test_what_the_sdk_refuses_has_a_receipt",
        ),
    ),
    "extension.effects": Requirement(
        "The author declares effects; one of a tool that is not there ends the start.",
        "docs/extension.md",
        (
            "server/test_extension.py::test_tools_are_listed_with_their_effects_and_the_way_to_repeat",
            "server/test_extension.py::test_an_effect_of_a_tool_that_is_not_there_ends_the_start",
            "server/test_extension.py::test_a_call_without_the_lifespan_is_told_what_is_missing",
        ),
    ),
    "wrap.unchanged": Requirement(
        "Before another server, everything but calls passes as the JSON that it is.",
        WRAP,
        (
            "server/test_wrap.py::test_everything_but_calls_passes_as_it_is",
            "server/test_wrap.py::test_progress_and_the_questions_of_a_server_reach_the_client",
            "server/test_wrap.py::test_the_streams_of_news_of_the_later_era_pass_by_their_names",
            "cli/test_wrap_foreign.py::test_the_filesystem_server_is_listed_unchanged_and_a_write_sent_again_is_done_once",
            "cli/test_wrap_foreign.py::test_the_sqlite_server_keeps_its_resources_and_prompts_and_inserts_once",
        ),
    ),
    "wrap.eras": Requirement(
        "A client and a server of different eras understand each other.",
        WRAP,
        (
            "server/test_wrap.py::test_a_client_of_the_later_era_is_translated_for_an_earlier_server",
            "server/test_wrap.py::test_a_client_of_the_earlier_era_is_translated_for_a_later_server",
            "cli/test_wrap_foreign.py::test_a_client_of_the_later_era_has_the_filesystem_server",
        ),
    ),
    "wrap.once": Requirement(
        "A key runs a tool of another server once, whichever side dies; what is unknown is said.",
        WRAP,
        (
            "server/test_wrap.py::test_a_key_that_comes_again_gets_the_whole_result_and_the_tool_runs_once",
            "server/test_wrap.py::test_a_server_that_dies_over_a_call_is_started_again_and_the_call_as_its_effect_allows",
            "server/test_wrap.py::test_a_server_that_is_gone_after_it_has_asked_leaves_doubt",
            "server/test_wrap.py::test_a_server_that_never_starts_is_unavailable_with_its_last_words",
            "cli/test_wrap.py::test_a_call_sent_again_after_a_kill_of_the_proxy_does_what_its_effect_allows",
            "cli/test_wrap.py::test_a_server_killed_in_the_middle_of_a_call_leaves_it_in_doubt_and_the_next_call_runs",
            "cli/test_wrap_foreign.py::test_a_kill_in_the_middle_of_a_call_does_it_once",
        ),
    ),
    "wrap.effects": Requirement(
        "Effects are declared, or come from a server's hints; an argument of its own stays.",
        WRAP,
        (
            "server/test_wrap_tools.py::test_effects_come_from_the_hints_unless_they_are_declared",
            "server/test_wrap_tools.py::test_an_argument_repeat_of_a_tool_that_cannot_be_read_is_its_own",
            "server/test_wrap_tools.py::test_a_server_whose_list_never_comes_is_called_all_the_same_with_all_arguments",
            "cli/test_wrap.py::test_effects_come_from_the_command_line_then_the_file_then_the_hints",
        ),
    ),
    "wrap.apart": Requirement(
        "Another server's key is another key, also one of another folder, query or user.",
        WRAP,
        (
            "server/test_wrap.py::test_the_same_key_before_another_server_is_another_call",
            "server/test_wrap.py::test_the_same_command_in_another_folder_is_another_server",
            "server/test_wrap_http.py::test_another_query_or_user_is_another_server_and_neither_is_told",
        ),
    ),
    "wrap.end": Requirement(
        "A proxy that ends takes its server along; on Linux also one that is killed.",
        WRAP,
        (
            "cli/test_wrap.py::test_a_proxy_that_is_told_to_end_ends_with_its_server",
            "cli/test_wrap.py::test_a_proxy_killed_in_the_middle_of_a_call_takes_its_server_along",
        ),
    ),
    "wrap.http": Requirement(
        "Over HTTP nothing is sent twice or on, no header of the client leaks, and what is known"
        " of a call without an answer is said.",
        WRAP,
        (
            "server/test_wrap_http.py::test_a_server_over_http_is_called_once_for_a_key_and_with_our_headers_alone",
            "server/test_wrap_http.py::test_a_server_over_http_that_is_away_was_not_asked_and_one_that_is_back_is",
            "server/test_wrap_http.py::test_a_server_over_http_that_goes_in_the_middle_of_a_call_leaves_it_in_doubt",
            "server/test_wrap_http.py::test_a_refusal_by_http_says_what_is_known_and_is_not_followed",
        ),
    ),
    "wrap.bounds": Requirement(
        "What a server says without an end is not waited for.",
        WRAP,
        (
            "server/test_wrap_tools.py::test_a_list_of_tools_without_an_end_is_left_and_what_it_told_is_used",
            "server/test_wrap_http.py::test_a_refusal_whose_text_does_not_end_is_read_so_far_and_no_further",
            "server/test_wrap_http.py::test_an_answer_that_is_too_long_is_not_read_to_its_end",
        ),
    ),
}
