"""What V-Asset is about, in the standard library only: tasks, media, users, quotas, progress, errors, ports."""
