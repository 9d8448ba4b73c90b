//! Flags of `recoup serve`, and of its schedule.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::schedule::Job;

/// Flags of `recoup serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; another address than this machine's own needs TLS or --behind-proxy; port 0 takes any that is free [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain, PEM: the service speaks TLS itself
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A reverse proxy that speaks TLS is in front: any address may be listened on, and cookies are for TLS alone
    #[arg(long)]
    pub behind_proxy: bool,
}

/// `recoup schedule`.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// What runs when, when it last ran, and how that went
    List,
    /// Run one job now, unless a process is at it
    Run {
        /// The job
        #[arg(value_enum)]
        job: Job,
    },
}
