//! The binary: all of it is in the library, so that tests can run it over files that fail.

use std::process::ExitCode;
use std::sync::Arc;

use eventlog::files::disk::Disk;

fn main() -> ExitCode {
    mashang::main_with(std::env::args_os(), Arc::new(Disk))
}
