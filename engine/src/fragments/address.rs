//! Relative references in playlists, resolved as a browser would.

use url::Url;

use super::refusal::PlaylistError;

const SHOWN_CHARACTERS: usize = 120;

/// Resolves `reference` against `base` and refuses what cannot be requested over HTTP.
///
/// `file:`, `data:`, `concat:` and the like are how a playlist reads another user's files through
/// ffmpeg (CVE-2016-1898, CVE-2023-6605); here they never become a request. Whether the *host* may be
/// reached is decided later, at `connect()`.
pub(crate) fn resolve(base: &Url, reference: &str) -> Result<Url, PlaylistError> {
    let reference = reference.trim();
    let refuse = |problem: &str| PlaylistError::Address {
        address: reference.chars().take(SHOWN_CHARACTERS).collect(),
        problem: problem.to_owned(),
    };
    if reference.is_empty() {
        return Err(refuse("the reference is empty"));
    }
    let mut url = base.join(reference).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("its scheme is not allowed in a playlist"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries credentials"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// As [`resolve`], and besides a `data:` address, which is never requested: a key or a header inside the playlist.
pub(crate) fn resolve_inline(base: &Url, reference: &str) -> Result<Url, PlaylistError> {
    let reference = reference.trim();
    if !reference.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return resolve(base, reference);
    }
    let refuse = |problem: &str| PlaylistError::Address {
        address: reference.chars().take(SHOWN_CHARACTERS).collect(),
        problem: problem.to_owned(),
    };
    let url = Url::parse(reference).map_err(|error| refuse(&error.to_string()))?;
    if super::inline::decode(&url).is_some() { Ok(url) } else { Err(refuse("its data cannot be read")) }
}

/// The address without its query, which is where signatures and tokens live.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://cdn.example/a/b/index.m3u8?token=1").expect("a literal address")
    }

    #[test]
    fn resolves_relative_absolute_and_scheme_relative_references() {
        for (reference, expected) in [
            ("seg.ts", "https://cdn.example/a/b/seg.ts"),
            ("../seg.ts?x=1", "https://cdn.example/a/seg.ts?x=1"),
            ("/root.ts", "https://cdn.example/root.ts"),
            ("//other.example/s.ts", "https://other.example/s.ts"),
            ("http://plain.example/s.ts#part", "http://plain.example/s.ts"),
            ("?only=query", "https://cdn.example/a/b/index.m3u8?only=query"),
        ] {
            assert_eq!(resolve(&base(), reference).expect(reference).as_str(), expected);
        }
    }

    #[test]
    fn refuses_every_scheme_but_http_and_https() {
        for reference in
            ["file:///etc/passwd", "data:text/plain,x", "concat:a|b", "crypto+http://a", "ftp://a/b", "javascript:1"]
        {
            assert!(matches!(resolve(&base(), reference), Err(PlaylistError::Address { .. })), "{reference}");
        }
    }

    #[test]
    fn refuses_credentials_and_empty_references() {
        for reference in ["https://user:secret@host/x", "", "   "] {
            assert!(matches!(resolve(&base(), reference), Err(PlaylistError::Address { .. })), "{reference}");
        }
    }
}
