"""The durable record of receipts, calls and attempts; the only place where anything is counted."""
