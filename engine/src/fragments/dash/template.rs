//! `$Number%05d$` and its like (ISO/IEC 23009-1 §5.3.9.4.4).

use std::fmt::Write as _;

use crate::fragments::refusal::PlaylistError;

/// The numbers a template can name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identifiers<'manifest> {
    pub(super) representation: &'manifest str,
    pub(super) bandwidth: u64,
    pub(super) number: Option<u64>,
    pub(super) time: Option<u64>,
}

/// Zero padding wider than any 64-bit number is an attempt at memory, not at a name.
const WIDEST: usize = 20;

/// Replaces every identifier; an unknown or unclosed one is malformed, never left in the address.
pub(super) fn expand(template: &str, identifiers: &Identifiers<'_>) -> Result<String, PlaylistError> {
    let malformed = |problem: &str| PlaylistError::at_element(format!("the template {template:?}"), problem);
    let mut expanded = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, remaining) = after.split_once('$').ok_or_else(|| malformed("a $ is not closed"))?;
        rest = remaining;
        let (name, format) = name.split_once('%').map_or((name, None), |(name, format)| (name, Some(format)));
        let width = match format {
            None => 1,
            Some(format) => format
                .strip_suffix('d')
                .and_then(|digits| if digits.is_empty() { Some(1) } else { digits.parse().ok() })
                .filter(|width| *width <= WIDEST)
                .ok_or_else(|| malformed("a width is not %0[1-20]d"))?,
        };
        let number = match name {
            "" => {
                expanded.push('$');
                continue;
            }
            "RepresentationID" => {
                expanded.push_str(identifiers.representation);
                continue;
            }
            "Number" => identifiers.number,
            "Time" => identifiers.time,
            "Bandwidth" => Some(identifiers.bandwidth),
            _ => None,
        };
        let number = number.ok_or_else(|| malformed(&format!("${name}$ has no value here")))?;
        // Writing to a String cannot fail.
        let _ = write!(expanded, "{number:0width$}");
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIERS: Identifiers<'static> =
        Identifiers { representation: "v1", bandwidth: 800, number: Some(7), time: Some(90_000) };

    #[test]
    fn replaces_every_identifier_with_its_padding() {
        for (template, expected) in [
            ("$RepresentationID$/$Number%05d$.m4s", "v1/00007.m4s"),
            ("$Bandwidth$-$Time$.m4s?cost=$$1", "800-90000.m4s?cost=$1"),
            ("plain.mp4", "plain.mp4"),
            ("$Number$", "7"),
        ] {
            assert_eq!(expand(template, &IDENTIFIERS).expect(template), expected);
        }
    }

    #[test]
    fn refuses_unknown_unclosed_and_oversized_identifiers() {
        for template in ["$Nmber$", "$Number", "$Number%99999999d$", "$SubNumber$", "$Number%x$"] {
            assert!(expand(template, &IDENTIFIERS).is_err(), "{template}");
        }
    }
}
