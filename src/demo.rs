//! Use case: a demonstration of crawl, look-up and retraction against the built-in simulator.
//!
//! The demonstration ignores configuration and environment, stores its databases in a temporary folder, and connects to
//! this machine only. The demonstration runs the code of the real commands.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::model::{Actor, OrderId};
use crate::report::Report;
use crate::retract::request::{RetractRequest, RunOptions};
use crate::retract::{self, FollowSettings, WriterSettings};
use crate::store::index::IndexReader;
use crate::store::{Identity, Place};
use crate::vendor::{Advocate, Brand, Credentials, HostOptions, IR_VERSION, Secret};
use crate::{crawl, lookup};

/// Runs the demonstration and prints the receipt of its retraction.
pub async fn run(participants: u64, seed: u64, report: &Report, stop: &CancellationToken) -> Result<()> {
    let options = impact_simulator::Options { participants, seed, ..impact_simulator::Options::default() };
    let (tenant, account_sid, token) = (options.tenant.clone(), options.account_sid.clone(), options.token.clone());
    let server_stop = CancellationToken::new();
    let running = impact_simulator::start(options, server_stop.clone())
        .await
        .map_err(|error| Error::new(Kind::Failed, format!("failed to start the simulator: {error}")))?;
    let _guard = server_stop.drop_guard();
    let folder = tempfile::tempdir()
        .map_err(|error| Error::new(Kind::Storage, format!("failed to make a temporary folder: {error}")))?;
    let index = Place::File(folder.path().join("demo.db"));
    let ledger = index.beside(crate::store::ledger_beside);
    let base = running.base_url();
    let host = |path: &str| -> Result<HostOptions> {
        let url = Url::parse(&format!("{base}{path}"))
            .map_err(|error| Error::new(Kind::Failed, format!("the simulator has no usable address: {error}")))?;
        let secret = Secret::Value(SecretString::from(token.clone()));
        Ok(HostOptions::new(url, Credentials { user: account_sid.clone(), secret }))
    };
    let identity = Identity {
        tenant: tenant.clone(),
        account_sid: account_sid.clone(),
        advocate_url: format!("{base}/api/v1"),
        brand_url: format!("{base}/Advertisers"),
    };
    let clock = Clock::system();
    let mapping = Mapping::default();
    let advocate = Advocate::new(&host("/api/v1")?, &tenant, clock, stop.clone())?;
    let brand = Brand::new(&host("/Advertisers")?, &account_sid, IR_VERSION, clock, stop.clone())?;

    report.note(format!("1. a simulated tenant with {participants} participants listens on {base}"));
    report.note("2. recoup crawl: every participant's rewards, once");
    let outcome =
        crawl::run(&index, &identity, &advocate, &mapping, &crawl::Options::default(), &clock, stop.clone(), report)
            .await?;
    for line in outcome.describe().lines() {
        report.note(format!("   {line}"));
    }
    // Picks an order ID that is easy to read. recoup works with any order ID.
    let mut examples = running.examples().plain;
    examples.sort_by_key(|example| example.order_id.bytes().filter(|b| !b.is_ascii_alphanumeric()).count());
    let example = examples.into_iter().next().ok_or_else(|| {
        Error::new(Kind::Failed, "these participants have no order with two open rewards")
            .hint("try more --participants or another --seed")
    })?;
    let order_id = OrderId::new(example.order_id);
    report.note(format!("3. recoup lookup {:?}: an order that was just refunded", order_id.as_str()));
    let reader =
        IndexReader::open(&index, Some(&identity))?.ok_or_else(|| Error::new(Kind::Storage, "the index vanished"))?;
    for answer in
        lookup::run(Some(&reader), std::slice::from_ref(&order_id), lookup::ParticipantIds::Hide, clock.now())?
    {
        for line in answer.describe().lines() {
            report.note(format!("   {line}"));
        }
    }
    drop(reader);
    report.note(format!("4. recoup retract {:?} --yes", order_id.as_str()));
    let ctx = retract::Context {
        index_place: &index,
        ledger_place: &ledger,
        identity: &identity,
        actor: &Actor::new("demo", "localhost"),
        advocate: &advocate,
        brand: &brand,
        mapping: &mapping,
        clock: &clock,
        stop,
        report,
        session: retract::Session::default(),
    };
    let minute = Duration::from_mins(1);
    let follows = FollowSettings {
        wait: minute,
        first_poll: Duration::from_millis(200),
        max_poll: Duration::from_secs(1),
        settle: minute,
        ..FollowSettings::default()
    };
    let request = RetractRequest { reason: Some("demo".to_owned()), ..RetractRequest::new(order_id) };
    let run = RunOptions { dry_run: false, yes: true, max_index_age: minute, follows };
    let writer = WriterSettings { host: host("/Advertisers")?, ir_version: IR_VERSION.to_owned(), lock_wait: minute };
    let receipt = retract::run(&ctx, &writer, &request, &run).await?;
    report.note("5. the receipt");
    report.object(&receipt)?;
    for line in receipt.lines() {
        report.line(line);
    }
    match receipt.problem() {
        None => Ok(()),
        Some(problem) => Err(problem),
    }
}
