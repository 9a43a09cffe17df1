//! The segments of the code desk's state: rows of codes and pages, each as it is after a change, or at a moment of a base.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::pages::{BatchCodes, Slot, Story};
use super::{CodeDesk, Item};
use crate::frame::{self, DecodeError, encode, encode_into};
use crate::protocol::stage::segments::{Noted, Segments};

/// What a segment stores, after the name of the merchant.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Stored<'a> {
    /// A code that the rules list: its name, and what it is.
    Listed(&'a str, &'a str, Cow<'a, Item>),
    /// A minted code: the number of its batch, its serial, and what it is.
    Code(&'a str, u32, u32, Slot, Option<Cow<'a, Story>>),
    /// A page of minted codes: the number of its batch, and its own.
    Page(&'a str, u32, u32, Cow<'a, [Slot]>),
    /// What few minted codes have.
    Story(&'a str, u32, u32, Cow<'a, Story>),
}

/// What a base has still to write of a merchant.
#[derive(Clone, Debug)]
pub(super) enum Unwritten {
    Listed(String),
    /// What few codes of a batch have.
    Stories(String, u32),
    /// Pages of a batch.
    Pages(String, u32, Vec<u32>),
}

impl CodeDesk {
    /// What of the state is not in segments.
    pub(super) fn head(&self) -> Vec<u8> {
        let heads = |batches: &hashbrown::HashMap<u32, BatchCodes>| -> Vec<(u32, BatchCodes)> {
            batches.iter().map(|(number, codes)| (*number, codes.head())).collect()
        };
        let minted: hashbrown::HashMap<&String, hashbrown::HashMap<u32, BatchCodes>> =
            self.minted.iter().map(|(merchant, batches)| (merchant, heads(batches).into_iter().collect())).collect();
        encode(&(hashbrown::HashMap::<String, hashbrown::HashMap<String, Item>>::default(), minted))
    }

    fn batch(&mut self, merchant: &str, number: u32) -> &mut BatchCodes {
        self.minted.entry_ref(merchant).or_default().entry(number).or_default()
    }

    fn write(&self, unwritten: &mut Unwritten, to: &mut Vec<u8>) -> bool {
        let codes = |merchant: &str, batch: &u32| self.minted.get(merchant).and_then(|batches| batches.get(batch));
        match unwritten {
            Unwritten::Listed(merchant) => {
                for (code, item) in self.listed.get(merchant).into_iter().flatten() {
                    encode_into(to, &Stored::Listed(merchant, code, Cow::Borrowed(item)));
                }
                true
            }
            Unwritten::Stories(merchant, batch) => {
                for (serial, story) in codes(merchant, batch).into_iter().flat_map(BatchCodes::stories) {
                    encode_into(to, &Stored::Story(merchant, *batch, serial, Cow::Borrowed(story)));
                }
                true
            }
            Unwritten::Pages(merchant, batch, pages) => {
                if let (Some(page), Some(codes)) = (pages.pop(), codes(merchant, batch)) {
                    encode_into(to, &Stored::Page(merchant, *batch, page, Cow::Borrowed(codes.page(page))));
                }
                pages.is_empty()
            }
        }
    }
}

impl Segments for CodeDesk {
    fn has_segments(&self) -> bool {
        true
    }

    fn track(&mut self) {
        self.changes = Some(Noted::default());
    }

    fn changed_bytes(&self) -> Option<usize> {
        self.changes.as_ref().map_or(Some(0), Noted::len)
    }

    fn cut(&mut self) {
        self.cut = self.changes.as_mut().map(Noted::take).unwrap_or_default();
    }

    fn write_cut(&mut self, until: usize, to: &mut Vec<u8>) -> bool {
        while to.len() < until
            && let Some(mut row) = self.cut.pop_front()
        {
            to.append(&mut row);
        }
        self.cut.is_empty()
    }

    fn begin_base(&mut self) {
        let listed = self.listed.keys().cloned().map(Unwritten::Listed);
        let batches = self.minted.iter().flat_map(|(merchant, batches)| {
            batches.iter().flat_map(move |(&batch, codes)| {
                let pages = codes.pages().collect();
                [Unwritten::Stories(merchant.clone(), batch), Unwritten::Pages(merchant.clone(), batch, pages)]
            })
        });
        self.base = listed.chain(batches).collect();
    }

    fn write_base(&mut self, until: usize, to: &mut Vec<u8>) -> bool {
        while let Some(mut first) = self.base.pop_front() {
            if !self.write(&mut first, to) {
                self.base.push_front(first);
            }
            if to.len() >= until {
                break;
            }
        }
        self.base.is_empty()
    }

    fn load_segment(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let (stored, rest) = frame::take_from_row::<Stored<'_>>(bytes)?;
            bytes = rest;
            match stored {
                Stored::Listed(merchant, code, item) => {
                    self.listed.entry_ref(merchant).or_default().insert(code.to_owned(), item.into_owned());
                }
                Stored::Code(merchant, batch, serial, slot, story) => {
                    let codes = self.batch(merchant, batch);
                    codes.load(serial, slot);
                    story.into_iter().for_each(|story| codes.load_story(serial, story.into_owned()));
                }
                Stored::Page(merchant, batch, page, slots) => {
                    self.batch(merchant, batch).load_page(page, slots.into_owned());
                }
                Stored::Story(merchant, batch, serial, story) => {
                    self.batch(merchant, batch).load_story(serial, story.into_owned());
                }
            }
        }
        Ok(())
    }
}
