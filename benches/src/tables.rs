//! The tables of keys beside hashbrown's map and dashmap: bytes a key, time of a look-up, the slowest insert, false duplicates.
//!
//! Each table is measured in a process of its own: what one has freed would otherwise be counted for the next.

use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use domain::table::table::KeyTable;
use domain::table::uniform::UniformMap;

/// Keys that a desk looks ahead at before it applies the first of them.
const BATCH: usize = 32;
/// Look-ups of each kind that are timed.
const TIMED: u64 = 4_000_000;

#[derive(Debug, Args)]
pub(crate) struct TablesArgs {
    /// Numbers of keys
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000,50000000")]
    keys: Vec<u64>,
    /// Look-ups of absent keys in the largest compact table, to count false duplicates
    #[arg(long, default_value_t = 0)]
    absent: u64,
    /// Measure this table only, in this process
    #[arg(long, hide = true, requires = "one_keys")]
    one: Option<Kind>,
    #[arg(long, hide = true)]
    one_keys: Option<u64>,
    #[arg(long, hide = true)]
    presized: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Compact,
    Hashbrown,
    Dashmap,
}

pub(crate) fn run(args: &TablesArgs) -> Result<()> {
    if let (Some(kind), Some(keys)) = (args.one, args.one_keys) {
        return measure(kind, keys, args.presized, args.absent);
    }
    println!(
        "| table | keys | made | bytes a key | insert, ns | the slowest, µs | look-up of a present key, ns | of an absent one, ns | of absent ones ahead, ns |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let largest = args.keys.iter().copied().max();
    for &keys in &args.keys {
        for (kind, name) in [(Kind::Compact, "compact"), (Kind::Hashbrown, "hashbrown"), (Kind::Dashmap, "dashmap")] {
            for presized in [false, true] {
                let absent = if kind == Kind::Compact && presized && Some(keys) == largest { args.absent } else { 0 };
                let mut child = std::process::Command::new(std::env::current_exe()?);
                child.args(["tables", "--one", name, "--one-keys", &keys.to_string(), "--absent", &absent.to_string()]);
                if presized {
                    child.arg("--presized");
                }
                if !child.status().context("the measurement of one table cannot be started")?.success() {
                    bail!("the measurement of {name} with {keys} keys failed");
                }
            }
        }
    }
    Ok(())
}

/// What is measured of each table: the key and the minute in which it was first seen.
trait Measured {
    /// Adds a key unless it is there.
    fn insert(&mut self, key: u128) -> bool;
    fn contains(&mut self, key: u128) -> bool;
    /// Brings the line of a key into the cache.
    fn look_ahead(&self, key: u128) -> u64;
}

impl Measured for KeyTable {
    fn insert(&mut self, key: u128) -> bool {
        self.insert(key, 1, 0)
    }

    fn contains(&mut self, key: u128) -> bool {
        let mut is_present = false;
        self.upsert(key, 1, 0, |present| {
            is_present = present.is_some();
            None
        });
        is_present
    }

    fn look_ahead(&self, key: u128) -> u64 {
        self.look_ahead(key)
    }
}

impl Measured for UniformMap<u32> {
    fn insert(&mut self, key: u128) -> bool {
        self.insert(key, 1).is_none()
    }

    fn contains(&mut self, key: u128) -> bool {
        self.contains_key(&key)
    }

    fn look_ahead(&self, key: u128) -> u64 {
        u64::from(self.contains_key(&key))
    }
}

/// The keys are uniform already, as in the desks.
#[derive(Clone, Default)]
struct LowHalf(u64);

impl Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only for keys of 128 bits");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

type Dash = dashmap::DashMap<u128, u32, BuildHasherDefault<LowHalf>>;

impl Measured for Dash {
    fn insert(&mut self, key: u128) -> bool {
        Dash::insert(self, key, 1).is_none()
    }

    fn contains(&mut self, key: u128) -> bool {
        self.contains_key(&key)
    }

    fn look_ahead(&self, key: u128) -> u64 {
        u64::from(self.contains_key(&key))
    }
}

fn measure(kind: Kind, keys: u64, presized: bool, absent: u64) -> Result<()> {
    let room = if presized { usize::try_from(keys)? } else { 0 };
    let empty = resident()?;
    match kind {
        Kind::Compact => report("compact", &mut KeyTable::with_room(room, 0), keys, presized, (absent, empty)),
        Kind::Hashbrown => {
            let mut map: UniformMap<u32> = UniformMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
            report("hashbrown", &mut map, keys, presized, (absent, empty))
        }
        Kind::Dashmap => {
            let mut map = Dash::with_capacity_and_hasher(room, BuildHasherDefault::default());
            report("dashmap", &mut map, keys, presized, (absent, empty))
        }
    }
}

fn report(name: &str, table: &mut impl Measured, keys: u64, presized: bool, (absent, empty): (u64, u64)) -> Result<()> {
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    let mut last = start;
    for n in 0..keys {
        table.insert(key(n));
        let now = Instant::now();
        slowest = slowest.max(now - last);
        last = now;
    }
    let insert = start.elapsed().as_nanos() / u128::from(keys);
    let bytes = (resident()?.saturating_sub(empty)) * 10 / keys;
    // Keys in an order that has nothing to do with that of the inserts.
    let present = |n: u64| key((key(n) as u64) % keys);
    let absent_key = |n: u64| key(u64::MAX / 2 + n);
    let found = timed(|n| table.contains(present(n)));
    let missed = timed(|n| table.contains(absent_key(n)));
    let mut batch = [0; BATCH];
    let ahead = timed(|n| {
        let at = (n % BATCH as u64) as usize;
        if at == 0 {
            for (i, slot) in (n..).zip(&mut batch) {
                *slot = absent_key(TIMED + i);
            }
            black_box(batch.iter().fold(0, |words, &key| words ^ table.look_ahead(key)));
        }
        table.contains(batch[at])
    });
    let made = if presized { "with room" } else { "grown" };
    println!(
        "| {name} | {keys} | {made} | {}.{} | {insert} | {} | {found} | {missed} | {ahead} |",
        bytes / 10,
        bytes % 10,
        slowest.as_micros()
    );
    if absent > 0 {
        let false_ones = (0..absent).filter(|n| table.contains(absent_key(10 * TIMED + n))).count();
        println!("{false_ones} false duplicates in {absent} look-ups of absent keys");
    }
    Ok(())
}

/// Nanoseconds a look-up, without those of making the keys.
fn timed(mut look_up: impl FnMut(u64) -> bool) -> u128 {
    let start = Instant::now();
    for n in 0..TIMED {
        black_box(look_up(n));
    }
    start.elapsed().as_nanos() / u128::from(TIMED)
}

/// A uniform key of a number (the finaliser of `SplitMix64`, twice).
fn key(n: u64) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let low = mix(n.wrapping_add(1));
    u128::from(mix(low ^ 0x5851_F42D_4C95_7F2D)) << 64 | u128::from(low)
}

/// Resident memory of this process, bytes.
pub(crate) fn resident() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("/proc/self/statm cannot be read")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.context("/proc/self/statm has no resident pages")? * 4096)
}
