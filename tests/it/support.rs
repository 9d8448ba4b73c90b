//! Test helpers: the real binary, a running simulator, and a home directory for each test.
//!
//! The binary under test gets no environment variable of the caller. Every file of a test is in a temporary directory.
//! No test sleeps: a test waits for a process, or polls until a condition holds.

#![expect(clippy::disallowed_methods, reason = "how long a test waits for another process, in real time")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A running simulator. Dropping the value stops the simulator.
pub struct Sim {
    child: Child,
    /// The simulator's address `127.0.0.1:PORT`.
    pub addr: String,
}

impl Sim {
    /// Starts `recoup simulate` with these flags and short delays, so that a retraction takes little time.
    pub fn start(flags: &[&str]) -> Self {
        let quick =
            ["--queue-delay", "20ms", "--complete-delay", "20ms", "--cancel-delay", "20ms", "--export-delay", "20ms"];
        let quick: Vec<&str> =
            quick.chunks(2).filter(|pair| !flags.contains(&pair[0])).flat_map(<[&str]>::iter).copied().collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_recoup"))
            .env_clear()
            .args(["simulate", "--quiet"])
            .args(quick)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .stdin(Stdio::null())
            .spawn()
            .expect("the simulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its standard output")).read_line(&mut line).expect("its first line");
        let addr = line.trim().strip_prefix("listening on http://").expect("the contract's first line").to_owned();
        Self { child, addr }
    }

    /// Cancels one reward by the vendor's API, as a person could.
    pub fn cancel_reward(&self, id: &str) {
        let mut stream = TcpStream::connect(&self.addr).expect("the simulator listens");
        let key = "U0lNVUxBVE9SOnNpbXVsYXRvci10b2tlbg==";
        write!(
            stream,
            "POST /api/v1/simulator/reward/{id}/cancel HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {key}\r\nContent-Length: 0\r\n\r\n",
            self.addr
        )
        .expect("the question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer");
        assert!(answer.contains(" 200 "), "{answer}");
    }

    /// Reads a control path of the simulator.
    pub fn get(&self, path: &str) -> String {
        self.http("GET", path, "")
    }

    /// Changes a setting or the data of the simulator.
    pub fn post(&self, path: &str) {
        self.http("POST", path, "");
    }

    /// Rewrites the simulator's responses about one reward with `set`, `repeat`, `also`, `hidden`, `as` and `only`.
    pub fn rewrite(&self, reward_id: &str, how: &Value) {
        self.http("POST", &format!("rewrite?id={reward_id}"), &how.to_string());
    }

    /// Posts to a control path of the simulator, and returns the response.
    pub fn post_for(&self, path: &str) -> String {
        self.http("POST", path, "")
    }

    fn http(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).expect("the simulator listens");
        write!(
            stream,
            "{method} /_simulator/{path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        )
        .expect("the question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(" 200 "), "{method} {path}: {head}");
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() }
    }

    /// Returns the simulator's record of received requests.
    pub fn record(&self) -> Value {
        serde_json::from_str(&self.get("record")).expect("the record")
    }

    /// Returns the number of requests that the simulator received.
    pub fn requests(&self) -> u64 {
        self.record()["requests"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
    }

    /// Returns the expected content of the index: one object for each reward.
    pub fn truth(&self) -> Vec<Value> {
        self.get("truth").lines().map(|line| serde_json::from_str(line).expect("a line of truth")).collect()
    }

    /// Returns an example order of a kind: `plain`, `two_actions`, `redeemed` …
    pub fn example(&self, kind: &str) -> Example {
        self.nth(kind, 0)
    }

    /// Returns a second example order of a kind.
    pub fn another(&self, kind: &str) -> Example {
        self.nth(kind, 1)
    }

    fn nth(&self, kind: &str, n: usize) -> Example {
        let all: Value = serde_json::from_str(&self.get("examples")).expect("the examples");
        let first = all[kind].get(n).unwrap_or_else(|| panic!("no example of {kind}: {all}"));
        let texts = |key: &str| first[key].as_array().into_iter().flatten().map(text).collect();
        Example {
            order_id: text(&first["order_id"]),
            action_tracker_id: first["action_tracker_id"].to_string(),
            action_ids: texts("action_ids"),
            reward_ids: texts("reward_ids"),
        }
    }

    /// Returns the DELETEs that the simulator received.
    pub fn deletes(&self) -> Vec<Value> {
        self.record()["deletes"].as_array().cloned().expect("a list")
    }

    /// Returns the rules that the client violated; empty if the client is correct.
    pub fn violations(&self) -> Vec<Value> {
        self.record()["violations"].as_array().cloned().expect("a list")
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

pub struct Example {
    pub order_id: String,
    pub action_tracker_id: String,
    pub action_ids: Vec<String>,
    pub reward_ids: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An operating system user who owns no files.
#[cfg(unix)]
const NOBODY: u32 = 65_534;

/// The line of `recoup.toml` that turns off the scheduled refresh.
const UNSCHEDULED: &str = "schedule.refresh = 'off'";

/// A home directory for one test, and the environment that points the binary at a simulator.
pub struct Home {
    dir: TempDir,
    env: Vec<(String, String)>,
    /// Whether commands run as the user [`NOBODY`].
    is_unprivileged: bool,
}

impl Home {
    /// Creates a home with the simulator's address and credentials, and with short time-outs.
    pub fn new(sim: &Sim) -> Self {
        let home =
            Self { dir: tempfile::tempdir().expect("a temporary folder"), env: Vec::new(), is_unprivileged: false };
        let host = "timeout = '2s'\nbackoff = '5ms'\nbackoff_max = '50ms'\nattempts = 8\nstart_concurrency = 8\n";
        home.configure(&format!(
            "[advocate]\n{host}concurrency = 32\n[brand]\n{host}[retract]\nfirst_poll = '10ms'\nmax_poll = '50ms'\nwait = '5s'\nsettle = '10s'\n"
        ));
        let home = match std::env::var("TEST_STORES").as_deref() {
            Ok("postgres") => home.on(&new_stores().expect("TEST_STORES=postgres needs TEST_POSTGRES")),
            _ => home,
        };
        home.set("RECOUP_ADVOCATE_URL", &format!("http://{}/api/v1", sim.addr))
            .set("RECOUP_BRAND_URL", &format!("http://{}/Advertisers", sim.addr))
            .set("RECOUP_TENANT", "simulator")
            .set("RECOUP_ACCOUNT_SID", "SIMULATOR")
            .set("RECOUP_AUTH_TOKEN", "simulator-token")
    }

    /// The address of the PostgreSQL server that has the stores; `None` if the stores are files.
    pub fn server(&self) -> Option<&str> {
        let database = self.env.iter().find(|(name, _)| name == "RECOUP_DATABASE");
        database.map(|(_, address)| address.as_str()).filter(|address| address.starts_with("postgres://"))
    }

    /// Uses the stores at this PostgreSQL address instead of files.
    pub fn on(self, address: &str) -> Self {
        self.set("RECOUP_DATABASE", address)
    }

    /// Sets an environment variable for every command of this home. Unsets the variable if the value is empty.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.env.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn configure(&self, toml: &str) {
        std::fs::write(self.path("recoup.toml"), toml).expect("the configuration");
    }

    /// Adds lines to the end of `recoup.toml`, which is the table `[retract]`. If the file already has a key, replaces
    /// its value.
    pub fn configure_more(&self, toml: &str) {
        let text = std::fs::read_to_string(self.path("recoup.toml")).expect("the configuration");
        let key = toml.split('=').next().unwrap_or_default();
        let is_replaced = |line: &str| line.starts_with(key) || (toml.contains("[schedule]") && line == UNSCHEDULED);
        let mut kept: String = text.lines().filter(|line| !is_replaced(line)).flat_map(|line| [line, "\n"]).collect();
        writeln!(kept, "{toml}").expect("text");
        self.configure(&kept);
    }

    /// Turns off the service's scheduled refresh if the test sets no schedule. A refresh at an unknown time changes the
    /// index and the number of requests to the vendor.
    pub fn leave_the_index_alone(&self) {
        let text = std::fs::read_to_string(self.path("recoup.toml")).expect("the configuration");
        if !text.contains("[schedule]") && !text.contains(UNSCHEDULED) {
            self.configure(&format!("{UNSCHEDULED}\n{text}"));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path("recoup.db")
    }

    pub fn ledger(&self) -> PathBuf {
        self.path("recoup-ledger.db")
    }

    /// Reports a skipped test, and returns `true`, if the stores are on a server. `why` says what only files have.
    #[must_use]
    pub fn skip_on_server(&self, why: &str) -> bool {
        if self.server().is_some() {
            report_skipped(&format!("not on a server: {why}"));
        }
        self.server().is_some()
    }

    /// Waits until the locks of killed processes have expired. The operating system releases those of files at once.
    pub fn wait_for_locks(&self) {
        for store in ["index", "ledger"] {
            let held = "SELECT count(*) FROM locks WHERE until_ms >= extract(epoch FROM clock_timestamp()) * 1000";
            if self.server().is_some() && self.has_store(store) {
                wait_until("the locks expire", || self.rows(store, held) == [["0"]]);
            }
        }
    }

    /// Returns whether there is a ledger. On a server, the first lock creates the tables, and the first send the ledger.
    pub fn has_ledger(&self) -> bool {
        let begun = || self.rows("ledger", "SELECT count(*) FROM identity WHERE key = 'ledger_id'") == [["1"]];
        self.has_store("ledger") && (self.server().is_none() || begun())
    }

    /// Returns whether there is the file or the schema of a store.
    pub fn has_store(&self, store: &str) -> bool {
        match self.server() {
            // The file is there a moment before its tables.
            None => self.file_of(store).exists() && self.has_tables(store),
            Some(_) => self.psql(store, "SELECT to_regclass('identity') IS NOT NULL") == "t",
        }
    }

    fn has_tables(&self, store: &str) -> bool {
        let conn = rusqlite::Connection::open(self.file_of(store)).expect("the file");
        let asked = conn.prepare("SELECT 1 FROM identity").map(drop);
        !asked.is_err_and(|error| error.to_string().contains("no such table"))
    }

    fn file_of(&self, store: &str) -> PathBuf {
        if store == "index" { self.database() } else { self.path(&format!("recoup-{store}.db")) }
    }

    /// Reads rows of a store past recoup: `index`, `ledger`, `access` or `notices`.
    pub fn rows(&self, store: &str, sql: &str) -> Vec<Vec<String>> {
        if self.server().is_some() {
            let text = self.psql(store, sql);
            return text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        }
        let conn = rusqlite::Connection::open(self.file_of(store)).expect("the file");
        let mut select = conn.prepare(sql).expect("valid SQL");
        let columns = select.column_count();
        let text = |row: &rusqlite::Row<'_>, n| match row.get_ref(n)? {
            rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
            value => Ok(value.as_str().unwrap_or_default().to_owned()),
        };
        let rows = select.query_map([], |row| (0..columns).map(|n| text(row, n)).collect::<Result<Vec<_>, _>>());
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }

    /// Changes a store past recoup, without the triggers of the ledger, as an attacker with an SQL editor could.
    pub fn tamper(&self, store: &str, sql: &str) {
        if self.server().is_some() {
            let drop_triggers = "DO $$ DECLARE t record; BEGIN
                 FOR t IN SELECT tgname, CAST(tgrelid AS regclass) AS rel FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
                     WHERE NOT tgisinternal AND relnamespace = to_regnamespace(quote_ident(current_schema()))
                 LOOP EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel); END LOOP; END $$;
                 SET session_replication_role = replica";
            self.psql(store, &format!("{drop_triggers}; {sql}"));
            return;
        }
        let conn = rusqlite::Connection::open(self.file_of(store)).expect("the file");
        let triggers =
            "SELECT coalesce(group_concat('DROP TRIGGER ' || name, ';'), '') FROM sqlite_master WHERE type = 'trigger'";
        let triggers: String = conn.query_row(triggers, [], |row| row.get(0)).expect("triggers");
        conn.execute_batch(&format!("PRAGMA foreign_keys = off; {triggers}; {sql}")).expect("tampered");
    }

    /// Returns whether a store contains a text: its file with the log, or a dump of its schema.
    pub fn holds(&self, store: &str, text: &str) -> bool {
        let bytes = if let Some(address) = self.server() {
            let (server, schema) = address_parts(address);
            let dump = Command::new("pg_dump").args([server, "-n", &format!("{schema}_{store}")]).output();
            let dump = dump.expect("pg_dump runs");
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            dump.stdout
        } else {
            let file = self.file_of(store);
            let read = |end| std::fs::read(format!("{}{end}", file.display())).unwrap_or_default();
            [read(""), read("-wal")].concat()
        };
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Runs statements on a store of the server, and returns the rows as text.
    fn psql(&self, store: &str, sql: &str) -> String {
        let (server, schema) = address_parts(self.server().expect("a server"));
        let ran = Command::new("psql")
            .args([server, "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGOPTIONS", format!("-c search_path={schema}_{store}"))
            .output()
            .expect("psql runs");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8").trim_end_matches('\n').to_owned()
    }

    /// Returns a command that runs the binary with these arguments, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_recoup"));
        command.args(args);
        command
    }

    /// Returns a command that runs another program in the environment of this home.
    pub fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("RECOUP_CONFIG", self.path("recoup.toml"))
            .env("RECOUP_DATABASE", self.database())
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        if self.is_unprivileged {
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        }
        command
    }

    /// Returns a command that runs a line in bash in this home's folder. In the bash line, `recoup` is the binary.
    pub fn shell(&self, line: &str) -> Command {
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_recoup")).parent().expect("a folder");
        let mut command = Command::new("bash");
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display()))
            .env("HOME", self.dir.path())
            .env("RECOUP_CONFIG", self.path("recoup.toml"))
            .env("RECOUP_DATABASE", self.database())
            .envs(self.env.iter().cloned())
            .current_dir(self.dir.path())
            .args(["-c", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// If root runs the tests, changes the owner of all files to an unprivileged user, because root ignores file modes.
    /// Returns `false` if that user cannot run the binary.
    #[cfg(unix)]
    pub fn drop_root(&mut self) -> bool {
        if std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).ok() != Some(0) {
            return true;
        }
        let mut paths: Vec<PathBuf> =
            self.dir.path().read_dir().expect("the home").map(|entry| entry.expect("an entry").path()).collect();
        paths.push(self.dir.path().to_owned());
        for path in paths {
            std::os::unix::fs::chown(&path, Some(NOBODY), None).expect("root may");
        }
        self.is_unprivileged = true;
        self.command(&["--version"]).output().is_ok()
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(args, self.command(args).output().expect("the binary runs"))
    }

    /// Runs the binary and checks its exit code.
    #[track_caller]
    pub fn check(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.run(args);
        ran.expect(code);
        ran
    }

    /// Crawls by participants and expects success.
    #[track_caller]
    pub fn crawl(&self) -> Ran {
        self.check(&["crawl", "--source", "participants", "--json"], 0)
    }
}

/// Starts a simulator with these flags, and returns it with a home that has crawled it.
pub fn ready(flags: &[&str]) -> (Sim, Home) {
    let mut all = if flags.contains(&"--participants") { Vec::new() } else { vec!["--participants", "400"] };
    all.extend(flags);
    let sim = Sim::start(&all);
    let home = Home::new(&sim);
    home.crawl();
    (sim, home)
}

/// The nouns that recoup's output counts.
const COUNTED: &str = "accounts actions days errors events files hours lines links modifications orders pages participants \
                       programs records requests retractions reversals rewards rows seconds submissions values";

/// Finds a text such as `1 orders` or `order(s)` in the output.
fn one_in_the_plural(output: &str) -> Option<String> {
    let words: Vec<&str> = output.split_whitespace().map(|word| word.trim_matches(['(', ',', '.', ';', ':'])).collect();
    let is_counted = |noun: &str| COUNTED.split_whitespace().any(|counted| counted == noun);
    let of_one = words.windows(2).find(|pair| pair[0] == "1" && is_counted(pair[1])).map(|pair| pair.join(" "));
    let is_open = |word: &&&str| word.strip_suffix("(s)").is_some_and(|noun| is_counted(&format!("{noun}s")));
    of_one.or_else(|| words.iter().find(is_open).map(|word| (*word).to_owned()))
}

#[test]
fn no_output_counts_one_thing_in_the_plural() {
    for (output, found) in [
        ("0 of 1 rows not done", Some("1 rows")),
        ("(1 orders, read)", Some("1 orders")),
        ("2 reward(s) stay", Some("reward(s)")),
        ("1 row, 21 orders, 1,001 orders", None),
    ] {
        assert_eq!(one_in_the_plural(output).as_deref(), found, "{output}");
    }
}

/// The output of a finished command.
#[derive(Debug)]
pub struct Ran {
    pub args: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails if the output has the number 1 before a plural.
    #[track_caller]
    pub fn of(args: &[&str], output: Output) -> Self {
        let ran = Self {
            args: args.join(" ").chars().take(200).collect(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        };
        let plural = one_in_the_plural(&ran.stdout).or_else(|| one_in_the_plural(&ran.stderr));
        assert_eq!(plural, None, "recoup {}", ran.args);
        ran
    }

    #[track_caller]
    pub fn expect(&self, code: i32) {
        assert_eq!(
            self.code,
            Some(code),
            "recoup {}\n--- stdout\n{}\n--- stderr\n{}",
            self.args,
            self.stdout,
            self.stderr
        );
    }

    /// Returns every JSON object on standard output.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.stderr));
        self.stdout.lines().map(parse).collect()
    }

    /// Returns the first JSON object on standard output.
    #[track_caller]
    pub fn object(&self) -> Value {
        self.objects().into_iter().next().unwrap_or_else(|| panic!("no JSON: {self:?}"))
    }

    /// Returns the kind of the last error under `--json`.
    #[track_caller]
    pub fn error_kind(&self) -> String {
        let last = self.objects().pop().unwrap_or_else(|| panic!("no JSON: {self:?}"));
        text(&last["error"]["kind"])
    }

    /// Returns the state of the only retraction in a receipt.
    #[track_caller]
    pub fn state(&self) -> String {
        text(&self.object()["retractions"][0]["state"])
    }
}

/// Polls until a condition holds. Panics after a minute.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(|| if is_so() { Ok(()) } else { Err(what.to_owned()) });
}

/// Polls until the closure returns `Ok`. After a minute, panics with the closure's error.
#[track_caller]
pub fn wait_for(mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(what) = is_so() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Returns the size of a test: the value of this environment variable, or `usual`.
#[track_caller]
pub fn size(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// Returns the address of new stores on the PostgreSQL server that `TEST_POSTGRES` names:
/// `postgres://USER@HOST:PORT/DATABASE`. Returns `None` and reports a skipped test if the variable is not set. The
/// schemas of the stores stay until the server is removed.
pub fn new_stores() -> Option<String> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let Ok(server) = std::env::var("TEST_POSTGRES") else {
        report_skipped("this test needs a PostgreSQL server, which TEST_POSTGRES names");
        return None;
    };
    let (process, n) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    Some(format!("{server}?sslmode=disable&lock_seconds=3&schema=t{process}_{n}"))
}

/// Splits the address of stores into the server and the prefix of the schemas.
fn address_parts(address: &str) -> (&str, &str) {
    let (server, parameters) = address.split_once('?').expect("parameters");
    (server, parameters.rsplit_once("schema=").expect("a schema").1)
}

/// Returns the operating system's name of the current user.
pub fn os_user() -> String {
    let id = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(id.stdout).expect("a name").trim().to_owned()
}

/// Reports a skipped test on stderr, because the test harness would capture `println!`.
pub fn report_skipped(what: &str) {
    let _nobody_reads_it = writeln!(std::io::stderr(), "skipped: {what}");
}

/// Returns `true` if a missing browser is a failure: `TEST_BROWSER=1`, which `.ci/run` sets.
pub fn browser_required() -> bool {
    std::env::var_os("TEST_BROWSER").is_some()
}
