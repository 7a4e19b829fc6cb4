//! Which key applies to which segment (RFC 8216 §4.3.2.4).

use std::sync::Arc;

use url::Url;

use super::attributes::Attributes;
use crate::fragments::address::resolve_inline;
use crate::fragments::fragment::{Doubt, Encryption, KeySource};
use crate::fragments::inline;
use crate::fragments::refusal::PlaylistError;

/// The key format that means "the URI answers with the 16 bytes themselves".
const IDENTITY: &str = "identity";

#[derive(Debug, Clone)]
enum Method {
    Aes128 { key: KeySource, initialization_vector: Option<[u8; 16]> },
    Other { name: String },
}

/// The keys in force at one line of the playlist, one per `KEYFORMAT`.
///
/// Several `EXT-X-KEY` tags with different formats describe the *same* encryption for different
/// players, so one identity key among DRM ones is enough. Refusal waits until a segment needs a key.
#[derive(Debug, Default)]
pub(super) struct KeysInForce {
    by_format: Vec<(String, Method)>,
}

impl KeysInForce {
    /// Applies one `EXT-X-KEY` tag.
    pub(super) fn apply(&mut self, line: usize, attributes: &Attributes<'_>, base: &Url) -> Result<(), PlaylistError> {
        let name = attributes.get("METHOD").ok_or_else(|| PlaylistError::at_line(line, "EXT-X-KEY has no METHOD"))?;
        if name == "NONE" {
            self.by_format.clear();
            return Ok(());
        }
        let format = attributes.get("KEYFORMAT").unwrap_or(IDENTITY).to_owned();
        let method = if name == "AES-128" && format == IDENTITY {
            let reference =
                attributes.get("URI").ok_or_else(|| PlaylistError::at_line(line, "an AES-128 key has no URI"))?;
            Method::Aes128 {
                key: key_source(line, resolve_inline(base, reference)?)?,
                initialization_vector: attributes.get("IV").map(|text| parse_vector(line, text)).transpose()?,
            }
        } else {
            Method::Other { name: name.to_owned() }
        };
        self.by_format.retain(|(existing, _)| *existing != format);
        self.by_format.push((format, method));
        Ok(())
    }

    /// Encryption of a media segment; without an explicit IV its sequence number is the IV.
    pub(super) fn of_segment(&self, media_sequence: u64) -> Result<Option<Encryption>, PlaylistError> {
        let mut vector = [0; 16];
        vector[8..].copy_from_slice(&media_sequence.to_be_bytes());
        self.select(|explicit| (explicit.unwrap_or(vector), Doubt::None))
    }

    /// Encryption of an `EXT-X-MAP`, which has no sequence number and so should carry its IV (RFC 8216 §4.3.2.5). Where
    /// it does not, players take zero or the number of the next segment, and packagers often leave the map clear: its
    /// first block shows which, and a guess that shows nothing is an error.
    pub(super) fn of_map(&self, media_sequence: u64) -> Result<Option<Encryption>, PlaylistError> {
        let mut vector = [0; 16];
        vector[8..].copy_from_slice(&media_sequence.to_be_bytes());
        self.select(|explicit| match explicit {
            Some(explicit) => (explicit, Doubt::MayBeClear),
            None => (vector, Doubt::Guessed),
        })
    }

    fn select(
        &self,
        vector: impl FnOnce(Option<[u8; 16]>) -> ([u8; 16], Doubt),
    ) -> Result<Option<Encryption>, PlaylistError> {
        for (_, method) in &self.by_format {
            if let Method::Aes128 { key, initialization_vector } = method {
                let (initialization_vector, doubt) = vector(*initialization_vector);
                return Ok(Some(Encryption { key: key.clone(), initialization_vector, doubt }));
            }
        }
        match self.by_format.first() {
            None => Ok(None),
            Some((format, Method::Other { name })) if format == IDENTITY => {
                Err(PlaylistError::unsupported(format!("the encryption method {name}")))
            }
            Some((format, _)) => Err(PlaylistError::Drm { system: format.clone() }),
        }
    }
}

/// A key inside the playlist needs no request.
fn key_source(line: usize, url: Url) -> Result<KeySource, PlaylistError> {
    if !inline::is_inline(&url) {
        return Ok(KeySource::Address(Arc::new(url)));
    }
    let bytes = inline::decode(&url).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(KeySource::Bytes)
        .ok_or_else(|| PlaylistError::at_line(line, "a key inside the playlist has not 16 bytes"))
}

/// Up to 32 hexadecimal digits; RFC 8216 wants `0x` before them, not every packager does.
fn parse_vector(line: usize, text: &str) -> Result<[u8; 16], PlaylistError> {
    let malformed = || PlaylistError::at_line(line, format!("the IV {text:?} is not up to 32 hexadecimal digits"));
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    u128::from_str_radix(digits, 16).map(u128::to_be_bytes).map_err(|_| malformed())
}
