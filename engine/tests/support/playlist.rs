//! An origin of many small files by path, and encryption as packagers do it.

use std::collections::HashMap;

use aws_lc_rs::cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::file;
use super::origin::Origin;

/// Files by path.
#[derive(Clone, Default)]
pub struct Site {
    files: HashMap<String, Vec<u8>>,
}

impl Site {
    /// An empty site.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn with(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Adds `/0.ts`, `/1.ts` … with contents that cannot be mistaken for one another.
    pub fn with_fragments(mut self, count: usize, length: usize) -> Self {
        for index in 0..count {
            self = self.with(&format!("/{index}.ts"), fragment(index, length));
        }
        self
    }

    /// The bytes at a path.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Serves it honestly; anything else is 404.
    pub fn start(self) -> Origin {
        Origin::start(move |request, wire| match self.bytes(&request.target) {
            Some(bytes) => wire.serve(request, bytes, None),
            None => wire.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        })
    }
}

/// Fragment number `index`; lengths differ a little, so that a swap shifts everything.
pub fn fragment(index: usize, length: usize) -> Vec<u8> {
    file::bytes(7_000 + index as u64, length + index * 3)
}

/// All fragments joined.
pub fn joined(count: usize, length: usize) -> Vec<u8> {
    (0..count).flat_map(|index| fragment(index, length)).collect()
}

/// A media playlist of `/0.ts` … with its end.
pub fn playlist(count: usize) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n");
    for index in 0..count {
        text.push_str(&format!("#EXTINF:4.0,\n{index}.ts\n"));
    }
    text + "#EXT-X-ENDLIST\n"
}

/// AES-128-CBC with PKCS#7 padding.
pub fn encrypted(plain: &[u8], key: [u8; 16], initialization_vector: [u8; 16]) -> Vec<u8> {
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, &key).unwrap()).unwrap();
    let mut bytes = plain.to_vec();
    let context = EncryptionContext::Iv128(FixedLength::from(initialization_vector));
    cipher.less_safe_encrypt(&mut bytes, context).unwrap();
    bytes
}

/// The vector that a media sequence number stands for.
pub fn sequence_vector(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}
