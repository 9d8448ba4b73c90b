//! Parses the command line, runs the command, and returns the exit code.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use recoup::cli::Cli;
use recoup::error::{Error, Kind};
use recoup::report::Report;

/// A crawl allocates memory on one thread and frees it on another. With the allocators of glibc and musl, allocation
/// takes a quarter of a crawl's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => ExitCode::from(recoup::commands::main(cli)),
        Err(error) => {
            let printed = error.print();
            // clap reports help and version as errors, but neither is a failure.
            if !error.use_stderr() {
                let report = Report::new(false, true);
                report.printed(printed);
                return ExitCode::from(report.exit_code(0));
            }
            // With `--json`, recoup prints the error as a JSON object even if the flags could not be parsed.
            if std::env::args_os().any(|arg| arg == "--json") {
                let first =
                    error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Report::new(true, true).last_object(&Error::new(Kind::Usage, first));
            }
            ExitCode::from(Kind::Usage.exit_code())
        }
    }
}
