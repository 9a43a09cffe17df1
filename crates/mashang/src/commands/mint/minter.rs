//! The codes of a batch: tokens, and the URLs that have them at the end.

use std::fmt::Write;
use std::ops::Range;

use domain::model::rules::{Batch, Rules};
use domain::model::token::{BatchKeys, TOKEN_CHARS};
use wire::rules::secret;

/// Where Digital Links lead that no host is given for: the resolver of GS1.
const GS1_RESOLVER: &str = "https://id.gs1.org";
/// Maximum number of batches that a message names; of further ones it says how many.
const NAMED_MAX: usize = 20;

/// Mints the codes of one batch.
#[derive(Debug)]
pub(crate) struct Minter {
    pub(super) number: u32,
    pub(super) count: u64,
    keys: BatchKeys,
    /// What stands before the token in a URL; `None` where codes are bare tokens.
    before_token: Option<String>,
}

impl Minter {
    /// A minter of the batch with this number.
    ///
    /// # Errors
    /// The rules have no such batch, or no secret or no usable URL of it: a sentence with the fix.
    pub(crate) fn new(
        rules: &Rules,
        read_secret: impl FnOnce(&str) -> Result<Vec<u8>, String>,
        number: u32,
    ) -> Result<Self, String> {
        let batch = rules.batches.iter().find(|batch| batch.number == number);
        let batch = batch.ok_or_else(|| format!("--batch {number}: {}", not_listed(rules)))?;
        let wrong = |why: &str| format!("batch {number}: its secret {} {why}", batch.secret);
        let bytes = read_secret(&batch.secret).map_err(|why| wrong(&format!("cannot be read: {why}")))?;
        let secret = secret(&bytes, &batch.commit).ok_or_else(|| wrong("is not the one that `commit` promises"))?;
        let keys = BatchKeys::new(number, batch.count, &secret);
        Ok(Self { number, count: batch.count, keys, before_token: before_token(batch)? })
    }

    /// The serials that are asked for.
    ///
    /// # Errors
    /// The batch has not all of them: a sentence with the fix.
    pub(crate) fn serials(&self, from: u64, count: Option<u64>) -> Result<Range<u64>, String> {
        let Some(left) = self.count.checked_sub(from).filter(|&left| left > 0) else {
            let last = self.count.saturating_sub(1);
            return Err(format!("--from {from}: batch {} ends with serial {last}; give a smaller one", self.number));
        };
        let count = count.unwrap_or(left);
        if count > left {
            let number = self.number;
            return Err(format!(
                "--count {count}: from serial {from} on batch {number} has {left} codes; give at most that"
            ));
        }
        Ok(from..from + count)
    }

    /// The token of a serial.
    ///
    /// # Panics
    /// If the batch does not have the serial.
    pub(super) fn token(&self, serial: u64) -> [u8; TOKEN_CHARS] {
        self.keys.mint(serial).expect("only serials of the batch are asked for").text()
    }

    /// What a QR picture of the code says: its URL, else its token.
    pub(super) fn content(&self, serial: u64) -> String {
        let mut content = self.before_token.clone().unwrap_or_default();
        content.push_str(&text(&self.token(serial)));
        content
    }

    /// The token of a serial in groups of four.
    pub(super) fn grouped(&self, serial: u64) -> String {
        let token = self.token(serial);
        token.chunks(4).map(text).collect::<Vec<_>>().join("-")
    }

    /// What stands before the token in a URL.
    pub(super) fn before_token(&self) -> Option<&str> {
        self.before_token.as_deref()
    }
}

fn text(token: &[u8]) -> String {
    token.iter().map(|&byte| char::from(byte)).collect()
}

fn not_listed(rules: &Rules) -> String {
    let merchant = &rules.merchant;
    if rules.batches.is_empty() {
        return format!("the rules of {merchant} have no batch; write a [[batch]] first");
    }
    let mut message = format!("is not in the rules of {merchant}; they have");
    for (at, batch) in rules.batches.iter().take(NAMED_MAX).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(message, "{comma} {}", batch.number).expect("a text takes all");
    }
    if let Some(more) = rules.batches.len().checked_sub(NAMED_MAX).filter(|&more| more > 0) {
        write!(message, " and {more} more").expect("a text takes all");
    }
    message
}

/// With a GTIN a GS1 Digital Link at the host of the batch's URL; else that URL as it is.
fn before_token(batch: &Batch) -> Result<Option<String>, String> {
    let Some(gtin) = batch.gtin else { return Ok(batch.url.clone()) };
    let origin = match &batch.url {
        None => GS1_RESOLVER,
        Some(url) => origin(url).ok_or_else(|| {
            format!("batch {}: url: has no host for Digital Links: write https://HOST/: {url:?}", batch.number)
        })?,
    };
    Ok(Some(format!("{origin}/01/{gtin:014}/21/")))
}

/// Scheme and host of a URL.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty() && !scheme.is_empty())?;
    url.get(..scheme.len() + "://".len() + host.len())
}

#[cfg(test)]
pub(super) mod tests {
    use domain::model::code::Kind;
    use domain::model::rules::Activate;
    use domain::model::token::Token;

    use super::*;

    pub(crate) const COUNT: u64 = 1_000_000;

    /// The bytes 0 … 31, as a file has them, and their SHA-256.
    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const COMMIT: &str = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";

    fn read_secret(_: &str) -> Result<Vec<u8>, String> {
        Ok(SECRET.into())
    }

    fn batch(number: u32, gtin: Option<u64>, url: Option<&str>) -> Batch {
        Batch {
            number,
            kind: Kind::Interactive,
            count: COUNT,
            campaign: None,
            gtin,
            url: url.map(ToOwned::to_owned),
            secret: format!("file:batch-{number}.key"),
            commit: COMMIT.to_owned(),
            alarm_shoppers: None,
            activate: Activate::All,
            guide: None,
            store: None,
            channel: None,
        }
    }

    fn rules(batches: Vec<Batch>) -> Rules {
        let text = "merchant = \"acme\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n";
        let mut rules = wire::rules::read("r", text, &mut |_| Err(String::new())).expect("rules").rules;
        rules.batches = batches;
        rules
    }

    /// Batch 7, a million codes, with this GTIN and URL.
    pub(crate) fn minter(gtin: Option<u64>, url: Option<&str>) -> Minter {
        Minter::new(&rules(vec![batch(7, gtin, url)]), read_secret, 7).expect("a minter")
    }

    #[test]
    fn url_is_link_at_host_or_prefix() {
        let gtin = Some(6_901_234_567_892);
        for (gtin, url, wanted) in [
            (None, None, ""),
            (None, Some("https://m.example/c/"), "https://m.example/c/"),
            (None, Some("https://m.example/?c="), "https://m.example/?c="),
            (gtin, None, "https://id.gs1.org/01/06901234567892/21/"),
            (gtin, Some("https://m.example/c/"), "https://m.example/01/06901234567892/21/"),
            (gtin, Some("http://m.example:8080?c="), "http://m.example:8080/01/06901234567892/21/"),
            (gtin, Some("HTTPS://M.EXAMPLE#"), "HTTPS://M.EXAMPLE/01/06901234567892/21/"),
        ] {
            let content = minter(gtin, url).content(5);
            let (before, token) = content.split_at(content.len() - TOKEN_CHARS);
            assert_eq!(before, wanted);
            assert_eq!(Token::parse(token).map(|token| token.batch), Some(7));
        }
        let broken = rules(vec![batch(7, gtin, Some("m.example"))]);
        let error = Minter::new(&broken, read_secret, 7).expect_err("no host");
        assert_eq!(error, "batch 7: url: has no host for Digital Links: write https://HOST/: \"m.example\"");
    }

    #[test]
    fn unlisted_batch_and_missing_secret_are_named() {
        let none = |_: &str| Err("there is no such file".to_owned());
        let error = |batches, number| Minter::new(&rules(batches), none, number).expect_err("an error");
        assert_eq!(error(vec![], 7), "--batch 7: the rules of acme have no batch; write a [[batch]] first");
        let some = |n: u32| (1..=n).map(|number| batch(number, None, None)).collect();
        assert_eq!(error(some(3), 7), "--batch 7: is not in the rules of acme; they have 1, 2, 3");
        assert!(error(some(25), 99).ends_with("19, 20 and 5 more"));
        let unread = "batch 2: its secret file:batch-2.key cannot be read: there is no such file";
        assert_eq!(error(some(3), 2), unread);
        let other = |_: &str| Ok("07".repeat(32).into_bytes());
        let error = Minter::new(&rules(some(3)), other, 2).expect_err("another secret");
        assert_eq!(error, "batch 2: its secret file:batch-2.key is not the one that `commit` promises");
    }

    #[test]
    fn serials_end_with_the_batch() {
        let minter = minter(None, None);
        assert_eq!(minter.serials(0, None), Ok(0..COUNT));
        assert_eq!(minter.serials(COUNT - 1, None), Ok(COUNT - 1..COUNT));
        assert_eq!(minter.serials(5, Some(7)), Ok(5..12));
        assert_eq!(minter.serials(5, Some(COUNT - 5)), Ok(5..COUNT));
        let past = |from, count| minter.serials(from, count).expect_err("past the end");
        assert_eq!(past(COUNT, None), "--from 1000000: batch 7 ends with serial 999999; give a smaller one");
        assert_eq!(
            past(u64::MAX, Some(1)),
            format!("--from {}: batch 7 ends with serial 999999; give a smaller one", u64::MAX)
        );
        assert_eq!(
            past(5, Some(COUNT)),
            "--count 1000000: from serial 5 on batch 7 has 999995 codes; give at most that"
        );
        assert_eq!(
            past(5, Some(u64::MAX)),
            format!("--count {}: from serial 5 on batch 7 has 999995 codes; give at most that", u64::MAX)
        );
    }

    #[test]
    fn token_is_grouped_in_fours() {
        let minter = minter(None, None);
        let grouped = minter.grouped(5);
        assert_eq!(grouped.split('-').map(str::len).collect::<Vec<_>>(), [4; 5]);
        assert_eq!(grouped.replace('-', ""), minter.content(5));
    }
}
