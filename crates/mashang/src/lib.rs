//! `mashang`: one binary for everything. Exit status: 0 done, 1 failed, 2 wrong arguments, wrong rules, or an input file that cannot
//! be read.
//!
//! - `cli`: the command line
//! - `config`: settings from flags, the environment and a file, checked
//! - `process`: sockets and health of a process
//! - `roles`: the service in one process, the roles of a fleet, the demo
//! - `rules`: where published rules are, and how they are published
//! - `store`: where a fleet keeps its snapshots and rules
//! - `commands`: commands that end

mod cli;
mod commands;
mod config;
mod process;
mod roles;
mod rules;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use eventlog::files::Files;
use nix::sys::stat::{Mode, umask};

use cli::draw_args::DrawCommand;
use cli::log_args::LogCommand;
use cli::rejects_args::RejectsCommand;
use cli::rules_args::RulesCommand;
use cli::{ArchiveCommand, Cli, Command, ExplainCommand, SnapshotsCommand, TopicsCommand};

/// An error of usage: exit status 2. Every other failure is 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Does what the command line says. `files` is the layer under the log and the snapshots of a service.
#[must_use]
pub fn main_with(args: impl IntoIterator<Item = OsString>, files: Arc<dyn Files>) -> ExitCode {
    // Files are for this user alone, directories too.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let args = match config::file::complete(&Cli::command(), args.into_iter().collect()) {
        Ok(args) => args,
        Err(error) => return failed(&error),
    };
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            match config::file::missing(&Cli::command(), &args, &error) {
                Some(what) => process::output::report(format_args!("mashang: {what}")),
                // Help and version are printed as errors are.
                None => drop(error.print()),
            }
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command, files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run(command: Command, files: Arc<dyn Files>) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => roles::demo::demo(&args, files),
        Command::Serve(settings) => settings.check().and_then(|settings| roles::serve::serve(settings, files)),
        Command::Edge(args) => roles::edge::edge(args),
        Command::Worker(args) => roles::worker::worker(args, files),
        Command::Ledger(args) => roles::ledger::ledger(args),
        Command::Console(args) => roles::console::console(args),
        Command::Topics(TopicsCommand::Create(args)) => commands::topics::create(&args),
        Command::Topics(TopicsCommand::Check(args)) => commands::topics::check(&args),
        Command::Snapshots(SnapshotsCommand::List(args)) => commands::snapshots::list(&args, files),
        Command::Snapshots(SnapshotsCommand::Verify(args)) => commands::snapshots::verify(&args, files),
        Command::Archive(ArchiveCommand::List(args)) => commands::archive::list(&args, files),
        Command::Archive(ArchiveCommand::Verify(args)) => commands::archive::verify(&args, files),
        Command::Rejects(RejectsCommand::List(args)) => commands::rejects::list(&args),
        Command::Rejects(RejectsCommand::Retry(args)) => commands::rejects::retry(&args),
        Command::Rejects(RejectsCommand::Discard(args)) => commands::rejects::discard(&args),
        Command::Log(LogCommand::Dump(args)) => commands::log::dump::dump(&args),
        Command::Log(LogCommand::Roots(args)) => commands::log::roots::roots(&args),
        Command::Log(LogCommand::Prove(args)) => commands::log::prove::prove(&args),
        Command::Log(LogCommand::Verify(args)) => commands::log::verify::verify(&args),
        Command::Draw(DrawCommand::Commit(args)) => commands::draw::commit(&args),
        Command::Draw(DrawCommand::Pick(args)) => commands::draw::pick::pick(&args),
        Command::Draw(DrawCommand::Verify(args)) => commands::draw::verify::verify(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Export(args) => commands::export::export(&args),
        Command::Explain(ExplainCommand::Code(args)) => commands::explain::code(&args),
        Command::Mint(args) => commands::mint::mint(&args),
        Command::Code(args) => commands::code::code(&args),
        Command::Rules(RulesCommand::Check(args)) => commands::rules::check::check(&args),
        Command::Rules(RulesCommand::Publish(args)) => commands::rules::publish::publish(&args, files),
        Command::Rules(RulesCommand::List(args)) => commands::rules::list::list(&args, files),
        Command::Rules(RulesCommand::Notice(args)) => commands::rules::notice::notice(&args),
    }
}

/// Reports why a command failed.
fn failed(error: &anyhow::Error) -> ExitCode {
    process::output::report(format_args!("mashang: {error:#}"));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The reader of our output closed it, as `head` does: nothing failed.
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
