"""Drives models through suites of tool calls, records every attempt, and reports."""
