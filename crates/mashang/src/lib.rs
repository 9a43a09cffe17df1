//! `mashang`: one binary for everything. Exit status: 0 done, 1 failed, 2 bad usage, rules or input that cannot be read.
//!
//! - `cli`, `settings`: what was asked for, from flags, the environment and a file
//! - `run`, `events`, `road`, `summary`: a file of events through all desks
//! - `serve`: the service in one process
//! - `demo`: a brand that does not exist, and its traffic
//! - `dump`: what a log holds
//! - `rules`, `against`, `export`, `explain`: smaller commands

mod against;
mod cli;
mod demo;
mod dump;
#[cfg_attr(not(test), expect(dead_code, reason = "serve starts it"))]
mod demo;
mod events;
mod explain;
mod export;
mod road;
mod rules;
mod run;
mod summary;
mod tell;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ExplainCommand, RulesCommand};

/// What was asked cannot be done as it was asked: exit status 2. Everything else that fails is 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Export(args) => export::export(&args),
        Command::Explain(ExplainCommand::Code(args)) => explain::code(&args),
        Command::Rules(RulesCommand::Check(args)) => rules::check(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell::tell(format_args!("mashang: {error:#}"));
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Whoever reads our output has had enough, as `head` does: nothing failed.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Marks an error as one of usage.
pub(crate) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Usage(error.to_string()))
}
