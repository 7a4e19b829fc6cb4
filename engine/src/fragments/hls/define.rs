//! Variables of a playlist (`EXT-X-DEFINE`, RFC 8216bis §4.4.2.3) and where they stand.

use std::borrow::Cow;
use std::collections::HashMap;

use url::Url;

use super::attributes::Attributes;
use super::numbered_lines;
use crate::fragments::bounds::{PlaylistLimits, check};
use crate::fragments::refusal::PlaylistError;

/// Values by name.
pub type Variables = HashMap<String, String>;

const TAG: &str = "#EXT-X-DEFINE:";
const MOST_VARIABLES: u64 = 1_000;

/// The text with every `{$name}` replaced, and what it defines. Nothing is copied where nothing is defined.
///
/// The length is counted while it grows: a value may name earlier values, and twenty such lines are a gigabyte.
pub(super) fn substitute<'text>(
    text: &'text str,
    location: &Url,
    limits: &PlaylistLimits,
    inherited: &Variables,
) -> Result<(Cow<'text, str>, Variables), PlaylistError> {
    if !text.contains(TAG) {
        return Ok((Cow::Borrowed(text), Variables::new()));
    }
    let mut variables = Variables::new();
    let mut replaced = String::with_capacity(text.len());
    for (number, line) in numbered_lines(text) {
        let start = replaced.len();
        append(&mut replaced, number, line, &variables, limits)?;
        if let Some(attributes) = replaced[start..].strip_prefix(TAG) {
            let (name, value) = defined(number, attributes, location, inherited)?;
            variables.insert(name, value);
            check("variables", variables.len() as u64, MOST_VARIABLES)?;
        }
        replaced.push('\n');
    }
    Ok((Cow::Owned(replaced), variables))
}

fn append(
    replaced: &mut String,
    number: usize,
    line: &str,
    variables: &Variables,
    limits: &PlaylistLimits,
) -> Result<(), PlaylistError> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{$") {
        let Some((name, remaining)) = after.split_once('}') else { break };
        let value = variables.get(name).ok_or_else(|| {
            PlaylistError::at_line(number, format!("the variable {:?} is not defined", shortened(name)))
        })?;
        replaced.push_str(before);
        replaced.push_str(value);
        check("bytes of text", replaced.len() as u64, limits.text_bytes)?;
        rest = remaining;
    }
    replaced.push_str(rest);
    check("bytes of text", replaced.len() as u64, limits.text_bytes)
}

fn defined(
    number: usize,
    attributes: &str,
    location: &Url,
    inherited: &Variables,
) -> Result<(String, String), PlaylistError> {
    let attributes = Attributes::parse(attributes)
        .ok_or_else(|| PlaylistError::at_line(number, "a quoted value has no closing quote"))?;
    let missing = |name: &str, place: &str| {
        PlaylistError::at_line(number, format!("the variable {:?} is not in {place}", shortened(name)))
    };
    if let Some(name) = attributes.get("NAME") {
        let value = attributes.get("VALUE").unwrap_or_default();
        return Ok((name.to_owned(), value.to_owned()));
    }
    if let Some(name) = attributes.get("IMPORT") {
        let value = inherited.get(name).ok_or_else(|| missing(name, "the playlist that led here"))?;
        return Ok((name.to_owned(), value.clone()));
    }
    let name = attributes
        .get("QUERYPARAM")
        .ok_or_else(|| PlaylistError::at_line(number, "EXT-X-DEFINE has none of NAME, IMPORT and QUERYPARAM"))?;
    let value = location.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let value = value.filter(|value| !value.contains(char::is_control));
    Ok((name.to_owned(), value.ok_or_else(|| missing(name, "the playlist's address"))?))
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, inherited: &Variables) -> Result<String, PlaylistError> {
        let location = Url::parse("https://a.example/i.m3u8?token=9%20x").unwrap();
        substitute(text, &location, &PlaylistLimits::default(), inherited).map(|(text, _)| text.into_owned())
    }

    #[test]
    fn names_queries_and_imports_are_replaced_wherever_they_stand() {
        let text = "#EXT-X-DEFINE:NAME=\"p\",VALUE=\"seg\"\n#EXT-X-DEFINE:QUERYPARAM=\"token\"\n\
                    #EXT-X-DEFINE:IMPORT=\"host\"\n#EXT-X-MAP:URI=\"{$host}/{$p}\"\n{$p}-1.ts?t={$token}\n";
        let inherited = Variables::from([("host".to_owned(), "//b.example".to_owned())]);
        let text = replaced(text, &inherited).unwrap();
        assert!(text.ends_with("#EXT-X-MAP:URI=\"//b.example/seg\"\nseg-1.ts?t=9 x\n"), "{text}");
    }

    #[test]
    fn what_is_not_defined_is_malformed_and_growth_is_bounded() {
        for text in ["#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n{$c}\n", "#EXT-X-DEFINE:IMPORT=\"x\"\n"] {
            assert!(matches!(replaced(text, &Variables::new()), Err(PlaylistError::Malformed { .. })), "{text}");
        }
        let mut bomb = format!("#EXT-X-DEFINE:NAME=\"a0\",VALUE=\"{}\"\n", "x".repeat(1000));
        for index in 1..30 {
            let before = format!("{{$a{}}}", index - 1);
            bomb.push_str(&format!("#EXT-X-DEFINE:NAME=\"a{index}\",VALUE=\"{before}{before}\"\n"));
        }
        assert!(matches!(replaced(&bomb, &Variables::new()), Err(PlaylistError::LimitExceeded { .. })));
    }
}
