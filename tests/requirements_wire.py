"""What is promised about the wire: HTTP, foreign clients, the other doors, installation."""

from tests.requirement import Requirement

HTTP = "docs/http.md"

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
}
