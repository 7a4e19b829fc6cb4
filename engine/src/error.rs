//! Every way a download can end badly, with whether trying again may help.
//!
//! A message says what was attempted, on what, and what to do next. URLs in messages have lost their query and
//! userinfo (`shown`): signatures and tokens live there, and errors end up in logs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::guard::GuardError;

/// What this crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether what stood in a connection's way may be gone the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A reset, a lost packet, a resolver that is busy.
    Passing,
    /// Nobody listens, the name is unknown, the proxy says no: seldom gone within seconds.
    Standing,
    /// A certificate that is not trusted, a peer that does not speak TLS as we do: somebody has to change it.
    Final,
}

impl Obstacle {
    /// Reads it off the cause. The resolver's errors carry no code, so that its own word for "try again" decides.
    pub fn of(cause: &std::io::Error) -> Self {
        use rustls::Error as Tls;
        if let Some(tls) = cause.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
            return match tls {
                Tls::InvalidCertificate(_) | Tls::InvalidMessage(_) | Tls::PeerIncompatible(_) => Self::Final,
                _ => Self::Standing,
            };
        }
        let is_unknown_name = |words: &str| words.contains("failed to lookup address") && !words.contains("emporary");
        match cause.kind() {
            std::io::ErrorKind::ConnectionRefused
            | std::io::ErrorKind::NotFound
            | std::io::ErrorKind::PermissionDenied => Self::Standing,
            _ if is_unknown_name(&cause.to_string()) => Self::Standing,
            _ => Self::Passing,
        }
    }
}

/// The one error of the engine; `code` is stable, the text is for people.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request contradicts itself.
    #[error("the request is invalid: {0}")]
    InvalidRequest(String),
    /// Recognised, and not something this engine does.
    #[error("{0} is not supported by the engine")]
    Unsupported(String),
    /// A playlist came where media was asked for.
    #[error("{url} is a playlist, not a media file; join it instead")]
    Playlist {
        /// Shown form of the URL.
        url: String,
    },
    /// The egress policy refuses the place; the guard's own words.
    #[error("{0}")]
    EgressDenied(String),
    /// The origin's final status is not success.
    #[error("GET {url} answered {status}")]
    HttpStatus {
        /// Shown form of the URL.
        url: String,
        /// The status.
        status: u16,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// 403 or 410: a signed URL has probably run out.
    #[error(
        "GET {url} answered {status}: the site refuses this address (it may have expired, or be bound to another visitor); ask the site for a fresh one and continue the same target"
    )]
    UrlExpired {
        /// Shown form of the URL.
        url: String,
        /// 403 or 410.
        status: u16,
    },
    /// The origin's file is no longer the one the download began with.
    #[error("the file at {url} changed during the download: {detail}; start again when it is stable")]
    OriginChanged {
        /// Shown form of the URL.
        url: String,
        /// What differs.
        detail: String,
    },
    /// The answer contradicts itself or what was asked.
    #[error("the origin's answer for {url} cannot be believed: {detail}")]
    OriginLied {
        /// Shown form of the URL.
        url: String,
        /// The contradiction.
        detail: String,
    },
    /// Something else came than the file: a login form, a notice, the tail under the name of the whole.
    #[error("the site answered with {found} instead of the file at {url}{}", kept_words(*is_kept))]
    Page {
        /// Shown form of the URL.
        url: String,
        /// What came, with its article.
        found: String,
        /// Whether an earlier answer was the file: then its bytes wait for the next one.
        is_kept: bool,
    },
    /// The connection ended before the body did.
    #[error("the connection to {place} ended early: {detail}")]
    Truncated {
        /// Host and port.
        place: String,
        /// How it ended.
        detail: String,
    },
    /// Name, connect or TLS failure.
    #[error("cannot {what} {place}: {detail}")]
    Connect {
        /// The attempted step, as a verb phrase.
        what: &'static str,
        /// Host and port.
        place: String,
        /// The system's words.
        detail: String,
        /// Whether it may be gone the next time.
        obstacle: Obstacle,
    },
    /// A connect, header, idle, low-speed or total bound was reached.
    #[error("{what} of {place} took longer than {seconds} s")]
    Timeout {
        /// Which bound.
        what: &'static str,
        /// Host and port, or the target.
        place: String,
        /// The bound.
        seconds: f64,
    },
    /// All bytes arrived, and they are not the promised ones.
    #[error("{path}: the {algorithm} of the bytes is {actual}, promised was {expected}; nothing was published")]
    DigestMismatch {
        /// The target.
        path: String,
        /// Which hash.
        algorithm: &'static str,
        /// Promised, in hex.
        expected: String,
        /// Found, in hex.
        actual: String,
    },
    /// A bound in bytes, redirects, fragments or depth.
    #[error("{what} is over the limit of {limit}")]
    LimitExceeded {
        /// What was counted.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The target's name is taken.
    #[error("{path} exists and is never replaced; move it away or choose another name")]
    TargetExists {
        /// The target.
        path: String,
    },
    /// No room.
    #[error("the disk is full: cannot {what} {path} ({detail}); free space, then continue the same target")]
    DiskFull {
        /// The attempted step.
        what: &'static str,
        /// On which file.
        path: String,
        /// The system's words.
        detail: String,
    },
    /// The disk refused for another reason than room.
    #[error("cannot {what} {path}: {detail}")]
    Storage {
        /// The attempted step.
        what: &'static str,
        /// On which file.
        path: String,
        /// The system's words.
        detail: String,
    },
    /// Somebody else holds the part file.
    #[error("{path} is being written by another download; wait for it or choose another target")]
    JournalLocked {
        /// The part file.
        path: String,
    },
    /// `cancel` or `close` was called.
    #[error("the download was cancelled; its journal stays, the same target continues it")]
    Cancelled,
    /// This process was forked from the engine's.
    #[error("the engine was made before fork(); make one in the child process")]
    Forked,
}

impl Error {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::Unsupported(_) => "unsupported",
            Self::Playlist { .. } => "playlist",
            Self::EgressDenied(_) => "egress_denied",
            Self::HttpStatus { .. } => "http_status",
            Self::UrlExpired { .. } => "url_expired",
            Self::OriginChanged { .. } => "origin_changed",
            Self::OriginLied { .. } => "origin_lied",
            Self::Page { .. } => "page",
            Self::Truncated { .. } => "truncated",
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::TargetExists { .. } => "target_exists",
            Self::DiskFull { .. } => "disk_full",
            Self::Storage { .. } => "storage",
            Self::JournalLocked { .. } => "journal_locked",
            Self::Cancelled => "cancelled",
            Self::Forked => "forked",
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn retryable(&self) -> bool {
        match self {
            Self::HttpStatus { status, .. } => crate::retry::is_passing_status(*status),
            Self::Connect { obstacle, .. } => *obstacle != Obstacle::Final,
            Self::Page { is_kept, .. } => *is_kept,
            Self::OriginChanged { .. }
            | Self::Truncated { .. }
            | Self::Timeout { .. }
            | Self::DiskFull { .. }
            | Self::JournalLocked { .. } => true,
            _ => false,
        }
    }

    /// Turns a file error into its own class: `ENOSPC`, `EDQUOT` and `EFBIG` (the process's own bound of a file, or the
    /// file system's) are not like the others.
    pub fn storage(what: &'static str, path: &Path, cause: &std::io::Error) -> Self {
        let (path, detail) = (path.display().to_string(), cause.to_string());
        match cause.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG) => {
                Self::DiskFull { what, path, detail }
            }
            _ => Self::Storage { what, path, detail },
        }
    }

    pub(crate) fn target_exists(path: &Path) -> Self {
        Self::TargetExists { path: path.display().to_string() }
    }

    pub(crate) fn journal_locked(path: PathBuf) -> Self {
        Self::JournalLocked { path: path.display().to_string() }
    }

    pub(crate) fn lied(url: &Url, detail: impl Into<String>) -> Self {
        Self::OriginLied { url: shown(url), detail: detail.into() }
    }

    pub(crate) fn page(url: &Url, found: String, is_kept: bool) -> Self {
        Self::Page { url: shown(url), found, is_kept }
    }

    pub(crate) fn connect(what: &'static str, place: &str, cause: &std::io::Error) -> Self {
        let (place, detail, obstacle) = (place.to_owned(), cause.to_string(), Obstacle::of(cause));
        Self::Connect { what, place, detail, obstacle }
    }

    pub(crate) fn changed(url: &Url, detail: impl Into<String>) -> Self {
        Self::OriginChanged { url: shown(url), detail: detail.into() }
    }
}

impl From<GuardError> for Error {
    fn from(refusal: GuardError) -> Self {
        if refusal.is_invalid_url() {
            Self::InvalidRequest(refusal.to_string())
        } else {
            Self::EgressDenied(refusal.to_string())
        }
    }
}

fn kept_words(is_kept: bool) -> &'static str {
    if is_kept { "; what was fetched before is kept" } else { "" }
}

/// The URL as it may appear in a message: no userinfo, query or fragment.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    let mut text = shown.to_string();
    if text.len() > 200 {
        let cut = (0..=200).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}
