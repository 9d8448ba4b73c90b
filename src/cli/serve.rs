//! Flags of `recoup serve`, `recoup mcp` and `recoup schedule`.

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
    /// Certificate chain (PEM); the service then uses TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A reverse proxy in front provides TLS: any address is allowed, and cookies are only sent over TLS
    #[arg(long)]
    pub behind_proxy: bool,
}

#[derive(Debug, Args)]
pub struct McpArgs {
    /// The user of recoup in whose name retractions are proposed [default: the user that is linked to yours by --os-user]
    #[arg(long = "as", value_name = "NAME")]
    pub person: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List the jobs with their next run and the result of the last one
    List,
    /// Run one job now, unless another process is running it
    Run {
        /// The job
        #[arg(value_enum)]
        job: Job,
    },
}
