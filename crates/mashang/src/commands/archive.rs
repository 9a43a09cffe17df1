//! `mashang archive list|verify`.

use std::io::{BufWriter, Write, stdout};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::address::{Topic, TopicPartition};
use domain::model::time::time_text;
use eventlog::archive::Archive;
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::local::meta::Meta;

use crate::cli::fleet_args::ArchivePlace;
use crate::commands::log::days::named;
use crate::commands::log::roots::text;
use crate::process::output::{print, report};
use crate::store::Store;

/// Lists every segment, as CSV.
pub(crate) fn list(args: &ArchivePlace, files: Arc<dyn Files>) -> Result<()> {
    let (archive, meta) = open(args, files)?;
    let mut out = BufWriter::new(stdout().lock());
    writeln!(out, "topic,partition,day,first_offset,last_offset,records,received_to,bytes,root")?;
    let topic = Topic::Scans;
    for partition in 0..meta.partitions.scans {
        archive.headers(&meta, partition, |header| {
            let (first, last, records, bytes) =
                (header.first_offset, header.last_offset, header.records(), header.bytes);
            let day = header.day().map(text).unwrap_or_default();
            let received_to = header.received_to.map(time_text).unwrap_or_default();
            let root = HEXLOWER.encode(&header.root);
            writeln!(out, "{topic},{partition},{day},{first},{last},{records},{received_to},{bytes},{root}")?;
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(out.flush()?)
}

/// Reads every segment to its end.
pub(crate) fn verify(args: &ArchivePlace, files: Arc<dyn Files>) -> Result<()> {
    let (archive, meta) = open(args, files)?;
    let mut mistakes = 0_u64;
    for partition in 0..meta.partitions.scans {
        let before = mistakes;
        let mut wrong = |error: LogError| {
            mistakes += 1;
            report(error);
        };
        let checked = archive.check(&meta, partition, &mut wrong)?;
        let name = TopicPartition::new(Topic::Scans, partition);
        let (segments, records, events) = (checked.segments, checked.records, checked.events);
        let result = if mistakes == before { "good" } else { "not as it was written" };
        print(format_args!("{name}: {records} records with {events} events in {segments} segments: {result}"))?;
    }
    match mistakes {
        0 => Ok(()),
        1 => Err(anyhow!("1 mistake in the archive: it is listed above")),
        more => Err(anyhow!("{more} mistakes in the archive: they are listed above")),
    }
}

fn open(args: &ArchivePlace, files: Arc<dyn Files>) -> Result<(Archive, Meta)> {
    let archive = Archive::new(Store::of_option("archive", &args.archive)?.open(files)?);
    let meta = archive.existing().map_err(named)?;
    Ok((archive, meta))
}
