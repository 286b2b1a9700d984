//! Maps arguments to one call and its result to an exit code. No other decisions.

use std::process::ExitCode;

use clap::Parser;
use entra_import::cli::Cli;
use entra_import::{commands, report};

/// Records are very many small values; the system's allocator is where a fifth of the time would go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::defect::guarded(move || commands::dispatch(cli)).into()
}
