//! Reads the lines of a blob that have a known form, as transforms/columns/forms.py does, many times as fast.
//!
//! What a form is, and how it is learned, is said there. This part knows nothing of JSON: it compares bytes, and reads
//! digits at given places.

mod form;
mod texts;

use std::collections::HashMap;

use form::{Form, Number, Places};
use memchr::memchr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The order of a row's words, and of `add`'s arguments: thingbeam asks for the one that it knows.
const LAYOUT: u32 = 1;
/// Forms of one length that are kept: a line that has none of them is compared with each.
const MOST: usize = 64;

struct Known {
    /// Of the order in which it was added.
    number: usize,
    form: Form,
}

/// What was read of a blob.
#[derive(Default)]
struct Found {
    rows: Vec<u8>,
    /// Whether each form has a line.
    used: Vec<bool>,
    /// Where the stretches of lines begin and end that are left.
    left: Vec<i64>,
}

/// The forms that were added.
///
/// Args:
///     earliest: microseconds since 1970; a line of an earlier time is left.
///     latest: of a later one, too.
#[pyclass]
struct Reader {
    earliest: i64,
    latest: i64,
    count: usize,
    by_length: HashMap<usize, Vec<Known>>,
}

impl Reader {
    fn found(&mut self, data: &[u8]) -> Found {
        let mut found = Found { used: vec![false; self.count], ..Found::default() };
        let mut start = 0;
        while start < data.len() {
            let (stop, next) = match memchr(b'\n', &data[start..]) {
                Some(length) => (start + length, start + length + 1),
                None => (data.len(), data.len()),
            };
            match self.row(&data[start..stop]) {
                Some((number, row)) => {
                    found.used[number] = true;
                    row.iter().for_each(|word| found.rows.extend_from_slice(&word.to_le_bytes()));
                }
                None if found.left.last() == Some(&(start as i64)) => *found.left.last_mut().unwrap() = next as i64,
                None => found.left.extend([start as i64, next as i64]),
            }
            start = next;
        }
        found
    }

    fn row(&mut self, line: &[u8]) -> Option<(usize, [u64; 9])> {
        let known = self.by_length.get_mut(&line.len())?;
        let read = |each: &Known| each.form.read(line, self.earliest, self.latest);
        let (at, row) = known.iter().enumerate().find_map(|(at, each)| Some((at, read(each)?)))?;
        let number = known[at].number;
        // What is often seen comes to stand where it is tried early.
        known.swap(at, at.saturating_sub(1));
        Some((number, row))
    }
}

#[pymethods]
impl Reader {
    #[new]
    fn new(earliest: i64, latest: i64) -> Self {
        Reader { earliest, latest, count: 0, by_length: HashMap::new() }
    }

    /// Learn a form.
    ///
    /// Args:
    ///     words: a line, with 0 where lines may differ.
    ///     fixed: 255 where they may not, else 0; as long.
    ///     places: of the time, its length, the ids of device, event and home, and where the home's stands again.
    ///     number: the places of the digits, what their integer is divided by or 0, whether it is negative, and whether
    ///         the first digit must not be 0; or None.
    ///     value: the word of what is no number.
    ///     description: the word of it.
    ///
    /// Returns:
    ///     The number of the form.
    ///
    /// Raises:
    ///     ValueError: a place is not in the line.
    fn add(
        &mut self,
        words: Vec<u8>,
        fixed: Vec<u8>,
        places: (usize, usize, usize, usize, usize, usize),
        number: Option<(Vec<usize>, f64, bool, bool)>,
        value: u64,
        description: u64,
    ) -> PyResult<usize> {
        let (time, time_length, device, event, home, again) = places;
        let places = Places { time, time_length, device, event, home, again };
        let number = number.map(|(places, scale, negative, leading)| Number { places, scale, negative, leading });
        let length = words.len();
        let form = Form::new(words, fixed, places, number, value, description)
            .ok_or_else(|| PyValueError::new_err("a place is not in the line"))?;
        let known = self.by_length.entry(length).or_default();
        // The last is the one that is seen least.
        known.truncate(MOST - 1);
        known.push(Known { number: self.count, form });
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Forget all forms.
    fn clear(&mut self) {
        self.by_length.clear();
        self.count = 0;
    }

    fn __len__(&self) -> usize {
        self.count
    }

    /// Read the lines of a blob.
    ///
    /// Returns:
    ///     The rows of those that have a form, in their order; the numbers of the forms that they have; and where each
    ///     stretch of other lines begins and ends, as 64-bit integers.
    fn read<'py>(&mut self, py: Python<'py>, data: &[u8]) -> (Bound<'py, PyBytes>, Vec<usize>, Bound<'py, PyBytes>) {
        let found = py.allow_threads(|| self.found(data));
        let used = found.used.iter().enumerate().filter_map(|(number, &used)| used.then_some(number)).collect();
        let left: Vec<u8> = found.left.iter().flat_map(|place| place.to_le_bytes()).collect();
        (PyBytes::new(py, &found.rows), used, PyBytes::new(py, &left))
    }
}

#[pymodule]
fn thingbeam_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("LAYOUT", LAYOUT)?;
    module.add_class::<Reader>()
}
