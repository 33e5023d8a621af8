"""What is promised about the output of commands, jobs and terminals."""

from tests.requirement import Requirement

SHELL = {
    "output.whole": Requirement(
        "The whole output of a command can be read page by page; what is left out or gone is told.",
        "docs/shell.md",
        (
            "tools/test_shell_output.py::test_head_and_tail_are_the_ends_of_the_stream",
            "tools/test_shell_output.py::test_all_of_a_long_output_can_be_read_page_by_page",
            "tools/test_shell_output.py::test_output_beyond_the_quota_says_what_is_gone",
        ),
    ),
    "output.visible": Requirement(
        "Nothing in output is hidden, a progress bar is folded, and what is no UTF-8 is counted.",
        "docs/shell.md",
        (
            "tools/test_shell_output.py::test_nothing_in_a_line_is_hidden_and_a_progress_bar_is_folded",
            "tools/test_shell_output.py::test_what_is_no_utf_8_is_replaced_and_counted",
        ),
    ),
    "output.order": Requirement(
        "Both streams are told apart, and in the order in which they came.",
        "docs/shell.md",
        (
            "tools/test_shell_output.py::test_both_streams_are_told_apart_and_in_the_order_in_which_they_came",
        ),
    ),
    "command.environment": Requirement(
        "Names that make programs load code are refused.",
        "docs/shell.md",
        ("tools/test_shell_output.py::test_names_that_load_code_are_refused_and_others_are_not",),
    ),
    "command.queue": Requirement(
        "Commands beyond those that run at once wait for a place; beyond the queue, refused.",
        "docs/shell.md",
        (
            "tools/test_places.py::test_a_place_is_queued_for_and_a_full_queue_refuses",
            "tools/test_places.py::test_more_jobs_than_there_is_room_for_are_refused",
        ),
    ),
    "jobs.handed_over": Requirement(
        "A command that outlives its wait goes on as a job.",
        "docs/shell.md",
        ("tools/test_job_tools.py::test_a_command_that_outlives_its_wait_goes_on_as_a_job",),
    ),
    "jobs.read": Requirement(
        "Reading a job returns as soon as there is output, an end, or a wait for input.",
        "docs/shell.md",
        (
            "tools/test_job_tools.py::test_reading_waits_for_output_and_then_for_the_end",
            "tools/test_job_tools.py::test_a_job_that_waits_for_input_says_so",
        ),
    ),
    "jobs.outlive": Requirement(
        "A job outlives its server: the next one takes it over, or it ends after its grace.",
        "docs/shell.md",
        (
            "tools/test_job_tools.py::test_a_job_outlives_its_server_and_the_next_one_holds_it",
            "tools/test_job_tools.py::test_a_job_that_no_server_comes_for_ends_after_its_grace",
        ),
    ),
    "terminal.real": Requirement(
        "A job can have a terminal that takes text and keys, and shows its screen.",
        "docs/shell.md",
        (
            "tools/test_terminals.py::test_a_program_asks_is_answered_and_interrupted",
            "tools/test_terminals.py::test_the_screen_is_what_a_person_would_see",
        ),
    ),
    "shell.session": Requirement(
        "The session of the page goes as it shows.",
        "docs/shell.md",
        ("test_shell_page.py::test_the_session_of_the_page_goes_as_it_shows",),
    ),
}
