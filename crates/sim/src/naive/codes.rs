//! What the text of a code is (contract, section 3), without tokens.
use super::rules::Rules;

#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: Option<String>,
}

impl Code {
    pub(crate) fn known(&self) -> bool {
        self.kind != "unknown" && self.kind != "forged"
    }
    pub(crate) fn item(&self) -> bool {
        item(&self.kind)
    }
}

pub(crate) fn item(kind: &str) -> bool {
    matches!(kind, "interactive" | "sales" | "unlock" | "repair")
}

/// All digits, and the last is the GS1 check digit of the others.
pub(crate) fn check_digit_right(text: &str) -> bool {
    if text.len() < 2 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 =
        text.bytes().rev().enumerate().map(|(i, b)| (b - b'0') as u32 * if i % 2 == 1 { 3 } else { 1 }).sum();
    sum.is_multiple_of(10)
}

fn gtin14(text: &str) -> Option<String> {
    (matches!(text.len(), 8 | 12 | 13 | 14) && check_digit_right(text)).then(|| format!("{text:0>14}"))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = vec![];
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(b)) => {
                out.push(b);
                i += 3;
            }
            (b, _) => {
                out.push(b);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

enum Found {
    Text(String),
    Trade { gtin: String, serial: Option<String> },
    Place(String),
    Person(String),
}

fn digital_link(segments: &[String]) -> Option<Found> {
    for i in 0..segments.len().saturating_sub(1) {
        let value = &segments[i + 1];
        match segments[i].as_str() {
            "01" if value.len() == 14 && check_digit_right(value) => {
                let mut serial = None;
                let mut j = i + 2;
                while j + 1 < segments.len() {
                    if segments[j] == "21" && !segments[j + 1].is_empty() && serial.is_none() {
                        serial = Some(segments[j + 1].clone());
                    }
                    j += 2;
                }
                return Some(Found::Trade { gtin: value.clone(), serial });
            }
            "414" if value.len() == 13 && check_digit_right(value) => return Some(Found::Place(value.clone())),
            "8017" if value.len() == 18 && check_digit_right(value) => return Some(Found::Person(value.clone())),
            _ => {}
        }
    }
    None
}

fn find(text: &str) -> Found {
    let Some((_, rest)) = text.split_once("://") else { return Found::Text(text.to_string()) };
    let rest = rest.split('#').next().unwrap();
    let (before, query) = match rest.split_once('?') {
        Some((b, q)) => (b, q),
        None => (rest, ""),
    };
    let path = before.split_once('/').map(|(_, p)| p).unwrap_or("");
    let segments: Vec<String> = path.split('/').map(percent_decoded).collect();
    if let Some(found) = digital_link(&segments) {
        return found;
    }
    for pair in query.split('&') {
        if let Some(value) = pair.strip_prefix("c=") {
            return Found::Text(percent_decoded(value));
        }
    }
    Found::Text(segments.last().cloned().unwrap_or_default())
}

pub(crate) fn resolve(rules: &Rules, text: &str) -> Code {
    let plain = |kind: &str, name: &str| Code {
        kind: kind.into(),
        name: name.into(),
        guide: None,
        store: None,
        campaign: None,
        channel: None,
    };
    let found = find(text);
    let (word, serial_of) = match &found {
        Found::Text(t) => (t.clone(), None),
        Found::Trade { gtin, serial: Some(s) } => (s.clone(), Some(gtin.clone())),
        Found::Trade { gtin, serial: None } => (gtin.clone(), None),
        Found::Place(n) | Found::Person(n) => (n.clone(), None),
    };
    // (a) a code id in the rules
    if let Some(c) = rules.codes.get(&word) {
        return Code {
            kind: c.kind.clone(),
            name: word,
            guide: c.guide.clone(),
            store: c.store.clone(),
            campaign: c.campaign.clone(),
            channel: c.channel.clone(),
        };
    }
    match found {
        Found::Place(gln) => match rules.stores.iter().find(|(_, s)| s.gln.as_ref() == Some(&gln)) {
            Some((id, _)) => Code { store: Some(id.clone()), ..plain("store", &gln) },
            None => plain("unknown", &gln),
        },
        Found::Person(gsrn) => match rules.guides.iter().find(|(_, g)| g.gsrn.as_ref() == Some(&gsrn)) {
            Some((id, _)) => Code { guide: Some(id.clone()), ..plain("guide", &gsrn) },
            None => plain("unknown", &gsrn),
        },
        // (d) a GTIN that is no SERIAL, or else the link's
        _ => match serial_of.or_else(|| gtin14(&word)) {
            Some(gtin) => plain("product", &gtin),
            None => plain("unknown", &word),
        },
    }
}
