//! The log messages of a process, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::options::LogFormat;
use crate::process::output::report;

/// Logs messages of a level and above, unless the environment variable MASHANG_LOG gives another level.
pub(crate) fn log_as(format: LogFormat, level: &str) {
    let filter = std::env::var("MASHANG_LOG").ok().and_then(|text| match EnvFilter::try_new(&text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            report(format_args!("MASHANG_LOG={text}: {error}: give a level such as debug; {level} holds"));
            None
        }
    });
    // The client of buckets reports each of its retries; its errors reach their callers.
    let filter = filter.unwrap_or_else(|| EnvFilter::new(format!("{level},object_store=warn")));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second service in one process keeps the first one's format.
    let _ = match format {
        LogFormat::Text => subscriber.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}
