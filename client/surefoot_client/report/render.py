"""A summary as text: Markdown, JSON, and the table that a run ends with."""

from collections.abc import Callable, Sequence

from surefoot_client.report.summary import COHERENCE_TURN, ModelSummary, Share, Summary

SIMULATED = (
    "All of it comes from simulated models: their slips are made on purpose, at stated rates. "
    "It says something about the tools and the driver, nothing about any real model."
)
PARTLY_SIMULATED = (
    "Models marked 'simulated' slip on purpose, at stated rates: their rows say nothing about any "
    "real model."
)
INTERVALS = (
    "In brackets: the 95 % Wilson score interval. It takes calls as independent; those of one "
    "sequence are not quite, so that over calls it is a little too narrow."
)
NOT_MEASURED = "not measured"

MATRIX: tuple[tuple[str, Callable[[ModelSummary], Share] | None], ...] = (
    ("tool calls that succeed with no retry", lambda model: model.first_attempt),
    (f"coherent to turn {COHERENCE_TURN}", lambda model: model.coherent),
    ("instruction adherence", None),
    ("output tokens per second", None),
    ("time to first token", None),
    ("tokens per equivalent answer", None),
    ("context window (tokens)", None),
    ("input $ per 1M tokens", None),
    ("output $ per 1M tokens", None),
    ("cached input $ per 1M tokens", None),
    ("outside scores (Terminal-Bench, SWE-bench)", None),
    ("functions correct of those generated", None),
)
"""The rows of the founding article's matrix, and where a summary holds what fills them."""

Table = list[list[str]]
"""Rows of cells; the first row is the head."""


def percent(rate: float | None) -> str:
    """A rate from 0 to 1 with one decimal; a dash for None."""
    return "-" if rate is None else f"{rate * 100:.1f} %"


def share(part: Share) -> str:
    """Count, rate and interval."""
    if part.rate is None or part.low is None or part.high is None:
        return f"{part.count} of {part.total}"
    interval = f"[{part.low * 100:.1f}, {part.high * 100:.1f}]"
    return f"{part.count} of {part.total}, {percent(part.rate)} {interval}"


def name(model: ModelSummary) -> str:
    """The model, and whether it is simulated."""
    return f"{model.model} (simulated)" if model.simulated else model.model


def outcomes(models: Sequence[ModelSummary]) -> Table:
    """What became of calls and trials; a column a model."""
    rows: list[tuple[str, Callable[[ModelSummary], str]]] = [
        ("calls", lambda model: str(model.calls)),
        ("first-attempt success", lambda model: share(model.first_attempt)),
        ("recovered", lambda model: share(model.recovered)),
        ("  by the driver", lambda model: share(model.recovered_by_driver)),
        ("  by the server", lambda model: share(model.recovered_by_server)),
        ("  by the model", lambda model: share(model.recovered_by_model)),
        ("failed", lambda model: share(model.failed)),
        ("in doubt", lambda model: share(model.in_doubt)),
        ("trials passed", lambda model: share(model.trials_passed)),
        ("trials failed", lambda model: share(model.trials_failed)),
        ("trials in doubt", lambda model: share(model.trials_in_doubt)),
        ("trials interrupted", lambda model: str(model.trials_interrupted)),
        ("broke at turn", _broke),
    ]
    return [["", *map(name, models)], *([head, *map(cell, models)] for head, cell in rows)]


def _broke(model: ModelSummary) -> str:
    turns = model.broke_at_turn.items()
    return (
        ", ".join(f"{turn} ({count}x)" if count > 1 else f"{turn}" for turn, count in turns) or "-"
    )


def _matrix(models: Sequence[ModelSummary]) -> Table:
    def cell(model: ModelSummary, of: Callable[[ModelSummary], Share] | None) -> str:
        if of is None or of(model).total == 0:
            return NOT_MEASURED
        return f"{share(of(model))}, measured"

    head = ["metric", *map(name, models)]
    return [head, *([row, *(cell(model, of) for model in models)] for row, of in MATRIX)]


def _tools(model: ModelSummary) -> Table:
    head = ["tool", "calls", "first attempt", "recovered", "failed", "in doubt"]
    return [
        head,
        *(
            [
                tool.tool,
                str(tool.calls),
                share(tool.first_attempt),
                str(tool.recovered.count),
                str(tool.failed.count),
                str(tool.in_doubt.count),
            ]
            for tool in model.by_tool
        ),
    ]


def _counted(
    head: str, models: Sequence[ModelSummary], of: Callable[[ModelSummary], dict[str, int]]
) -> Table:
    keys = sorted({key for model in models for key in of(model)})
    rows = [[key, *(str(of(model).get(key, 0)) for model in models)] for key in keys]
    return [[head, *map(name, models)], *rows]


def _transport(models: Sequence[ModelSummary]) -> Table:
    lost = sorted({reason for model in models for reason in model.lost})
    rows: list[tuple[str, Callable[[ModelSummary], str]]] = [
        ("sends", lambda model: str(model.sends)),
        ("resends", lambda model: str(model.resends)),
        ("latency p50, ms", lambda model: _ms(model.latency.p50)),
        ("latency p90, ms", lambda model: _ms(model.latency.p90)),
        ("latency p99, ms", lambda model: _ms(model.latency.p99)),
    ]
    body = [[head, *map(cell, models)] for head, cell in rows]
    losses = [
        [f"lost: {reason}", *(str(model.lost.get(reason, 0)) for model in models)]
        for reason in lost
    ]
    return [["", *map(name, models)], *body[:2], *losses, *body[2:]]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _markdown(table: Table) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in table]
    head, *rows = escaped
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def notice(summary: Summary) -> str | None:
    """The line on top of every page of simulated models."""
    if not summary.simulated:
        return None
    return SIMULATED if all(model.simulated for model in summary.models) else PARTLY_SIMULATED


def render_markdown(summary: Summary) -> str:
    """The whole report as Markdown."""
    models = summary.models
    parts = ["# surefoot report"]
    banner = notice(summary)
    if banner is not None:
        parts.append(f"> **Simulated.** {banner}")
    parts += [
        f"Run `{run.run}`: suite {run.suite} (`{run.suite_hash[:12]}`), "
        f"{run.ended} of {run.trials} trials ended."
        for run in summary.runs
    ]
    parts += ["## What became of the calls", _markdown(outcomes(models)), INTERVALS]
    parts += ["## The matrix", _markdown(_matrix(models))]
    for model in models:
        parts += [f"## By tool: {name(model)}", _markdown(_tools(model))]
    causes = _counted("cause", models, lambda model: model.by_cause)
    parts += ["## Why first attempts did not succeed", _markdown(causes)]
    parts += ["## Transport", _markdown(_transport(models))]
    return "\n\n".join(parts) + "\n"


def render_json(summary: Summary) -> str:
    """The whole summary as JSON, rates from 0 to 1."""
    return summary.model_dump_json(indent=2) + "\n"


def render_text(summary: Summary) -> str:
    """The table that a run ends with, in aligned columns."""
    table = outcomes(summary.models)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    banner = notice(summary)
    top = [f"Simulated. {banner}", ""] if banner is not None else []
    return "\n".join([*top, *lines]) + "\n"
