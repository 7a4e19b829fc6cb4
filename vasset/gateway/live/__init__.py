"""Live progress: one bus subscription a process, fanned out to sockets in memory."""
