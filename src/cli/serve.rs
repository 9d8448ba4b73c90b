//! Flags of `recoup serve`, `recoup health`, `recoup mcp` and `recoup schedule`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::schedule::Job;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on. An address that other machines reach needs TLS or --behind-proxy. Port 0 takes any free port
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The certificate chain (PEM file), with which the service uses TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM file)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Trust a reverse proxy in front for TLS: any address is allowed, and browsers send cookies over TLS only
    #[arg(long)]
    pub behind_proxy: bool,
}

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Also fail if the index is too old, or if nothing can be sent: ask /readyz, not /healthz
    #[arg(long)]
    pub ready: bool,
    /// The address of the service [default: the address in the settings, on this machine]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct McpArgs {
    /// The user of recoup who proposes retractions [default: the user that --os-user has linked to your operating
    /// system user]
    #[arg(long = "as", value_name = "NAME")]
    pub person: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List the jobs with their next run and the result of the last one
    List,
    /// Run one job now, if no other process is running it
    Run {
        /// The job to run
        #[arg(value_enum)]
        job: Job,
    },
}
