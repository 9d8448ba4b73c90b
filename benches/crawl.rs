//! Compares a crawl with a bare loop that sends the same requests without retries, cursor, rate limit or raw rewards.
//!
//! `cargo bench --bench crawl -- [--participants N] [--rounds N]`. Starts `recoup simulate`. Each round of the
//! benchmark reads every account with a bare loop and with `recoup crawl`, 64 requests at a time. The benchmark prints
//! requests per second, client CPU time per account (Linux, 10 ms resolution) and the ratios. The benchmark counts
//! every request: the bare loop sends one per account, recoup also reads the pages of the list of participants. The
//! bare loop shares no code with recoup.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time, and waits for a process")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, params};
use serde_json::Value;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

/// Maximum number of requests in flight, for the loop and for the crawl.
const CONCURRENCY: usize = 64;
/// Number of rewards that the bare loop commits in one transaction.
const BATCH: usize = 500;

/// The measurements of the loop or of the crawl in one round.
struct Took {
    requests: u64,
    rewards: u64,
    accounts: u64,
    time: Duration,
    /// User and system CPU time of the client; `None` if the operating system does not report it.
    cpu: Option<Duration>,
    /// Peak memory of the client in KiB; `None` if the operating system does not report it.
    peak: Option<u64>,
}

impl Took {
    fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    fn cpu_per_account(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.accounts as f64)
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn main() -> Outcome<()> {
    let (participants, rounds) = options()?;
    // reqwest requires a TLS provider, even for plain HTTP.
    rustls::crypto::ring::default_provider().install_default().map_err(|_provider| "a provider is installed")?;
    let dir = tempfile::tempdir()?;
    let simulator = Simulator::start(participants)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let accounts = runtime.block_on(simulator.accounts())?;
    println!("{participants} participants, {} accounts, {CONCURRENCY} requests at a time", accounts.len());
    let (mut speed, mut work) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let bare = bare_loop(&runtime, &simulator.url, &accounts, &dir.path().join(format!("bare-{round}.db")))?;
        show(round, "bare loop", &bare);
        let home = dir.path().join(format!("home-{round}"));
        let recoup = crawl(&simulator.url, &home)?;
        show(round, "recoup", &recoup);
        speed.push(recoup.rate() / bare.rate());
        work.extend(recoup.cpu_per_account().zip(bare.cpu_per_account()).map(|(recoup, bare)| recoup / bare));
        fs::remove_dir_all(home)?;
    }
    summary("requests per second, recoup / bare loop", &mut speed);
    summary("client CPU per account, recoup / bare loop", &mut work);
    Ok(())
}

/// Reads the arguments `--participants` and `--rounds`. Ignores `--bench`, which cargo adds.
fn options() -> Outcome<(u64, u32)> {
    let (mut participants, mut rounds) = (20_000, 3);
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("an option has no value")?;
        match arg.as_str() {
            "--participants" => participants = value.parse()?,
            "--rounds" => rounds = value.parse()?,
            _ => return Err(format!("unknown option {arg}; this bench takes --participants N and --rounds N").into()),
        }
    }
    Ok((participants, rounds))
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn show(round: u32, name: &str, took: &Took) {
    let cpu = took.cpu_per_account().map_or_else(|| "?".to_owned(), |us| format!("{us:.0}"));
    let peak = took.peak.map_or_else(|| "?".to_owned(), |kib| format!("{:.0}", kib as f64 / 1024.0));
    println!(
        "round {round}: {name:9} {:>6.0} requests/s ({} requests, {} accounts, {} rewards in {:.1} s), {cpu} µs of client CPU \
         per account, {peak} MiB at most",
        took.rate(),
        took.requests,
        took.accounts,
        took.rewards,
        took.time.as_secs_f64()
    );
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn summary(what: &str, ratios: &mut [f64]) {
    ratios.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (ratios.first(), ratios.last()) {
        println!("{what}: {:.2} (of {} rounds, {least:.2} to {most:.2})", ratios[ratios.len() / 2], ratios.len());
    }
}

/// A running `recoup simulate`; dropping it ends the process.
struct Simulator {
    process: Child,
    url: String,
}

impl Simulator {
    fn start(participants: u64) -> Outcome<Self> {
        let mut process = recoup()
            .args(["simulate", "--participants", &participants.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ").ok_or("the simulator did not start")?.to_owned();
        Ok(Self { process, url })
    }

    async fn accounts(&self) -> Outcome<Vec<String>> {
        let text = client()?.get(format!("{}/_simulator/accounts", self.url)).send().await?.text().await?;
        text.lines()
            .map(|line| account_of(&serde_json::from_str(line)?).ok_or_else(|| "a line without ID".into()))
            .collect()
    }
}

fn account_of(line: &Value) -> Option<String> {
    line.as_str().or_else(|| line.get("account_id")?.as_str()).map(str::to_owned)
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn recoup() -> Command {
    Command::new(env!("CARGO_BIN_EXE_recoup"))
}

/// Returns an HTTP client that ignores the proxy variables of the environment.
fn client() -> Outcome<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// Runs the bare loop: sends a request, parses the response, takes the top-level IDs of each reward, and inserts them
/// in batches.
fn bare_loop(runtime: &tokio::runtime::Runtime, url: &str, accounts: &[String], database: &Path) -> Outcome<Took> {
    let mut conn = Connection::open(database)?;
    conn.execute_batch(
        "CREATE TABLE rewards (account_id TEXT, reward_id TEXT, order_id TEXT, action_id TEXT);
         PRAGMA journal_mode = wal; PRAGMA synchronous = normal;",
    )?;
    let client = client()?;
    let began = (Instant::now(), cpu_of("self", 13));
    let (mut batch, mut rewards) = (Vec::with_capacity(BATCH), 0);
    runtime.block_on(async {
        let mut answers = futures::stream::iter(accounts)
            .map(|account| {
                let url = format!(
                    "{url}/api/v1/simulator/reward?accountId={}",
                    utf8_percent_encode(account, NON_ALPHANUMERIC)
                );
                let request = client.get(url).basic_auth("SIMULATOR", Some("simulator-token"));
                async move {
                    let body = request.send().await?.error_for_status()?.bytes().await?;
                    Ok::<_, Failure>((account, serde_json::from_slice::<Value>(&body)?))
                }
            })
            .buffer_unordered(CONCURRENCY);
        while let Some(answer) = answers.next().await {
            let (account, list) = answer?;
            for reward in list.as_array().into_iter().flatten() {
                let text = |key: &str| match &reward[key] {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                };
                batch.push((account, text("id"), text("orderId"), text("actionId")));
            }
            if batch.len() >= BATCH {
                rewards += batch.len() as u64;
                insert(&mut conn, &mut batch)?;
            }
        }
        rewards += batch.len() as u64;
        insert(&mut conn, &mut batch)
    })?;
    let (time, cpu) = (began.0.elapsed(), cpu_of("self", 13));
    let cpu = cpu.zip(began.1).map(|(after, before)| after.saturating_sub(before));
    let count = accounts.len() as u64;
    Ok(Took { requests: count, rewards, accounts: count, time, cpu, peak: None })
}

type Row<'a> = (&'a String, Option<String>, Option<String>, Option<String>);

fn insert(conn: &mut Connection, batch: &mut Vec<Row<'_>>) -> Outcome<()> {
    let tx = conn.transaction()?;
    {
        let mut insert = tx.prepare_cached("INSERT INTO rewards VALUES (?1, ?2, ?3, ?4)")?;
        for (account, id, order, action) in batch.drain(..) {
            insert.execute(params![account, id, order, action])?;
        }
    }
    Ok(tx.commit()?)
}

/// Runs `recoup crawl` in a process of its own until its index is complete.
fn crawl(url: &str, home: &Path) -> Outcome<Took> {
    fs::create_dir_all(home)?;
    fs::write(home.join("recoup.toml"), "")?;
    let began = (Instant::now(), cpu_of("self", 15));
    let mut process = recoup()
        .args(["crawl", "--source", "participants", "--json", "-q", "--concurrency", &CONCURRENCY.to_string()])
        .env("RECOUP_CONFIG", home.join("recoup.toml"))
        .env("RECOUP_DATABASE", home.join("recoup.db"))
        .env("RECOUP_TENANT", "simulator")
        .env("RECOUP_ACCOUNT_SID", "SIMULATOR")
        .env("RECOUP_AUTH_TOKEN", "simulator-token")
        .env("RECOUP_ADVOCATE_URL", format!("{url}/api/v1"))
        .env("RECOUP_BRAND_URL", format!("{url}/Advertisers"))
        .stdout(Stdio::piped())
        .spawn()?;
    let output = process.stdout.take().ok_or("no output")?;
    let mut peak = None;
    let ended = loop {
        peak = peak.max(peak_of(process.id()));
        if let Some(ended) = process.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (time, cpu) = (began.0.elapsed(), cpu_of("self", 15));
    if !ended.success() {
        return Err(format!("recoup crawl ended with {ended}").into());
    }
    let said: Value = serde_json::from_reader(output)?;
    let count = |key: &str| said[key].as_u64().ok_or_else(|| format!("recoup crawl did not report {key}"));
    let cpu = cpu.zip(began.1).map(|(after, before)| after.saturating_sub(before));
    Ok(Took { requests: count("requests")?, rewards: count("rewards")?, accounts: count("accounts")?, time, cpu, peak })
}

/// Returns user and system CPU time from two fields of Linux' `/proc/PID/stat` that begin at `field`, counted from 0.
/// Fields 13 and 14 are the times of the process itself, fields 15 and 16 those of its children that have ended.
fn cpu_of(process: &str, field: usize) -> Option<Duration> {
    /// Linux counts CPU time in hundredths of a second on every platform.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field of `/proc/PID/stat` is the process name in brackets, which may contain spaces.
    let rest = stat.rsplit_once(") ")?.1;
    let ticks = rest.split(' ').skip(field - 2).take(2).map(|ticks| ticks.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

/// Returns the peak memory of a process so far, in KiB.
fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}
