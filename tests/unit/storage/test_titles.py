"""Titles from hostile sites become harmless file names (F1–F36)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasset.adapters.storage.titles import MAX_TITLE_BYTES, safe_ext, safe_title

HOSTILE = {
    "F1 parent folders": ("../../etc/passwd", "_.._etc_passwd"),
    "F2 parent": ("..", "video"),
    "F3 here": (".", "video"),
    "F4 empty": ("", "video"),
    "F5 both slashes": ("a/b\\c", "a_b_c"),
    "F6 absolute": ("/etc/x", "_etc_x"),
    "F7 drive": ("C:\\x", "C__x"),
    "F8 share": ("\\\\srv\\x", "__srv_x"),
    "F9 device": ("CON", "_CON"),
    "F10 device with ext": ("nul.mp4", "_nul.mp4"),
    "F11 port": ("COM1", "_COM1"),
    "F12 trailing dot": ("x.mp4.", "x.mp4"),
    "F13 spaces": (" x ", "x"),
    "F14 option": ("-rf", "rf"),
    "F15 long option": ("--exec=id", "exec=id"),
    "F16 home": ("~root", "root"),
    "F17 substitution": ("$(id)", "$(id)"),
    "F18 backticks": ("`id`", "`id`"),
    "F19 template": ("%(id)s", "%(id)s"),
    "F20 percent nul": ("a%00.mp4", "a%00.mp4"),
    "F21 NUL": ("a\0b", "ab"),
    "F22 header": ("x\r\nSet-Cookie: a=b", "x Set-Cookie_ a=b"),
    "F23 bidi": ("\u202egpj.exe", "gpj.exe"),
    "F24 fullwidth": ("．．／x", "_x"),
    "F25 fraction slash": ("a\u2044b", "a_b"),
    "F29 lone surrogate": ("a\ud800b", "ab"),
    "F32 hidden": (".htaccess", "htaccess"),
    "F35 markup": ("<script>", "_script_"),
    "F36 header parameter": ('"; filename=evil', "_; filename=evil"),
    "zero width": ("a\u200bb\ufeffc", "abc"),
    "superscript port": ("COM¹", "_COM¹"),
    "device with space": ("aux .txt", "_aux .txt"),
}


@pytest.mark.parametrize(("title", "name"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_title_becomes_a_harmless_name(title: str, name: str) -> None:
    assert safe_title(title) == name


@pytest.mark.parametrize("title", ["测" * 200, "💣" * 100, "a" * 256, "é" * 200, "👨‍👩‍👧‍👦" * 40, "🇩🇪" * 60, "ก็" * 100])
def test_a_long_title_is_cut_between_characters_people_see(title: str) -> None:
    """F26–F28: a family emoji, a flag, a Thai vowel are never halved."""
    unit = title[: len(title) // 200 or 1] if title[0] in "测éa" else None
    name = safe_title(title)
    assert 150 < len(name.encode()) <= MAX_TITLE_BYTES
    assert title.startswith(name) or unicodedata.normalize("NFC", title).startswith(name)
    rest = unicodedata.normalize("NFC", title)[len(name) :]
    assert not rest or unicodedata.category(rest[0]) not in {"Mn", "Mc", "Me"}
    assert not name.endswith("\u200d")
    assert unit is None or set(name) == set(unit)
    if "🇩" in title:
        assert name.count("🇩") == name.count("🇪")
    if "👨" in title:
        assert name.count("👨") == name.count("👦")


def test_two_spellings_of_one_letter_are_one_name() -> None:
    """F30."""
    assert safe_title("e\u0301") == safe_title("é") == "é"


@pytest.mark.parametrize("ext", ["mp4/../../x.sh", "desktop", "exe", "html", "svg", "", "m3u8", "p\0h", "PHP"])
def test_an_extension_that_could_run_or_render_becomes_bin(ext: str) -> None:
    """F33, F34."""
    assert safe_ext(ext) == "bin"


def test_a_media_extension_is_kept_in_lower_case() -> None:
    assert safe_ext("MP4") == safe_ext(".mp4") == "mp4"


@given(st.text(max_size=300))
def test_any_text_becomes_one_safe_component(title: str) -> None:
    name = safe_title(title)
    assert name
    assert len(name.encode()) <= MAX_TITLE_BYTES
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name[0] not in ".-~ "
    assert name[-1] not in ". "
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    assert safe_title(name) == name
