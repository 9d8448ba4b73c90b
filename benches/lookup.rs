//! Measures the latency of a look-up in a large index, within a running process and as a process of its own.
//!
//! `cargo bench --bench lookup -- [--links N] [--database ADDRESS]`. Builds an index of N links, two rewards for each order, with the
//! writer that a crawl uses: in a temporary folder, or on a PostgreSQL server, whose address names an unused `schema`. Then looks
//! up orders from all over the index, and orders that it does not have. Prints the rewards a second that were committed, the bytes
//! a link, the median, the 99th percentile and the maximum.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use recoup::extract::{Mapping, read};
use recoup::lookup;
use recoup::model::{AccountId, OrderId};
use recoup::store::index::{Index, IndexReader, NewRun, ReadReward, RewardListPage};
use recoup::store::{Identity, Place, Server};
use secrecy::SecretString;

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
    let (links, address) = options()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("recoup.db");
    let (place, database) = match address {
        Some(address) => {
            (Place::Server(Arc::new(Server::parse(SecretString::from(address.clone()))?)), OsString::from(address))
        }
        None => (Place::from(&path), path.clone().into_os_string()),
    };
    let began = Instant::now();
    make(&place, links)?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{links} rewards with a link, written in {seconds:.1} s, {:.0} a second", links as f64 / seconds);
    if let Ok(file) = std::fs::metadata(&path) {
        println!("{} MiB, {} bytes a link", file.len() >> 20, file.len() / links.max(1));
    }

    let reader = IndexReader::open(&place, None)?.ok_or("there is no index")?;
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
        command
            .env_clear()
            .env("HOME", dir.path())
            .env("RECOUP_DATABASE", &database)
            .args(["lookup", &order, "--json"]);
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

/// `--links` and `--database`; cargo adds `--bench`.
fn options() -> Outcome<(u64, Option<String>)> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (mut links, mut address) = (200_000, None);
    while let Some(name) = args.next() {
        match (name.as_str(), args.next()) {
            ("--links", Some(value)) => links = value.parse()?,
            ("--database", Some(value)) => address = Some(value),
            _ => return Err("the options of this bench are --links N and --database ADDRESS".into()),
        }
    }
    Ok((links, address))
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

fn make(place: &Place, links: u64) -> Outcome<()> {
    let text = |text: &str| text.to_owned();
    let identity = Identity {
        tenant: text("t"),
        account_sid: text("s"),
        advocate_url: text("http://a"),
        brand_url: text("http://b"),
    };
    let mut index = Index::open(place, &identity)?;
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
