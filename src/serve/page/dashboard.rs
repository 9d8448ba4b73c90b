//! The health page: freshness and coverage of the index, crawls, quota, scheduled jobs, and how long retractions take until
//! they are confirmed.
//!
//! The health page shows the numbers of each chart as text too, and contains no account ID.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::chart::{Chart, Value};
use super::view::{count, minute, spaced};
use super::{Layout, PageResult, rendered};
use crate::error::{Error, Kind, Result};
use crate::lookup::describe_coverage;
use crate::model::counted;
use crate::model::program_rule::RuleState;
use crate::serve::app::App;
use crate::serve::extractors::Caller;
use crate::serve::flag_names::without_flags;
use crate::serve::routes::Audience;
use crate::status::{Bucket, QuotaLine, Spread, Status, human_duration};

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage {
    layout: Layout,
    basis: Option<String>,
    age: Option<String>,
    failed_accounts: String,
    retractions: Vec<(String, String)>,
    open: usize,
    standing: Vec<(i64, String)>,
    /// Commands whose credentials the vendor has refused: name, time, message.
    refusals: Vec<(String, String, String)>,
    /// The reasons why recoup can send nothing now, each with its remedy.
    blocked: Vec<String>,
    /// For each program: whether recoup found its refund rule, a text about the rule, and when recoup read it.
    rules: Vec<(bool, String, String)>,
    quota: Vec<Quota>,
    runs: Vec<Run>,
    crawls: String,
    jobs: Vec<(String, String)>,
    proof: Option<Proof>,
}

/// How long retractions took from sending to confirmation.
struct Proof {
    sentence: String,
    chart: String,
}

struct Quota {
    host: String,
    used: String,
    left: String,
    resets: String,
    waits: String,
    last_hour: String,
    today: String,
    hours: String,
    chart: String,
}

struct Run {
    began: String,
    took: String,
    source: String,
    requests: String,
    accounts: String,
    remark: String,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let status = app.status().await?;
    let page = page_of(&status, Layout::of(&app, "Health", Some(&caller)))?;
    Ok(rendered(&page))
}

fn page_of(status: &Status, layout: Layout) -> Result<DashboardPage> {
    let crawls = status.runs.iter().rev();
    let crawls = crawls.map(|run| Value { amount: run.requests, label: minute(&run.started_at), bad: !run.complete });
    let crawls = Chart::of("crawls", "Requests of the last crawls, the oldest first", crawls);
    Ok(DashboardPage {
        layout,
        basis: status.coverage.as_ref().map(describe_coverage),
        age: status.age_seconds.map(human_duration),
        failed_accounts: count(status.failed_accounts),
        retractions: status.retractions.iter().map(|(state, n)| (spaced(state), count(*n))).collect(),
        open: status.open.len(),
        standing: status.standing_again.iter().map(|one| (one.id, one.order_id.clone())).collect(),
        blocked: status.blocked.iter().map(|block| without_flags(&block.line(), Audience::Page)).collect(),
        refusals: status
            .refusals
            .iter()
            .map(|one| (one.command.clone(), one.at.clone(), one.message.clone()))
            .collect(),
        rules: status
            .program_rules
            .iter()
            .map(|rule| (rule.state != RuleState::NoSuchRule, rule.line(), rule.read_at.clone()))
            .collect(),
        quota: status.quota.iter().enumerate().map(quota_line).collect::<Result<_>>()?,
        runs: status.runs.iter().map(run_line).collect(),
        crawls: drawn(&crawls)?,
        jobs: status.jobs.iter().map(|(job, at)| (job.clone(), at.clone().unwrap_or_default())).collect(),
        proof: status.time_to_confirm.as_ref().map(proof).transpose()?,
    })
}

fn drawn(chart: &Chart) -> Result<String> {
    chart.render().map_err(|error| Error::new(Kind::Failed, format!("failed to draw a chart: {error}")))
}

fn proof(spread: &Spread) -> Result<Proof> {
    let within = |bucket: &Bucket| match bucket.up_to_seconds {
        Some(seconds) => format!("up to {}", human_duration(seconds)),
        None => "longer".to_owned(),
    };
    let bars = spread.buckets.iter();
    let bars = bars.map(|bucket| Value { amount: bucket.count, label: within(bucket), bad: false });
    let each: Vec<String> =
        spread.buckets.iter().map(|bucket| format!("{} {}", count(bucket.count), within(bucket))).collect();
    Ok(Proof {
        sentence: format!(
            "Of the {} proven in the last 30 days, half were proven within {}, nine of ten within {}: {}.",
            count(spread.count),
            human_duration(spread.median_seconds),
            human_duration(spread.p90_seconds),
            each.join(", ")
        ),
        chart: drawn(&Chart::of("proof", "How long it took from sending to proof", bars))?,
    })
}

fn quota_line((n, line): (usize, &QuotaLine)) -> Result<Quota> {
    let host = line.host.split(' ').next().unwrap_or_default();
    let bars = line.hours.iter().map(|&amount| Value { amount, label: String::new(), bad: false });
    let caption = format!("Requests to {host}, hour by hour, the last {}", counted(line.hours.len(), "hour"));
    Ok(Quota {
        host: host.to_owned(),
        used: line.limit.map_or_else(|| count(line.used), |limit| format!("{} of {}", count(line.used), count(limit))),
        left: line.left.map_or_else(|| "no limit known".to_owned(), count),
        resets: line.resets_at.clone().unwrap_or_default(),
        waits: line.waiting_until.clone().unwrap_or_default(),
        last_hour: format!(
            "{} crawl, {} looking, {} retraction",
            count(line.last_hour_crawl),
            count(line.last_hour_looking),
            count(line.last_hour_retraction)
        ),
        today: count(line.today),
        hours: line.hours.iter().map(|&requests| count(requests)).collect::<Vec<_>>().join(", "),
        chart: drawn(&Chart::of(format!("quota-{n}"), &caption, bars))?,
    })
}

fn run_line(run: &crate::status::RunLine) -> Run {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let took = run.finished_at.as_deref().and_then(moment).zip(moment(&run.started_at));
    let mut remarks = Vec::new();
    if run.refresh {
        remarks.push("refresh".to_owned());
    }
    if !run.complete {
        remarks.push(if run.gaps.is_empty() { "not complete".to_owned() } else { run.gaps.join("; ") });
    }
    Run {
        began: run.started_at.clone(),
        took: took.map_or_else(
            || "not finished".to_owned(),
            |(end, begin)| human_duration(end.duration_since(begin).as_secs()),
        ),
        source: run.source.clone(),
        requests: count(run.requests),
        accounts: format!("{} of {}", count(run.accounts_read), count(run.accounts_known)),
        remark: remarks.join("; "),
    }
}
