//! `recoup store init`: the service's user can do the service's work, and cannot alter the ledger.

use std::process::Command;

use crate::service::{Service, add_token, add_user};
use crate::support::{Home, Sim, new_stores};

fn psql(server: &str, sql: &str) -> (bool, String) {
    let ran = Command::new("psql").args([server, "-XAtc", sql]).output().expect("psql runs");
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

/// The address of the same stores for another user of the server.
fn as_role(address: &str, role: &str) -> String {
    let (scheme, rest) = address.split_once("://").expect("an address");
    let (_user, rest) = rest.split_once('@').expect("a user");
    format!("{scheme}://{role}@{rest}")
}

#[test]
fn a_service_with_the_printed_rights_does_its_work_and_cannot_alter_the_ledger() {
    let Some(address) = new_stores() else { return };
    let sim = Sim::start(&["--participants", "300"]);
    let schema = address.rsplit_once("schema=").expect("a schema").1;
    let role = format!("service_{schema}");
    let owner = Home::new(&sim).on(&address);

    let printed = owner.check(&["store", "init", "--role", &role], 0);
    assert!(printed.stdout.contains(&format!("CREATE ROLE \"{role}\" LOGIN;")), "{printed:?}");
    let (server, _) = address.split_once('?').expect("a server");
    assert_eq!(psql(server, &format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'")).1, "0", "only printed");
    owner.check(&["store", "init", "--role", &role, "--apply"], 0);
    // Repeating it changes nothing, and the role exists now.
    let again = owner.check(&["store", "init", "--role", &role, "--apply", "--json"], 0).object();
    assert!(!again["statements"].to_string().contains("CREATE ROLE"), "{again}");

    let service = Home::new(&sim).on(&as_role(&address, &role));
    for source in ["participants", "graphql"] {
        service.check(&["crawl", "--full", "--source", source], 0);
    }
    let order = sim.example("plain").order_id;
    service.check(&["lookup", &order], 0);
    service.check(&["retract", &order, "--yes"], 0);
    service.check(&["verify"], 0);
    service.check(&["status"], 0);
    service.check(&["audit", "verify"], 0);
    std::fs::write(service.path("refunds.csv"), "order_id\nunknown-7\n").expect("a file");
    let file = service.path("refunds.csv").display().to_string();
    let watched = service.run(&["retract", "--file", &file, "--watch-missing", "--yes"]);
    assert!(matches!(watched.code, Some(0 | 4)), "{watched:?}");
    service.check(&["watch", "list"], 0);
    add_user(&service, "ann", "agent");
    let token = add_token(&service, "ann", &["retract"]);
    let running = Service::start(&service);
    let answer = running.client(&token).retract(&sim.another("plain").order_id);
    assert!(answer.status < 300, "{answer:?}");
    drop(running);
    assert_eq!(sim.deletes().len(), 2);

    let in_role = as_role(server, &role);
    for sql in [
        "DELETE FROM {ledger}.events",
        "UPDATE {ledger}.events SET person = 'x'",
        "TRUNCATE {ledger}.events CASCADE",
        "DELETE FROM {ledger}.retractions",
        "DELETE FROM {ledger}.personal",
        "INSERT INTO {ledger}.tombstones (mac, at) VALUES ('', '')",
        "DROP TRIGGER events_stay ON {ledger}.events",
        "ALTER TABLE {ledger}.events DISABLE TRIGGER ALL",
        "DROP TABLE {ledger}.watched",
        "CREATE TABLE {ledger}.mine (x int)",
        "CREATE FUNCTION {ledger}.append_only() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA {ledger}_x",
    ] {
        let sql = sql.replace("{ledger}", &format!("{schema}_ledger"));
        let (done, said) = psql(&in_role, &sql);
        assert!(!done && (said.contains("permission denied") || said.contains("must be owner")), "{sql}: {said}");
    }
    owner.check(&["audit", "verify"], 0);
    psql(server, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn a_role_that_can_alter_the_ledger_anyway_and_files_are_refused() {
    let sim = Sim::start(&["--participants", "1"]);
    let files = Home::new(&sim).set("RECOUP_DATABASE", "/tmp/no-such-folder/recoup.db");
    let refused = files.check(&["store", "init", "--role", "x"], 2);
    assert!(refused.stderr.contains("hint"), "{refused:?}");
    let Some(address) = new_stores() else { return };
    let owner = Home::new(&sim).on(&address);
    let refused = owner.check(&["store", "init", "--role", "recoup"], 3);
    assert!(refused.stderr.contains("superuser"), "{refused:?}");
}

#[test]
fn doctor_status_and_metrics_describe_the_server() {
    let Some(address) = new_stores() else { return };
    let sim = Sim::start(&["--participants", "100"]);
    let home = Home::new(&sim).on(&address);
    home.crawl();
    let checks = home.run(&["doctor", "--json"]).objects();
    let named = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["server", "server role", "standbys", "TLS to the server", "server clock", "pool", "size"] {
        assert_eq!(named(name)["ok"], true, "{name}");
    }
    assert!(named("size")["message"].as_str().is_some_and(|text| text.contains("of the index")), "{checks:?}");
    // The server of the tests does not sync its commits.
    let (_, fsync) = psql(address.split('?').next().expect("a server"), "SHOW fsync");
    assert_eq!(named("durability")["ok"], fsync == "on", "{checks:?}");
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["server"]["is_primary"], true, "{status}");
    assert!(status["server"]["tables"].as_array().is_some_and(|tables| tables.len() > 20), "{status}");
    let file = home.path("metrics");
    home.check(&["status", "--metrics-file", &file.display().to_string()], 0);
    let metrics = std::fs::read_to_string(file).expect("metrics");
    // Only the crawl has written, so there is no ledger yet.
    for line in ["recoup_server_primary 1", "recoup_server_table_bytes{store=\"index\",table=\"links\"}"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
