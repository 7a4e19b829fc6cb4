//! Keys of encrypted fragments: each address is fetched once, however many fragments wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use url::Url;

use super::fragment::KeySource;
use super::terms::Terms;
use crate::error::{Error, Result};

/// A key that is longer than this is an error page; 16 is the only right length.
const READ_AT_MOST: usize = 4096;

/// The keys of one download.
#[derive(Default)]
pub(super) struct KeyCache {
    cells: Mutex<HashMap<Url, Arc<OnceCell<[u8; 16]>>>>,
}

impl KeyCache {
    /// The bytes of a key; a failed fetch is tried again by whoever asks next.
    pub(super) async fn get(&self, terms: &Terms, source: &KeySource) -> Result<[u8; 16]> {
        let url = match source {
            KeySource::Bytes(bytes) => return Ok(*bytes),
            KeySource::Address(url) => url,
        };
        let cell = Arc::clone(self.cells.lock().entry(url.as_ref().clone()).or_default());
        cell.get_or_try_init(|| fetch(terms, url)).await.copied()
    }
}

async fn fetch(terms: &Terms, url: &Url) -> Result<[u8; 16]> {
    let (bytes, final_url) = terms.small(url, None, READ_AT_MOST).await?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| Error::lied(&final_url, format!("a key has 16 bytes, this one has {length}")))
}
