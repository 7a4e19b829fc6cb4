//! Which key applies to which segment (RFC 8216 §4.3.2.4).

use std::sync::Arc;

use url::Url;

use super::attributes::Attributes;
use crate::fragments::address::resolve;
use crate::fragments::fragment::{Encryption, KeySource};
use crate::fragments::refusal::PlaylistError;

/// The key format that means "the URI answers with the 16 bytes themselves".
const IDENTITY: &str = "identity";

#[derive(Debug, Clone)]
enum Method {
    Aes128 { key_url: Arc<Url>, initialization_vector: Option<[u8; 16]> },
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
                key_url: Arc::new(resolve(base, reference)?),
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
        self.select(|explicit| Ok(explicit.unwrap_or(vector)))
    }

    /// Encryption of an `EXT-X-MAP`, which has no sequence number and so must carry its IV: a guess
    /// would turn the first 16 bytes of the file to noise without any error.
    pub(super) fn of_map(&self, line: usize) -> Result<Option<Encryption>, PlaylistError> {
        self.select(|explicit| {
            explicit.ok_or_else(|| {
                PlaylistError::at_line(
                    line,
                    "an encrypted EXT-X-MAP needs an explicit IV on its key (RFC 8216 §4.3.2.5)",
                )
            })
        })
    }

    fn select(
        &self,
        vector: impl FnOnce(Option<[u8; 16]>) -> Result<[u8; 16], PlaylistError>,
    ) -> Result<Option<Encryption>, PlaylistError> {
        for (_, method) in &self.by_format {
            if let Method::Aes128 { key_url, initialization_vector } = method {
                return Ok(Some(Encryption {
                    key: KeySource::Address(Arc::clone(key_url)),
                    initialization_vector: vector(*initialization_vector)?,
                }));
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

fn parse_vector(line: usize, text: &str) -> Result<[u8; 16], PlaylistError> {
    let malformed =
        || PlaylistError::at_line(line, format!("the IV {text:?} is not 0x and up to 32 hexadecimal digits"));
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(malformed)?;
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    u128::from_str_radix(digits, 16).map(u128::to_be_bytes).map_err(|_| malformed())
}
