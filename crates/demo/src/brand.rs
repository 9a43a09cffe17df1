//! A fictional brand: its stores, guides and codes, which a seed determines, and the rules files that list them for `serve`.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use domain::model::money::split;
use domain::model::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis, time_text};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::cities::{CITIES, PLACES};

/// The name of the merchant.
pub const MERCHANT: &str = "dawn";
/// Number of stores.
pub const STORES: usize = 1_019;
/// Number of different shoppers.
pub(crate) const SHOPPERS: usize = 200_000;
/// Number of one-item codes, which are printed inside the lids of cups.
pub(crate) const CUPS: u32 = 9_000;
/// The codes on parcels and repairs, each with its channel.
pub(crate) const SERVICES: [(&str, &str); 4] =
    [("PARCEL-TIN", "parcel"), ("PARCEL-BOX", "parcel"), ("PARCEL-SET", "parcel"), ("CARE", "after-sales")];

/// Duration of the opening's better odds, ms.
const BURST_MS: i64 = HOUR_MS;
/// Duration of the campaign, ms.
const CAMPAIGN_MS: i64 = 7 * DAY_MS;
const CHANNELS: [&str; 8] = ["metro", "bus", "magazine", "livestream", "campus", "mall", "cinema", "lift"];
const POSTERS_PER_CHANNEL: usize = 4;
const TEMPLATE: &str = include_str!("template.toml");

/// A store; its code is its id in capitals.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its id in the rules.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its region code, six digits.
    pub region: &'static str,
    /// The share of visitors, relative to the other stores.
    pub(crate) footfall: u32,
    /// Its guides, as indexes in the brand's list.
    pub guides: std::ops::Range<usize>,
}

/// A guide; the code is the id in capitals.
#[derive(Clone, Debug)]
pub struct Guide {
    /// Its id in the rules.
    pub id: String,
    /// The index of its store.
    pub store: usize,
    level: &'static str,
    /// The guide's own number as a shopper: orders through one's own code earn nothing.
    shopper: Option<usize>,
    /// When the guide left, and who earns the commission since.
    left: Option<(Millis, String)>,
}

/// A poster with a code of its own.
#[derive(Clone, Debug)]
pub struct Poster {
    /// Its id in the rules.
    pub id: String,
    channel: &'static str,
    draws: bool,
}

/// The brand, for the traffic and the files.
#[derive(Clone, Debug)]
pub struct Brand {
    /// The opening of the promotion, ms since the epoch.
    pub opens_ms: Millis,
    /// All stores.
    pub stores: Vec<Store>,
    /// All guides.
    pub guides: Vec<Guide>,
    /// Posters whose scans enter a draw come first.
    pub(crate) posters: Vec<Poster>,
    /// Number of posters, the first ones, whose scans enter the draw.
    pub(crate) posters_that_draw: usize,
    secret: [u8; 32],
}

/// Writes the brand's files into a folder, which is created if it is missing. Returns the path of the rules file.
///
/// # Errors
/// A file cannot be written.
pub fn write(dir: &Path, opens_ms: Millis, seed: u64) -> io::Result<PathBuf> {
    Brand::new(opens_ms, seed).write(dir)
}

impl Brand {
    /// The brand of a seed, with a campaign that opens at this time.
    pub fn new(opens_ms: Millis, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut stores = stores(&mut rng);
        let guides = guides(&mut stores, opens_ms, &mut rng);
        let posters = posters();
        let posters_that_draw = posters.iter().take_while(|poster| poster.draws).count();
        Self { opens_ms, stores, guides, posters, posters_that_draw, secret: rng.random() }
    }

    fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let secrets = dir.join("secrets");
        std::fs::create_dir_all(&secrets)?;
        std::fs::write(secrets.join("first-leaf.key"), HEXLOWER.encode(&self.secret) + "\n")?;
        std::fs::write(dir.join("stores.csv"), self.stores_csv())?;
        std::fs::write(dir.join("guides.csv"), self.guides_csv())?;
        std::fs::write(dir.join("codes.csv"), self.codes_csv())?;
        let rules = dir.join("rules.toml");
        std::fs::write(&rules, self.rules())?;
        Ok(rules)
    }

    fn rules(&self) -> String {
        let after = |ms: i64| time_text(self.opens_ms + ms);
        TEMPLATE
            .replace("@opens@", &after(0))
            .replace("@burst_ends@", &after(BURST_MS))
            .replace("@first_day_ends@", &after(DAY_MS))
            .replace("@closes@", &after(CAMPAIGN_MS))
            .replace("@commit@", &HEXLOWER.encode(&Sha256::digest(self.secret)))
    }

    /// Cells need no quotes, here and in the other registers: no text of the brand has a comma or a quote.
    fn stores_csv(&self) -> String {
        let mut csv = "id,region,name\n".to_owned();
        for Store { id, region, name, .. } in &self.stores {
            row(&mut csv, [id, region, name]);
        }
        csv
    }

    fn guides_csv(&self) -> String {
        let mut csv = "id,store,level,shopper,left,successor\n".to_owned();
        for guide in &self.guides {
            let shopper = guide.shopper.map(shopper_name).unwrap_or_default();
            let (left, successor) =
                guide.left.as_ref().map(|(at, successor)| (time_text(*at), successor.as_str())).unwrap_or_default();
            row(&mut csv, [&guide.id, &self.stores[guide.store].id, guide.level, &shopper, &left, successor]);
        }
        csv
    }

    fn codes_csv(&self) -> String {
        let mut csv = "id,kind,guide,store,campaign,channel\n".to_owned();
        for guide in &self.guides {
            row(&mut csv, [&code(&guide.id), "guide", &guide.id, "", "", ""]);
        }
        for store in &self.stores {
            row(&mut csv, [&code(&store.id), "store", "", &store.id, "", ""]);
        }
        for poster in &self.posters {
            let campaign = if poster.draws { "first-leaf" } else { "" };
            row(&mut csv, [&poster.id, "media", "", "", campaign, poster.channel]);
        }
        for (service, channel) in SERVICES {
            row(&mut csv, [service, "service", "", "", "", channel]);
        }
        for cup in 0..CUPS {
            row(&mut csv, [&cup_code(cup), "interactive", "", "", "first-leaf", ""]);
        }
        csv
    }
}

/// The code of a guide or a store.
pub(crate) fn code(id: &str) -> String {
    id.to_ascii_uppercase()
}

/// The code inside a lid.
pub(crate) fn cup_code(cup: u32) -> String {
    format!("CUP-{cup:05}")
}

/// A shopper's pseudonymous id.
pub(crate) fn shopper_name(shopper: usize) -> String {
    format!("u{shopper:06}")
}

fn stores(rng: &mut SmallRng) -> Vec<Store> {
    let weights = CITIES.map(|city| city.weight);
    let total = i64::try_from(STORES).unwrap_or(i64::MAX);
    let mut stores = Vec::with_capacity(STORES);
    for (city, count) in CITIES.iter().zip(split(total, &weights)) {
        for i in 0..usize::try_from(count).unwrap_or(0) {
            let (place, round) = (PLACES[i % PLACES.len()], i / PLACES.len());
            let again = if round == 0 { String::new() } else { format!(" {}", round + 1) };
            let busy: u32 = rng.random_range(2..=10);
            stores.push(Store {
                id: format!("s-{:04}", stores.len() + 1),
                name: format!("{} {place}{again}", city.name),
                region: city.region,
                footfall: busy * busy,
                guides: 0..0,
            });
        }
    }
    stores
}

/// Each store has two to four guides. In some stores the last one has left, or leaves in the hours after the opening.
fn guides(stores: &mut [Store], opens_ms: Millis, rng: &mut SmallRng) -> Vec<Guide> {
    let mut guides: Vec<Guide> = Vec::new();
    for (number, store) in stores.iter_mut().enumerate() {
        let first = guides.len();
        let count = rng.random_range(2..=4);
        for n in 1..=count {
            let level = match rng.random_range(0..100) {
                0..6 => "gold",
                6..26 => "silver",
                _ => "",
            };
            // Every 61st shopper up to the number of guides: no two guides are one shopper.
            let shopper = (guides.len() % 50 == 7).then(|| guides.len() * 61 % SHOPPERS);
            let id = format!("g-{:04}-{n}", number + 1);
            guides.push(Guide { id, store: number, level, shopper, left: None });
        }
        store.guides = first..guides.len();
        if rng.random_ratio(1, 30) {
            let successor = match rng.random_range(0..3) {
                0 => guides[first].id.clone(),
                1 => "store".to_owned(),
                _ => "keep".to_owned(),
            };
            let left = opens_ms + rng.random_range(-24 * 60..3 * 60) * MINUTE_MS;
            guides[first + count - 1].left = Some((left.max(0), successor));
        }
    }
    guides
}

fn posters() -> Vec<Poster> {
    let numbers = 0..POSTERS_PER_CHANNEL;
    let mut posters: Vec<Poster> = numbers
        .flat_map(|n| {
            CHANNELS.iter().map(move |channel| Poster {
                id: format!("POSTER-{}-{}", code(channel), n + 1),
                channel,
                draws: n < POSTERS_PER_CHANNEL / 2,
            })
        })
        .collect();
    posters.sort_by_key(|poster| !poster.draws);
    posters
}

fn row<const N: usize>(csv: &mut String, cells: [&str; N]) {
    debug_assert!(cells.iter().all(|cell| !cell.contains([',', '"', '\n'])));
    csv.push_str(&cells.join(","));
    csv.push('\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OPENS: Millis = 1_794_326_400_000;

    #[test]
    fn same_seed_writes_same_files() {
        let written = |seed| {
            let dir = tempfile::tempdir().expect("a folder");
            write(dir.path(), OPENS, seed).expect("files");
            ["rules.toml", "stores.csv", "guides.csv", "codes.csv", "secrets/first-leaf.key"]
                .map(|file| std::fs::read_to_string(dir.path().join(file)).expect("a file"))
        };
        assert_eq!(written(7), written(7));
        let changed: Vec<bool> = written(7).iter().zip(written(8)).map(|(one, other)| *one != other).collect();
        assert!(changed[0] && changed[2] && changed[4], "the commit, the guides and the secret are the seed's");
    }

    #[test]
    fn stores_and_guides_are_all_different() {
        let brand = Brand::new(OPENS, 7);
        let names: BTreeSet<&str> = brand.stores.iter().map(|store| store.name.as_str()).collect();
        assert_eq!(names.len(), STORES);
        let own: Vec<usize> = brand.guides.iter().filter_map(|guide| guide.shopper).collect();
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len());
        assert!(own.len() > 10);
    }
}
