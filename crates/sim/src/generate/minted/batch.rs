//! What is known of the minted codes of a merchant, and how a batch is written.
use crate::naive::minted::token::Keys;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The minted codes of a merchant, as its last version has them.
#[derive(Default)]
pub(crate) struct Minted {
    pub(super) batches: Vec<Batch>,
    /// `[[campaign]]` and `[[code]]`, as they are written
    pub(super) campaigns: String,
    /// campaigns that draw several batches, and other codes
    pub(super) shared: Vec<String>,
    /// codes that are not minted, of these campaigns
    pub(super) others: Vec<String>,
    /// ranges are in a register
    pub(super) csv: bool,
}

pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) kind: &'static str,
    pub(super) count: i64,
    pub(super) campaign: Option<String>,
    pub(super) secret: Vec<u8>,
    pub(super) gtin: Option<String>,
    /// further keys, as they are written
    pub(super) keys: String,
    pub(super) only_ranges: bool,
    pub(super) ranges: Vec<Range>,
    /// the serials that are scanned: few, so that they are scanned often
    pub(super) hot: Vec<i64>,
}

pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) state: Option<&'static str>,
    /// guide, store, region, channel
    pub(super) cells: [Option<String>; 4],
}

pub(super) const RANGE_KEYS: [&str; 4] = ["guide", "store", "region", "channel"];

impl Batch {
    pub(super) fn token(&self, serial: i64) -> String {
        Keys::of(&self.secret).mint(self.number, serial as u64)
    }

    pub(super) fn write(&self, merchant: &str, out: &mut String) {
        let (number, kind, count) = (self.number, self.kind, self.count);
        write!(out, "\n[[batch]]\nnumber = {number}\nkind = \"{kind}\"\ncount = {count}\n").unwrap();
        let optional = [("campaign", &self.campaign), ("gtin", &self.gtin)];
        for (key, value) in optional.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            writeln!(out, "{key} = \"{value}\"").unwrap();
        }
        if self.only_ranges {
            out.push_str("activate = \"ranges\"\n");
        }
        let commit = HEXLOWER.encode(&Sha256::digest(&self.secret));
        write!(out, "{}secret = \"file:{}\"\ncommit = \"{commit}\"\n", self.keys, secret_file(merchant, number))
            .unwrap();
    }
}

pub(super) fn secret_file(merchant: &str, number: u64) -> String {
    format!("secrets/{merchant}-batch-{number}.key")
}
