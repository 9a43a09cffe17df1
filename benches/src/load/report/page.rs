//! The report as a page for a browser: one file without scripts, for light and dark.

#![expect(clippy::float_arithmetic, reason = "coordinates of plots; no reported figure depends on them")]

use std::fmt::Write;

use super::plot::{Axis, Band, Line, Plot, bars, escaped, grouped, whole};
use super::{Counted, Latency, Ledger, Report};
use crate::load::watch::Look;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(in crate::load) fn html(report: &Report) -> String {
    let setting = escaped(&report.setting.to_string());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>Load: {setting}</title><style>{STYLE}</style></head><body>\n<h1>Load</h1><p>{setting}, seed {}</p>\n",
        report.seed
    );
    for failure in &report.failures {
        // Writing to a string does not fail.
        let _ = writeln!(page, "<p class=\"failed\"><b>Failed:</b> {}</p>", escaped(failure));
    }
    tiles(report, &mut page);
    let mut section = |title: &str, content: Option<String>| {
        if let Some(content) = content {
            let _ = writeln!(page, "<h2>{title}</h2><div class=\"wide\">{content}</div>");
        }
    };
    section("Latency by percentile", latency_plot(report));
    section("Latencies, ms", latency_table(report));
    section("Events over time", throughput_plot(report));
    section("Memory over time", memory_plot(report));
    section("Requests by answer", answers(report));
    section("Processes", processes(report));
    section("Events", Some(counts(report)));
    page.push_str("</body></html>\n");
    page
}

fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

fn tiles(report: &Report, page: &mut String) {
    let mut tiles = vec![(grouped(report.throughput_per_s), "events a second, accepted".to_owned())];
    if report.ack.count > 0 {
        tiles.push((format!("{} ms", ms(report.ack.p50_us)), "latency, median".to_owned()));
        tiles.push((format!("{} ms", ms(report.ack.p99_us)), "latency, 99th percentile".to_owned()));
    }
    for server in &report.servers {
        if let Some(cpu_ms) = server.cpu_ms_per_million_events {
            let figure = format!("{}.{:02} s", cpu_ms / 1_000, cpu_ms % 1_000 / 10);
            tiles.push((figure, format!("processor time a million events, {}", server.name)));
        }
        tiles.push((format!("{} MiB", server.peak_rss_kib / 1_024), format!("memory at its peak, {}", server.name)));
    }
    let ledger = match report.ledger {
        Ledger::NotAsked => None,
        Ledger::Right => Some("right"),
        Ledger::Wrong => Some("wrong"),
        Ledger::NotChecked => Some("not checked"),
    };
    tiles.extend(ledger.map(|verdict| (verdict.to_owned(), "ledger: everything accepted, once".to_owned())));
    page.push_str("<div class=\"tiles\">");
    for (figure, what) in tiles {
        let _ = write!(page, "<div class=\"tile\"><b>{figure}</b><span>{}</span></div>", escaped(&what));
    }
    page.push_str("</div>\n");
}

/// What there is of: since due until sent, acknowledged, readable.
fn latencies(report: &Report) -> impl Iterator<Item = (&'static str, &Latency)> {
    let is_closed = report.setting.arrivals == "closed";
    let names = if is_closed {
        ["sent → acknowledged", "sent → result readable"]
    } else {
        ["due → acknowledged", "due → result readable"]
    };
    let all = [
        (names[0], &report.ack, true),
        ("sent → acknowledged", &report.answer, !is_closed),
        ("due → sent", &report.client_wait, true),
        (names[1], &report.result, true),
    ];
    all.into_iter()
        .filter(|(_, latency, is_told)| *is_told && latency.count > 0)
        .map(|(name, latency, _)| (name, latency))
}

fn latency_plot(report: &Report) -> Option<String> {
    let most = latencies(report).map(|(_, latency)| latency.count).max()?;
    // The end of a curve: the share of times that are longer, as one in `n`.
    let lines: Vec<Line> =
        latencies(report).map(|(name, latency)| Line { name: name.to_owned(), points: curve(latency) }).collect();
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let y = Axis::decades("Latency", values().fold(f64::MAX, f64::min), values().fold(0.01, f64::max), duration);
    let percentiles = [
        (1, "0"),
        (2, "50"),
        (10, "90"),
        (100, "99"),
        (1_000, "99.9"),
        (10_000, "99.99"),
        (100_000, "99.999"),
        (1_000_000, "99.9999"),
    ];
    let ticks = percentiles
        .into_iter()
        .filter(|(one_in, _)| *one_in <= most)
        .map(|(one_in, label)| (f64::from(one_in as u32), format!("{label} %")));
    let x = Axis {
        title: "Share of the requests that took no longer".to_owned(),
        from: 1.0,
        to: f64::from(u32::try_from(most).unwrap_or(u32::MAX).max(10)),
        is_log: true,
        ticks: ticks.collect(),
    };
    Some(Plot { label: "Latency by percentile".to_owned(), x, y, bands: Vec::new(), lines }.svg())
}

/// Points of a curve: one in `n` times is longer than a value in ms.
fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    const WHOLE: u32 = 1_000_000;
    let last = f64::from(u32::try_from(latency.count).unwrap_or(u32::MAX));
    let points = latency.curve.iter().map(|(ppm, us)| {
        let one_in = WHOLE
            .checked_sub(*ppm)
            .filter(|above| *above > 0)
            .map_or(last, |above| f64::from(WHOLE) / f64::from(above));
        (one_in.min(last), f64::from(u32::try_from(*us).unwrap_or(u32::MAX)).max(1.0) / 1_000.0)
    });
    points.collect()
}

fn duration(ms: f64) -> String {
    match ms {
        _ if ms < 0.999 => format!("{:.0} µs", ms * 1_000.0),
        _ if ms < 999.0 => format!("{ms:.0} ms"),
        _ => format!("{:.0} s", ms / 1_000.0),
    }
}

fn latency_table(report: &Report) -> Option<String> {
    let rows: Vec<Vec<String>> = latencies(report)
        .map(|(name, latency)| {
            let Latency { count, p50_us, p90_us, p99_us, p99_9_us, max_us, .. } = latency;
            let times = [p50_us, p90_us, p99_us, p99_9_us, max_us].map(|us| ms(*us));
            [vec![name.to_owned()], times.into(), vec![grouped(*count)]].concat()
        })
        .collect();
    (!rows.is_empty()).then(|| table(&["", "p50", "p90", "p99", "p99.9", "most", "times"], &rows))
}

/// Seconds since the warm-up began, of a look.
fn seconds(look: &Look) -> f64 {
    f64::from(u32::try_from(look.at_ms).unwrap_or(u32::MAX)) / 1_000.0
}

fn time_axis(report: &Report) -> Axis {
    let last = report.looks.last().map_or(1.0, seconds);
    let tenths = |value: f64| if value.fract() == 0.0 { whole(value) } else { format!("{value:.1}") };
    let mut axis = Axis::linear("Seconds since the run began", last, 10.0, tenths);
    axis.ticks.retain(|(value, _)| *value <= last);
    Axis { to: last, ..axis }
}

fn bands(report: &Report) -> Vec<Band> {
    let warmup = f64::from(u32::try_from(report.setting.warmup_s).unwrap_or(u32::MAX));
    if warmup > 0.0 { vec![Band { name: "warm-up", from: 0.0, to: warmup }] } else { Vec::new() }
}

fn throughput_plot(report: &Report) -> Option<String> {
    let rate = |count: fn(&Look) -> u64| -> Vec<(f64, f64)> {
        let pairs = report.looks.windows(2).filter(|pair| pair[1].at_ms > pair[0].at_ms);
        let per_s = pairs.map(|pair| {
            let events = u32::try_from(count(&pair[1]).saturating_sub(count(&pair[0]))).unwrap_or(u32::MAX);
            let span = seconds(&pair[1]) - seconds(&pair[0]);
            (seconds(&pair[1]) - span / 2.0, f64::from(events) / span)
        });
        per_s.collect()
    };
    let mut lines = vec![Line { name: "sent".to_owned(), points: rate(|look| look.sent) }];
    if report.setting.transport != "udp" {
        lines.insert(0, Line { name: "accepted".to_owned(), points: rate(|look| look.accepted) });
    }
    let most = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)).fold(0.0, f64::max);
    let y = Axis::linear("Events a second", most, 5.0, whole);
    let plot =
        Plot { label: "Events a second over time".to_owned(), x: time_axis(report), y, bands: bands(report), lines };
    (report.looks.len() > 2).then(|| plot.svg())
}

fn memory_plot(report: &Report) -> Option<String> {
    let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1_024.0;
    let line = |(number, server): (usize, &super::Server)| {
        let points = report.looks.iter().filter_map(|look| Some((seconds(look), mib(*look.rss_kib.get(number)?))));
        Line { name: server.name.clone(), points: points.collect() }
    };
    let lines: Vec<Line> = report.servers.iter().enumerate().map(line).collect();
    let most = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)).fold(0.0, f64::max);
    let y = Axis::linear("Resident memory, MiB", most, 5.0, whole);
    let plot = Plot { label: "Memory over time".to_owned(), x: time_axis(report), y, bands: bands(report), lines };
    (report.looks.len() > 2 && !report.servers.is_empty()).then(|| plot.svg())
}

fn answers(report: &Report) -> Option<String> {
    let is_good = |status: &str| matches!(status, "202" | "2.04");
    let rows: Vec<(String, u64, bool)> =
        report.answers.iter().map(|(status, count)| (status.clone(), *count, is_good(status))).collect();
    (!rows.is_empty()).then(|| bars("Requests by answer", &rows))
}

fn processes(report: &Report) -> Option<String> {
    let of_server = |server: &super::Server| {
        let each = server.cpu_ms_per_million_events.map_or("–".to_owned(), grouped);
        vec![server.name.clone(), grouped(server.cpu_ms), each, grouped(server.peak_rss_kib)]
    };
    let mut rows: Vec<Vec<String>> = report.servers.iter().map(of_server).collect();
    rows.extend(report.client_cpu_ms.map(|cpu_ms| {
        let each = super::per(cpu_ms, 1_000_000, report.accepted).map_or("–".to_owned(), grouped);
        vec!["this client".to_owned(), grouped(cpu_ms), each, "–".to_owned()]
    }));
    (!rows.is_empty()).then(|| table(&["", "processor time, ms", "ms a million events", "peak memory, KiB"], &rows))
}

fn counts(report: &Report) -> String {
    let mut rows = vec![
        ("sent", report.sent),
        ("accepted", report.accepted),
        ("among them spooled", report.spooled),
        ("rejected", report.rejected),
        ("given up", report.lost),
        ("due and never sent", report.unsent),
        ("sent again", report.resent),
        ("duplicates on purpose", report.duplicates),
        ("retransmissions (messages)", report.retransmissions),
    ];
    if let Some(counted) = &report.counted {
        let Counted { datagrams_sent, datagrams, kernel_drops, received, accepted, rejected, shed, .. } = *counted;
        rows.extend([
            ("the server: received", received),
            ("the server: accepted", accepted),
            ("the server: rejected", rejected),
            ("the server: shed", shed),
        ]);
        if datagrams_sent > 0 {
            rows.extend([
                ("datagrams sent", datagrams_sent),
                ("datagrams received", datagrams),
                ("datagrams dropped by the kernel", kernel_drops),
            ]);
        }
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, count)| vec![name.to_owned(), grouped(count)]).collect();
    table(&["", "count"], &rows)
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, texts: &mut dyn Iterator<Item = &str>| -> String {
        let cells = texts.map(|text| format!("<{tag}>{}</{tag}>", escaped(text)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let head = cells("th", &mut heads.iter().copied());
    let body: String = rows.iter().map(|row| cells("td", &mut row.iter().map(String::as_str))).collect();
    format!("<table><thead>{head}</thead><tbody>{body}</tbody></table>")
}

#[cfg(test)]
mod tests {
    use super::super::{Server, Setting};
    use super::*;
    use crate::load::send::verdict::Status;
    use crate::load::tally::{Board, Times};
    use crate::load::traffic::Made;

    /// Fails unless every tag is closed, in order, attributes are quoted, and numbers of pictures are numbers.
    fn well_formed(page: &str) {
        let mut open = Vec::new();
        let body = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
        for part in body.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag's end");
            assert!(!text.contains('>') || open.last() == Some(&"style"), "{part}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{part}");
                continue;
            }
            assert!(
                tag.matches('"').count().is_multiple_of(2) && !tag.contains("NaN") && !tag.contains("inf"),
                "{tag}"
            );
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().expect("a name"));
            }
        }
        assert_eq!(open, [""; 0]);
    }

    fn report() -> Report {
        let board = Board::new(0);
        for n in 1..=10_000 {
            let times = Times { due_ns: 0, first_sent_ns: 1_000, last_sent_ns: 2_000, answered_ns: n * n * 10 };
            board.accepted(Status::Http(202), Made { scans: 1, ..Made::default() }, false, times);
        }
        board.tally().answers.insert(Status::Http(503), 12);
        let look = |second: u64| Look {
            at_ms: second * 1_001,
            sent: second * 900,
            accepted: second * 800,
            rss_kib: vec![50_000],
        };
        let server =
            Server { name: "a<b>".to_owned(), cpu_ms: 5, cpu_ms_per_million_events: Some(500), peak_rss_kib: 60_000 };
        Report {
            setting: Setting { warmup_s: 2, ..Setting::default() },
            servers: vec![server],
            looks: (0..12).map(look).collect(),
            failures: vec!["x < y & \"z\"".to_owned()],
            ..Report::new(&board.tally(), 0)
        }
    }

    #[test]
    fn a_page_is_well_formed_and_shows_everything() {
        let page = html(&report());
        well_formed(&page);
        assert_eq!(page.matches("<svg").count(), 4);
        for part in [
            "x &lt; y &amp; &quot;z&quot;",
            "a&lt;b&gt;",
            "due → acknowledged",
            "sent → acknowledged",
            "99.9 %",
            "503",
            "10,000",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script"));
    }

    #[test]
    fn a_page_of_nothing_is_well_formed() {
        let page = html(&Report::default());
        well_formed(&page);
        assert_eq!(page.matches("<svg").count(), 0);
    }

    #[test]
    fn a_curve_never_falls_and_ends_with_the_longest() {
        let report = report();
        let points = curve(&report.ack);
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert_eq!(points.last().map(|last| last.0), Some(10_000.0));
        assert!(points.last().is_some_and(|last| (999.0..1_002.0).contains(&last.1)));
    }
}
