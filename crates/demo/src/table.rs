//! The live table: the totals of the demo so far, in 80 columns.

use std::fmt::Write;

use domain::model::time::{Millis, SECOND_MS};

/// Width of the table in characters; longer lines are truncated.
const COLUMNS: usize = 80;
/// Time between two lines where the output is not a terminal, ms.
const PLAIN_EVERY_MS: i64 = 5 * SECOND_MS;
/// Number of digits of the yuan's minor unit.
const MINOR_DIGITS: u32 = 2;

/// Sums over the whole ledger; money in minor units.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Accepted events.
    pub accepted: i128,
    /// Counted scans.
    pub scans: i128,
    /// Distinct shoppers, summed over the days.
    pub shoppers: i128,
    /// Orders.
    pub orders: i128,
    /// Order amounts, minor units.
    pub gmv: i128,
    /// Commission, minor units.
    pub commission: i128,
    /// Entries that won.
    pub wins: i128,
    /// Cash prizes, minor units.
    pub prize_cash: i128,
    /// Events that came again.
    pub duplicates: i128,
}

/// Rate and latencies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// Accepted events a second since the last table.
    pub events_per_second: i64,
    /// From the request with an event to its 202.
    pub ack: Quantiles,
    /// From a scan's 202 to its result.
    pub result: Quantiles,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantiles {
    /// Median, µs.
    pub p50_us: i64,
    /// 99th percentile, µs.
    pub p99_us: i64,
}

/// A name and its money, in minor units.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The name that is shown.
    pub name: String,
    /// The amount that it is ranked by, minor units.
    pub amount: i128,
}

/// The content of the table.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// The totals.
    pub totals: Totals,
    /// The speed.
    pub speed: Speed,
    /// By gmv, the best first.
    pub stores: &'v [Ranked],
    /// By commission, the best first.
    pub guides: &'v [Ranked],
    /// The URL of the status page.
    pub page: &'v str,
}

/// The table, line by line.
pub fn render(view: &View<'_>) -> String {
    let View { totals, speed, stores, guides, page } = view;
    let grid = [
        [("accepted", count(totals.accepted)), ("orders", count(totals.orders)), ("wins", count(totals.wins))],
        [("scans", count(totals.scans)), ("gmv", money(totals.gmv)), ("prize cash", money(totals.prize_cash))],
        [
            ("shoppers", count(totals.shoppers)),
            ("commission", money(totals.commission)),
            ("duplicates", count(totals.duplicates)),
        ],
    ];
    let mut lines: Vec<String> = Vec::new();
    lines.extend(grid.map(|cells| cells.map(|(name, value)| format!("{name:<10} {value:>14}")).join("  ")));
    lines.push(String::new());
    lines.push(speed_line(speed));
    lines.push(String::new());
    lines.push(format!("{:<39}  {}", "stores by gmv", "guides by commission"));
    let rows = stores.len().max(guides.len());
    lines.extend((0..rows).map(|i| format!("{:<39}  {}", ranked(stores.get(i)), ranked(guides.get(i)))));
    lines.push(String::new());
    let mut text = lines.iter().fold(String::new(), |text, line| text + &truncated(line.trim_end(), COLUMNS) + "\n");
    // A truncated URL would be of no use.
    let _ = writeln!(text, "page: {page}");
    text
}

/// The totals on one line, for a log.
fn line(view: &View<'_>) -> String {
    let View { totals, speed, page, .. } = view;
    format!(
        "accepted {} ({}/s), orders {}, gmv {}, commission {}, wins {}, prize cash {}, duplicates {}; {page}\n",
        totals.accepted,
        speed.events_per_second,
        totals.orders,
        money(totals.gmv),
        money(totals.commission),
        totals.wins,
        money(totals.prize_cash),
        totals.duplicates,
    )
}

/// The output. A terminal shows the table, which each update overwrites; other outputs get a line at intervals.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    lines: usize,
    shown: Option<Millis>,
}

impl Screen {
    /// A screen; on a terminal each table replaces the last one.
    pub fn new(is_terminal: bool) -> Self {
        Self { is_terminal, lines: 0, shown: None }
    }

    /// The text to write now, if any.
    pub fn show(&mut self, view: &View<'_>, now: Millis) -> Option<String> {
        if self.is_terminal {
            return Some(self.redraw(&render(view)));
        }
        if self.shown.is_some_and(|shown| now - shown < PLAIN_EVERY_MS) {
            return None;
        }
        self.shown = Some(now);
        Some(line(view))
    }

    /// Moves the cursor up to the table's first line, and clears the rest of each line and of the screen.
    fn redraw(&mut self, table: &str) -> String {
        let mut text = if self.lines > 0 { format!("\x1b[{}A\r", self.lines) } else { String::new() };
        for line in table.lines() {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.lines = table.lines().count();
        text
    }
}

fn speed_line(speed: &Speed) -> String {
    let both = |q: Quantiles| format!("p50 {} p99 {}", duration(q.p50_us), duration(q.p99_us));
    format!(
        "{} events/s   202: {}   result: {}",
        count(speed.events_per_second.into()),
        both(speed.ack),
        both(speed.result)
    )
}

fn ranked(row: Option<&Ranked>) -> String {
    row.map(|row| format!("  {:<22} {:>14}", truncated(&row.name, 22), money(row.amount))).unwrap_or_default()
}

/// A text, truncated to `chars_max` characters.
fn truncated(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// An integer with commas between its thousands.
fn count(n: i128) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = if n < 0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Minor units as an amount.
fn money(minor: i128) -> String {
    let unit = 10_i128.pow(MINOR_DIGITS);
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, rest) = (minor / unit, minor % unit);
    format!("{sign}{}.{:02}", count(whole.saturating_abs()), rest.abs())
}

/// Microseconds in a suitable unit.
fn duration(us: i64) -> String {
    match us {
        ..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn ranked_all(name: &str, amount: i128) -> Vec<Ranked> {
        (1..=5).map(|i| Ranked { name: format!("{name} {i}"), amount: amount / i }).collect()
    }

    fn with_view(totals: Totals, scale: i64, check: impl FnOnce(&View<'_>)) {
        let stores = ranked_all("Hangzhou Lakeside", i128::from(123_456 * scale));
        let guides = ranked_all("g-0412", i128::from(9_876 * scale));
        let ack = Quantiles { p50_us: 850, p99_us: 4_210 * scale };
        let result = Quantiles { p50_us: 12_300, p99_us: 1_250_000 };
        let speed = Speed { events_per_second: 4_012 * scale, ack, result };
        let view = View { totals, speed, stores: &stores, guides: &guides, page: "http://127.0.0.1:8080/" };
        check(&view);
    }

    fn totals(scale: i128) -> Totals {
        Totals {
            accepted: 1_234_567 * scale,
            scans: 987_654 * scale,
            shoppers: 98_765 * scale,
            orders: 54_321 * scale,
            gmv: 123_456_789 * scale,
            commission: 6_543_210 * scale,
            wins: 43_210 * scale,
            prize_cash: 9_000_005 * scale,
            duplicates: 12_345 * scale,
        }
    }

    #[test]
    fn table_shows_totals_speed_and_rankings() {
        let wanted = expect![[r#"
            accepted        1,234,567  orders             54,321  wins               43,210
            scans             987,654  gmv          1,234,567.89  prize cash      90,000.05
            shoppers           98,765  commission      65,432.10  duplicates         12,345

            4,012 events/s   202: p50 850 µs p99 4.2 ms   result: p50 12.3 ms p99 1.2 s

            stores by gmv                            guides by commission
              Hangzhou Lakeside 1          1,234.56    g-0412 1                        98.76
              Hangzhou Lakeside 2            617.28    g-0412 2                        49.38
              Hangzhou Lakeside 3            411.52    g-0412 3                        32.92
              Hangzhou Lakeside 4            308.64    g-0412 4                        24.69
              Hangzhou Lakeside 5            246.91    g-0412 5                        19.75

            page: http://127.0.0.1:8080/
        "#]];
        with_view(totals(1), 1, |view| wanted.assert_eq(&render(view)));
    }

    #[test]
    fn line_shows_totals_and_page() {
        let wanted = expect![[r#"
            accepted 1234567 (4012/s), orders 54321, gmv 1,234,567.89, commission 65,432.10, wins 43210, prize cash 90,000.05, duplicates 12345; http://127.0.0.1:8080/
        "#]];
        with_view(totals(1), 1, |view| wanted.assert_eq(&line(view)));
    }

    #[test]
    fn table_fits_80_columns() {
        for scale in [0, 1, 1_000, 1_000_000, -1] {
            with_view(totals(scale.into()), scale, |view| {
                let table = render(view);
                let wide = table.lines().find(|line| line.chars().count() > COLUMNS);
                assert_eq!(wide, None, "at scale {scale}");
            });
        }
    }

    #[test]
    fn terminal_is_overwritten_and_file_gets_a_line() {
        with_view(totals(1), 1, |view| {
            let height = render(view).lines().count();
            let mut terminal = Screen::new(true);
            let up = format!("\x1b[{height}A\r");
            assert!(!terminal.show(view, 0).expect("a table").contains(&up));
            assert!(terminal.show(view, 100).expect("a table").starts_with(&up));
            let mut file = Screen::new(false);
            let shown: Vec<bool> = (0..12)
                .map(|second| file.show(view, second * SECOND_MS).is_some_and(|l| !l.contains('\x1b')))
                .collect();
            assert_eq!(shown.iter().filter(|&&shown| shown).count(), 3, "{shown:?}");
            assert!(shown[0] && shown[5] && shown[10]);
        });
    }

    #[test]
    fn amounts_show_thousands_and_minor_units() {
        let texts = [0, 5, -5, 100, 123_456, -10_000_000, i128::MAX, i128::MIN].map(money);
        let wanted = [
            "0.00",
            "0.05",
            "-0.05",
            "1.00",
            "1,234.56",
            "-100,000.00",
            "1,701,411,834,604,692,317,316,873,037,158,841,057.27",
            "-1,701,411,834,604,692,317,316,873,037,158,841,057.28",
        ];
        assert_eq!(texts, wanted);
    }
}
