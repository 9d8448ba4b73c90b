//! What a server says about itself, as data.

use serde::Serialize;

/// The server of the stores. A pooler in between answers some of it for its own connection to the server.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ServerFacts {
    /// The version, for example `15.5`.
    pub version: String,
    /// The version as a number, for example 150005.
    pub version_number: i64,
    pub encoding: String,
    /// `false` on a standby, where nothing can be written.
    pub is_primary: bool,
    /// `false` if a crash of the machine may lose or damage commits.
    pub fsync: bool,
    pub full_page_writes: bool,
    /// The default of the database user. recoup sets `on` for each of its writes.
    pub synchronous_commit: String,
    /// Whether a commit of recoup waits for a standby: the server names synchronous standbys.
    pub waits_for_standby: bool,
    /// The number of connected standbys.
    pub standbys: i64,
    /// The version of TLS of this connection; `null` without TLS.
    pub tls: Option<String>,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// Connections of this process: in use and idle.
    pub pool_open: u64,
    /// Connections of this process that no transaction uses.
    pub pool_idle: u64,
    /// The most connections of one process.
    pub pool_most: u64,
    /// The most connections that the server accepts.
    pub max_connections: i64,
    /// Every table, the largest first.
    pub tables: Vec<TableSize>,
}

/// The size of one table with its indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TableSize {
    /// The store: index, ledger, access, notices or batches.
    pub store: String,
    pub table: String,
    pub bytes: i64,
    /// The server's estimate; -1 if it has none yet.
    pub rows: i64,
}
