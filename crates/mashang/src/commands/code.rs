//! `mashang code`: what the text of a code is under some rules.

use anyhow::Result;
use bumpalo::Bump;
use domain::model::event::Code;
use domain::model::rules::rulebook::{DigitBuffer, Gs1Owner, Rulebook};
use serde::Serialize;
use wire::code::parse_link;
use wire::event::CODE_BYTES_MAX;

use crate::cli::code_args::CodeArgs;
use crate::process::output::print;
use crate::rules::files::{publish, read_all};
use crate::usage;

/// The control characters that scanners send: CR, LF and GS.
const SENT_BY_SCANNERS: [char; 3] = ['\r', '\n', '\u{1D}'];

/// What a text is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Meaning<'r> {
    kind: &'static str,
    name: String,
    batch: Option<u32>,
    serial: Option<u64>,
    guide: Option<&'r str>,
    /// Derived: the code's, else its guide's.
    store: Option<&'r str>,
    campaign: Option<&'r str>,
}

/// Prints what the text is.
pub(crate) fn code(args: &CodeArgs) -> Result<()> {
    check(&args.text).map_err(|what| usage(format!("the code {what}")))?;
    let checked = read_all(std::slice::from_ref(&args.rules), args.secrets.as_deref())?;
    let (_, published) = publish(checked)?;
    let arena = Bump::new();
    let code = Code { text: &args.text, link: parse_link(&args.text, &arena) };
    published.iter().try_for_each(|p| print(serde_json::to_string(&meaning(&p.book, &code))?))
}

/// Whether a sender could send it.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > CODE_BYTES_MAX {
        return Err(format!("has {} bytes; give 1 to {CODE_BYTES_MAX}", text.len()));
    }
    let control = text.chars().find(|c| c.is_control() && !SENT_BY_SCANNERS.contains(c));
    control.map_or(Ok(()), |c| Err(format!("has the control character U+{:04X}; give text without it", u32::from(c))))
}

fn meaning<'r>(book: &'r Rulebook, code: &Code<'_>) -> Meaning<'r> {
    let rules = &book.rules;
    let resolved = book.resolve(code);
    let mut meaning = Meaning {
        kind: resolved.kind.as_str(),
        name: resolved.name.text(&mut DigitBuffer::default()).to_owned(),
        batch: None,
        serial: None,
        guide: None,
        store: None,
        campaign: None,
    };
    if let Some(listed) = resolved.listed {
        let listed = &rules.codes[listed as usize];
        meaning.guide = listed.guide.as_deref();
        meaning.store = listed.store.as_deref();
        meaning.campaign = listed.campaign.as_deref();
    }
    match resolved.place {
        Some(Gs1Owner::Store(store)) => meaning.store = Some(&rules.stores[store as usize].id),
        Some(Gs1Owner::Guide(guide)) => meaning.guide = Some(&rules.guides[guide as usize].id),
        None => {}
    }
    if let Some(item) = resolved.item {
        let batch = &rules.batches[item.batch as usize];
        let range = item.range.map(|range| &rules.ranges[range as usize]);
        (meaning.batch, meaning.serial) = (Some(batch.number), Some(item.serial));
        meaning.guide = range.and_then(|range| range.guide.as_deref()).or(batch.guide.as_deref());
        meaning.store = range.and_then(|range| range.store.as_deref()).or(batch.store.as_deref());
        meaning.campaign = batch.campaign.as_deref();
    }
    let of_guide = |id| rules.guides.iter().find(|guide| guide.id == id).and_then(|guide| guide.store.as_deref());
    meaning.store = meaning.store.or_else(|| meaning.guide.and_then(of_guide));
    meaning
}

#[cfg(test)]
mod tests {
    use domain::model::code::Kind;
    use domain::model::rules::secrets::{Secret, Secrets};
    use domain::model::rules::{Activate, Batch, Range, RangeState, RulesSeq};
    use domain::model::token::BatchKeys;
    use expect_test::{Expect, expect};

    use super::*;

    const RULES: &str = r#"
        merchant = "acme"
        currency = "CNY"
        time_zone = "UTC"
        [[store]]
        id = "s-1"
        gln = "6901234000016"
        [[store]]
        id = "s-2"
        [[guide]]
        id = "g-1"
        store = "s-1"
        gsrn = "690123400000000018"
        [[guide]]
        id = "g-2"
        [[code]]
        id = "GUIDE-1"
        kind = "guide"
        guide = "g-1"
        [[code]]
        id = "GUIDE-2"
        kind = "guide"
        guide = "g-2"
        [[code]]
        id = "SHOP-2"
        kind = "store"
        store = "s-2"
    "#;

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32])
    }

    fn batch(number: u32) -> Batch {
        Batch {
            number,
            kind: Kind::Interactive,
            count: 1_000,
            campaign: None,
            gtin: None,
            url: None,
            secret: "file:batch.key".to_owned(),
            commit: String::new(),
            alarm_shoppers: None,
            activate: Activate::All,
            guide: None,
            store: None,
            channel: None,
        }
    }

    fn range(from: u64, to: u64) -> Range {
        let state = RangeState::Active;
        Range { batch: 7, from, to, state, guide: None, store: None, region: None, channel: None }
    }

    /// Batch 7 has a GTIN, guide and ranges; batch 8 has none of them.
    fn shop() -> Rulebook {
        let mut rules = wire::rules::read("r", RULES, &mut |_| Err(String::new())).expect("rules").rules;
        let some = |text: &str| Some(text.to_owned());
        rules.batches = vec![
            Batch { gtin: Some(6_901_234_567_892), guide: some("g-1"), ..batch(7) },
            Batch { kind: Kind::Repair, ..batch(8) },
        ];
        rules.ranges =
            vec![Range { store: some("s-2"), ..range(0, 10) }, Range { guide: some("g-2"), ..range(10, 20) }];
        let batches = [(7, secret(7)), (8, secret(8))].into();
        let secrets = Secrets { batches, ..Secrets::default() };
        Rulebook::new(rules, RulesSeq(1), [0; 32], &secrets).expect("a rulebook")
    }

    fn token(batch: u32, serial: u64, byte: u8) -> String {
        let token = BatchKeys::new(batch, 1 << 20, &secret(byte)).mint(serial).expect("a token");
        String::from_utf8(token.text().to_vec()).expect("ASCII")
    }

    fn check_all(texts: &[String], expect: &Expect) {
        let book = shop();
        let mut told = String::new();
        for text in texts {
            let arena = Bump::new();
            let code = Code { text, link: parse_link(text, &arena) };
            told += &serde_json::to_string(&meaning(&book, &code)).expect("JSON");
            told.push('\n');
        }
        expect.assert_eq(&told);
    }

    #[test]
    fn listed_codes_and_gs1_keys_have_their_places() {
        let texts = [
            "GUIDE-1",
            " GUIDE-2\r\n",
            "https://m.example/c/SHOP-2",
            "https://m.example/414/6901234000016",
            "https://m.example/8017/690123400000000018",
            "6901234567892",
            "https://m.example/01/06901234567892/21/AB12",
            "nothing",
        ];
        check_all(
            &texts.map(ToOwned::to_owned),
            &expect![[r#"
            {"kind":"guide","name":"GUIDE-1","batch":null,"serial":null,"guide":"g-1","store":"s-1","campaign":null}
            {"kind":"guide","name":"GUIDE-2","batch":null,"serial":null,"guide":"g-2","store":null,"campaign":null}
            {"kind":"store","name":"SHOP-2","batch":null,"serial":null,"guide":null,"store":"s-2","campaign":null}
            {"kind":"store","name":"6901234000016","batch":null,"serial":null,"guide":null,"store":"s-1","campaign":null}
            {"kind":"guide","name":"690123400000000018","batch":null,"serial":null,"guide":"g-1","store":"s-1","campaign":null}
            {"kind":"product","name":"06901234567892","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"product","name":"06901234567892","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"unknown","name":"nothing","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
        "#]],
        );
    }

    #[test]
    fn tokens_have_serials_and_derived_places() {
        let link = |gtin: &str, token: &str| format!("https://m.example/01/{gtin}/21/{token}");
        let grouped = |token: &str| {
            token.to_lowercase().as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
        };
        let texts = [
            token(7, 0, 7),
            grouped(&token(7, 0, 7)),
            format!("]Q3{}\r", token(7, 10, 7)),
            token(7, 20, 7),
            link("06901234567892", &token(7, 5, 7)),
            format!("(01)06901234567892(21){}", token(7, 5, 7)),
            token(8, 3, 8),
            link("06901234567892", &token(8, 3, 8)),
            // Another product's, another secret's, past the count, of no batch.
            link("06901234567885", &token(7, 5, 7)),
            token(7, 0, 8),
            token(7, 1_000, 7),
            token(9, 0, 7),
        ];
        check_all(
            &texts,
            &expect![[r#"
            {"kind":"interactive","name":"7:0","batch":7,"serial":0,"guide":"g-1","store":"s-2","campaign":null}
            {"kind":"interactive","name":"7:0","batch":7,"serial":0,"guide":"g-1","store":"s-2","campaign":null}
            {"kind":"interactive","name":"7:10","batch":7,"serial":10,"guide":"g-2","store":null,"campaign":null}
            {"kind":"interactive","name":"7:20","batch":7,"serial":20,"guide":"g-1","store":"s-1","campaign":null}
            {"kind":"interactive","name":"7:5","batch":7,"serial":5,"guide":"g-1","store":"s-2","campaign":null}
            {"kind":"interactive","name":"7:5","batch":7,"serial":5,"guide":"g-1","store":"s-2","campaign":null}
            {"kind":"repair","name":"8:3","batch":8,"serial":3,"guide":null,"store":null,"campaign":null}
            {"kind":"forged","name":"0008AWH3F98NEPPJ2KDT","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"forged","name":"0007F7JMKZG8RNX7PQPN","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"forged","name":"000712G1Z14KWZDJA2Y8","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"forged","name":"00070KWHTJ481TJ2ASTW","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
            {"kind":"unknown","name":"0009E83F29PF654133T0","batch":null,"serial":null,"guide":null,"store":null,"campaign":null}
        "#]],
        );
    }

    #[test]
    fn text_that_no_sender_may_send_is_refused() {
        assert_eq!(check("]d2010690123456789221AB\u{1D}\r\n"), Ok(()));
        assert_eq!(check(""), Err("has 0 bytes; give 1 to 512".to_owned()));
        assert_eq!(check(&"x".repeat(513)), Err("has 513 bytes; give 1 to 512".to_owned()));
        assert_eq!(check("a\tb"), Err("has the control character U+0009; give text without it".to_owned()));
    }
}
