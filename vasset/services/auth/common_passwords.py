"""Passwords that satisfy the rule (eight, letters and digits) and that every attacker tries first.

Compared without case and without trailing ``!``; lists of leaked passwords agree on these.
"""

from __future__ import annotations

_WORDS = ["password", "passw0rd", "p4ssw0rd", "pa55word", "pa55w0rd", "qwerty", "qwertyuiop", "asdfgh", "asdfghjkl", "zxcvbn", "zxcvbnm", "iloveyou", "welcome", "letmein", "admin", "administrator", "football", "baseball", "basketball", "princess", "sunshine", "superman", "batman", "dragon", "monkey", "master", "shadow", "michael", "jordan", "charlie", "freedom", "whatever", "trustno", "access", "hello", "secret", "summer", "winter", "spring", "autumn", "computer", "internet", "samsung", "google", "facebook", "liverpool", "chelsea", "arsenal", "pokemon", "starwars", "ninja", "killer", "hunter", "soccer", "hockey", "jennifer", "jessica", "ashley", "daniel", "thomas", "andrew", "joshua", "matthew", "anthony", "robert", "william", "nicole", "hannah", "amanda", "test", "testing", "user", "guest", "login", "changeme", "default", "root", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "qwe", "qwer", "qwert", "asd", "asdf", "zxc", "zxcv", "aaa", "aa", "a", "q", "woaini", "nihao", "vasset"]
_TAILS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "01", "02", "10", "11", "12", "13", "21", "22", "23", "69", "77", "88", "99", "00", "007", "111", "123", "321", "666", "777", "888", "999", "1111", "1234", "4321", "12345", "54321", "123456", "654321", "1234567", "12345678", "123456789", "1234567890", "2000", "2010", "2015", "2018", "2019", "2020", "2021", "2022", "2023", "2024", "2025", "2026"]
_PATTERNS = ["1q2w3e4r", "1q2w3e4r5t", "1q2w3e4r5t6y", "1qaz2wsx", "1qaz2wsx3edc", "qaz123wsx", "zaq12wsx", "zaq1zaq1", "q1w2e3r4", "q1w2e3r4t5", "a1b2c3d4", "a1b2c3d4e5", "1a2b3c4d", "1qazxsw2", "qwer1234", "1234qwer", "12qwaszx", "123qweasd", "123qweasdzxc", "qwe123qwe", "asd123asd", "abc123abc", "aa123456", "a123456789", "123456aa", "123456abc", "12345678a", "123456789a", "1234567a", "12345qwert", "123123abc", "123abc123", "abc123456", "g9l2d1fzpy", "x4ivygA51F", "5201314a", "woaini520", "woaini1314", "a5201314", "q123456789", "z123456789", "trustno1trustno1", "trustno1", "letmein1", "ncc1701d", "rush2112", "blink182", "8675309a", "fuckyou1", "superman1", "p@ssw0rd", "p@ssword1", "pa$$w0rd", "passw0rd1", "admin@123", "admin123456", "welcome@123", "test1234", "temp1234"]

COMMON_PASSWORDS = frozenset(
    word.casefold()
    for word in (
        *_PATTERNS,
        *(word + tail for word in _WORDS for tail in _TAILS),
        *(t + w for w in _WORDS for t in _TAILS),
    )
    if len(word) >= 8
)


def is_common(password: str) -> bool:
    return password.casefold().rstrip("!") in COMMON_PASSWORDS
