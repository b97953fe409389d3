//! Texts of known length to numbers.
#![forbid(unsafe_code)]

pub const UUID_LENGTH: usize = 36;

pub struct Uuid {
    pub high: u64,
    pub low: u64,
}

/// A canonical UUID that is not nil: lower case, with dashes.
pub fn word_of_uuid(text: &[u8; UUID_LENGTH]) -> Option<Uuid> {
    if [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let eight = |first: &[u8], second: &[u8]| {
        let mut octets = [0; 8];
        octets[..first.len()].copy_from_slice(first);
        octets[first.len()..].copy_from_slice(second);
        u64::from_be_bytes(octets)
    };
    let (a, odd_a) = hexadecimal(eight(&text[0..8], &[]));
    let (b, odd_b) = hexadecimal(eight(&text[9..13], &text[14..18]));
    let (c, odd_c) = hexadecimal(eight(&text[19..23], &text[24..28]));
    let (d, odd_d) = hexadecimal(eight(&text[28..36], &[]));
    let found = Uuid { high: (a << 32) | b, low: (c << 32) | d };
    ((odd_a | odd_b | odd_c | odd_d) == 0 && (found.high | found.low) != 0).then_some(found)
}

/// Eight lower case hexadecimal digits as 32 bits, all at once; the second is not 0 where one of them is no digit.
fn hexadecimal(text: u64) -> (u64, u64) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let letter = (text >> 6) & ONES;
    let digit = (text & (0x0f * ONES)) + letter * 9;
    // What a digit of this value looks like: beyond 9, 39 places further on. None of these sums leaves its byte.
    let above = ((digit + 6 * ONES) >> 4) & ONES;
    let odd = ((digit + u64::from(b'0') * ONES + above * 39) ^ text) | (digit & (0xf0 * ONES));
    let pairs = (digit | (digit >> 4)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    ((fours | (fours >> 16)) & 0xffff_ffff, odd)
}

/// The number that at most eighteen decimal digits say.
pub fn digits(text: &[u8]) -> Option<i64> {
    let mut whole = 0;
    for &letter in text {
        let digit = letter.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        whole = whole * 10 + i64::from(digit);
    }
    Some(whole)
}

/// Microseconds since 1970 of 2026-03-01T00:00:00Z, with up to nine digits of fraction, cut after the sixth.
pub fn micros_of_rfc3339(text: &[u8]) -> Option<i64> {
    const SECONDS: usize = 20;
    let length = text.len();
    if !(length == SECONDS || (SECONDS + 2..=SECONDS + 10).contains(&length)) || text[length - 1] != b'Z' {
        return None;
    }
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| text[at] != mark) {
        return None;
    }
    let (year, month, day) = (digits(&text[0..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || day < 1 || day > days || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    if length > SECONDS {
        if text[SECONDS - 1] != b'.' {
            return None;
        }
        let fraction = &text[SECONDS..length - 1];
        digits(fraction)?;
        for place in 0..6 {
            micros = micros * 10 + i64::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
        }
    }
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

/// Days from 1970 to the first of a month of a year from 1 on; a year is counted from March, so that the leap day ends it.
fn days_before(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - 719_468
}
