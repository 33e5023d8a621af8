"""Confining a command: what it may see, what it may ask of the kernel, and how much it may take.

    server      `Sandbox` looks once at what this machine can do, and makes a plan for each command
    supervisor  `enter` carries it out: a child goes into the room, gives up rights, becomes the
                command

Two mechanisms, the better first:

bubblewrap  makes a room: namespaces, and a file system of what a command needs and nothing else.
            Our child enters it by setns(2), so that the command is still a child of its supervisor:
            the status that wait(2) gives, the signals it gets and the errno of its exec are its own
            and not bubblewrap's. The room's first process does nothing but stay: with it all ends.
landlock    where no room can be made: the kernel's own list of what may be opened (landlock(7)).

In both the child gives up its capabilities and the way to new ones (no_new_privs), takes a seccomp
filter and resource limits, and makes itself the first choice of the OOM killer.

No library is used for this. `pyseccomp` (0.1.2) needs libseccomp beside it; `landlock` is a
development release of 2025. The keeper would have to import them, and it is to stay small; a filter
is a list of numbers, landlock three system calls. What the supervisor imports (`enter`, `kernel`,
`filter`, `landlock`) needs the standard library alone.
"""
