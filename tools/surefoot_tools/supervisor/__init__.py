"""The program that runs commands and outlives the server: a keeper, and a supervisor each.

    server == line ==> keeper -- fork --> supervisor -- fork, exec --> command and all it starts

It is a process of its own in a bare interpreter: it imports the standard library alone, starts in
some milliseconds and is small, so that forking it is cheap. The server's side of it is
`surefoot_tools.shell.jobs`; what it leaves on disk is read by `surefoot_tools.shell.record`.

The keeper takes no more work when its server is gone, and ends after its last supervisor. A
supervisor owns one command: its time, its output, its tree of processes, and the record of how it
ended. When somebody kills the supervisor itself, its orphans fall to the keeper, which kills them.

On Linux both are child subreapers (prctl(2), PR_SET_CHILD_SUBREAPER): every daemon that a command
makes is their child in the end, so 'no child left' means 'nothing left'. Elsewhere (macOS) the
command's process group is killed; what has left it escapes, and a command whose supervisor was
killed runs on.
"""
