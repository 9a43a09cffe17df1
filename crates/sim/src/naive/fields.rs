//! Values of rules files and their registers, read without checks.
use std::path::Path;
use toml::{Table, Value};

pub(crate) fn parse_time(text: &str) -> i64 {
    text.trim().parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("time {text}: {e}")).as_millisecond()
}

pub(crate) fn parse_duration(text: &str) -> i64 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let n: i64 = text[..digits].parse().unwrap();
    n * match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => panic!("unit {other}"),
    }
}

pub(crate) fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// "1/20", "5%", "0.05" as a reduced fraction.
pub(crate) fn parse_ratio(text: &str) -> (u128, u128) {
    fn decimal(t: &str) -> (u128, u128) {
        match t.split_once('.') {
            Some((whole, part)) => {
                let den = 10u128.pow(part.len() as u32);
                (whole.parse::<u128>().unwrap_or(0) * den + part.parse::<u128>().unwrap(), den)
            }
            None => (t.parse().unwrap(), 1),
        }
    }
    let text = text.trim();
    let (n, d) = if let Some((n, d)) = text.split_once('/') {
        (n.trim().parse().unwrap(), d.trim().parse().unwrap())
    } else if let Some(p) = text.strip_suffix('%') {
        let (n, d) = decimal(p.trim());
        (n, d * 100)
    } else {
        decimal(text)
    };
    let g = gcd(n, d).max(1);
    (n / g, d / g)
}

pub(crate) fn text(t: &Table, key: &str) -> Option<String> {
    match t.get(key)? {
        Value::String(s) if s.is_empty() => None,
        Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}
pub(crate) fn must(t: &Table, key: &str) -> String {
    text(t, key).unwrap_or_else(|| panic!("{key} is missing"))
}
pub(crate) fn time(t: &Table, key: &str) -> Option<i64> {
    text(t, key).map(|s| parse_time(&s))
}
pub(crate) fn duration(t: &Table, key: &str, default: &str) -> i64 {
    parse_duration(&text(t, key).unwrap_or(default.into()))
}
pub(crate) fn number(t: &Table, key: &str) -> Option<i64> {
    t.get(key).map(|v| v.as_integer().unwrap())
}
pub(crate) fn list(t: &Table, key: &str) -> Vec<Table> {
    t.get(key)
        .and_then(Value::as_array)
        .map(|a| a.iter().map(|v| v.as_table().unwrap().clone()).collect())
        .unwrap_or_default()
}
pub(crate) fn strings(t: &Table, key: &str) -> Vec<String> {
    t.get(key)
        .and_then(Value::as_array)
        .map(|a| a.iter().map(|v| v.as_str().unwrap().into()).collect())
        .unwrap_or_default()
}
pub(crate) fn section(t: &Table, key: &str) -> Table {
    t.get(key).and_then(Value::as_table).cloned().unwrap_or_default()
}

pub(crate) fn register(dir: &Path, registers: &Table, key: &str) -> Vec<Table> {
    let Some(name) = text(registers, key) else { return vec![] };
    let mut reader = csv::Reader::from_path(dir.join(name)).unwrap();
    let header = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|row| {
            header.iter().zip(row.unwrap().iter()).map(|(k, v)| (k.to_string(), Value::String(v.to_string()))).collect()
        })
        .collect()
}

pub(crate) fn secret(dir: &Path, reference: &str) -> Vec<u8> {
    let path = dir.join(reference.strip_prefix("file:").expect("file: secrets only"));
    let hex = std::fs::read_to_string(path).unwrap();
    data_encoding::HEXLOWER.decode(hex.trim().as_bytes()).unwrap()
}
