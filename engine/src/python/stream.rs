//! `Stream`.

use pyo3::prelude::*;

use crate::fragments::{OfferedStream, StreamKind};

/// See the stub.
#[pyclass(name = "Stream", module = "vasset._engine", frozen, get_all)]
pub struct PyStream {
    index: usize,
    kind: &'static str,
    width: Option<u32>,
    height: Option<u32>,
    bandwidth: u64,
    codecs: Option<String>,
    language: Option<String>,
    name: Option<String>,
    audio_group: Option<String>,
    is_default: bool,
    is_separate: bool,
}

impl From<OfferedStream> for PyStream {
    fn from(stream: OfferedStream) -> Self {
        Self {
            index: stream.index,
            kind: match stream.kind {
                StreamKind::Both => "both",
                StreamKind::Video => "video",
                StreamKind::Audio => "audio",
                StreamKind::Other => "other",
            },
            width: stream.width,
            height: stream.height,
            bandwidth: stream.bandwidth,
            codecs: stream.codecs,
            language: stream.language,
            name: stream.name,
            audio_group: stream.audio_group,
            is_default: stream.is_default,
            is_separate: stream.is_separate,
        }
    }
}
