//! One form, and what a line that has it says. The rules are those of `Form` in transforms/columns/form.py.
#![forbid(unsafe_code)]

use crate::texts::{digits, micros_of_rfc3339, word_of_uuid, Uuid, UUID_LENGTH};

/// The length of a number of milliseconds since 1970; a time of any other length is RFC 3339.
const MILLIS_DIGITS: usize = 13;
/// A double holds each integer of so many.
const MOST_DIGITS: usize = 15;
/// Bytes that are compared before it is asked whether all were the same.
const BLOCK: usize = 64;

/// Where the digits of a number stand, and what their integer is divided by: nothing where it is 0.
pub struct Number {
    pub places: Vec<usize>,
    pub scale: f64,
    pub negative: bool,
    /// The first digit must not be 0.
    pub leading: bool,
}

impl Number {
    /// The bits of the number of a line.
    fn read(&self, line: &[u8]) -> Option<u64> {
        let mut whole: i64 = 0;
        for &place in &self.places {
            let digit = line[place].wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            whole = whole * 10 + i64::from(digit);
        }
        if self.leading && line[self.places[0]] == b'0' {
            return None;
        }
        let value = if self.scale == 0.0 {
            (if self.negative { -whole } else { whole }) as f64
        } else if self.negative {
            -(whole as f64 / self.scale)
        } else {
            whole as f64 / self.scale
        };
        Some(value.to_bits())
    }
}

/// Where ids and time stand in a line.
pub struct Places {
    pub time: usize,
    pub time_length: usize,
    pub device: usize,
    pub event: usize,
    pub home: usize,
    /// Where the home's id stands a second time, or `home`.
    pub again: usize,
}

pub struct Form {
    /// The line, with 0 where lines may differ.
    words: Vec<u8>,
    /// 255 where they may not.
    fixed: Vec<u8>,
    places: Places,
    number: Option<Number>,
    value: u64,
    description: u64,
}

impl Form {
    /// None where a place is not in the line.
    pub fn new(
        words: Vec<u8>,
        fixed: Vec<u8>,
        places: Places,
        number: Option<Number>,
        value: u64,
        description: u64,
    ) -> Option<Form> {
        let within = |at: usize, length: usize| at.checked_add(length).map_or(false, |end| end <= words.len());
        let ids = [places.device, places.event, places.home, places.again];
        let digits = number.as_ref().map_or(&[][..], |number| &number.places);
        let good = fixed.len() == words.len()
            && ids.iter().all(|&at| within(at, UUID_LENGTH))
            && within(places.time, places.time_length)
            && digits.iter().all(|&at| within(at, 1))
            && (digits.len() <= MOST_DIGITS && digits.is_empty() == number.is_none());
        good.then_some(Form { words, fixed, places, number, value, description })
    }

    /// Whether a line of the form's length is the same at all places that are fixed.
    fn has(&self, line: &[u8]) -> bool {
        let differ = |((line, fixed), words): ((&[u8], &[u8]), &[u8])| {
            let pairs = line.iter().zip(fixed).zip(words);
            pairs.fold(0u8, |all, ((line, fixed), word)| all | ((line & fixed) ^ word)) != 0
        };
        let blocks = line.chunks(BLOCK).zip(self.fixed.chunks(BLOCK)).zip(self.words.chunks(BLOCK));
        !blocks.into_iter().any(differ)
    }

    /// The row of a line of the form's length, in the order of `ROW` in schemas/batch.py, if it has the form.
    pub fn read(&self, line: &[u8], earliest: i64, latest: i64) -> Option<[u64; 9]> {
        if line.len() != self.words.len() || !self.has(line) {
            return None;
        }
        let places = &self.places;
        let value = match &self.number {
            None => self.value,
            Some(number) => number.read(line)?,
        };
        let uuid = |at: usize| -> Option<Uuid> { word_of_uuid(line[at..at + UUID_LENGTH].try_into().ok()?) };
        if line[places.home..places.home + UUID_LENGTH] != line[places.again..places.again + UUID_LENGTH] {
            return None;
        }
        let (device, event, home) = (uuid(places.device)?, uuid(places.event)?, uuid(places.home)?);
        let text = &line[places.time..places.time + places.time_length];
        let time = if text.len() == MILLIS_DIGITS {
            if text[0] == b'0' {
                return None;
            }
            digits(text)? * 1000
        } else {
            micros_of_rfc3339(text)?
        };
        if time < earliest || time > latest {
            return None;
        }
        let row =
            [time as u64, device.high, device.low, event.high, event.low, home.high, home.low, value, self.description];
        Some(row)
    }
}
