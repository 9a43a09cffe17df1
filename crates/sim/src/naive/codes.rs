//! What the text of a code is (contract, section 3).
use super::minted::{Item, token};
use super::rules::Rules;

/// A token that verifies, as the rules have it.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) batch: u64,
    pub(crate) serial: u64,
    pub(crate) item: Item,
}

#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) minted: Option<Minted>,
    /// what a text of a token's shape is, for the list of what happened
    pub(crate) shape: Option<&'static str>,
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
    // what is no text, or has control characters, stays as it stands
    String::from_utf8(out).ok().filter(|t| !t.chars().any(char::is_control)).unwrap_or(text.to_string())
}

enum Found {
    Text(String),
    Trade { gtin: String, serial: Option<String> },
    Place(String),
    Person(String),
}

const GS: char = '\u{1d}';

fn without_what_scanners_add(text: &str) -> &str {
    let text = text.trim_matches(|c| c == ' ' || c == '\r' || c == '\n');
    if matches!(text.get(..3), Some("]C1" | "]d2" | "]Q3" | "]e0" | "]E0")) {
        return text[3..].trim_start_matches([' ', '\r', '\n']);
    }
    text
}

/// The first primary key whose value is right, and the first serial after it, or anywhere if `anywhere`.
fn keys(pairs: &[(String, String)], anywhere: bool) -> Option<Found> {
    let right = |value: &str, lengths: &[usize]| lengths.contains(&value.len()) && check_digit_right(value);
    for (i, (key, value)) in pairs.iter().enumerate() {
        match key.as_str() {
            "01" if right(value, &[8, 12, 13, 14]) => {
                let rest = if anywhere { pairs } else { &pairs[i + 1..] };
                let serial = rest.iter().find(|(k, v)| k == "21" && !v.is_empty()).map(|(_, v)| v.clone());
                return Some(Found::Trade { gtin: value.clone(), serial });
            }
            "414" if right(value, &[13]) => return Some(Found::Place(value.clone())),
            "8017" if right(value, &[18]) => return Some(Found::Person(value.clone())),
            _ => {}
        }
    }
    None
}

fn number_of(name: &str) -> String {
    match name {
        "gtin" => "01",
        "lot" => "10",
        "ser" => "21",
        "gln" => "414",
        "gsrnp" => "8017",
        other => other,
    }
    .to_string()
}

/// A key may begin anywhere in the path; what comes after it are pairs.
fn digital_link(segments: &[String]) -> Option<Found> {
    (0..segments.len()).find_map(|i| {
        let pairs: Vec<(String, String)> =
            segments[i..].chunks_exact(2).map(|pair| (number_of(&pair[0]), pair[1].clone())).collect();
        keys(pairs.get(..1)?, false).and_then(|_| keys(&pairs, false))
    })
}

/// `(01)...(21)...` as pairs; None: it is not of this form as a whole.
fn bracketed(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = vec![];
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let close = (3..=5).map(|n| i + n).find(|&j| chars.get(j) == Some(&')'));
        let inner = close.map(|j| chars[i + 1..j].iter().collect::<String>());
        match (chars[i], close, inner) {
            ('(', Some(j), Some(ai)) if ai.bytes().all(|b| b.is_ascii_digit()) => {
                pairs.push((ai, String::new()));
                i = j + 1;
            }
            (c, ..) => {
                pairs.last_mut()?.1.push(c);
                i += 1;
            }
        }
    }
    for (_, value) in &mut pairs {
        *value = value.trim_matches(|c| c == ' ' || c == GS).to_string();
    }
    Some(pairs)
}

/// How long values are, by the first digits of the AI: the AI's length, a fixed number of digits, or a greatest number of
/// characters. General Specifications, 3.2; only what the generator writes, and what is close to it.
fn format_of(text: &str) -> Option<(usize, Option<usize>, usize)> {
    let starts = |ais: &[&str]| ais.iter().any(|ai| text.starts_with(ai));
    let fixed = |ai, n| Some((ai, Some(n), n));
    let up_to = |ai, n| Some((ai, None, n));
    if starts(&["00"]) {
        fixed(2, 18)
    } else if starts(&["01", "02", "03"]) {
        fixed(2, 14)
    } else if starts(&["11", "12", "13", "15", "16", "17"]) {
        fixed(2, 6)
    } else if starts(&["20"]) {
        fixed(2, 2)
    } else if starts(&["10", "21", "22"]) {
        up_to(2, 20)
    } else if starts(&["240", "241", "250", "251"]) {
        up_to(3, 30)
    } else if starts(&["254"]) {
        up_to(3, 20)
    } else if starts(&["30", "37"]) {
        up_to(2, 8)
    } else if starts(&["310", "320"]) && text.as_bytes().get(3).is_some_and(|b| (b'0'..=b'5').contains(b)) {
        fixed(4, 6)
    } else if starts(&["410", "411", "412", "413", "414", "415", "416", "417"]) {
        fixed(3, 13)
    } else if starts(&["8017", "8018"]) {
        fixed(4, 18)
    } else if starts(&["8019"]) {
        up_to(4, 10)
    } else if starts(&["90"]) {
        up_to(2, 30)
    } else if starts(&["91", "92", "93", "94", "95", "96", "97", "98", "99"]) {
        up_to(2, 90)
    } else {
        None
    }
}

/// AIs and values without brackets; None: it does not split wholly.
fn unbracketed(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = vec![];
    // what is between two separators begins with an AI; a value of fixed length needs none after it
    for part in text.split(GS) {
        let mut part = part;
        while !part.is_empty() {
            let (ai, exactly, most) = format_of(part)?;
            let (key, rest) = part.split_at(ai);
            let length = exactly.unwrap_or(rest.len());
            let value = rest.get(..length)?;
            let digits = exactly.is_some() || matches!(key, "30" | "37");
            let fits = |b: u8| if digits { b.is_ascii_digit() } else { (b'!'..=b'~').contains(&b) };
            if length > most || !value.bytes().all(fits) {
                return None;
            }
            pairs.push((key.to_string(), value.to_string()));
            part = &rest[length..];
        }
    }
    Some(pairs)
}

fn element_string(text: &str) -> Option<Found> {
    if text.starts_with('(') {
        return keys(&bracketed(text)?, true);
    }
    let pairs = unbracketed(text)?;
    let key_is_first = keys(pairs.get(..1)?, true).is_some();
    if text.contains(GS) || key_is_first { keys(&pairs, true) } else { None }
}

fn find(text: &str) -> Found {
    let bare = without_what_scanners_add(text);
    if bare.is_empty() {
        return Found::Text(text.to_string());
    }
    if let Some(found) = element_string(bare) {
        return found;
    }
    let Some((_, rest)) = bare.split_once("://") else { return Found::Text(bare.to_string()) };
    let rest = rest.split('#').next().unwrap();
    let (before, query) = match rest.split_once('?') {
        Some((b, q)) => (b, q),
        None => (rest, ""),
    };
    let path = before.split_once('/').map(|(_, p)| p).unwrap_or("");
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(percent_decoded).collect();
    if let Some(found) = digital_link(&segments) {
        return found;
    }
    for pair in query.split('&') {
        if let Some(value) = pair.strip_prefix("c=").filter(|v| !v.is_empty()) {
            return Found::Text(percent_decoded(value));
        }
    }
    Found::Text(segments.last().cloned().unwrap_or(bare.to_string()))
}

pub(crate) fn resolve(rules: &Rules, text: &str) -> Code {
    let plain = |kind: &str, name: &str| Code {
        kind: kind.into(),
        name: name.into(),
        guide: None,
        store: None,
        campaign: None,
        channel: None,
        minted: None,
        shape: None,
    };
    let found = find(text);
    let (word, serial_of) = match &found {
        Found::Text(t) => (t.clone(), None),
        Found::Trade { gtin, serial: Some(s) } => (s.clone(), Some(gtin.clone())),
        Found::Trade { gtin, serial: None } => (gtin.clone(), None),
        Found::Place(n) | Found::Person(n) => (n.clone(), None),
    };
    // (a) a code id in the rules; a GTIN as it stands, then in its 14 digits
    let may_be_gtin = matches!(&found, Found::Text(_) | Found::Trade { serial: None, .. });
    let as_gtin = if may_be_gtin { gtin14(&word) } else { None };
    for id in [Some(word.clone()), as_gtin.clone()].into_iter().flatten() {
        if let Some(c) = rules.codes.get(&id) {
            return Code {
                kind: c.kind.clone(),
                name: id,
                guide: c.guide.clone(),
                store: c.store.clone(),
                campaign: c.campaign.clone(),
                channel: c.channel.clone(),
                ..plain("", "")
            };
        }
    }
    // (b), (c) a token
    let mut shape = None;
    if let Some(token) = token::read(&word) {
        shape = Some("token: of no batch");
        if let Some(batch) = rules.batches.get(&token.batch) {
            let forged = |why| Code { shape: Some(why), ..plain("forged", &word) };
            let Some(serial) = batch.keys.serial(&token) else { return forged("forged: wrong tag") };
            if serial >= batch.count {
                return forged("forged: beyond the count");
            }
            match (&batch.gtin, serial_of.as_ref()) {
                (None, Some(_)) => return forged("forged: a batch without gtin in a link"),
                (Some(own), Some(links)) if *own != format!("{links:0>14}") => return forged("forged: wrong gtin"),
                _ => {}
            }
            let item = batch.item(serial);
            return Code {
                guide: item.guide.clone(),
                store: item.store.clone(),
                campaign: batch.campaign.clone(),
                channel: item.channel.clone(),
                minted: Some(Minted { batch: token.batch, serial, item }),
                shape: Some(if serial_of.is_some() { "token: in a link" } else { "token: by itself" }),
                ..plain(&batch.kind, &format!("{}:{serial}", token.batch))
            };
        }
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
        _ => match serial_of.and_then(|gtin| gtin14(&gtin)).or(as_gtin) {
            Some(gtin) => Code { shape, ..plain("product", &gtin) },
            None => Code { shape, ..plain("unknown", &word) },
        },
    }
}
