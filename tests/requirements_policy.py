"""What is promised about rules on commands, the config file, and asking a person."""

from tests.requirement import Requirement

PAGE = "docs/policy.md"

POLICY: dict[str, Requirement] = {
    "policy.parsed": Requirement(
        "Each simple command in a line counts, however it is written and whatever carries it.",
        PAGE,
        (
            "tools/test_commandline.py::test_no_wording_of_a_denied_command_is_allowed",
            "tools/test_commandline.py::test_quotes_and_wrapping_never_turn_a_denied_command_into_an_allowed_one",
            "tools/test_commandline.py::test_what_no_rule_speaks_of_is_allowed",
            "tools/test_commandline.py::test_a_list_is_one_command_and_no_shell_reads_it",
            "tools/test_commandline_bash.py::test_bash_runs_no_denied_program_that_the_rules_did_not_see",
        ),
    ),
    "policy.strictest": Requirement(
        "The strictest action holds, also for what cannot be read.",
        PAGE,
        (
            "tools/test_commandline.py::test_the_strictest_rule_holds_whatever_the_order",
            "tools/test_commandline.py::test_what_cannot_be_read_gets_the_strictest_action_there_is",
            "tools/test_commandline.py::test_what_is_too_much_to_look_into_gets_the_strictest_action",
            "tools/test_commandline.py::test_a_rule_that_allows_looks_narrowly_and_the_default_has_the_rest",
        ),
    ),
    "policy.advice": Requirement(
        "Rules are advice: the ways around that the page shows are there.",
        PAGE,
        ("cli/test_serve_config.py::test_the_ways_around_the_rules_of_the_page_are_as_it_says",),
    ),
    "policy.denied": Requirement(
        "A denied command is refused with the reason, and leaves its key free.",
        PAGE,
        (
            "server/test_asking.py::test_what_a_rule_denies_is_refused_with_its_reason_and_leaves_the_key_free",
            "tools/test_commandline.py::test_a_message_names_the_part_the_rule_and_its_reason_and_no_secret",
        ),
    ),
    "policy.asked": Requirement(
        "A person is asked in both eras and over each transport; only a yes runs it.",
        PAGE,
        (
            "server/test_asking.py::test_a_yes_runs_the_command_once_and_its_key_replays_without_asking_again",
            "server/test_asking.py::test_a_no_runs_nothing_and_leaves_the_key_free",
            "server/test_asking.py::test_a_question_that_nobody_answers_ends_after_a_while",
            "server/test_asking.py::test_a_question_that_nobody_answers_ends_at_the_deadline_of_the_call",
            "server/test_asking.py::test_a_call_that_is_cancelled_while_a_person_is_asked_has_its_receipt",
            "server/test_asking.py::test_over_http_a_person_is_asked_too",
            "server/test_asking.py::test_over_stdio_a_person_is_asked_as_the_config_file_says",
        ),
    ),
    "policy.unable": Requirement(
        "A client that cannot ask is refused with the reason.",
        PAGE,
        ("server/test_asking.py::test_a_client_that_cannot_ask_is_refused_with_the_reason",),
    ),
    "policy.seal": Requirement(
        "A yes counts for the call that was asked about, for a while, also in the next server.",
        PAGE,
        (
            "server/test_asking.py::test_a_yes_counts_for_the_call_that_was_asked_about_alone",
            "server/test_asking.py::test_a_seal_whose_time_is_over_has_the_person_asked_again",
            "server/test_asking.py::test_without_a_key_a_yes_counts_once",
            "server/test_asking.py::test_the_next_server_takes_the_answer_to_a_question_of_the_one_before",
            "server/test_asking.py::test_a_key_that_two_people_say_yes_to_runs_once",
        ),
    ),
    "policy.receipts": Requirement(
        "A round that ends in a question has its receipt, and the books add up.",
        PAGE,
        (
            "server/test_asking.py::test_a_round_that_ends_in_a_question_has_a_receipt_and_the_books_add_up",
        ),
    ),
    "policy.file": Requirement(
        "The config file is read strictly, lies outside of the roots, and the command line wins.",
        PAGE,
        (
            "cli/test_serve_config.py::test_what_is_wrong_in_the_file_is_named_with_its_place",
            "cli/test_serve_config.py::test_a_file_that_tools_could_change_is_refused",
            "cli/test_serve_config.py::test_the_file_speaks_for_options_and_rules_and_the_command_line_wins",
            "cli/test_serve_config.py::test_without_the_parser_rules_are_refused_and_none_are_needed_without_rules",
        ),
    ),
    "policy.probes": Requirement(
        "A command that is known to only read is marked in the journal, and nothing else is.",
        PAGE,
        (
            "tools/test_probes.py::test_the_record_of_a_command_that_only_reads_says_so",
            "tools/test_commandline.py::test_what_only_reads_is_a_probe",
            "tools/test_commandline.py::test_whatever_may_do_more_is_no_probe",
        ),
    ),
}
