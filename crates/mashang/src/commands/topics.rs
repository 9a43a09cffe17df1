//! `mashang topics create|check`.

use anyhow::{Result, anyhow};
use domain::model::address::Partitions;
use eventlog::error::LogError;
use eventlog::kafka::topics::RECORD_BYTES_MIN;
use eventlog::kafka::topics::check::{Needs, Report, check as check_topics};
use eventlog::kafka::topics::create::{Wanted, create as create_topics};
use eventlog::local::meta::{Clock, Meta};

use crate::cli::fleet_args::{TopicsCheckArgs, TopicsCreateArgs};
use crate::config::options::ClockArg;
use crate::process::output::{print, report};
use crate::usage;

/// Creates the topics that are missing.
pub(crate) fn create(args: &TopicsCreateArgs) -> Result<()> {
    let kafka = args.kafka.settings()?;
    let clock = match args.clock {
        ClockArg::Wall => Clock::Wall,
        ClockArg::Event => Clock::Event,
    };
    let wanted = Wanted {
        clock,
        partitions: Partitions { scans: args.scans, draws: args.draws, awards: args.awards, facts: args.facts },
        replication: args.replication,
        min_insync: args.min_insync,
        retain_ms: i64::try_from(args.retain.as_millis()).unwrap_or(i64::MAX),
        record_bytes_max: 8 * RECORD_BYTES_MIN,
    };
    let created = create_topics(&kafka, &wanted).map_err(refused)?;
    for made in &created.made {
        print(format_args!("made {made}"))?;
    }
    for differs in &created.differs {
        report(format_args!("warning: {differs}"));
    }
    print_report(&created.report)
}

/// Reports the topics and settings that cannot keep the promises.
pub(crate) fn check(args: &TopicsCheckArgs) -> Result<()> {
    let kafka = args.kafka.settings()?;
    let needs = Needs { retain_ms: i64::try_from(args.retain.as_millis()).unwrap_or(i64::MAX) };
    print_report(&check_topics(&kafka, &needs).map_err(refused)?)
}

fn print_report(checked: &Report) -> Result<()> {
    for warning in &checked.warnings {
        report(format_args!("warning: {warning}"));
    }
    for mistake in &checked.mistakes {
        report(mistake);
    }
    match checked.mistakes.len() {
        0 => print(line(&checked.meta)),
        1 => Err(anyhow!("1 mistake in the topics, see above: mend it and check again")),
        n => Err(anyhow!("{n} mistakes in the topics, see above: mend them and check again")),
    }
}

fn line(meta: &Meta) -> String {
    let Partitions { scans, draws, awards, facts } = meta.partitions;
    let clock = meta.clock;
    format!(
        "log {:032x}, {clock} clock: {scans} partitions of scans, {draws} of draws, {awards} of awards, {facts} of facts",
        meta.id()
    )
}

/// What was asked cannot be done as it was asked, or Kafka did not do it.
fn refused(error: LogError) -> anyhow::Error {
    if matches!(error, LogError::Setting { .. }) { usage(error) } else { error.into() }
}
