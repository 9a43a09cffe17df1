//! One version of a merchant's rules, ready for the desks: references turned into indices, sums worked out.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;

use super::batches::{Batches, FoundToken, Item};
use super::draw::{DrawKey, Moment, SealedDraw, moments, thresholds};
use super::secrets::Secrets;
use super::{Campaign, Mode, PrizeKind, Rules, RulesSeq, Successor, version_text};
use crate::model::code::{Kind, Link, gtin};
use crate::model::event::{Action, Code};
use crate::model::ids::{shopper_key, text_key};
use crate::model::time::{Millis, Zone};
use crate::table::uniform::UniformSet;

/// The published rules that frames may refer to, by version number.
pub type Library = BTreeMap<RulesSeq, Arc<Rulebook>>;

/// A version of one merchant's rules.
#[derive(Debug)]
pub struct Rulebook {
    /// The rules as written.
    pub rules: Rules,
    /// The number of the version.
    pub seq: RulesSeq,
    /// SHA-256 of the published object.
    pub sha256: [u8; 32],
    /// The zone that decides days.
    pub zone: Zone,
    /// By index in the rules.
    pub guides: Vec<GuideTerms>,
    /// By index in the rules.
    pub codes: Vec<CodeTerms>,
    /// By index in the rules.
    pub campaigns: Vec<CampaignTerms>,
    /// The batches of minted codes.
    pub batches: Batches,
    /// The keys of the guides' own shopper ids.
    pub guide_shoppers: UniformSet,
    /// The actions that unlock some prize.
    pub unlocking: Vec<Action>,
    by_code: HashMap<Box<str>, u32>,
    by_gln: HashMap<u64, u32>,
    by_gsrn: HashMap<u64, u32>,
}

/// What the rules say of a guide; indices into the rules.
#[derive(Debug)]
pub struct GuideTerms {
    /// The guide's store; `None` for a guide of the head office.
    pub store: Option<u32>,
    /// When the guide left.
    pub left: Option<Millis>,
    /// Who is paid after that.
    pub successor: SuccessorTerms,
    /// The key of the guide's own shopper id.
    pub shopper_key: Option<u128>,
}

/// Who is paid instead of a guide who has left.
#[derive(Clone, Copy, Debug)]
pub enum SuccessorTerms {
    /// The store of this index.
    Store(u32),
    /// The guide who has left.
    Keep,
    /// The guide of this index.
    Guide(u32),
}

/// What a known code stands for; indices into the rules.
#[derive(Clone, Copy, Debug)]
pub struct CodeTerms {
    /// What the code is.
    pub kind: Kind,
    /// The guide that it belongs to.
    pub guide: Option<u32>,
    /// The store that it belongs to.
    pub store: Option<u32>,
    /// The campaign that it enters.
    pub campaign: Option<u32>,
}

/// What a campaign needs to draw and to grant.
#[derive(Debug)]
pub struct CampaignTerms {
    /// By index in the campaign.
    pub prizes: Vec<PrizeTerms>,
    /// Per phase, the thresholds of the prizes.
    pub thresholds: Vec<Vec<u128>>,
    /// `None` where a role does not draw.
    pub key: Option<DrawKey>,
    /// Of a sealed campaign, where a role draws.
    pub sealed: Option<SealedDraw>,
    moments: OnceLock<Vec<Moment>>,
}

impl CampaignTerms {
    /// The moments of the campaign, the earliest first; none where a role does not draw. They are worked out once.
    pub fn moments(&self, campaign: &Campaign) -> &[Moment] {
        self.moments.get_or_init(|| self.key.as_ref().map_or_else(Vec::new, |key| moments(campaign, key)))
    }
}

/// What a prize needs to be granted.
#[derive(Debug)]
pub struct PrizeTerms {
    /// The index of the prize that follows where this one is used up; `None` means thanks.
    pub otherwise: Option<u32>,
    /// Whether it is cash, which a budget pays.
    pub is_cash: bool,
}

/// What a text is under these rules.
#[derive(Clone, Copy, Debug)]
pub struct Resolved<'a> {
    /// What the code is.
    pub kind: Kind,
    /// Index into the rules' codes, for a code that they list.
    pub listed: Option<u32>,
    /// For a store's GLN or a guide's GSRN: the index of that store or guide.
    pub place: Option<Gs1Owner>,
    /// For a token that was minted.
    pub item: Option<Item>,
    /// The code's name.
    pub name: Name<'a>,
}

/// What a GS1 key of the rules names; indices into the rules.
#[derive(Clone, Copy, Debug)]
pub enum Gs1Owner {
    /// The store of this index.
    Store(u32),
    /// The guide of this index.
    Guide(u32),
}

/// A code's name (contract section 3).
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// A text.
    Text(&'a str),
    /// A GS1 key: its value, and its number of digits.
    Digits(u64, u8),
    /// A minted code: the number of its batch, and its serial.
    Item(u32, u64),
}

/// Buffer for the digits of a GS1 key, or for the name of a minted code.
pub type DigitBuffer = [u8; 18];

impl<'a> Name<'a> {
    /// The name as text; digits are written into the buffer.
    pub fn text<'b>(&self, buffer: &'b mut DigitBuffer) -> &'b str
    where
        'a: 'b,
    {
        let start = match *self {
            Self::Text(text) => return text,
            Self::Digits(number, width) => {
                let end = usize::from(width);
                write_digits(&mut buffer[..end], number, end);
                return std::str::from_utf8(&buffer[..end]).unwrap_or("");
            }
            Self::Item(batch, serial) => {
                let colon = write_digits(buffer, serial, 1) - 1;
                buffer[colon] = b':';
                write_digits(&mut buffer[..colon], batch.into(), 1)
            }
        };
        std::str::from_utf8(&buffer[start..]).unwrap_or("")
    }

    /// The key of the name for tables.
    #[must_use]
    pub fn key(&self) -> u128 {
        text_key(self.text(&mut [0; 18]))
    }
}

/// Writes a number to the end of a buffer, with at least `width` digits; returns where it begins.
fn write_digits(buffer: &mut [u8], mut number: u64, width: usize) -> usize {
    let mut at = buffer.len();
    while at > 0 && (number > 0 || buffer.len() - at < width) {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    at
}

/// Why rules cannot be prepared: they did not pass the checks of `wire`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulebookError {
    /// No such time zone is in the database.
    #[error("time_zone: {0} is not in this build's database: write an IANA name such as Asia/Shanghai, or upgrade")]
    TimeZone(String),
    /// A reference to a store, guide or campaign that the rules do not list.
    #[error("{what} {id} is not in the rules of {merchant}")]
    Unlisted {
        /// `store`, `guide` or `campaign`.
        what: &'static str,
        /// The id that is referred to.
        id: String,
        /// The merchant's name.
        merchant: String,
    },
    /// A store is to succeed to a guide who has none.
    #[error("guide {0} has no store that could succeed to the guide")]
    NoStore(String),
    /// A reference to a prize that the campaign does not list.
    #[error("prize {prize} is not in campaign {campaign}")]
    Prize {
        /// The id that is referred to.
        prize: String,
        /// The campaign's id.
        campaign: String,
    },
}

impl Rulebook {
    /// Prepares a version. A role that does not draw or resolve codes passes no secrets.
    ///
    /// # Errors
    /// The first reference that leads nowhere.
    pub fn new(rules: Rules, seq: RulesSeq, sha256: [u8; 32], secrets: &Secrets) -> Result<Self, RulebookError> {
        let zone = Zone::named(&rules.time_zone).ok_or_else(|| RulebookError::TimeZone(rules.time_zone.clone()))?;
        let by_store = index(rules.stores.iter().map(|s| s.id.as_str()));
        let by_guide = index(rules.guides.iter().map(|g| g.id.as_str()));
        let by_code = index(rules.codes.iter().map(|c| c.id.as_str()));
        let by_campaign = index(rules.campaigns.iter().map(|c| c.id.as_str()));
        let find = |map: &HashMap<Box<str>, u32>, what: &'static str, id: &str| {
            let unlisted = || RulebookError::Unlisted { what, id: id.to_owned(), merchant: rules.merchant.clone() };
            map.get(id).copied().ok_or_else(unlisted)
        };
        let find_in = |map, what, id: &Option<String>| id.as_ref().map(|id| find(map, what, id)).transpose();
        let guides = rules.guides.iter().map(|g| {
            let store = find_in(&by_store, "store", &g.store)?;
            Ok(GuideTerms {
                store,
                left: g.left,
                successor: match &g.successor {
                    Successor::Store => {
                        SuccessorTerms::Store(store.ok_or_else(|| RulebookError::NoStore(g.id.clone()))?)
                    }
                    Successor::Keep => SuccessorTerms::Keep,
                    Successor::Guide(id) => SuccessorTerms::Guide(find(&by_guide, "guide", id)?),
                },
                shopper_key: g.shopper.as_ref().map(|s| shopper_key(&rules.merchant, s)),
            })
        });
        let guides = guides.collect::<Result<Vec<_>, RulebookError>>()?;
        let codes = rules.codes.iter().map(|c| {
            Ok(CodeTerms {
                kind: c.kind,
                guide: find_in(&by_guide, "guide", &c.guide)?,
                store: find_in(&by_store, "store", &c.store)?,
                campaign: find_in(&by_campaign, "campaign", &c.campaign)?,
            })
        });
        let codes = codes.collect::<Result<Vec<_>, RulebookError>>()?;
        let batches = Batches::new(&rules, secrets, |what, id| match what {
            "guide" => find_in(&by_guide, what, id),
            "store" => find_in(&by_store, what, id),
            _ => find_in(&by_campaign, what, id),
        })?;
        let campaigns = rules
            .campaigns
            .iter()
            .map(|c| campaign_terms(c, &rules, secrets))
            .collect::<Result<Vec<_>, RulebookError>>()?;
        let prizes = rules.campaigns.iter().flat_map(|c| &c.prizes);
        let mut unlocking: Vec<Action> = prizes.filter_map(|p| p.unlock.as_ref().map(|u| u.action)).collect();
        unlocking.sort_unstable();
        unlocking.dedup();
        let by_gln = (0..).zip(&rules.stores).filter_map(|(i, s)| Some((s.gln?, i))).collect();
        let by_gsrn = (0..).zip(&rules.guides).filter_map(|(i, g)| Some((g.gsrn?, i))).collect();
        let guide_shoppers = guides.iter().filter_map(|guide: &GuideTerms| guide.shopper_key).collect();
        Ok(Self {
            zone,
            guides,
            codes,
            campaigns,
            batches,
            guide_shoppers,
            unlocking,
            by_code,
            by_gln,
            by_gsrn,
            rules,
            seq,
            sha256,
        })
    }

    /// First 12 hex digits of the published object's SHA-256.
    #[must_use]
    pub fn version(&self) -> String {
        version_text(&self.sha256)
    }

    /// Whether a code's name is that of a one-item code of these rules.
    #[must_use]
    pub fn is_item_code(&self, name: &str) -> bool {
        match self.by_code.get(name) {
            Some(&index) => self.codes[index as usize].kind.is_item(),
            None => self.batches.named(name).is_some(),
        }
    }

    /// The batch, by index, and the serial of a minted code of these rules, by its name.
    #[must_use]
    pub fn minted(&self, name: &str) -> Option<(u32, u64)> {
        if self.by_code.contains_key(name) { None } else { self.batches.named(name) }
    }

    /// What a code is (contract section 3).
    #[must_use]
    pub fn resolve<'a>(&self, code: &Code<'a>) -> Resolved<'a> {
        let unknown = |name| Resolved { kind: Kind::Unknown, listed: None, place: None, item: None, name };
        match code.link {
            None => self.text(code.text),
            Some(Link::Text(text)) => self.text(text),
            Some(Link::Gtin(gtin, serial)) => {
                let found = match serial {
                    Some(serial) => self.listed(serial).or_else(|| self.token(serial, Some(gtin))),
                    None => self.listed_digits(gtin, 14),
                };
                found.or_else(|| product(Some(gtin))).unwrap_or_else(|| unknown(Name::Digits(gtin, 14)))
            }
            Some(Link::Gln(gln)) => {
                let name = Name::Digits(gln, 13);
                let place = self.by_gln.get(&gln).map(|&s| Resolved {
                    kind: Kind::Store,
                    listed: None,
                    item: None,
                    place: Some(Gs1Owner::Store(s)),
                    name,
                });
                self.listed_digits(gln, 13).or(place).unwrap_or_else(|| unknown(name))
            }
            Some(Link::Gsrn(gsrn)) => {
                let name = Name::Digits(gsrn, 18);
                let place = self.by_gsrn.get(&gsrn).map(|&g| Resolved {
                    kind: Kind::Guide,
                    listed: None,
                    item: None,
                    place: Some(Gs1Owner::Guide(g)),
                    name,
                });
                self.listed_digits(gsrn, 18).or(place).unwrap_or_else(|| unknown(name))
            }
        }
    }

    /// A text without a link: a code id as it stands, else a GTIN, which is meant in its 14 digits.
    fn text<'a>(&self, text: &'a str) -> Resolved<'a> {
        let found = self.listed(text).or_else(|| self.token(text, None)).or_else(|| {
            let number = gtin(text)?;
            self.listed_digits(number, 14).or_else(|| product(Some(number)))
        });
        found.unwrap_or(Resolved { kind: Kind::Unknown, listed: None, place: None, item: None, name: Name::Text(text) })
    }

    fn token<'a>(&self, text: &'a str, gtin: Option<u64>) -> Option<Resolved<'a>> {
        let found = self.batches.find(&self.rules, text, gtin)?;
        Some(match found {
            FoundToken::Item(item) => {
                let batch = &self.rules.batches[item.batch as usize];
                let name = Name::Item(batch.number, item.serial);
                Resolved { kind: batch.kind, listed: None, place: None, item: Some(item), name }
            }
            FoundToken::Forged => {
                Resolved { kind: Kind::Forged, listed: None, place: None, item: None, name: Name::Text(text) }
            }
        })
    }

    fn listed<'a>(&self, text: &'a str) -> Option<Resolved<'a>> {
        let index = *self.by_code.get(text)?;
        Some(Resolved {
            kind: self.codes[index as usize].kind,
            listed: Some(index),
            place: None,
            item: None,
            name: Name::Text(text),
        })
    }

    fn listed_digits<'a>(&self, number: u64, width: u8) -> Option<Resolved<'a>> {
        let name = Name::Digits(number, width);
        let index = *self.by_code.get(name.text(&mut [0; 18]))?;
        Some(Resolved { kind: self.codes[index as usize].kind, listed: Some(index), place: None, item: None, name })
    }
}

fn product<'a>(gtin: Option<u64>) -> Option<Resolved<'a>> {
    gtin.map(|n| Resolved { kind: Kind::Product, listed: None, place: None, item: None, name: Name::Digits(n, 14) })
}

fn campaign_terms(campaign: &Campaign, rules: &Rules, secrets: &Secrets) -> Result<CampaignTerms, RulebookError> {
    let by_prize = index(campaign.prizes.iter().map(|p| p.id.as_str()));
    let find = |id: &str| {
        let unlisted = || RulebookError::Prize { prize: id.to_owned(), campaign: campaign.id.clone() };
        by_prize.get(id).copied().ok_or_else(unlisted)
    };
    let prizes = campaign.prizes.iter().map(|p| {
        Ok(PrizeTerms { otherwise: p.otherwise.as_deref().map(find).transpose()?, is_cash: p.kind == PrizeKind::Cash })
    });
    let per_phase = campaign.phases.iter().map(|phase| {
        phase.odds.keys().try_for_each(|id| find(id).map(drop))?;
        let odds: Vec<_> = campaign.prizes.iter().map(|p| phase.odds.get(&p.id).copied()).collect();
        Ok(thresholds(&odds))
    });
    let key = secrets.campaigns.get(&campaign.id).map(|secret| DrawKey::new(secret));
    let mut own = rules.batches.iter().filter(|batch| batch.campaign.as_deref() == Some(&*campaign.id));
    let batch = own.next().filter(|_| campaign.mode == Mode::Sealed);
    Ok(CampaignTerms {
        prizes: prizes.collect::<Result<_, RulebookError>>()?,
        thresholds: per_phase.collect::<Result<_, RulebookError>>()?,
        sealed: key.as_ref().zip(batch).map(|(key, batch)| SealedDraw::new(campaign, batch.count, key)),
        moments: OnceLock::new(),
        key,
    })
}

fn index<'a>(ids: impl Iterator<Item = &'a str>) -> HashMap<Box<str>, u32> {
    (0..).zip(ids).map(|(i, id)| (id.into(), i)).collect()
}
