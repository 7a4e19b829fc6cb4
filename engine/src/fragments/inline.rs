//! `data:` addresses (RFC 2397), which hold keys and headers of fragments inside the playlist itself.
//!
//! They are decoded here and never asked for: no request, nothing for the egress guard to judge.

use url::Url;

/// A header or key that is longer than this is no header or key.
const LONGEST_BYTES: usize = 1 << 20;

/// Whether the address holds its own bytes.
pub(super) fn is_inline(url: &Url) -> bool {
    url.scheme() == "data"
}

/// The bytes; `None` when they are none, or too many.
pub(super) fn decode(url: &Url) -> Option<Vec<u8>> {
    let (kind, payload) = url.as_str().strip_prefix("data:")?.split_once(',')?;
    let bytes = unescape(payload)?;
    let bytes = if kind.to_ascii_lowercase().ends_with(";base64") { base64(&bytes)? } else { bytes };
    (bytes.len() <= LONGEST_BYTES).then_some(bytes)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push((digit(rest.next())? << 4 | digit(rest.next())?) as u8);
    }
    Some(bytes)
}

/// Either alphabet, padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_both_alphabets_are_read() {
        for (address, expected) in [
            ("data:;base64,AAECAwQFBgcICQoLDA0ODw==", (0..16).collect::<Vec<u8>>()),
            ("data:video/mp4;base64,-_8%3D", vec![0xfb, 0xff]),
            ("data:text/plain;charset=utf-8,a%20b", b"a b".to_vec()),
            ("data:,", Vec::new()),
        ] {
            assert_eq!(decode(&Url::parse(address).unwrap()), Some(expected), "{address}");
        }
    }

    #[test]
    fn what_is_no_data_is_nothing() {
        for address in ["data:;base64,!!!!", "data:no-comma", "data:,%G1", "https://a.example/,x"] {
            assert_eq!(decode(&Url::parse(address).unwrap()), None, "{address}");
        }
    }
}
