"""The fault campaign: many users, a nemesis, a history, and a checker that decides afterwards what was promised and not kept.

``python -m tests.faults.campaign --help``; ``docs/fault-campaign.md`` says what it found.
"""
