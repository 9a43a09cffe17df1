//! `mashang log verify`: whether a proof leads to a root.

use std::fs::File;

use anyhow::{Result, anyhow};
use data_encoding::{BASE64, HEXLOWER};

use super::proof::Proof;
use crate::cli::log_args::LogVerifyArgs;
use crate::process::input;
use crate::process::output::print;
use crate::usage;
use domain::protocol::merkle::{Hash, leaf, root_of};

/// Maximum length of a path: a tree cannot have more leaves than there are offsets. A longer one is no proof.
const PATH_MAX: usize = 64;

/// Reports on standard output that the proof is right.
pub(crate) fn verify(args: &LogVerifyArgs) -> Result<()> {
    let name = args.proof.display();
    let wrong = |what: String| usage(format!("{name}: {what}"));
    let file = File::open(&args.proof).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let bytes = input::whole(file).map_err(wrong)?;
    let mut proof: Proof = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(format!("is no proof ({e}); give what `mashang log prove` printed")))?;
    let is_whole = proof.is_whole()?;
    let Proof { topic, partition, offset, index, size, .. } = &proof;
    let record = BASE64.decode(proof.record.as_bytes()).map_err(|e| wrong(format!("record: is not base64: {e}")))?;
    let path: Vec<Hash> = proof
        .path
        .iter()
        .map(|text| hash(text).ok_or_else(|| wrong(format!("path: {text:?} is not 64 hex digits"))))
        .collect::<Result<_>>()?;
    let own = hash(&proof.root).ok_or_else(|| wrong(format!("root: {:?} is not 64 hex digits", proof.root)))?;

    let found = Some(path).filter(|path| path.len() <= PATH_MAX);
    let found = found.and_then(|path| root_of(leaf(&record), *index, *size, &path)).ok_or_else(|| {
        anyhow!("{name}: a path of {} hashes cannot belong to record {index} of {size}", proof.path.len())
    })?;
    let place = format!("{topic} partition {partition} offset {offset}");
    if found != args.root {
        let found = HEXLOWER.encode(&found);
        return Err(anyhow!(
            "{name}: the record and its path lead to root {found}, not to {}: it is not the record that was at {place} when that root was made",
            HEXLOWER.encode(&args.root)
        ));
    }
    if own != args.root {
        return Err(anyhow!("{name}: the proof itself names root {}, the record leads to the given one", proof.root));
    }
    if !is_whole {
        return Err(anyhow!("{name}: the proof was changed: its checksum is not that of its fields; get it again"));
    }
    print(format_args!("{name}: the record is number {index} of {size} under this root; the proof says {place}"))
}

/// 32 bytes as 64 hex digits, in either case.
fn hash(text: &str) -> Option<Hash> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}
