"""How many files and connections this process may open: as many as the system lets it, and never all of them for strangers."""

from __future__ import annotations

import resource

WANTED = 65_536
FOR_OURSELVES = 512
"""Downloads, children, database and logs; a quarter where there is not even that much."""


def raise_limit() -> None:
    """The soft limit, 1,024 on most systems for the sake of ``select``, which nothing here uses, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_strangers(wanted: int) -> int:
    """``wanted``, or what is left when the rest of the process has its share."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(16, min(wanted, soft - min(FOR_OURSELVES, soft // 4)))
