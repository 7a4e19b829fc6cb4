//! Attribute lists: `NAME=value,NAME="quoted, value"` (RFC 8216 §4.2).

/// The attributes of one tag, borrowed from its line.
#[derive(Debug, Default)]
pub(super) struct Attributes<'line> {
    pairs: Vec<(&'line str, &'line str)>,
}

impl<'line> Attributes<'line> {
    /// Splits at commas outside quotes. `None` when a quote is left open: the rest of the line would
    /// be a guess.
    pub(super) fn parse(mut text: &'line str) -> Option<Self> {
        let mut pairs = Vec::new();
        loop {
            text = text.trim_start_matches([',', ' ', '\t']);
            if text.is_empty() {
                return Some(Self { pairs });
            }
            let Some((name, rest)) = text.split_once('=') else {
                // A bare word without a value, as some packagers write; it carries nothing.
                return Some(Self { pairs });
            };
            let (value, after) = match rest.trim_start().strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => rest.split_once(',').unwrap_or((rest, "")),
            };
            pairs.push((name.trim(), value.trim()));
            text = after;
        }
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&'line str> {
        self.pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// A decimal integer; a fraction, as some packagers compute it, is cut off.
    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        let text = self.get(name)?;
        let fraction = || text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        text.parse().ok().or_else(|| fraction().map(|number| number as u64))
    }

    /// `YES` is true, all else false.
    pub(super) fn yes(&self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_commas_outside_quotes_only() {
        let attributes = Attributes::parse(r#"BANDWIDTH=1280000,CODECS="avc1.4d,mp4a.40", RESOLUTION=1x2"#)
            .expect("a well-formed list");
        assert_eq!(attributes.integer("BANDWIDTH"), Some(1_280_000));
        assert_eq!(attributes.get("CODECS"), Some("avc1.4d,mp4a.40"));
        assert_eq!(attributes.get("RESOLUTION"), Some("1x2"));
        assert_eq!(attributes.get("ABSENT"), None);
        let decimal = Attributes::parse("A=7680000.6,B=-1,C=1e3,D=x").expect("a well-formed list");
        assert_eq!((decimal.integer("A"), decimal.integer("B")), (Some(7_680_000), None));
        assert_eq!((decimal.integer("C"), decimal.integer("D")), (Some(1_000), None));
    }

    #[test]
    fn refuses_an_open_quote() {
        assert!(Attributes::parse(r#"URI="never closed,IV=0x1"#).is_none());
    }

    #[test]
    fn keeps_the_first_of_two_equal_names() {
        let attributes = Attributes::parse("A=1,A=2").expect("a well-formed list");
        assert_eq!(attributes.get("A"), Some("1"));
    }
}
