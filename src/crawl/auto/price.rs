//! What each way would cost, in requests and time, by what a few questions have shown. Only computes.
//!
//! A price is an estimate: it decides between ways, and must never decide how much is read.

use std::time::Duration;

use super::{Carries, Known, Probe, Source, Way};
use crate::crawl::Options;

/// Requests of an export that are not accounts: asked for, looked at, downloaded.
const EXPORT_REQUESTS: u64 = 8;

/// What a refresh by export is taken to cost where nothing says how much has changed.
const CHANGED_GUESS: f64 = 0.02;

pub(super) fn by_participants(probe: &Probe, known: &Known, options: &Options) -> Way {
    let people = probe.participants.unwrap_or(known.accounts);
    let accounts = if known.accounts > 0 { known.accounts.max(people / 2) } else { people };
    let step = probe.page.saturating_sub(u64::from(options.overlap)).max(1);
    // Walked once, and once more to confirm it.
    let requests = 2 * people.div_ceil(step) + accounts;
    Way {
        source: Source::Participants,
        possible: true,
        note: if known.accounts > 0 { "a refresh is a full walk" } else { "the vendor's own way" }.to_owned(),
        carries: probe.rest,
        refresh: false,
        requests: Some(requests),
        seconds: Some(time(requests, probe.latency, options.concurrency, options)),
    }
}

pub(super) fn by_graphql(probe: &Probe, known: &Known, options: &Options) -> Way {
    let seen = match &probe.graph {
        Ok(seen) => seen,
        Err(why) => return impossible(Source::GraphQl, why),
    };
    let refresh = known.refresh.iter().any(|run| run.source == Source::GraphQl.as_str()) && !options.full;
    let rows = if refresh { seen.changed.unwrap_or(seen.rewards) } else { seen.rewards };
    // Pages share a reward, and the whole is counted at the end.
    let requests = rows.div_ceil(u64::from(options.graphql_page_size.max(2)) - 1) + 3;
    Way {
        source: Source::GraphQl,
        possible: true,
        note: String::new(),
        carries: seen.carries,
        refresh,
        requests: Some(requests),
        // One page after the other.
        seconds: Some(time(requests, seen.latency, 1, options)),
    }
}

pub(super) fn by_export(probe: &Probe, known: &Known, options: &Options) -> Way {
    if let Err(why) = &probe.exports {
        return impossible(Source::Export, why);
    }
    let people = probe.participants.unwrap_or(known.accounts);
    let rewards = probe.graph.as_ref().ok().map(|seen| seen.rewards);
    let refresh = known.refresh.iter().any(|run| run.source == Source::Export.as_str()) && !options.full;
    let accounts = match (refresh, known.with_rewards) {
        (true, with) => {
            let changed = probe.graph.as_ref().ok().and_then(|seen| seen.changed);
            changed.unwrap_or((with as f64 * CHANGED_GUESS).ceil() as u64).min(people)
        }
        (false, 0) => rewards.map_or(people, |rewards| rewards.min(people)),
        (false, with) => with,
    };
    let requests = accounts + EXPORT_REQUESTS;
    Way {
        source: Source::Export,
        possible: true,
        note: "and the time that the vendor takes to make the file".to_owned(),
        carries: probe.rest,
        refresh,
        requests: Some(requests),
        seconds: Some(time(requests, probe.latency, options.concurrency, options)),
    }
}

fn impossible(source: Source, why: &str) -> Way {
    Way {
        source,
        possible: false,
        note: why.to_owned(),
        carries: Carries::Nothing,
        refresh: false,
        requests: None,
        seconds: None,
    }
}

/// Seconds for so many requests: what they take at this concurrency, or what the rate allows.
fn time(requests: u64, latency: f64, concurrency: usize, options: &Options) -> f64 {
    let by_latency = requests as f64 * latency / concurrency.max(1) as f64;
    let by_rate = options.rate.map_or(0.0, |rate| requests as f64 / rate.max(f64::MIN_POSITIVE));
    by_latency.max(by_rate).min(Duration::from_hours(24 * 366).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crawl::auto::GraphSeen;

    fn probe(graph: Result<GraphSeen, String>, exports: Result<(), String>, rest: Carries) -> Probe {
        Probe { participants: Some(1_000_000), page: 100, graph, exports, rest, latency: 0.1 }
    }

    fn seen(carries: Carries) -> GraphSeen {
        GraphSeen { rewards: 600_000, carries, changed: None, latency: 0.5 }
    }

    #[test]
    fn each_way_has_its_price() {
        let options = Options { page_size: 100, overlap: 10, concurrency: 8, ..Options::default() };
        let known = Known::default();
        let probe = probe(Ok(seen(Carries::Link)), Ok(()), Carries::Link);
        let ways = [
            by_participants(&probe, &known, &options),
            by_graphql(&probe, &known, &options),
            by_export(&probe, &known, &options),
        ];
        let prices: Vec<u64> = ways.iter().filter_map(|way| way.requests).collect();
        assert_eq!(prices, [1_000_000 + 2 * 11_112, 604, 600_008]);
        assert_eq!(ways[1].seconds, Some(302.0));
        let limited = Options { rate: Some(1000.0 / 3600.0), ..options };
        let days = by_participants(&probe, &known, &limited).seconds.expect("a time") / 86_400.0;
        assert!((42.0..43.0).contains(&days), "{days} days at 1,000 an hour");
    }

    #[test]
    fn what_is_not_possible_says_why() {
        let options = Options::default();
        let probe = probe(Err("no".to_owned()), Err("never".to_owned()), Carries::Link);
        let known = Known::default();
        assert_eq!(
            (by_graphql(&probe, &known, &options).possible, by_export(&probe, &known, &options).possible),
            (false, false)
        );
        assert_eq!(by_export(&probe, &known, &options).note, "never");
    }
}
