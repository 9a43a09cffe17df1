//! The events that are sent. Each depends only on the seed and its number, not on the connection, so a retry sends the same bytes.

mod written;

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

use written::Written;

use super::args::{Clock, Format, LoadArgs, Mix, Share};

/// Maximum distance between the numbers of an event and of its duplicate.
const DUPLICATE_REACH: u64 = 1_000;
/// Weyl constant (2⁶⁴ over the golden ratio), which gives neighbouring numbers seeds that are far apart.
const WEYL: u64 = 0x9E37_79B9_7F4A_7C15;

pub(super) struct Traffic {
    seed: u64,
    batch: u64,
    /// As a JSON string.
    merchant: String,
    shoppers: Zipf<f64>,
    codes: Codes,
    code_ranks: Zipf<f64>,
    mix: Mix,
    duplicates: Share,
    results: Share,
    times: Option<Times>,
    format: Format,
}

/// The times of events: event n happens at first + n × 1000 / rate.
struct Times {
    first_ms: u64,
    rate: u64,
}

enum Codes {
    Numbered,
    /// As JSON strings.
    Listed(Vec<String>),
}

/// One request: its body, and what the ledger must count for it once it is accepted.
pub(super) struct Load {
    pub(super) body: Vec<u8>,
    /// The Content-Type, and further headers, each with its end of line.
    pub(super) media: &'static str,
    pub(super) headers: String,
    pub(super) made: Made,
    pub(super) asks: Vec<Ask>,
}

/// Numbers of events by kind; a duplicate has no other kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) scans: u64,
    pub(super) visits: u64,
    pub(super) orders: u64,
    pub(super) duplicates: u64,
}

impl Made {
    pub(super) fn events(self) -> u64 {
        self.scans + self.visits + self.orders + self.duplicates
    }

    pub(super) fn add(&mut self, other: Self) {
        self.scans += other.scans;
        self.visits += other.visits;
        self.orders += other.orders;
        self.duplicates += other.duplicates;
    }
}

/// A scan whose result is requested. Both fields need no escapes in a URL.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) id: String,
    pub(super) shopper: String,
}

enum Action {
    Scan,
    Visit,
    Order,
}

impl Traffic {
    /// # Errors
    /// The file of codes cannot be read, or holds no code.
    pub(super) fn new(args: &LoadArgs, seed: u64, now_ms: u64) -> Result<Self> {
        let codes = args.code_file.as_deref().map_or(Ok(Codes::Numbered), listed)?;
        let count = match &codes {
            Codes::Numbered => args.codes,
            Codes::Listed(list) => list.len() as u64,
        };
        let first_ms = args.first_time.unwrap_or(now_ms);
        Ok(Self {
            seed,
            batch: args.batch,
            merchant: json_text(&args.merchant),
            shoppers: ranks(args.shoppers, args.shopper_skew).context("--shoppers, --shopper-skew")?,
            codes,
            code_ranks: ranks(count, args.code_skew).context("--codes, --code-skew")?,
            mix: args.action_mix,
            duplicates: args.duplicates,
            results: args.results,
            times: (args.clock == Clock::Event).then_some(Times { first_ms, rate: args.rate }),
            format: args.format,
        })
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The request of an index: `batch` events from number index × batch on.
    pub(super) fn request(&self, index: u64) -> Load {
        let mut written = Written::new(self.format, self.batch);
        let mut made = Made::default();
        let mut asks = Vec::new();
        for n in index * self.batch..(index + 1) * self.batch {
            let (origin, dice) = self.origin(n);
            let ask = self.event(origin, dice, &mut written, &mut made, origin != n);
            asks.extend(ask);
        }
        let (body, media, headers) = written.into_parts();
        Load { body, media, headers, made, asks }
    }

    /// The number of the event that number n sends, which is n or an earlier one, and that event's random generator.
    fn origin(&self, mut n: u64) -> (u64, SmallRng) {
        loop {
            let mut dice = SmallRng::seed_from_u64(self.seed ^ (n + 1).wrapping_mul(WEYL));
            if n == 0 || dice.random_range(0..Share::WHOLE_PPM) >= self.duplicates.ppm {
                return (n, dice);
            }
            n -= dice.random_range(1..=n.min(DUPLICATE_REACH));
        }
    }

    fn event(&self, n: u64, mut dice: SmallRng, written: &mut Written, made: &mut Made, again: bool) -> Option<Ask> {
        let id = format!("{:x}-{n:x}", self.seed);
        let shopper = format!("u{}", rank(&self.shoppers, &mut dice));
        let action = self.action(&mut dice);
        let name = match action {
            Action::Scan => "scan",
            Action::Visit => "visit",
            Action::Order => "order",
        };
        let merchant = &self.merchant;
        let body = written.begin(&id);
        // Writing to a string does not fail.
        let _ = write!(body, r#""action":"{name}","shopper":"{shopper}","merchant":{merchant}"#);
        match action {
            Action::Scan => self.code(&mut dice, body),
            Action::Visit => {}
            Action::Order => {
                let _ = write!(body, r#","order":"o-{id}","amount":{}"#, dice.random_range(100..100_000));
            }
        }
        if let Some(times) = &self.times {
            let _ = write!(body, r#","time":{}"#, times.first_ms + n * 1_000 / times.rate);
        }
        written.end();
        let asked = dice.random_range(0..Share::WHOLE_PPM) < self.results.ppm;
        match action {
            _ if again => made.duplicates += 1,
            Action::Scan => made.scans += 1,
            Action::Visit => made.visits += 1,
            Action::Order => made.orders += 1,
        }
        (asked && !again && matches!(action, Action::Scan)).then_some(Ask { id, shopper })
    }

    fn action(&self, dice: &mut SmallRng) -> Action {
        let side = dice.random_range(0..self.mix.sum());
        if side < self.mix.scan {
            Action::Scan
        } else if side < self.mix.scan + self.mix.visit {
            Action::Visit
        } else {
            Action::Order
        }
    }

    fn code(&self, dice: &mut SmallRng, body: &mut String) {
        let rank = rank(&self.code_ranks, dice);
        let _ = match &self.codes {
            Codes::Numbered => write!(body, r#","code":"c{rank}""#),
            Codes::Listed(list) => {
                let last = list.len() - 1;
                write!(body, r#","code":{}"#, list[usize::try_from(rank).unwrap_or(last).min(last)])
            }
        };
    }
}

fn ranks(count: u64, skew: f64) -> Result<Zipf<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "the distribution takes a float; counts are far below 2^53")]
    Ok(Zipf::new(count as f64, skew)?)
}

/// A random rank, from 0 for the most frequent.
fn rank(ranks: &Zipf<f64>, dice: &mut SmallRng) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Zipf gives whole numbers from 1")]
    let rank = ranks.sample(dice) as u64;
    rank.saturating_sub(1)
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn listed(file: &Path) -> Result<Codes> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("--code-file {name}: cannot be read"))?;
    let list: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(json_text).collect();
    if list.is_empty() {
        bail!("--code-file {name}: holds no code; write one a line");
    }
    Ok(Codes::Listed(list))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use domain::model::event::Action as Sent;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn traffic(seed: u64, options: &str) -> Traffic {
        let given = ["load", "--merchant", "ac\"me"].into_iter().chain(options.split_whitespace());
        let cli = Cli::try_parse_from(given).expect("options");
        Traffic::new(&cli.load, seed, 1_794_186_000_000).expect("traffic")
    }

    /// The ids and texts of the first events.
    fn lines(traffic: &Traffic, requests: u64) -> (Vec<String>, Made) {
        let mut made = Made::default();
        let loads = (0..requests).map(|index| traffic.request(index)).inspect(|load| made.add(load.made));
        let text: Vec<String> = loads.map(|load| String::from_utf8(load.body).expect("UTF-8")).collect();
        (text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect(), made)
    }

    #[test]
    fn events_are_what_the_edge_takes_and_counts() {
        let merchants = wire::event::Merchants::new([("ac\"me", "CNY"), ("other", "CNY")]);
        let traffic = traffic(u64::MAX, "--batch 100 --action-mix scan=2,visit=1,order=1 --clock event --rate 1000");
        let (lines, made) = lines(&traffic, 20);
        let mut found = Made::default();
        for (n, line) in (0..).zip(&lines) {
            let arena = bumpalo::Bump::new();
            let accepted = wire::event::read(line.as_bytes(), &merchants, &arena).expect(line);
            assert_eq!((accepted.unknown_fields, accepted.event.time), (0, Some(1_794_186_000_000 + n)));
            match accepted.event.action {
                Sent::Scan => found.scans += 1,
                Sent::Visit => found.visits += 1,
                Sent::Order => found.orders += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((found, made.events()), (made, 2_000));
    }

    #[test]
    fn a_duplicate_is_an_earlier_event_byte_for_byte() {
        let given = "--batch 10 --duplicates 1/5";
        let (lines, made) = lines(&traffic(1, given), 500);
        let distinct: std::collections::BTreeSet<&String> = lines.iter().collect();
        let id = |line: &String| line.split('"').nth(3).expect("an id").to_owned();
        let ids: std::collections::BTreeSet<String> = lines.iter().map(id).collect();
        assert_eq!(distinct.len() as u64 + made.duplicates, 5_000);
        assert_eq!(ids.len(), distinct.len());
        // A fifth of 5,000; ten standard deviations are 283.
        assert!(made.duplicates.abs_diff(1_000) < 283, "{made:?}");
    }

    #[test]
    fn the_seed_makes_the_events() {
        let events = |seed| lines(&traffic(seed, "--batch 3"), 5).0;
        assert_eq!(events(1), events(1));
        assert!(events(1).iter().all(|event| !events(2).contains(event)));
    }

    #[test]
    fn codes_of_a_file_and_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("codes");
        let options = format!("--code-file {} --action-mix scan=1", file.display());
        std::fs::write(&file, "https://m.example/c/A\n\n B\"2 \n").expect("a file");
        let (lines, _) = lines(&traffic(1, &options), 50);
        let (a, b) = (r#","code":"https://m.example/c/A""#, r#","code":"B\"2""#);
        assert!(lines.iter().all(|line| line.contains(a) || line.contains(b)));
        assert!([a, b].iter().all(|code| lines.iter().any(|line| line.contains(code))));
        std::fs::write(&file, "\n").expect("a file");
        assert!(listed(&file).is_err());
    }

    #[test]
    fn every_format_is_read_as_the_same_events() {
        let merchants = wire::event::Merchants::new([("ac\"me", "CNY"), ("other", "CNY")]);
        let seen = |options: &str| -> Vec<(String, String)> {
            let traffic = traffic(3, options);
            let loads = (0..12 / traffic.batch).map(|index| traffic.request(index));
            loads.flat_map(|load| written::tests::read(&load.body, load.media, &load.headers, &merchants)).collect()
        };
        let lines = seen("--batch 4");
        assert_eq!(lines.len(), 12);
        for options in [
            "--batch 1",
            "--format array --batch 1",
            "--format array --batch 4",
            "--format cloud --batch 1",
            "--format cloud --batch 3",
            "--format cloud-binary --batch 1",
        ] {
            assert_eq!(seen(options), lines, "{options}");
        }
    }
}
