"""The command `surefoot`: the composition root; parses, wires, prints."""
