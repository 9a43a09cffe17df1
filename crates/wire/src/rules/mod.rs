//! A merchant's rules: TOML and CSV become [`Rules`], or every mistake at once (contract section 4).
//!
//! Read top-down: [`read`] comes first, [`object`] is what gets published.
//!
//! - `merchant`, `campaign`, `batch`, `range`: what the keys mean
//! - `secret`, `sealed`: what campaigns and batches have in common, and what sealed campaigns ask of batches
//! - `register`: stores, guides and codes; CSV files
//! - `table`: tables of TOML and rows of CSV, key by key, and the mistakes in them
//! - `values`: single values
//! - `ids`: each id once, none unknown, no cycle
//! - `places`: where keys stand, for mistakes that are found later

mod batch;
mod campaign;
mod ids;
mod merchant;
mod places;
mod range;
mod register;
mod sealed;
mod secret;
mod table;
mod values;

use std::fmt;

use domain::model::rules::Rules;
use domain::model::rules::secrets::{Secret, Secrets};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use places::Places;
use table::{Notes, Table, Text};

use crate::hex::hex32;

/// Something outside of the rules' text that it names; the caller reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// The path of a CSV file as it stands in `[registers]`, meant beside the rules' file.
    Register(&'a str),
    /// Where a secret is: `file:` and a path, or `env:` and a name.
    Secret(&'a str),
}

/// What a caller answers for a secret that it does not have and does not need: the rules are read without it, and the commit
/// stands as it is.
pub const NOT_AT_HAND: &str = "the secret is not at hand";

/// How the caller reads what is outside; the error is a phrase such as "there is no such file", or [`NOT_AT_HAND`].
pub type Open<'o> = dyn FnMut(Reference<'_>) -> Result<Vec<u8>, String> + 'o;

/// Something that is wrong with a rules file, or merely odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The rules' file, or the register as the rules name it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Dotted, such as `campaign[0].prize[1].else`; a register's column; empty where the text is no TOML or CSV.
    pub key: String,
    /// What is wrong and the fix, as a phrase that follows the key.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Rules without a mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Checked {
    /// The rules, with all registers.
    pub rules: Rules,
    /// What is legal but odd, in the order of the text.
    pub warnings: Vec<Mistake>,
    /// The secrets of campaigns and batches that are at hand; each has the commit that the rules state.
    pub secrets: Secrets,
    places: Places,
}

impl Checked {
    /// The file and line of a dotted key, written as in [`Mistake::key`]; of a key that is left out, those of its table. A row
    /// of the register of ranges is `FILE:LINE` or `FILE:LINE.COLUMN`. `None` for an item of a list that is not there, and for
    /// what is inside stores, guides and codes.
    ///
    /// ```
    /// # let text = "merchant = \"acme\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n[dedup]\nhorizon = \"3d\"\n";
    /// let checked = wire::rules::read("acme.toml", text, &mut |_| Err("is not there".into())).expect("rules");
    /// assert_eq!(checked.place("dedup.horizon"), Some(("acme.toml".to_owned(), 5)));
    /// assert_eq!(checked.place("dedup.debounce"), Some(("acme.toml".to_owned(), 4)));
    /// assert_eq!(checked.place("campaign[0].id"), None);
    /// ```
    #[must_use]
    pub fn place(&self, key: &str) -> Option<(String, usize)> {
        self.places.find(key)
    }

    /// The key of a range of [`Rules::ranges`], which are sorted, as [`Checked::place`] takes it: `range[2]`, or
    /// `ranges.csv:17` for a row of the register.
    #[must_use]
    pub fn range_key(&self, index: usize) -> Option<String> {
        self.places.range_key(index)
    }
}

impl fmt::Debug for Checked {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("rules", &self.rules).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

/// Reads the rules in `text`; `file` is its name in messages.
///
/// ```
/// use wire::rules::{Reference, read};
///
/// let text = r#"
/// merchant = "acme"
/// currency = "CNY"
/// time_zone = "Asia/Shanghai"
/// [registers]
/// guides = "guides.csv"
/// "#;
/// let mut open = |_: Reference<'_>| Ok(b"id,left,successor\ng-1,,\ng-2,2026-11-10T00:00:00+08:00,g-1\n".to_vec());
/// let checked = read("acme.toml", text, &mut open).expect("rules");
/// assert_eq!(checked.rules.guides[1].id, "g-2");
///
/// let mistakes = read("acme.toml", "merchant = \"acme\"\ncurrency = \"XAU\"\n", &mut open).expect_err("no rules");
/// assert_eq!(mistakes[0].to_string(), "acme.toml:1: time_zone: is missing; a rules file needs it");
/// assert_eq!((mistakes[1].line, mistakes[1].key.as_str()), (2, "currency"));
/// ```
///
/// # Errors
/// Every mistake, in the order of the text, the registers' after the file's own. Where the text is no TOML, what may
/// merely follow from that (missing keys, unknown ids) is left out.
pub fn read(file: &str, text: &str, open: &mut Open<'_>) -> Result<Checked, Vec<Mistake>> {
    let lines = Text::of_toml(file, text);
    let (root, broken) = DeTable::parse_recoverable(text);
    let notes = Notes::new(!broken.is_empty());
    for error in &broken {
        let at = lines.place(error.span().map_or(0, |span| span.start), String::new());
        notes.mistake(&at, format!("is not TOML: {}", error.message()));
    }
    let torn_lines: Vec<usize> = notes.mistake_lines();
    let mut secrets = Secrets::default();
    let rules = merchant::rules(Table::root(&notes, &lines, root.get_ref()), open, &mut secrets);

    let (mut mistakes, mut warnings) = notes.into_lists();
    // A line that is no TOML is reported once, not again for the value that was guessed from it.
    mistakes.retain(|m| m.file != file || m.key.is_empty() || !torn_lines.contains(&m.line));
    let order = |m: &Mistake| (m.file != file, m.file.clone(), m.line);
    mistakes.sort_by_key(order);
    warnings.sort_by_key(order);
    match rules {
        Some((rules, ranges)) if mistakes.is_empty() => {
            let places = Places::new(file, &lines, root.get_ref(), ranges);
            Ok(Checked { rules, warnings, secrets, places })
        }
        _ => {
            assert!(!mistakes.is_empty(), "rules that cannot be built have a mistake");
            Err(mistakes)
        }
    }
}

/// The rules as JSON, without space, the fields in the order of their declaration: equal rules give equal bytes.
///
/// # Panics
/// Never: everything in [`Rules`] has a form in JSON.
#[must_use]
pub fn object(rules: &Rules) -> Vec<u8> {
    serde_json::to_vec(rules).expect("rules are texts, integers, lists and maps with text keys")
}

/// The SHA-256 of an object: its name.
#[must_use]
pub fn version(object: &[u8]) -> [u8; 32] {
    Sha256::digest(object).into()
}

/// The ms of a duration such as `"500ms"`, `"10s"`, `"15m"`, `"48h"` or `"15d"`.
///
/// # Errors
/// Why it is none, as a phrase.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    values::parse_duration_ms(text)
}

/// The secret in a file's bytes, if its SHA-256 is the commit.
#[must_use]
pub fn secret(bytes: &[u8], commit: &str) -> Option<Secret> {
    let secret = Secret::new(hex32(bytes.trim_ascii())?);
    (hex32(commit.as_bytes()) == Some(Sha256::digest(*secret).into())).then_some(secret)
}

/// Reads an object back.
///
/// # Errors
/// Why it is none, as a phrase.
pub fn from_object(object: &[u8]) -> Result<Rules, String> {
    serde_json::from_slice(object).map_err(|error| format!("is no object of rules that this build can read: {error}"))
}
