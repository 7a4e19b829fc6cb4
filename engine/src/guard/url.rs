//! One reading of a URL, or none.
//!
//! Server-side request forgery lives on two parsers disagreeing. So there is one WHATWG parser (the `url` crate), its
//! output is the only thing anybody connects by, and texts on which well-known parsers disagree are refused instead of
//! repaired: user information, backslashes, controls, encoded hosts, unusual spellings of addresses.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ::url::Url;

use super::error::{GuardError, UrlProblem};

/// The longest URL that is read at all.
pub const LONGEST_URL_BYTES: usize = 8 * 1024;

/// What yt-dlp's `smuggle_url` puts behind `#`; a URL from outside that holds it would set headers or a proxy.
const SMUGGLE_MARK: &[u8] = b"__youtubedl_smuggle";

/// The host of a [`GuardedUrl`]: a canonical name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A lower-case ASCII (punycode) name without a trailing dot.
    Name(String),
    /// A literal address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// Writes an IPv6 address without brackets, as resolvers and certificates want it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// An http or https URL in canonical form, with a host everybody reads the same.
///
/// Made by [`super::EgressPolicy::check_url`], which also applies the policy; [`GuardedUrl::parse`] alone does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GuardedUrl {
    url: Url,
    host: Host,
    port: u16,
}

impl GuardedUrl {
    /// Reads `text`, refusing what is ambiguous; says nothing about where it points.
    pub fn parse(text: &str) -> Result<Self, GuardError> {
        parse(text).map_err(|problem| GuardError::InvalidUrl { attempted: redact(text), problem })
    }

    /// Reads a reference found at this URL: a redirect's `Location`, a playlist's URI.
    ///
    /// An absolute reference is held to the same strictness as a URL from outside; the parser's repairs would hide what
    /// was written. Only raw spaces are forgiven, because servers really send them.
    pub fn join(&self, reference: &str) -> Result<Self, GuardError> {
        let reference = reference.trim_matches(' ').replace(' ', "%20");
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.url.scheme()));
        }
        if has_scheme(&reference) {
            return Self::parse(&reference);
        }
        let invalid = |problem| GuardError::InvalidUrl { attempted: redact(&reference), problem };
        refuse_suspicious_text(&reference).map_err(invalid)?;
        let joined = self.url.join(&reference).map_err(|_| invalid(UrlProblem::Host))?;
        Self::parse(joined.as_str())
    }

    /// The canonical URL. Its fragment is kept: some sites route by it.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Display for GuardedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

fn parse(text: &str) -> Result<GuardedUrl, UrlProblem> {
    let forgiven = with_spaces_escaped(text);
    let text = forgiven.as_ref();
    refuse_suspicious_text(text)?;
    let authority = written_authority(text)?;
    let (written_host, written_port) = split_authority(authority)?;
    let mut url = Url::parse(text).map_err(|_| UrlProblem::Host)?;
    let host = canonical_host(&url, written_host)?;
    if let Host::Name(name) = &host {
        url.set_host(Some(name)).map_err(|_| UrlProblem::Host)?;
    }
    // IDNA drops soft hyphens and percent-encoding lengthens: what is handed on is held to the same rules.
    refuse_suspicious_text(url.as_str())?;
    let port = url.port_or_known_default().ok_or(UrlProblem::Port)?;
    if port == 0 || written_port.is_some_and(|written| written != port) {
        return Err(UrlProblem::Port);
    }
    Ok(GuardedUrl { url, host, port })
}

fn refuse_suspicious_text(text: &str) -> Result<(), UrlProblem> {
    if text.len() > LONGEST_URL_BYTES {
        return Err(UrlProblem::TooLong);
    }
    if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(UrlProblem::ControlCharacter);
    }
    if text.contains('\\') {
        return Err(UrlProblem::Backslash);
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    if decoded.contains(&0) {
        return Err(UrlProblem::ControlCharacter);
    }
    if decoded.windows(SMUGGLE_MARK.len()).any(|window| window.eq_ignore_ascii_case(SMUGGLE_MARK)) {
        return Err(UrlProblem::SmuggledOptions);
    }
    Ok(())
}

/// Addresses are copied with spaces in their paths, and everybody escapes those. Before the path a space stays what it is: no
/// part of any address.
fn with_spaces_escaped(text: &str) -> Cow<'_, str> {
    let path = text.find("://").and_then(|at| text[at + 3..].find(['/', '?', '#']).map(|end| at + 3 + end));
    match path {
        Some(path) if text[path..].contains(' ') => {
            Cow::Owned([&text[..path], &text[path..].replace(' ', "%20")].concat())
        }
        _ => Cow::Borrowed(text),
    }
}

/// The text between `scheme://` and the first `/`, `?` or `#`, as it was written.
fn written_authority(text: &str) -> Result<&str, UrlProblem> {
    let (scheme, rest) = text.split_once(':').ok_or(UrlProblem::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlProblem::Scheme);
    }
    let rest = rest.strip_prefix("//").ok_or(UrlProblem::Host)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return Err(UrlProblem::UserInformation);
    }
    if !tail.starts_with('/') && tail.contains('@') {
        return Err(UrlProblem::AmbiguousHost);
    }
    if authority.contains('%') {
        return Err(UrlProblem::EncodedHost);
    }
    Ok(authority)
}

/// Whether a reference is absolute (RFC 3986 §4.3): letters and a colon before anything else.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.'))
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UrlProblem> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlProblem::Host)? + 1;
        let (host, tail) = authority.split_at(end);
        match tail.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if tail.is_empty() => (host, None),
            None => return Err(UrlProblem::Host),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(UrlProblem::Host);
    }
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

pub(super) fn parse_port(text: &str) -> Result<u16, UrlProblem> {
    let is_plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain {
        return Err(UrlProblem::Port);
    }
    text.parse::<u16>().ok().filter(|port| *port != 0).ok_or(UrlProblem::Port)
}

/// Compares what was written with what the parser made of it.
fn canonical_host(url: &Url, written: &str) -> Result<Host, UrlProblem> {
    match url.host().ok_or(UrlProblem::Host)? {
        ::url::Host::Ipv4(address) if written == address.to_string() => Ok(Host::Address(IpAddr::V4(address))),
        ::url::Host::Ipv4(_) => Err(UrlProblem::UnusualAddress),
        ::url::Host::Ipv6(address) => Ok(Host::Address(IpAddr::V6(address))),
        ::url::Host::Domain(name) => canonical_name(name).map(Host::Name),
    }
}

/// Lower-cases, applies IDNA, drops one trailing dot and checks lengths. `name` is the parser's output.
pub(super) fn canonical_name(name: &str) -> Result<String, UrlProblem> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
    if name.len() > 253 || !labels_fit {
        return Err(UrlProblem::Host);
    }
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_plain {
        return Err(UrlProblem::Host);
    }
    if name.parse::<Ipv4Addr>().is_ok() || name.parse::<Ipv6Addr>().is_ok() {
        return Err(UrlProblem::UnusualAddress);
    }
    Ok(name.to_owned())
}

/// The URL for a message: no user information, query or fragment, controls escaped by `{:?}`, at most 200 characters.
pub fn redact(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let visible = &text[..end];
    let visible = match (visible.find("//"), visible.rfind('@')) {
        (Some(slashes), Some(at)) if at > slashes => {
            format!("{}//…@{}", &visible[..slashes], &visible[at + 1..])
        }
        (None, Some(at)) => format!("…@{}", &visible[at + 1..]),
        _ => visible.to_owned(),
    };
    match visible.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &visible[..cut]),
        None => visible,
    }
}
