"""What the bench found, as plain text."""

from typing import Any

WIDTH = 42


def show(found: dict[str, Any]) -> str:
    """The whole report; times are medians of rounds, and the minimum of all calls."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in found["machine"].items()),
        f"{found['calls']} calls of each arm in a round; a start is one call. Arms interleaved.",
        "Absolute times are noisy: quote the ratios (median of the ratios of each round, and",
        "the lower and upper quartile of these).",
        "",
        f"{'':{WIDTH}}{'median':>11}{'minimum':>11}   surefoot / this",
    ]
    for row in found["rows"]:
        lines += [_head(row), *(_arm(arm, first=arm is row["arms"][0]) for arm in row["arms"])]
        lines += [f"  {each['name']:{WIDTH - 2}} {each['why']}" for each in row["absent"]]
    if "journal" in found:
        lines += ["", *_journal(found["journal"])]
    if "flushes_per_call" in found:
        lines += ["", *_flushes(found)]
    return "\n".join(lines) + "\n"


def _head(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['rounds']} rounds)"


def _arm(arm: dict[str, Any], *, first: bool) -> str:
    lower, upper = arm["spread"]
    ratio = "" if first else f"{arm['ratio']:>12.2f}  ({lower:.2f} to {upper:.2f})"
    times = f"{_time(arm['median_us']):>11}{_time(arm['minimum_us']):>11}"
    return f"  {arm['name']:{WIDTH - 2}}{times}{ratio}".rstrip()


def _time(microseconds: float) -> str:
    if microseconds >= 1000:
        return f"{microseconds / 1000:.2f} ms"
    return f"{microseconds:.1f} us"


def _journal(row: dict[str, Any]) -> list[str]:
    """Pairs a second, and by how much that is more than the floor's."""
    lines = [_head(row)]
    for arm in row["arms"]:
        times = f"{_time(arm['median_us']):>11}{_time(arm['minimum_us']):>11}"
        rate = f"{1e6 / arm['median_us']:>12.0f} pairs/s"
        of_floor = "" if arm is row["arms"][0] else f", {arm['ratio']:.2f} of the floor's"
        lines.append(f"  {arm['name']:{WIDTH - 2}}{times}{rate}{of_floor}")
    return lines


def _flushes(found: dict[str, Any]) -> list[str]:
    """Flushes a call."""
    counted: dict[str, dict[str, float]] | str = found["flushes_per_call"]
    head = "fsync and fdatasync a call (strace -f)"
    if isinstance(counted, str):
        return [f"{head}: {counted}"]
    return [
        head,
        *(
            f"  {tool:{WIDTH - 2}}{of['journal'] + of['others']:>5.1f}"
            f"   journal {of['journal']:.1f}, files {of['others']:.1f}"
            for tool, of in counted.items()
        ),
    ]
