//! Measures the latency of a look-up in a large index, within a running process and as a process of its own.
//!
//! `cargo bench --bench lookup -- [--links N]`. The benchmark builds an index of N links in a temporary folder, two
//! rewards for each order, with the writer that a crawl uses. The benchmark looks up random orders of the index, and
//! orders that the index does not have. The benchmark prints the bytes per link, and the median, the 99th percentile
//! and the maximum of the latency.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use recoup::extract::{Mapping, read};
use recoup::lookup;
use recoup::model::{AccountId, OrderId};
use recoup::store::Identity;
use recoup::store::index::{Index, IndexReader, NewRun, ReadReward, RewardListPage};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Number of rewards in one commit.
const BATCH: u64 = 2000;
/// Number of measured look-ups within this process, and number of measured processes.
const INSIDE: u64 = 20_000;
const OUTSIDE: u64 = 100;
/// Number of look-ups before the measured ones, to warm up.
const WARM_UP: u64 = 1000;

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn main() -> Outcome<()> {
    let links = links()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("recoup.db");
    let began = Instant::now();
    make(&path, links)?;
    let size = std::fs::metadata(&path)?.len();
    let seconds = began.elapsed().as_secs_f64();
    println!("{links} links, {} MiB, {} bytes a link, written in {seconds:.0} s", size >> 20, size / links.max(1));

    let reader = IndexReader::open(&path, None)?.ok_or("there is no index")?;
    let now = Timestamp::now();
    for (what, is_there) in [("within a process", true), ("within a process, an order that is not there", false)] {
        let mut times = Vec::new();
        for n in 0..INSIDE + WARM_UP {
            let text = order(spread(n, links));
            let order = OrderId::new(if is_there { text } else { format!("{text}-") });
            let began = Instant::now();
            let answers = lookup::run(Some(&reader), std::slice::from_ref(&order), lookup::ParticipantIds::Hide, now)?;
            let took = began.elapsed();
            if answers[0].matches.len() != if is_there { 2 } else { 0 } {
                return Err(format!("{order} was found {} times", answers[0].matches.len()).into());
            }
            if n >= WARM_UP {
                times.push(took);
            }
        }
        show(what, &mut times);
    }

    let mut outside = Vec::new();
    for n in 0..OUTSIDE + 5 {
        let order = order(spread(n, links));
        let mut command = Command::new(env!("CARGO_BIN_EXE_recoup"));
        command.env_clear().env("HOME", dir.path()).env("RECOUP_DATABASE", &path).args(["lookup", &order, "--json"]);
        let began = Instant::now();
        let status = command.stdout(Stdio::null()).status()?;
        let took = began.elapsed();
        if !status.success() {
            return Err(format!("recoup lookup {order} failed").into());
        }
        if n >= 5 {
            outside.push(took);
        }
    }
    show("as a process", &mut outside);
    Ok(())
}

/// Reads `--links`. Ignores `--bench`, which cargo adds.
fn links() -> Outcome<u64> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok(200_000),
        (Some("--links"), Some(links)) => Ok(links.parse()?),
        _ => Err("the only option of this bench is --links N".into()),
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {:?} (median of {}), {:?} at the 99th percentile, {:?} at most",
        at(0.5),
        times.len(),
        at(0.99),
        at(1.0)
    );
}

fn make(path: &Path, links: u64) -> Outcome<()> {
    let text = |text: &str| text.to_owned();
    let identity = Identity {
        tenant: text("t"),
        account_sid: text("s"),
        advocate_url: text("http://a"),
        brand_url: text("http://b"),
    };
    let mut index = Index::open(path, &identity)?;
    let now = Timestamp::now();
    let (run, _) = index.begin_run(NewRun::of("graphql"), now)?;
    let mapping = Mapping::default();
    let mut at = 0;
    while at < links {
        let until = (at + BATCH).min(links);
        let mut rewards = Vec::with_capacity(BATCH as usize);
        for n in at..until {
            let (pair, side) = (n / 2, n % 2);
            let account = AccountId::new(format!("person.{}@shop.example", pair * 7 + side));
            let raw = format!(
                r#"{{"id":"{:08x}{:016x}","type":"CREDIT","unit":"CENTS","assignedCredit":2500,"dateGiven":1717729847869,"orderId":"{}","actionId":"4711.6002.{pair}"}}"#,
                pair as u32,
                scrambled(n),
                order(pair),
            );
            rewards.push((account.clone(), ReadReward::new(read(&raw, &account, &mapping)?, &raw)));
        }
        index.commit_rewards(run, &RewardListPage { rewards, unusable: 0, cursor: "{}".to_owned() }, now)?;
        at = until;
    }
    index.recount(run)?;
    index.finish_run(run, &[], now)?;
    Ok(())
}

fn order(pair: u64) -> String {
    format!("O{:x}", scrambled(pair))
}

fn spread(n: u64, links: u64) -> u64 {
    scrambled(n) % (links / 2).max(1)
}

/// Real IDs arrive in no order, so the generated IDs do not increase either.
fn scrambled(n: u64) -> u64 {
    (n ^ (n >> 31)).wrapping_add(0x9e37_79b9).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635
}
