//! The bytes of a playlist or manifest → text.
//!
//! RFC 8216 §4.1 asks for UTF-8 and XML allows UTF-16; a Latin-1 comment in a playlist costs that comment, not the film.

/// Decodes by byte order mark, else by where the zero bytes of the first characters are, else as UTF-8 with replacements.
pub(super) fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<' | b'#', 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, b'<' | b'#', ..] => utf16(bytes, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn utf16(bytes: &[u8], read: impl Fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| read(*pair))).map(|unit| unit.unwrap_or('\u{fffd}')).collect()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn every_encoding_of_a_text_is_the_same_text() {
        let text = "<MPD>\u{e9}\u{1f3ac}</MPD>";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xff, 0xfe], little.as_slice()].concat(),
            [&[0xfe, 0xff], big.as_slice()].concat(),
            little,
            big,
        ] {
            assert_eq!(decode(&bytes), text);
        }
        assert_eq!(decode(b"#EXTM3U\n# caf\xe9\n"), "#EXTM3U\n# caf\u{fffd}\n");
    }
}
