//! AES-128-CBC with PKCS#7 padding, streamed (RFC 8216 §4.3.2.4).
//!
//! aws-lc-rs is in the build for TLS already and decrypts 200 KiB fragments at 10.3 GB/s on one core with VAES; the
//! `aes` and `cbc` crates reach 4.9 GB/s on the same machine in the same run.

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::fragment::{Doubt, Encryption};

const BLOCK_BYTES: usize = 16;
/// Enough of the beginning to know media by: two packets of a transport stream.
const RECOGNISED_BYTES: usize = 192;

/// Decrypts one fragment from its first to its last byte.
pub(super) struct Decryptor {
    state: State,
    received: u64,
    /// The beginning of what came out, for a fragment whose padding is missing.
    beginning: Vec<u8>,
    /// The last two blocks that went in.
    tail: [u8; 2 * BLOCK_BYTES],
    key: [u8; BLOCK_BYTES],
}

enum State {
    Certain(StreamingDecryptingKey),
    /// A header whose first block will tell which of the vectors is meant, or that it is clear.
    Undecided {
        held: Vec<u8>,
        vectors: Vec<[u8; BLOCK_BYTES]>,
        fallback: Option<[u8; BLOCK_BYTES]>,
    },
    Clear,
}

impl Decryptor {
    /// `None` when the library refuses a 16-byte key, which it does not.
    pub(super) fn new(key: &[u8; BLOCK_BYTES], encryption: &Encryption) -> Option<Self> {
        let vector = encryption.initialization_vector;
        let undecided =
            |fallback| State::Undecided { held: Vec::new(), vectors: vec![vector, [0; BLOCK_BYTES]], fallback };
        let state = match encryption.doubt {
            Doubt::None => State::Certain(streaming(key, vector)?),
            Doubt::MayBeClear => undecided(Some(vector)),
            Doubt::Guessed => undecided(None),
        };
        let mut tail = [0; 2 * BLOCK_BYTES];
        tail[BLOCK_BYTES..].copy_from_slice(&vector);
        Some(Self { state, received: 0, beginning: Vec::new(), tail, key: *key })
    }

    /// Appends what `encrypted` decrypts to; the last block is held back until [`Decryptor::finish`].
    pub(super) fn update(&mut self, encrypted: &[u8], plain: &mut Vec<u8>) -> Result<(), &'static str> {
        let State::Undecided { held, .. } = &mut self.state else { return self.pass(encrypted, plain) };
        held.extend_from_slice(encrypted);
        if held.len() < BLOCK_BYTES {
            return Ok(());
        }
        let held = std::mem::take(held);
        self.decide(&held)?;
        self.pass(&held, plain)
    }

    /// Appends the rest without its padding. A wrong key or a cut fragment is noticed here, if anywhere.
    pub(super) fn finish(mut self, plain: &mut Vec<u8>) -> Result<(), &'static str> {
        let key = match self.state {
            State::Certain(key) => key,
            State::Clear => return Ok(()),
            State::Undecided { held, .. } if held.is_empty() => return Ok(()),
            State::Undecided { .. } => return Err("it is encrypted and shorter than a block"),
        };
        // Nothing is what packagers put at the end of an empty track, encrypted or not.
        if self.received == 0 {
            return Ok(());
        }
        if !self.received.is_multiple_of(BLOCK_BYTES as u64) {
            return Err("it is encrypted and its length is no multiple of 16");
        }
        let start = plain.len();
        plain.resize(start + BLOCK_BYTES, 0);
        if let Ok(written) = key.finish(&mut plain[start..]) {
            let length = written.written().len();
            plain.truncate(start + length);
            return Ok(());
        }
        // Some encoders leave the padding out. What begins like media was decrypted by the right key, and is whole.
        let last = single_block(&self.key, &self.tail).ok_or("it cannot be decrypted")?;
        plain.truncate(start);
        plain.extend_from_slice(&last);
        self.beginning.extend_from_slice(&last);
        if begins_like_media(&self.beginning) { Ok(()) } else { Err("its padding is wrong: another key, or damaged") }
    }

    fn decide(&mut self, held: &[u8]) -> Result<(), &'static str> {
        let State::Undecided { vectors, fallback, .. } = &self.state else { return Ok(()) };
        if begins_like_a_header(held) {
            self.state = State::Clear;
            return Ok(());
        }
        let first_block = |vector: &[u8; BLOCK_BYTES]| {
            let block = [vector.as_slice(), &held[..BLOCK_BYTES]].concat();
            single_block(&self.key, &block).filter(|plain| begins_like_a_header(plain))
        };
        // Two sequence numbers differ in the last bytes only, where `ftyp` has a version that nearly always is one of these.
        let is_usual = |plain: [u8; BLOCK_BYTES]| matches!(plain[12..], [0, 0, 0, 0 | 1] | [0, 0, 2, 0]);
        let usual = vectors.iter().find(|vector| first_block(vector).is_some_and(is_usual));
        let vector = usual.or_else(|| vectors.iter().find(|vector| first_block(vector).is_some()));
        let vector = vector.copied().or(*fallback);
        let vector = vector.ok_or("it is an encrypted header without a vector, and no guess gives a header")?;
        self.tail[BLOCK_BYTES..].copy_from_slice(&vector);
        self.state = State::Certain(streaming(&self.key, vector).ok_or("it cannot be decrypted")?);
        Ok(())
    }

    fn pass(&mut self, encrypted: &[u8], plain: &mut Vec<u8>) -> Result<(), &'static str> {
        let State::Certain(key) = &mut self.state else {
            plain.extend_from_slice(encrypted);
            return Ok(());
        };
        self.received += encrypted.len() as u64;
        let start = plain.len();
        plain.resize(start + encrypted.len() + BLOCK_BYTES, 0);
        let written = key.update(encrypted, &mut plain[start..]).map_err(|_| "it cannot be decrypted")?;
        let length = written.written().len();
        plain.truncate(start + length);
        if self.beginning.len() < RECOGNISED_BYTES {
            let missing = RECOGNISED_BYTES - self.beginning.len();
            self.beginning.extend_from_slice(&plain[start..start + length.min(missing)]);
        }
        self.remember(encrypted);
        Ok(())
    }

    fn remember(&mut self, encrypted: &[u8]) {
        let fresh = &encrypted[encrypted.len().saturating_sub(self.tail.len())..];
        self.tail.rotate_left(fresh.len());
        let at = self.tail.len() - fresh.len();
        self.tail[at..].copy_from_slice(fresh);
    }
}

fn streaming(key: &[u8; BLOCK_BYTES], vector: [u8; BLOCK_BYTES]) -> Option<StreamingDecryptingKey> {
    let key = UnboundCipherKey::new(&AES_128, key).ok()?;
    StreamingDecryptingKey::cbc_pkcs7(key, DecryptionContext::Iv128(FixedLength::from(vector))).ok()
}

/// Decrypts the second half of two blocks; the first is its vector.
fn single_block(key: &[u8; BLOCK_BYTES], blocks: &[u8]) -> Option<[u8; BLOCK_BYTES]> {
    let (vector, block) = blocks.split_at_checked(BLOCK_BYTES)?;
    let (vector, mut plain): ([u8; BLOCK_BYTES], [u8; BLOCK_BYTES]) = (vector.try_into().ok()?, block.try_into().ok()?);
    let key = DecryptingKey::cbc(UnboundCipherKey::new(&AES_128, key).ok()?).ok()?;
    key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(vector))).ok()?;
    Some(plain)
}

/// The header of an MP4 (a box of a known kind first) or of a Matroska file.
fn begins_like_a_header(bytes: &[u8]) -> bool {
    const BOXES: [&[u8; 4]; 11] =
        [b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"emsg", b"prft", b"free", b"skip", b"mdat", b"uuid"];
    let kind = bytes.get(4..8);
    kind.is_some_and(|kind| BOXES.iter().any(|known| known.as_slice() == kind))
        || bytes.starts_with(b"\x1a\x45\xdf\xa3")
}

fn begins_like_media(bytes: &[u8]) -> bool {
    const PACKET_BYTES: usize = 188;
    let is_stream = bytes.starts_with(b"G") && bytes.get(PACKET_BYTES) == Some(&b'G');
    let is_adts = bytes.starts_with(&[0xff]) && bytes.get(1).is_some_and(|second| second & 0xf6 == 0xf0);
    is_stream || is_adts || begins_like_a_header(bytes) || bytes.starts_with(b"ID3") || bytes.starts_with(b"\x0bw")
}

#[cfg(test)]
mod tests {
    use super::super::fragment::KeySource;
    use super::*;
    use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};

    fn encrypted(plain: &[u8]) -> Vec<u8> {
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, &[3; 16]).unwrap()).unwrap();
        let mut bytes = plain.to_vec();
        key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from([5; 16]))).unwrap();
        bytes
    }

    fn decrypted(bytes: &[u8], step: usize, key: [u8; 16]) -> Result<Vec<u8>, &'static str> {
        doubted(bytes, step, key, [5; 16], Doubt::None)
    }

    fn doubted(
        bytes: &[u8],
        step: usize,
        key: [u8; 16],
        vector: [u8; 16],
        doubt: Doubt,
    ) -> Result<Vec<u8>, &'static str> {
        let key_source = KeySource::Bytes(key);
        let encryption = Encryption { key: key_source, initialization_vector: vector, doubt };
        let mut decryptor = Decryptor::new(&key, &encryption).unwrap();
        let mut plain = Vec::new();
        for piece in bytes.chunks(step) {
            decryptor.update(piece, &mut plain)?;
        }
        decryptor.finish(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn any_cut_into_pieces_decrypts_to_the_same_bytes() {
        for length in [0, 1, 15, 16, 17, 1000, 4096] {
            let plain: Vec<u8> = (0..length).map(|index| index as u8).collect();
            for step in [1, 7, 16, 1000, 5000] {
                assert_eq!(decrypted(&encrypted(&plain), step, [3; 16]).unwrap(), plain, "{length} by {step}");
            }
        }
    }

    #[test]
    fn cut_and_empty_fragments_and_wrong_keys_are_errors() {
        let bytes = encrypted(&[200; 100]);
        assert!(decrypted(&bytes[..100], 50, [3; 16]).is_err());
        assert!(decrypted(&bytes[..96], 50, [3; 16]).is_err());
        assert!(decrypted(&bytes, 50, [4; 16]).is_err());
        assert_eq!(decrypted(&[], 50, [3; 16]).unwrap(), b"", "an empty fragment holds nothing");
    }

    #[test]
    fn media_without_padding_is_whole_and_noise_without_padding_is_an_error() {
        for (beginning, is_media) in [(&b"\0\0\0\x18ftypisom"[..], true), (b"G", true), (b"no media", false)] {
            for blocks in [12, 40] {
                let mut plain = vec![200; 16 * blocks];
                plain[..beginning.len()].copy_from_slice(beginning);
                if let Some(sync) = plain.get_mut(188) {
                    *sync = b'G';
                }
                let whole = encrypted(&plain);
                for step in [1, 16, 1000] {
                    let found = decrypted(&whole[..plain.len()], step, [3; 16]);
                    assert_eq!(found.ok(), is_media.then(|| plain.clone()), "{blocks} blocks by {step}");
                }
            }
        }
    }

    #[test]
    fn the_first_block_of_a_header_tells_its_vector_and_whether_it_is_clear() {
        let plain = b"\0\0\0\x18ftypiso6 and the rest of a header";
        let other = b"nothing that is known as a header at all";
        for step in [1, 7, 100] {
            let doubted = |bytes: &[u8], vector, doubt| doubted(bytes, step, [3; 16], vector, doubt);
            assert_eq!(doubted(plain, [9; 16], Doubt::Guessed).unwrap(), plain, "clear");
            assert_eq!(doubted(plain, [9; 16], Doubt::MayBeClear).unwrap(), plain, "clear");
            assert_eq!(doubted(&encrypted(plain), [5; 16], Doubt::Guessed).unwrap(), plain);
            assert!(doubted(&encrypted(plain), [9; 16], Doubt::Guessed).is_err(), "a wrong guess is never used");
            assert!(doubted(&encrypted(other), [5; 16], Doubt::Guessed).is_err(), "nor one that cannot be checked");
            assert_eq!(doubted(&encrypted(other), [5; 16], Doubt::MayBeClear).unwrap(), other, "the author's word");
        }
    }
}
