//! What an error of the `h2` crate means for the request and for the connection.

use h2::Reason;

use super::super::http1::LARGEST_HEAD_BYTES;

/// Why a request or a body failed.
#[derive(Debug)]
pub enum Fault {
    /// The origin has not looked at the request (RFC 9113 §8.7): it may be sent again at once, on another connection.
    Unprocessed(String),
    /// The origin has no room for the request now.
    Refused(String),
    /// The stream or the connection ended before the body did.
    Ended(String),
    /// This answer breaks the rules of HTTP/2.
    Malformed(String),
    /// The connection breaks the rules of HTTP/2, or the origin asks for HTTP/1.1.
    Unusable(String),
}

impl Fault {
    /// The request never left.
    pub(super) fn unsent(cause: &h2::Error) -> Self {
        match Self::of(cause) {
            Self::Ended(detail) => Self::Unprocessed(detail),
            other => other,
        }
    }

    /// How many times the request may be sent again at once, without this counting as a failure.
    pub fn free_attempts(&self) -> u32 {
        match self {
            Self::Unprocessed(_) => 3,
            Self::Ended(_) | Self::Unusable(_) => 1,
            Self::Refused(_) | Self::Malformed(_) => 0,
        }
    }

    /// Nothing of the answer has come.
    pub(super) fn before_the_head(cause: &h2::Error) -> Self {
        match cause.reason() {
            Some(Reason::REFUSED_STREAM) if cause.is_library() => {
                Self::Malformed(format!("its head is over {LARGEST_HEAD_BYTES} bytes"))
            }
            Some(Reason::PROTOCOL_ERROR) if cause.is_library() && cause.is_reset() => {
                Self::Malformed("its head is not HTTP/2, or contradicts itself".to_owned())
            }
            _ => Self::of(cause),
        }
    }

    /// A part of the body may have come. A stream that `h2` resets by itself is one whose length is not what its
    /// `content-length` said.
    pub(super) fn in_the_body(cause: &h2::Error) -> Self {
        match cause.reason() {
            Some(Reason::PROTOCOL_ERROR) if cause.is_library() && cause.is_reset() => {
                Self::Ended("the body is not as long as its content-length".to_owned())
            }
            _ => match Self::of(cause) {
                Self::Unprocessed(detail) | Self::Refused(detail) => Self::Ended(detail),
                other => other,
            },
        }
    }

    fn of(cause: &h2::Error) -> Self {
        let detail = cause.to_string();
        match cause.reason() {
            Some(Reason::HTTP_1_1_REQUIRED | Reason::INADEQUATE_SECURITY) => Self::Unusable(detail),
            Some(Reason::REFUSED_STREAM | Reason::ENHANCE_YOUR_CALM) if cause.is_remote() => Self::Refused(detail),
            Some(_) if cause.is_go_away() && cause.is_library() => Self::Unusable(detail),
            Some(_) if cause.is_go_away() => Self::Unprocessed(detail),
            Some(_) if cause.is_library() => Self::Malformed(detail),
            _ => Self::Ended(detail),
        }
    }
}
