"""What servers tell a supervisor: single bytes, over its line or the FIFO `attend`."""

KILL, DEADLINE, STOP = b"K", b"D", b"X"
"""Orders to end it: the call was cancelled, its caller's deadline is over, a tool stops it."""
HAND_OVER = b"H"
"""Order: nobody waits any more, it is a job from here on."""
SIGNAL = b"S"
"""Order, with the number of a signal in the byte after it: send that to the command."""
END_INPUT = b"E"
"""Order: nothing more comes to its standard input."""
LOOK_FOR_WAITING = b"W"
"""Order: say in the file `waiting` whether it waits for input."""
ENDS = {KILL: "killed", DEADLINE: "deadline", STOP: "stopped"}
