//! `mashang snapshots list|verify`.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use eventlog::files::Files;
use worker::snapshot::{Listed, Snapshots};

use crate::cli::fleet_args::SnapshotsArgs;
use crate::process::output::{print, report};
use crate::store::{SNAPSHOTS, Store};

/// Lists every snapshot.
pub(crate) fn list(args: &SnapshotsArgs, files: Arc<dyn Files>) -> Result<()> {
    for listed in all(args, files)?.1 {
        print(line(&listed))?;
    }
    Ok(())
}

/// Reads every snapshot to its end.
pub(crate) fn verify(args: &SnapshotsArgs, files: Arc<dyn Files>) -> Result<()> {
    let (snapshots, all) = all(args, files)?;
    let mut torn = 0;
    for listed in &all {
        match snapshots.verify(listed) {
            Ok(()) => print(format_args!("{}: good", line(listed)))?,
            Err(error) => {
                torn += 1;
                report(error);
            }
        }
    }
    match torn {
        0 => Ok(()),
        _ => Err(anyhow!("{torn} of {} snapshots are not as they were written", all.len())),
    }
}

fn all(args: &SnapshotsArgs, files: Arc<dyn Files>) -> Result<(Snapshots, Vec<Listed>)> {
    let store = Store::of_option("store", &args.store)?;
    let snapshots = Snapshots::of_store(store.open(files)?, SNAPSHOTS, 0);
    let all = snapshots.list()?;
    if all.is_empty() {
        return Err(anyhow!("{store} has no snapshots: name the store of the workers"));
    }
    Ok((snapshots, all))
}

fn line(listed: &Listed) -> String {
    format!("{} partition {} offset {}", listed.topic, listed.partition, listed.offset)
}
