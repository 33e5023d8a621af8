"""Reports: `summary` derives what a run has shown from its records, `render` writes it down."""

from surefoot_client.report.render import render_json, render_markdown, render_text
from surefoot_client.report.summary import Summary, summarize

__all__ = ["Summary", "render_json", "render_markdown", "render_text", "summarize"]
