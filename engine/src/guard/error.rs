//! Why the guard refused, in types and in words.
//!
//! ```text
//! GuardError
//! ├── InvalidUrl          the text is not a URL we fetch, whoever it points to
//! ├── NameDenied          a name that only ever means this machine or network
//! ├── AddressDenied       one of the addresses is not public
//! ├── PortDenied          a port no media is served from
//! ├── NoAddress           the resolver answered with nothing
//! ├── WrongPeer           the kernel is connected to another address than the one we dialled
//! └── InvalidAllowEntry   the operator's allow list cannot be read
//! ```
//!
//! None may be retried: the same attempt is refused again. Messages carry no query, fragment or user information, because
//! media URLs are signed there.

use std::net::IpAddr;

use thiserror::Error;

use super::address::Denial;

/// A connection or URL that the egress guard refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The text is not a URL that may be fetched from anywhere.
    #[error("refused the URL {attempted:?}: {problem}")]
    InvalidUrl {
        /// The URL, shortened and without its secrets.
        attempted: String,
        /// What is wrong with it.
        problem: UrlProblem,
    },
    /// The host is a name reserved for local use.
    #[error("refused to resolve {host:?}: {reason}; an operator can allow this name in VASSET_EGRESS_ALLOW")]
    NameDenied {
        /// The canonical host name.
        host: String,
        /// Why the name is never public.
        reason: &'static str,
    },
    /// At least one address of the host is not public.
    #[error("refused to connect to {host:?} at {address}: {denial}; an operator can allow it in VASSET_EGRESS_ALLOW")]
    AddressDenied {
        /// The host as asked for.
        host: String,
        /// The first of its addresses that is denied.
        address: IpAddr,
        /// The table row that denies it.
        denial: Denial,
    },
    /// The port is closed to downloads.
    #[error(
        "refused to connect to {host:?} on port {port}: media is not served there; an operator can allow {host}:{port} in VASSET_EGRESS_ALLOW"
    )]
    PortDenied {
        /// The host as asked for.
        host: String,
        /// The closed port.
        port: u16,
    },
    /// The name has no addresses.
    #[error("could not resolve {host:?}: the resolver returned no address; check the spelling")]
    NoAddress {
        /// The host as asked for.
        host: String,
    },
    /// The connected socket's peer is not the address that was checked.
    #[error("closed the connection to {host:?}: dialled {dialled} but the kernel reports {peer}")]
    WrongPeer {
        /// The host as asked for.
        host: String,
        /// The address that was classified and dialled.
        dialled: IpAddr,
        /// The address `getpeername` returned.
        peer: IpAddr,
    },
    /// An entry of the allow list is not a host, host:port, address, network or network:port.
    #[error(
        "cannot read the egress allow entry {entry:?}: {problem}; write host, host:port, address, network or network:port"
    )]
    InvalidAllowEntry {
        /// The entry as configured.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl GuardError {
    /// Whether the text was no fetchable URL at all, as opposed to a place that policy closes.
    pub fn is_invalid_url(&self) -> bool {
        matches!(self, Self::InvalidUrl { .. })
    }
}

/// What makes a text no URL for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlProblem {
    /// Longer than [`super::url::LONGEST_URL_BYTES`].
    #[error("it is longer than 8192 bytes")]
    TooLong,
    /// Anything but `http://` or `https://`.
    #[error("only http:// and https:// URLs are fetched")]
    Scheme,
    /// `user:password@`.
    #[error("it carries user information, which hides the real host; pass credentials separately")]
    UserInformation,
    /// `\`, which browsers read as `/` and others do not.
    #[error("it contains a backslash")]
    Backslash,
    /// White space or a control character, plain or as `%00`.
    #[error("it contains white space or a control character")]
    ControlCharacter,
    /// The authority holds a percent sign: an encoded host or an IPv6 zone.
    #[error("its host is percent-encoded or names an IPv6 zone")]
    EncodedHost,
    /// `0x7f.1`, `2130706433`, `127.0.0.1.`, circled or full-width digits.
    #[error("its host is an IP address in an unusual spelling; write it plainly")]
    UnusualAddress,
    /// No host, or none that the WHATWG parser accepts.
    #[error("its host is missing or malformed")]
    Host,
    /// Not a port number, or zero.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A query or fragment that follows the host at once and holds an `@`: parsers disagree on the host.
    #[error("parsers disagree on its host")]
    AmbiguousHost,
    /// yt-dlp would take headers, a referer or a proxy from the fragment.
    #[error("it smuggles extractor options")]
    SmuggledOptions,
}
