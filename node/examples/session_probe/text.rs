//! Values that Java shows as text: UUIDs, instants, bytes in hex.

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from hex of either case.
pub(crate) fn bytes_from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok())
        .collect()
}

/// A UUID in its usual form of 8-4-4-4-12 digits.
pub(crate) fn uuid(text: &str) -> Option<u128> {
    let groups: Vec<&str> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = groups.concat();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok()
}

/// As `UUID.toString`.
pub(crate) fn uuid_text(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// Seconds since 1970 and nanoseconds of `2024-02-29T12:34:56.789Z`, years 0000 to 9999.
pub(crate) fn instant(text: &str) -> Option<(i64, u32)> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds, nanos))
}

/// As `Instant.toString`: no fraction, or as many groups of three digits as it needs.
pub(crate) fn instant_text(seconds: i64, nanos: u32) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year}"),
        _ => format!("-{:04}", -year),
    };
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1000 == 0 => format!(".{:06}", nanos / 1000),
        nanos => format!(".{nanos:09}"),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let digits = |part: &&str| part.bytes().all(|digit| digit.is_ascii_digit());
    if parts.iter().map(|part| part.len()).ne(widths) || !parts.iter().all(digits) {
        return None;
    }
    let numbers: Option<Vec<i64>> = parts.iter().map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar before the year.
fn days_before_year(year: i64) -> i64 {
    let last = year - 1;
    365 * year + last.div_euclid(4) - last.div_euclid(100) + last.div_euclid(400)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    days_before_year(year) - days_before_year(1970) + months + day - 1
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + days_before_year(1970);
    // 146,097 days are 400 years: at most a year off.
    let mut year = (days * 400).div_euclid(146_097);
    while days_before_year(year) > days {
        year -= 1;
    }
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_before_year(year);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_shown_as_java_shows_them() {
        #[rustfmt::skip]
        let cases: &[(&str, i64, u32)] = &[
            ("1970-01-01T00:00:00Z",            0,              0),
            ("1969-12-31T23:59:59Z",            -1,             0),
            ("2000-02-29T00:00:00Z",            951_782_400,    0),
            ("2024-02-29T12:34:56.789Z",        1_709_210_096,  789_000_000),
            ("2024-12-31T23:59:59.000001Z",     1_735_689_599,  1000),
            ("2100-03-01T00:00:00.123456789Z",  4_107_542_400,  123_456_789),
            ("0000-01-01T00:00:00Z",            -62_167_219_200, 0),
            ("9999-12-31T23:59:59Z",            253_402_300_799, 0),
        ];
        for (text, seconds, nanos) in cases {
            assert_eq!(instant(text), Some((*seconds, *nanos)), "{text}");
            assert_eq!(&instant_text(*seconds, *nanos), text);
        }
        assert_eq!(instant_text(253_402_300_800, 0), "+10000-01-01T00:00:00Z");
        assert_eq!(instant_text(-62_167_219_201, 0), "-0001-12-31T23:59:59Z");
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_has_one_date() {
        let mut before = date_of(-800_000);
        for day in -799_999..100_000 {
            let date @ (year, month, of_month) = date_of(day);
            assert!(date > before);
            assert_eq!(days_since_1970(year, month, of_month), day);
            before = date;
        }
    }
}
