//! Durations as Go's time.ParseDuration has them, which callers write: `5s`, `100ms`, `1m30s`, `1.5h`.

use std::time::Duration;

/// Each unit in nanoseconds. The longer name of two that begin alike comes first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    // U+00B5 and U+03BC: both are micro.
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration that is longer than nothing.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let nanoseconds = if unsigned == "0" { Some(0) } else { sum(unsigned) };
    match nanoseconds {
        // runc's words.
        Some(0) => Err("duration interval must be greater than 0".to_owned()),
        Some(_) if text.starts_with('-') => Err("duration interval must be greater than 0".to_owned()),
        Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        None => Err("not a duration such as 5s, 100ms or 1m30s".to_owned()),
    }
}

/// Numbers with their units, one after the other; `None` if it is not that, or too long for Go (292 years).
fn sum(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, each) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(times(number, *each)?)?;
        rest = after;
    }
    (!text.is_empty() && i64::try_from(sum).is_ok()).then_some(sum)
}

/// A decimal number of units; what is less than a nanosecond is cut off.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // With 12 digits of it, an hour is right to less than a nanosecond.
    let digits = fraction.get(..fraction.len().min(12))?;
    let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? * u128::from(unit) / scale };
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn what_go_takes_is_taken() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("+2us", 2_000),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h0.000000001s", 3_600_000_000_001),
            ("7ns", 7),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn nothing_and_less_is_refused_in_runcs_words() {
        for text in ["0", "0s", "-1s", "-0", "0h0m0s", "-5ms", "0.0000000001s"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, "duration interval must be greater than 0", "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5x",
            "5 s",
            " 5s",
            "5s ",
            "1..5s",
            ".s",
            "1e3s",
            "5S",
            "--5s",
            "-",
            "1h2",
            "9999999h9",
            "\u{b5}s",
            "3000000h",
        ] {
            assert!(parse(text).unwrap_err().starts_with("not a duration"), "{text}");
        }
    }
}
