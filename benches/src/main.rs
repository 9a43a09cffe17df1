//! The project's measurements. `cargo bench -p mashang-bench` runs the micro-benchmarks.

mod desk;
mod load;
mod ratio;
mod reference;
mod sample;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "mashang-bench",
    version,
    about = "Samples and measurements for mashang",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the sample events of the tour's tea shop; the same seed gives the same file
    Sample {
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Number of shoppers in four days
        #[arg(long, default_value_t = 90)]
        shoppers: u64,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Send events to an edge at a given rate, measure its answers, check its ledger
    Load(Box<load::args::LoadArgs>),
    /// Compare the reports of one run in pairs
    Ratio(ratio::RatioArgs),
    /// Measure the shopper desk alone, with many keys and shoppers
    Desk(desk::DeskArgs),
    /// Measure the tables of keys beside hashbrown and dashmap
    Tables(tables::TablesArgs),
    /// Run a bare server to compare the edge with in the same run
    #[command(subcommand)]
    Reference(reference::Reference),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Sample { seed, shoppers, out } => std::fs::write(&out, sample::events(seed, shoppers))
            .with_context(|| format!("--out {}: cannot be written", out.display())),
        Command::Load(args) => load::run(&args),
        Command::Ratio(args) => ratio::run(&args),
        Command::Desk(args) => desk::run(&args),
        Command::Tables(args) => tables::run(&args),
        Command::Reference(reference) => reference::run(reference),
    }
}
