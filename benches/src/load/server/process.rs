//! Reads from `/proc` what a process has used so far (Linux; proc(5)).

use anyhow::{Context, Result};

/// Length of a tick in `/proc`, ms (USER_HZ), which does not depend on the kernel's own tick.
const TICK_MS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: u64,
    pub(crate) rss_kib: u64,
    /// VmHWM: the maximum so far.
    pub(crate) peak_kib: u64,
}

/// # Errors
/// There is no such process or no `/proc`.
pub(crate) fn usage(pid: &str) -> Result<Usage> {
    let read = |name: &str| {
        let file = format!("/proc/{pid}/{name}");
        std::fs::read_to_string(&file).with_context(|| format!("{file}: cannot be read; see --server-pid"))
    };
    parse(&read("stat")?, &read("status")?).with_context(|| format!("/proc/{pid}: not as proc(5) says"))
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses is field 2 and may contain blanks and parentheses; utime and stime are fields 14 and 15.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let cpu_ms = (ticks()? + ticks()?) * TICK_MS;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Usage { cpu_ms, rss_kib: kib("VmRSS")?, peak_kib: kib("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_blanks_moves_no_field() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1500 0 3 0 123 45 0 0 20 0 4 0 100 999 888";
        let status = "Name:\ta\nVmPeak:\t  90000 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(parse(stat, status), Some(Usage { cpu_ms: 1_680, rss_kib: 1_024, peak_kib: 2_048 }));
        assert_eq!(parse("7 (a", status), None);
    }

    #[test]
    fn usage_of_this_process_is_read() {
        let usage = usage("self").expect("proc");
        assert!(usage.peak_kib >= usage.rss_kib && usage.rss_kib > 0);
        assert!(super::usage("0").is_err());
    }
}
