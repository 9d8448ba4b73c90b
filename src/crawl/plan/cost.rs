//! Estimates the cost of each source, in requests and time, from the results of the probing requests.
//!
//! `cost` does no I/O. A cost estimate only helps to choose a source. A cost estimate never limits the rewards that a
//! crawl reads.

use std::time::Duration;

use super::{Estimate, IndexFacts, LinkPresence, Probe, Source};
use crate::crawl::Options;

/// The requests of an export other than the requests for accounts: creation, status and download.
const EXPORT_REQUESTS: u64 = 8;

/// The assumed share of accounts that a refresh by export reads, if the vendor does not count the changes.
const ASSUMED_CHANGE: f64 = 0.02;

pub(super) fn by_participants(probe: &Probe, facts: &IndexFacts, options: &Options) -> Estimate {
    let participants = probe.participants.unwrap_or(facts.accounts);
    let accounts = if facts.accounts > 0 { facts.accounts.max(participants / 2) } else { participants };
    let step = probe.page.saturating_sub(u64::from(options.overlap)).max(1);
    // The crawl reads the list of participants once, and once more to confirm it.
    let requests = 2 * participants.div_ceil(step) + accounts;
    let note = if facts.accounts > 0 { "a refresh reads everything" } else { "the vendor's own way" };
    let seconds = seconds(requests, probe.latency, options.concurrency, options);
    possible(Source::Participants, note, probe.get_rewards, false, requests, seconds)
}

pub(super) fn by_graphql(probe: &Probe, facts: &IndexFacts, options: &Options) -> Estimate {
    let graph = match &probe.graph {
        Ok(graph) => graph,
        Err(why) => return impossible(Source::GraphQl, why),
    };
    let refresh = can_refresh(Source::GraphQl, facts, options);
    let rows = if refresh { graph.changed.unwrap_or(graph.rewards) } else { graph.rewards };
    // Consecutive pages of GraphQL share one reward. Three more requests of the source `graphql` ask for the total.
    let requests = rows.div_ceil(u64::from(options.graphql_page_size.max(2)) - 1) + 3;
    // The crawler requests the pages of GraphQL one after the other.
    let seconds = seconds(requests, graph.latency, 1, options);
    possible(Source::GraphQl, "", graph.carries, refresh, requests, seconds)
}

pub(super) fn by_export(probe: &Probe, facts: &IndexFacts, options: &Options) -> Estimate {
    if let Err(why) = &probe.exports {
        return impossible(Source::Export, why);
    }
    let participants = probe.participants.unwrap_or(facts.accounts);
    let graph = probe.graph.as_ref().ok();
    let refresh = can_refresh(Source::Export, facts, options);
    let accounts = match (refresh, facts.accounts_with_rewards) {
        (true, with_rewards) => {
            let assumed = (with_rewards as f64 * ASSUMED_CHANGE).ceil() as u64;
            graph.and_then(|graph| graph.changed).unwrap_or(assumed).min(participants)
        }
        (false, 0) => graph.map_or(participants, |graph| graph.rewards.min(participants)),
        (false, with_rewards) => with_rewards,
    };
    let requests = accounts + EXPORT_REQUESTS;
    let note = "and the time that the vendor takes to make the file";
    let seconds = seconds(requests, probe.latency, options.concurrency, options);
    possible(Source::Export, note, probe.get_rewards, refresh, requests, seconds)
}

fn can_refresh(source: Source, facts: &IndexFacts, options: &Options) -> bool {
    !options.full && facts.refreshable.iter().any(|run| run.source == source.as_str())
}

fn possible(source: Source, note: &str, carries: LinkPresence, refresh: bool, requests: u64, seconds: f64) -> Estimate {
    let (requests, seconds) = (Some(requests), Some(seconds));
    Estimate { source, possible: true, note: note.to_owned(), carries, refresh, requests, seconds }
}

fn impossible(source: Source, why: &str) -> Estimate {
    Estimate {
        source,
        possible: false,
        note: why.to_owned(),
        carries: LinkPresence::Nothing,
        refresh: false,
        requests: None,
        seconds: None,
    }
}

/// Returns the seconds that this many requests take. Either latency and concurrency limit the speed of the crawl, or
/// the rate limit does.
fn seconds(requests: u64, latency: f64, concurrency: usize, options: &Options) -> f64 {
    let by_latency = requests as f64 * latency / concurrency.max(1) as f64;
    let by_rate = options.rate.map_or(0.0, |rate| requests as f64 / rate.max(f64::MIN_POSITIVE));
    by_latency.max(by_rate).min(Duration::from_hours(24 * 366).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crawl::plan::GraphProbe;

    fn probe(graph: Result<GraphProbe, String>, exports: Result<(), String>, get_rewards: LinkPresence) -> Probe {
        Probe { participants: Some(1_000_000), page: 100, graph, exports, get_rewards, latency: 0.1 }
    }

    fn graph(carries: LinkPresence) -> GraphProbe {
        GraphProbe { rewards: 600_000, carries, changed: None, latency: 0.5, accounts: Vec::new() }
    }

    #[test]
    fn each_source_has_its_cost() {
        let options = Options { page_size: 100, overlap: 10, concurrency: 8, ..Options::default() };
        let facts = IndexFacts::default();
        let probe = probe(Ok(graph(LinkPresence::Link)), Ok(()), LinkPresence::Link);
        let estimates = [
            by_participants(&probe, &facts, &options),
            by_graphql(&probe, &facts, &options),
            by_export(&probe, &facts, &options),
        ];
        let requests: Vec<u64> = estimates.iter().filter_map(|estimate| estimate.requests).collect();
        assert_eq!(requests, [1_000_000 + 2 * 11_112, 604, 600_008]);
        assert_eq!(estimates[1].seconds, Some(302.0));
        let limited = Options { rate: Some(1000.0 / 3600.0), ..options };
        let days = by_participants(&probe, &facts, &limited).seconds.expect("a time") / 86_400.0;
        assert!((42.0..43.0).contains(&days), "{days} days at 1,000 an hour");
    }

    #[test]
    fn an_impossible_source_says_why() {
        let options = Options::default();
        let probe = probe(Err("no".to_owned()), Err("never".to_owned()), LinkPresence::Link);
        let facts = IndexFacts::default();
        assert_eq!(
            (by_graphql(&probe, &facts, &options).possible, by_export(&probe, &facts, &options).possible),
            (false, false)
        );
        assert_eq!(by_export(&probe, &facts, &options).note, "never");
    }
}
