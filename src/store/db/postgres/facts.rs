//! What a server says about itself: how safe its commits are, and how large the stores are.

use tokio_postgres::types::{ToSql, Type};

use super::super::server_facts::{ServerFacts, TableSize};
use super::super::{DbError, Layout};
use super::pool::{Lease, MOST, Pool, wait};
use super::{PgTx, READ_LIMIT, Server};
use crate::clock::Clock;

const ABOUT: &str = "SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS BIGINT),
     current_setting('server_encoding'), NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
     current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', current_setting('synchronous_commit'),
     current_setting('synchronous_standby_names') <> '', (SELECT count(*) FROM pg_stat_replication),
     (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),
     CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), CAST(current_setting('max_connections') AS BIGINT)";

const SIZES: &str = "SELECT CAST(nspname AS TEXT), CAST(relname AS TEXT), pg_total_relation_size(pg_class.oid),
         CAST(reltuples AS BIGINT)
     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE relkind = 'r' AND nspname = ANY ($1) ORDER BY 3 DESC, 1, 2";

impl Server {
    /// Asks the server about itself and the tables of these stores.
    pub(in crate::store) fn facts(&self, layouts: &[&Layout], clock: &Clock) -> Result<ServerFacts, DbError> {
        let pool = Pool::of(self);
        loop {
            let lease = pool.take(self, READ_LIMIT)?;
            match self.facts_by(&lease, layouts, clock) {
                Err(DbError::Lost(_)) if lease.was_idle => {}
                facts => {
                    if facts.is_ok() {
                        lease.keep();
                    }
                    return facts;
                }
            }
        }
    }

    fn facts_by(&self, lease: &Lease, layouts: &[&Layout], clock: &Clock) -> Result<ServerFacts, DbError> {
        let query = |sql: &'static str, args: &[(&(dyn ToSql + Sync), Type)]| {
            let client = lease.client()?;
            wait(READ_LIMIT, client.query_typed(sql, args))
        };
        let asked_ms = clock.now_ms();
        let rows = query(ABOUT, &[])?;
        let half_way_ms = i64::midpoint(asked_ms, clock.now_ms());
        let about = rows.first().ok_or_else(|| DbError::Engine("the server does not describe itself".to_owned()))?;
        let schemas: Vec<String> =
            layouts.iter().map(|layout| self.schema(layout.name).trim_matches('"').to_owned()).collect();
        let names: Vec<&str> = schemas.iter().map(String::as_str).collect();
        let sizes = query(SIZES, &[(&names, Type::TEXT_ARRAY)])?;
        let size = |row: &tokio_postgres::Row| {
            let schema: &str = row.get(0);
            let store = schema.rsplit('_').next().unwrap_or_default().to_owned();
            TableSize { store, table: row.get(1), bytes: row.get(2), rows: row.get(3) }
        };
        let (pool_open, pool_idle) = Pool::of(self).counts();
        Ok(ServerFacts {
            version: about.get(0),
            version_number: about.get(1),
            encoding: about.get(2),
            is_primary: about.get(3),
            fsync: about.get(4),
            full_page_writes: about.get(5),
            synchronous_commit: about.get(6),
            waits_for_standby: about.get(7),
            standbys: about.get(8),
            tls: about.get(9),
            clock_ahead_ms: about.get::<_, i64>(10) - half_way_ms,
            pool_open: pool_open as u64,
            pool_idle: pool_idle as u64,
            pool_most: MOST as u64,
            max_connections: about.get(11),
            tables: sizes.iter().map(size).collect(),
        })
    }
}

/// Identifies a store on its server: the cluster, its timeline, the database, and the tables themselves. A promotion changes the
/// timeline, another cluster has another number, a copy of the database has another OID, and a restored dump makes the tables
/// anew.
pub(super) const INSTANCE: &str =
    "SELECT concat_ws('/', system_identifier, CASE WHEN pg_is_in_recovery() THEN 'standby'
         ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
         (SELECT oid FROM pg_database WHERE datname = current_database()),
         CAST(to_regclass('store_state') AS OID), CAST(to_regclass('events') AS OID))
     FROM pg_control_system()";

impl PgTx {
    /// Identifies the store on its server.
    pub fn instance(&self) -> Result<String, DbError> {
        let rows = self.rows(INSTANCE, &[])?;
        let instance: Option<&str> = rows.first().map(|row| row.get(0));
        instance.map(str::to_owned).ok_or_else(|| DbError::Damaged("the server does not identify itself".to_owned()))
    }
}
