//! How moments, durations, special numbers and bytes are written: one text each, as OData and RFC 4648 have it.

use std::fmt;

use jiff::Timestamp;

/// A moment as it was written. The offset changes nothing about when it is, only which day and hour it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub at: Timestamp,
    /// Minutes east of UTC.
    pub offset: i16,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Moment {
        Moment { at, offset: 0 }
    }
}

impl Moment {
    /// The calendar and the clock where it was written.
    pub fn local(self) -> jiff::civil::DateTime {
        let offset = jiff::tz::Offset::from_seconds(i32::from(self.offset) * 60).unwrap_or(jiff::tz::Offset::UTC);
        offset.to_datetime(self.at)
    }
}

/// RFC 3339, with `Z` for UTC.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset == 0 {
            return self.at.fmt(f);
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        write!(f, "{}{sign}{:02}:{:02}", self.local(), minutes / 60, minutes % 60)
    }
}

/// A duration in its canonical form of days, hours, minutes and seconds: `P1DT2H`, `-PT0.5S`, `PT0S`.
pub fn duration_text(span: jiff::SignedDuration) -> String {
    use std::fmt::Write;
    let seconds = span.as_secs().unsigned_abs();
    let nanos = span.subsec_nanos().unsigned_abs();
    let mut text = String::from(if span.is_negative() { "-P" } else { "P" });
    let mut part = |number: u64, unit: &str| {
        if number > 0 {
            let _ = write!(text, "{number}{unit}");
        }
    };
    part(seconds / 86_400, "D");
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if hours > 0 || minutes > 0 || seconds > 0 || nanos > 0 {
        text.push('T');
        let mut part = |number: u64, unit: &str| {
            if number > 0 {
                let _ = write!(text, "{number}{unit}");
            }
        };
        part(hours, "H");
        part(minutes, "M");
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            let _ = write!(text, "{seconds}.{}S", fraction.trim_end_matches('0'));
        } else {
            part(seconds, "S");
        }
    }
    if text.ends_with('P') {
        text.push_str("T0S");
    }
    text
}

/// The words of OData for numbers that are none.
pub fn infinite(number: f64) -> &'static str {
    match number {
        number if number.is_nan() => "NaN",
        number if number < 0.0 => "-INF",
        _ => "INF",
    }
}

/// Base64url without padding (RFC 4648, section 5).
pub fn base64url(bytes: &[u8]) -> String {
    base64_with(bytes, b'-', b'_')
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut text = base64_with(bytes, b'+', b'/');
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// With these as the last two digits, and without padding.
fn base64_with(bytes: &[u8], sixty_two: u8, sixty_three: u8) -> String {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digit = |at: u32| match at {
        62 => sixty_two,
        63 => sixty_three,
        at => DIGITS[at as usize],
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(digit(group >> (18 - 6 * at) & 63)));
        }
    }
    text
}
