//! Compares pairs of reports of one run, as ratios with their spread. Figures of different runs are not comparable.

#![expect(clippy::float_arithmetic, reason = "ratios of measurements")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

#[derive(Debug, Args)]
pub(crate) struct RatioArgs {
    /// Name of the comparison, for the table
    #[arg(long)]
    name: String,
    /// The ratio of throughputs to reach
    #[arg(long)]
    aim: Option<f64>,
    /// Reports (load --report) in pairs: the edge's, the reference's, the edge's, the reference's, …
    #[arg(required = true, num_args = 2..)]
    reports: Vec<PathBuf>,
}

/// The figures of a report that are compared; the first process in `servers` is the server.
#[derive(Deserialize)]
struct Figures {
    throughput_per_s: u64,
    servers: Vec<Server>,
    failures: Vec<String>,
}

#[derive(Deserialize)]
struct Server {
    cpu_ms_per_million_events: Option<u64>,
}

impl Figures {
    fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let figures: Self =
            serde_json::from_str(&text).with_context(|| format!("{}: is no report of load", file.display()))?;
        let failures = &figures.failures;
        ensure!(failures.is_empty(), "{}: this run failed: {}", file.display(), failures.join("; "));
        Ok(figures)
    }

    fn cpu_ms(&self) -> Option<u64> {
        self.servers.first()?.cpu_ms_per_million_events
    }
}

/// Prints a row of a table: the name, the ratios of throughput and of processor time for an event, and the medians.
///
/// # Errors
/// A report cannot be read, or its run failed.
pub(crate) fn run(args: &RatioArgs) -> Result<()> {
    ensure!(args.reports.len().is_multiple_of(2), "reports come in pairs: the edge's, then the reference's");
    let figures = args.reports.iter().map(|file| Figures::read(file)).collect::<Result<Vec<_>>>()?;
    let (ours, theirs): (Vec<_>, Vec<_>) = figures.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).unzip();
    println!("{}", row(&args.name, args.aim, &ours, &theirs));
    Ok(())
}

fn row(name: &str, aim: Option<f64>, ours: &[&Figures], theirs: &[&Figures]) -> String {
    let throughput = |figures: &&Figures| Some(figures.throughput_per_s);
    let cpu = |figures: &&Figures| figures.cpu_ms();
    let middle = |all: &[&Figures], of: &dyn Fn(&&Figures) -> Option<u64>| {
        let mut values: Vec<u64> = all.iter().filter_map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).map_or("–".to_owned(), u64::to_string)
    };
    let ratios = |of: &dyn Fn(&&Figures) -> Option<u64>| {
        let pairs = ours.iter().zip(theirs);
        let ratios = pairs.filter_map(|(ours, theirs)| Some(float(of(ours)?) / float(of(theirs).filter(|x| *x > 0)?)));
        spread(ratios.collect())
    };
    format!(
        "| {name} | {}{} | {} | {} : {} | {} : {} |",
        ratios(&throughput),
        aim.map_or(String::new(), |aim| format!(" (aim {aim})")),
        ratios(&cpu),
        middle(ours, &throughput),
        middle(theirs, &throughput),
        middle(ours, &cpu),
        middle(theirs, &cpu),
    )
}

fn float(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "measured figures are far below 2^53")]
    let float = value as f64;
    float
}

/// The median, the minimum and the maximum.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_unstable_by(f64::total_cmp);
    match &values[..] {
        [] => "–".to_owned(),
        [least, .., most] => {
            let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
            format!("{median:.2} ({least:.2}…{most:.2})")
        }
        [only] => format!("{only:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(throughput_per_s: u64, cpu_ms: Option<u64>) -> Figures {
        let servers = vec![Server { cpu_ms_per_million_events: cpu_ms }];
        Figures { throughput_per_s, servers, failures: Vec::new() }
    }

    #[test]
    fn ratios_compare_pairs() {
        let ours = [figures(50, Some(300)), figures(80, Some(100)), figures(60, Some(200))];
        let theirs = [figures(100, Some(100)), figures(100, Some(100)), figures(100, Some(100))];
        let found = row("a vs b", Some(0.8), &ours.each_ref(), &theirs.each_ref());
        assert_eq!(found, "| a vs b | 0.60 (0.50…0.80) (aim 0.8) | 2.00 (1.00…3.00) | 60 : 100 | 200 : 100 |");
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), "2.50 (1.00…4.00)");
        let none = figures(1, None);
        assert_eq!(row("x", None, &[&none], &[&none]), "| x | 1.00 | – | 1 : 1 | – : – |");
    }

    #[test]
    fn failed_run_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("report.json");
        std::fs::write(&file, r#"{"throughput_per_s":1,"servers":[],"failures":["lost"]}"#).expect("a file");
        assert!(Figures::read(&file).is_err_and(|error| error.to_string().contains("lost")));
    }
}
