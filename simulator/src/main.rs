//! `impact-simulator`: serves both vendor APIs on this machine until Ctrl-C.

use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

/// Simulates impact.com's Advocate and Brand APIs in one local process, to try, train and test without an account
#[derive(Debug, Parser)]
#[command(name = "impact-simulator", version)]
struct Arguments {
    #[command(flatten)]
    options: impact_simulator::Options,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the program says where it listens")]
async fn main() -> ExitCode {
    let options = Arguments::parse().options;
    let (tenant, account_sid, token) = (options.tenant.clone(), options.account_sid.clone(), options.token.clone());
    let stop = CancellationToken::new();
    let running = match impact_simulator::start(options, stop.clone()).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error: failed to serve: {error}\nhint: choose another --port, or 0 for any that is free");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {}", running.base_url());
    eprintln!("Advocate: {}/api/v1/{tenant}", running.base_url());
    eprintln!("Brand: {}/Advertisers/{account_sid}", running.base_url());
    eprintln!("credentials of both: {account_sid}:{token}");
    eprintln!("Ctrl-C ends it");
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    running.finished().await;
    ExitCode::SUCCESS
}
