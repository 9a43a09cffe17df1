//! `mashang log roots`: the root of every partition's day that is over.

use std::io::{BufWriter, Write, stdout};

use anyhow::Result;
use data_encoding::HEXLOWER;
use domain::model::address::Topic;
use domain::model::time::{Day, day_text};

use super::days::{Next, Over, UtcDay, open_scans, walk};
use crate::cli::log_args::LogRootsArgs;
use crate::process::output::report;
use domain::protocol::merkle::{Tree, leaf};

/// Writes CSV to standard output.
pub(crate) fn roots(args: &LogRootsArgs) -> Result<()> {
    let log = open_scans(&args.place, "mashang-log-roots", None)?;
    let clock = log.meta.clock;
    let topic = Topic::Scans;
    let mut out = BufWriter::new(stdout().lock());
    writeln!(out, "topic,partition,day,first_offset,last_offset,records,root")?;
    for (partition, mut records) in (0..).zip(log.partitions) {
        let mut tree = Tree::default();
        walk(partition, &mut records, clock, &mut |next| {
            match next {
                Next::Record { record, .. } => tree.push(leaf(record.bytes)),
                Next::Over(over) => {
                    let tree = std::mem::take(&mut tree);
                    debug_assert_eq!(tree.size(), over.records);
                    let Over { day, first_offset, last_offset, records, is_whole } = over;
                    let day = text(day);
                    if is_whole {
                        let root = HEXLOWER.encode(&tree.root());
                        writeln!(out, "{topic},{partition},{day},{first_offset},{last_offset},{records},{root}")?;
                    } else {
                        report(format_args!(
                            "note: {topic} partition {partition}: records before offset {first_offset} are removed, so {day} has no root: print roots while all records are kept"
                        ));
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(out.flush()?)
}

/// A day as it is written.
pub(crate) fn text(day: UtcDay) -> String {
    day_text(Day::try_from(day).unwrap_or(Day::MAX))
}
