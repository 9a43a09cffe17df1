//! The lengths of GS1 application identifiers (AIs) and of their values.
//!
//! Source: GS1 General Specifications, section 3.2 (release 25, January 2025), checked against the GS1 Barcode Syntax
//! Dictionary (Apache-2.0). A value that has parts (a country and a text, say) is given by its length as a whole.
//! Neighbours that are rare and always need a separator are one row, with the length of the longest.

/// A range of AIs of equally many digits, with the same format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    first: &'static str,
    last: &'static str,
    /// Length of a value in bytes; where both are the same, no separator has to follow.
    pub(super) bytes_min: usize,
    pub(super) bytes_max: usize,
    has_digits_only: bool,
}

impl Format {
    /// Whether a value has characters that the format allows; its length is not looked at.
    pub(super) fn allows(&self, value: &str) -> bool {
        let is_allowed = if self.has_digits_only { u8::is_ascii_digit } else { u8::is_ascii_graphic };
        value.bytes().all(|byte| is_allowed(&byte))
    }
}

/// Digits of a fixed number.
const fn fixed(first: &'static str, last: &'static str, digits: usize) -> Format {
    Format { first, last, bytes_min: digits, bytes_max: digits, has_digits_only: true }
}

/// Digits up to a number; an empty value is accepted and ignored.
const fn digits(first: &'static str, last: &'static str, bytes_max: usize) -> Format {
    Format { first, last, bytes_min: 0, bytes_max, has_digits_only: true }
}

/// Letters, digits and signs up to a number; an empty value is accepted and ignored.
const fn text(first: &'static str, last: &'static str, bytes_max: usize) -> Format {
    Format { first, last, bytes_min: 0, bytes_max, has_digits_only: false }
}

const FORMATS: [Format; 65] = [
    fixed("00", "00", 18),
    fixed("01", "03", 14),
    text("10", "10", 20),
    fixed("11", "13", 6),
    fixed("15", "17", 6),
    fixed("20", "20", 2),
    text("21", "22", 20),
    text("235", "235", 28),
    text("240", "241", 30),
    digits("242", "242", 6),
    text("243", "243", 20),
    text("250", "251", 30),
    text("253", "253", 30),
    text("254", "254", 20),
    digits("255", "255", 25),
    digits("30", "30", 8),
    fixed("3100", "3695", 6),
    digits("37", "37", 8),
    digits("3900", "3909", 15),
    digits("3910", "3919", 18),
    digits("3920", "3929", 15),
    digits("3930", "3939", 18),
    fixed("3940", "3943", 4),
    fixed("3950", "3955", 6),
    text("400", "401", 30),
    fixed("402", "402", 17),
    text("403", "403", 30),
    fixed("410", "417", 13),
    text("420", "420", 20),
    text("421", "421", 12),
    fixed("422", "422", 3),
    digits("423", "423", 15),
    fixed("424", "424", 3),
    digits("425", "425", 15),
    fixed("426", "426", 3),
    text("427", "427", 3),
    text("4300", "4301", 35),
    text("4302", "4306", 70),
    text("4307", "4307", 2),
    text("4308", "4308", 30),
    fixed("4309", "4309", 20),
    text("4310", "4311", 35),
    text("4312", "4316", 70),
    text("4317", "4317", 2),
    text("4318", "4319", 30),
    text("4320", "4320", 35),
    fixed("4321", "4323", 1),
    fixed("4324", "4325", 10),
    fixed("4326", "4326", 6),
    text("4330", "4333", 7),
    fixed("7001", "7001", 13),
    text("7002", "7002", 30),
    fixed("7003", "7003", 10),
    digits("7004", "7004", 4),
    text("7005", "7005", 12),
    fixed("7006", "7006", 6),
    digits("7007", "7007", 12),
    text("7008", "7040", 30),
    text("710", "715", 20),
    text("7230", "7242", 30),
    text("8001", "8016", 50),
    fixed("8017", "8018", 18),
    text("8019", "8200", 90),
    text("90", "90", 30),
    text("91", "99", 90),
];

/// The AI that a text begins with, its format, and what comes after it.
///
/// No AI begins with the digits of another one, so that at most one fits.
pub(super) fn split_off(text: &str) -> Option<(&str, &'static Format, &str)> {
    let digits = text.bytes().take(4).take_while(u8::is_ascii_digit).count();
    let text_digits = &text[..digits];
    FORMATS.iter().find_map(|format| {
        let ai = text_digits.get(..format.first.len())?;
        (format.first..=format.last).contains(&ai).then(|| (ai, format, &text[ai.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_sorted_and_no_ai_begins_another() {
        for format in &FORMATS {
            assert!(format.first <= format.last && format.first.len() == format.last.len(), "{format:?}");
            assert!(format.bytes_min <= format.bytes_max && matches!(format.first.len(), 2..=4), "{format:?}");
        }
        for pair in FORMATS.windows(2) {
            let [before, after] = pair else { panic!("a pair") };
            let length = before.last.len().min(after.first.len());
            assert!(before.last[..length] < after.first[..length], "{} and {}", before.last, after.first);
        }
    }

    #[test]
    fn ais_are_split_off_by_their_lengths() {
        let split = |text| split_off(text).map(|(ai, format, rest)| (ai, format.bytes_max, rest));
        assert_eq!(split("0106901234567892"), Some(("01", 14, "06901234567892")));
        assert_eq!(split("4146901234000016"), Some(("414", 13, "6901234000016")));
        assert_eq!(split("3103000123"), Some(("3103", 6, "000123")));
        assert_eq!(split("21"), Some(("21", 20, "")));
        for none in ["", "1", "0", "05123", "14", "2x", "41x", "69012345", "801", "é1"] {
            assert_eq!(split(none), None, "{none}");
        }
    }
}
