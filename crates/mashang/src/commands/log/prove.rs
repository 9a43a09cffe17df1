//! `mashang log prove`: the proof that the record of an event is in the log.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};
use data_encoding::{BASE64, HEXLOWER};
use domain::model::address::Topic;
use domain::model::event::{Action, Event};
use domain::model::ids;

use super::days::{Next, UtcDay, open_scans, walk};
use super::proof::Proof;
use super::roots::text;
use crate::cli::log_args::LogProveArgs;
use crate::process::output::print;
use crate::usage;
use domain::protocol::merkle::{Inclusion, inclusion, leaf};

const CLIENT_ID: &str = "mashang-log-prove";

/// A record with the wanted event.
struct Found {
    action: Action,
    offset: u64,
    index: u64,
    /// Once its day is over: the day's first offset and its number of records.
    of_day: Option<(u64, u64)>,
    is_whole: bool,
}

/// Writes the proof to standard output.
pub(crate) fn prove(args: &LogProveArgs) -> Result<()> {
    let log = open_scans(&args.place, CLIENT_ID, None)?;
    let clock = log.meta.clock;
    // All events of a shopper are in one partition.
    let partition = ids::partition(
        ids::shard(ids::shopper_key(&args.merchant, &args.shopper)),
        log.meta.partitions.of(Topic::Scans),
    );
    let mut records =
        log.partitions.into_iter().nth(usize::from(partition)).context("the log has all of its partitions")?;
    let mut found: Vec<Found> = Vec::new();
    let open_day = walk(partition, &mut records, clock, &mut |next| {
        match next {
            Next::Record { index, record, events } => {
                let actions: BTreeSet<Action> =
                    events.iter().filter(|event| is_wanted(event, args)).map(|event| event.action).collect();
                let offset = record.offset;
                let of_record = |action| Found { action, offset, index, of_day: None, is_whole: true };
                found.extend(actions.into_iter().map(of_record));
            }
            Next::Over(over) => {
                for found in found.iter_mut().filter(|found| found.of_day.is_none()) {
                    found.of_day = Some((over.first_offset, over.records));
                    found.is_whole = over.is_whole;
                }
            }
        }
        Ok(())
    })?;
    let found = choose(&found, args)?;
    let (first_offset, size) = found.of_day.ok_or_else(|| not_over(args, partition, open_day))?;
    if !found.is_whole {
        return Err(anyhow!(
            "event {} is of a day of which records before offset {first_offset} are removed: prove events while all records of their day are kept",
            args.event
        ));
    }

    let mut log = open_scans(&args.place, CLIENT_ID, None)?;
    let records = &mut log.partitions[usize::from(partition)];
    let mut proved = Vec::new();
    let mut next = || loop {
        let record = records.next_record()?.context("records were removed while they were read: prove it again")?;
        if record.offset >= first_offset {
            if record.offset == found.offset {
                proved = record.bytes.to_vec();
            }
            return Ok::<_, anyhow::Error>(leaf(record.bytes));
        }
    };
    let Inclusion { root, path } = inclusion(found.index, size, &mut next)?;
    let proof = Proof {
        record: BASE64.encode(&proved),
        topic: Topic::Scans.as_str().to_owned(),
        partition,
        offset: found.offset,
        index: found.index,
        size,
        path: path.iter().map(|hash| HEXLOWER.encode(hash)).collect(),
        root: HEXLOWER.encode(&root),
        checksum: None,
    };
    print(serde_json::to_string(&proof.sealed()?)?)
}

fn is_wanted(event: &Event<'_>, args: &LogProveArgs) -> bool {
    event.id == args.event
        && event.shopper == args.shopper
        && event.merchant == args.merchant
        && args.action.is_none_or(|action| event.action == action)
}

/// The first record with the event: it may have been delivered several times.
fn choose<'f>(found: &'f [Found], args: &LogProveArgs) -> Result<&'f Found> {
    let LogProveArgs { event, shopper, merchant, .. } = args;
    let Some(first) = found.first() else {
        let action = args.action.map_or_else(String::new, |action| format!(" and action {action}"));
        return Err(anyhow!(
            "no event {event} of shopper {shopper}, merchant {merchant}{action} is in the log: correct them, or it is older than the log"
        ));
    };
    let actions: BTreeSet<Action> = found.iter().map(|found| found.action).collect();
    if actions.len() > 1 {
        let actions: Vec<String> = actions.iter().map(|action| format!("--action {action}")).collect();
        return Err(usage(format!(
            "several events of shopper {shopper} have the id {event}: give {}",
            actions.join(" or ")
        )));
    }
    Ok(first)
}

fn not_over(args: &LogProveArgs, partition: u16, day: Option<UtcDay>) -> anyhow::Error {
    let day = day.map_or_else(String::new, text);
    anyhow!(
        "event {} was received on {day} (UTC), which is not over in partition {partition} of {}: prove it when the partition has an event of a later day",
        args.event,
        Topic::Scans
    )
}
