//! Checks the PostgreSQL server of the stores: whether it can be written, keeps what it acknowledges, and encrypts.

use super::{CLOCK_SKEW, Check};
use crate::error::{Error, Kind, Result};
use crate::store::server_facts::{ServerFacts, TableSize};

/// The oldest version that recoup supports.
const OLDEST: i64 = 140_000;

/// The number of tables that the check of sizes names.
const NAMED_TABLES: usize = 5;

/// Returns one check if the server cannot be asked, and one for each property otherwise.
pub(super) fn checks(facts: &Result<Option<ServerFacts>>) -> Vec<Check> {
    let facts = match facts {
        Ok(None) => return Vec::new(),
        Ok(Some(facts)) => facts,
        Err(error) => return vec![Check::wrong("server", error)],
    };
    vec![
        version(facts),
        role(facts),
        durability(facts),
        standbys(facts),
        tls(facts),
        clock(facts),
        pool(facts),
        sizes(facts),
    ]
}

fn wrong(name: &'static str, message: String, hint: &'static str) -> Check {
    Check::wrong(name, &Error::new(Kind::Config, message).hint(hint))
}

/// A finding that a person should know of, but that does not prevent anything.
fn warning(name: &'static str, message: String, remedy: &str) -> Check {
    Check { remedy: Some(remedy.to_owned()), ..Check::fine(name, message) }
}

fn version(facts: &ServerFacts) -> Check {
    let message = format!("PostgreSQL {}, encoding {}", facts.version, facts.encoding);
    if facts.version_number < OLDEST || facts.encoding != "UTF8" {
        return wrong("server", message, "use PostgreSQL 14 or newer, and a database with the encoding UTF8");
    }
    Check::fine("server", message)
}

fn role(facts: &ServerFacts) -> Check {
    if facts.is_primary {
        return Check::fine("server role", "primary, and can be written to");
    }
    wrong(
        "server role",
        "it is a standby or read-only".to_owned(),
        "name the primary, or several hosts with target_session_attrs=read-write",
    )
}

fn durability(facts: &ServerFacts) -> Check {
    let on = |is: bool| if is { "on" } else { "off" };
    let message = format!(
        "fsync {}, full_page_writes {}, synchronous_commit {} (recoup sets on for its writes)",
        on(facts.fsync),
        on(facts.full_page_writes),
        facts.synchronous_commit
    );
    if facts.fsync && facts.full_page_writes {
        return Check::fine("durability", message);
    }
    wrong(
        "durability",
        message,
        "set fsync = on and full_page_writes = on: otherwise a crash of the machine can lose the record of a sent request",
    )
}

fn standbys(facts: &ServerFacts) -> Check {
    let count = match facts.standbys {
        0 => "no standby is connected".to_owned(),
        1 => "1 standby is connected".to_owned(),
        more => format!("{more} standbys are connected"),
    };
    if facts.waits_for_standby {
        return Check::fine("standbys", format!("{count}; a commit waits for a synchronous one"));
    }
    if facts.standbys == 0 {
        return Check::fine("standbys", count);
    }
    warning(
        "standbys",
        format!("{count}, none of them synchronous"),
        "after a failover the ledger may lack its newest events, and nothing is sent until `recoup ledger accept`; set \
         synchronous_standby_names to prevent that",
    )
}

fn tls(facts: &ServerFacts) -> Check {
    match &facts.tls {
        Some(version) => Check::fine("TLS to the server", version.clone()),
        None => warning(
            "TLS to the server",
            "not used".to_owned(),
            "that is fine on this machine; otherwise remove sslmode=disable, or set sslmode=verify-full",
        ),
    }
}

fn clock(facts: &ServerFacts) -> Check {
    let (ms, seconds) = (facts.clock_ahead_ms.unsigned_abs(), facts.clock_ahead_ms.unsigned_abs() / 1000);
    let way = if facts.clock_ahead_ms < 0 { "behind" } else { "ahead of" };
    let message = format!("{ms} ms {way} this machine's");
    if i64::try_from(seconds).is_ok_and(|seconds| seconds <= CLOCK_SKEW) {
        return Check::fine("server clock", message);
    }
    warning("server clock", message, "set both clocks: locks and quotas follow the server's, receipts this machine's")
}

fn pool(facts: &ServerFacts) -> Check {
    let ServerFacts { pool_open, pool_idle, pool_most, max_connections, .. } = facts;
    let message = format!(
        "{pool_open} of at most {pool_most} connections open, {pool_idle} of them idle; the server accepts {max_connections}"
    );
    if i64::try_from(*pool_most).is_ok_and(|most| most < *max_connections) {
        return Check::fine("pool", message);
    }
    warning("pool", message, "raise max_connections, or put a pooler in transaction mode in between")
}

fn sizes(facts: &ServerFacts) -> Check {
    let sum: i64 = facts.tables.iter().map(|table| table.bytes).sum();
    let named = |table: &TableSize| format!("{} of the {} {}", table.table, table.store, size(table.bytes));
    let largest: Vec<String> = facts.tables.iter().take(NAMED_TABLES).map(named).collect();
    if largest.is_empty() {
        return Check::fine("size", "there are no tables yet");
    }
    Check::fine("size", format!("{} in {} tables: {}", size(sum), facts.tables.len(), largest.join(", ")))
}

fn size(bytes: i64) -> String {
    const MIB: i64 = 1 << 20;
    if bytes < MIB { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes / MIB) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            version: "15.5".into(),
            version_number: 150_005,
            encoding: "UTF8".into(),
            is_primary: true,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
            waits_for_standby: false,
            standbys: 0,
            tls: Some("TLSv1.3".into()),
            clock_ahead_ms: 5,
            pool_open: 1,
            pool_idle: 0,
            pool_most: 16,
            max_connections: 100,
            tables: Vec::new(),
        }
    }

    #[test]
    fn each_property_that_endangers_the_ledger_is_named_with_what_to_do() {
        let of = |change: fn(&mut ServerFacts)| {
            let mut facts = facts();
            change(&mut facts);
            checks(&Ok(Some(facts)))
        };
        assert!(of(|_| ()).iter().all(|check| check.ok && check.remedy.is_none()));
        let failures: [(&str, fn(&mut ServerFacts)); 5] = [
            ("server", |facts| facts.version_number = 130_012),
            ("server", |facts| facts.encoding = "LATIN1".into()),
            ("server role", |facts| facts.is_primary = false),
            ("durability", |facts| facts.fsync = false),
            ("durability", |facts| facts.full_page_writes = false),
        ];
        for (name, change) in failures {
            let wrong: Vec<Check> = of(change).into_iter().filter(|check| !check.ok).collect();
            assert_eq!(wrong.iter().map(|check| check.name).collect::<Vec<_>>(), [name]);
            assert!(wrong.iter().all(|check| check.remedy.is_some()), "{name}");
        }
        let warnings: [(&str, fn(&mut ServerFacts)); 5] = [
            ("standbys", |facts| facts.standbys = 2),
            ("TLS to the server", |facts| facts.tls = None),
            ("server clock", |facts| facts.clock_ahead_ms = -600_000),
            ("server clock", |facts| facts.clock_ahead_ms = 61_000),
            ("pool", |facts| facts.max_connections = 10),
        ];
        for (name, change) in warnings {
            let warned: Vec<Check> = of(change).into_iter().filter(|check| check.remedy.is_some()).collect();
            assert_eq!(warned.iter().map(|check| (check.name, check.ok)).collect::<Vec<_>>(), [(name, true)]);
        }
        let synchronous = of(|facts| (facts.standbys, facts.waits_for_standby) = (1, true));
        assert!(synchronous.iter().all(|check| check.ok && check.remedy.is_none()));
    }
}
