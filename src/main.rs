//! Maps arguments to one call and its result to an exit code. No other decisions.

use std::process::ExitCode;

use clap::Parser;
use entra_import::cli::Cli;
use entra_import::{commands, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::defect::guarded(move || commands::dispatch(cli)).into()
}
