//! `mashang`: one binary for everything. Exit status: 0 done, 1 failed, 2 bad usage, rules or input that cannot be read.
//!
//! - `cli`, `options`, `settings`: what was asked for, from flags, the environment and a file
//! - `run`, `events`, `road`, `summary`: a file of events through all desks
//! - `serve`: the service in one process
//! - `fleet`: its roles in processes of their own, on Kafka
//! - `scribe`: facts into the ledger
//! - `publish`, `shelf`: rules in a log, and the objects that it names
//! - `front`: what a port for HTTP is told
//! - `listen`: addresses and sockets
//! - `admin`: health and metrics over HTTP
//! - `demo`: a brand that does not exist, and its traffic
//! - `dump`: what a log holds
//! - `rules`, `against`, `export`, `explain`: smaller commands

mod admin;
mod against;
mod cli;
mod demo;
mod dump;
mod events;
mod explain;
mod export;
mod fleet;
mod front;
mod listen;
mod options;
mod publish;
mod road;
mod rules;
mod run;
mod scribe;
mod serve;
mod settings;
mod shelf;
mod summary;
mod tell;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use log::files::Files;

use cli::{Cli, Command, ExplainCommand, LogCommand, RulesCommand, SnapshotsCommand, TopicsCommand};

/// What was asked cannot be done as it was asked: exit status 2. Everything else that fails is 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Does what the command line says. `files` is the layer under the log and the snapshots of a service.
#[must_use]
pub fn main_with(args: impl IntoIterator<Item = OsString>, files: Arc<dyn Files>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are printed as if they had failed.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Demo(args) => demo::demo(&args, files),
        Command::Serve(args) => settings::Settings::of(args).and_then(|settings| serve::serve(settings, files)),
        Command::Edge(args) => fleet::edge(args),
        Command::Worker(args) => fleet::worker(args, files),
        Command::Ledger(args) => fleet::ledger(args),
        Command::Console(args) => fleet::console(args),
        Command::Topics(TopicsCommand::Create(args)) => fleet::topics::create(args),
        Command::Topics(TopicsCommand::Check(args)) => fleet::topics::check(args),
        Command::Snapshots(SnapshotsCommand::List(args)) => fleet::snapshots::list(&args, files),
        Command::Snapshots(SnapshotsCommand::Verify(args)) => fleet::snapshots::verify(&args, files),
        Command::Log(LogCommand::Dump(args)) => dump::dump(&args),
        Command::Run(args) => run::run(&args),
        Command::Export(args) => export::export(&args),
        Command::Explain(ExplainCommand::Code(args)) => explain::code(&args),
        Command::Rules(RulesCommand::Check(args)) => rules::check(&args),
        Command::Rules(RulesCommand::Publish(args)) => fleet::rules::publish(args, files),
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
