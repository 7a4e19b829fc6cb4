//! Whether an answer can be the file that is being fetched, or something else under its name.
//!
//! Hosts answer 200 with a page when they mean no: "one download at a time", a login form, a notice that a link has run
//! out. Bytes that are already there give way to another version of the file and to nothing else, so everything that may
//! replace or continue them is looked at here first: by length, media type and validators, before its body is read.

use crate::journal::Identity;
use crate::net::Response;
use crate::probe::{Answer, Content, Version};
use crate::sink::PartFile;

/// What is shorter says no far more often than it is a film that has become so short.
const SMALL_BYTES: u64 = 64 * 1024;
/// How much of a kept file is looked at to tell text from the rest.
const SNIFFED_BYTES: u64 = 512;

/// Names under which nobody wants a page.
const MEDIA_EXTENSIONS: [&str; 24] = [
    "3gp", "aac", "avi", "avif", "flac", "flv", "gif", "jpeg", "jpg", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpg",
    "oga", "ogg", "opus", "png", "ts", "wav", "webm", "webp",
];

/// The file as it has shown itself so far.
#[derive(Debug, Clone)]
pub struct Likeness {
    total: Option<u64>,
    version: Version,
    media_type: Option<String>,
    is_text: bool,
    is_page: bool,
}

impl Likeness {
    /// Of the answer a download begins with.
    pub fn of(answer: &Answer) -> Self {
        let media_type = media_type(&answer.response);
        Self {
            total: total(&answer.content),
            version: answer.version.clone(),
            is_text: media_type.as_deref().is_some_and(is_text),
            is_page: media_type.as_deref().is_some_and(is_page),
            media_type,
        }
    }

    /// Of what an earlier attempt left. Its media type is not kept; its first bytes are.
    pub fn of_kept(identity: &Identity, version: Version, part: &PartFile) -> Self {
        let start = start_of(part, identity.total);
        let (is_text, is_page) = (reads_as_text(&start), reads_as_page(&start));
        Self { total: Some(identity.total), version, media_type: None, is_text, is_page }
    }

    /// What `answer` is instead of this file, with its article; `None` when it can be the file, in this version or another.
    /// `first` is the first byte that was asked for.
    pub fn stranger(&self, answer: &Answer, first: u64) -> Option<String> {
        let size = total(&answer.content);
        if let (Content::Whole(Some(length)), Some(total)) = (&answer.content, self.total)
            && first > 0
            && *length != total
            && first + length == total
        {
            return Some("the rest of the file under the status of the whole".to_owned());
        }
        let is_same_length = size.is_some() && size == self.total;
        if self.version.is_strong() && is_same_length && self.version.contradiction(&answer.version).is_none() {
            return None;
        }
        let media_type = media_type(&answer.response);
        let shown = match (&media_type, size) {
            (Some(media_type), Some(size)) => format!("({media_type}, {size} bytes)"),
            (Some(media_type), None) => format!("({media_type})"),
            (None, Some(size)) => format!("({size} bytes)"),
            (None, None) => String::new(),
        };
        if media_type.as_deref().is_some_and(is_page) && !self.is_page {
            return Some(format!("a page {shown}"));
        }
        let is_other_text = media_type.as_deref().is_some_and(is_text) && !self.is_text;
        let is_small = size.is_some_and(|size| size <= SMALL_BYTES)
            && self.total.is_none_or(|total| size.is_some_and(|size| size < total));
        let has_other_type = self.media_type.is_some() && media_type != self.media_type;
        let is_far_smaller = matches!((size, self.total), (Some(size), Some(total)) if size < total / 16);
        let has_lost_validators = self.version.is_strong() && !answer.version.is_strong();
        if is_other_text && (is_small || size.is_none())
            || is_small && (has_other_type || has_lost_validators || media_type.is_none() && is_far_smaller)
        {
            return Some(format!("a page or a notice {shown}"));
        }
        None
    }
}

/// What the finished file is when it was to be film, sound or picture, and the site called it a page and sent one.
pub fn page_instead_of_media(part: &PartFile, size: u64, content_type: Option<&str>) -> Option<String> {
    let extension = part.target().extension()?.to_str()?.to_ascii_lowercase();
    let media_type = essence(content_type?)?;
    if !MEDIA_EXTENSIONS.contains(&extension.as_str()) || !is_page(&media_type) {
        return None;
    }
    reads_as_page(&start_of(part, size)).then(|| format!("a page ({media_type}, {size} bytes)"))
}

fn start_of(part: &PartFile, size: u64) -> Vec<u8> {
    let mut start = vec![0; size.min(SNIFFED_BYTES) as usize];
    if part.read_at(&mut start, 0).is_err() {
        start.clear();
    }
    start
}

fn reads_as_text(start: &[u8]) -> bool {
    // A letter of several bytes may be cut at the end.
    let is_utf8 = std::str::from_utf8(start).map_or_else(|cause| cause.error_len().is_none(), |_| true);
    is_utf8 && !start.is_empty() && !start.contains(&0)
}

fn reads_as_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    reads_as_text(start) && start.trim_ascii_start().starts_with(b"<")
}

fn total(content: &Content) -> Option<u64> {
    match content {
        Content::Whole(total) | Content::Part { total, .. } => *total,
    }
}

/// Without its parameters, in lower case.
pub(crate) fn media_type(response: &Response) -> Option<String> {
    essence(response.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?)
}

fn essence(field: &str) -> Option<String> {
    let essence = field.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

fn is_page(media_type: &str) -> bool {
    matches!(media_type, "text/html" | "application/xhtml+xml")
}

pub(crate) fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || ["json", "xml", "javascript"].iter().any(|word| media_type.ends_with(word))
        || media_type == "application/x-www-form-urlencoded"
}
