//! Formats the status as Prometheus metrics: for the textfile collector of a node exporter, and for the service's
//! `/metrics`.
//!
//! recoup replaces the metrics file atomically, because a collector must never read half of it. The metrics contain no
//! order, account or person.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Status;
use crate::error::{Error, Kind, Result};
use crate::out_file::{OutFile, Rules};

type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Prometheus text format 0.0.4, which every collector reads.
    Text,
    /// OpenMetrics 1.0, for a client that asks for it.
    OpenMetrics,
}

/// Converts OpenMetrics to the older text format: there, HELP and TYPE of a counter have the name of its samples, and no line
/// ends the text.
fn as_text(openmetrics: &str) -> String {
    let counters: BTreeSet<&str> =
        openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                text.extend(["# ", what, " ", name, "_total ", rest, "\n"]);
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

impl Status {
    pub fn write_metrics(&self, path: &Path, overdue: Duration, now: Timestamp) -> Result<()> {
        let text = self
            .metrics(overdue, now, &ServiceMetrics::default(), MetricsFormat::Text)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to write the metrics: {error}")))?;
        // The metrics file is world-readable, because the collector runs as another user.
        let rules = Rules { force: true, mode: 0o644, unwritable: Kind::Storage, ..Rules::default() };
        OutFile::reserve_by(path, rules)?.write_or_leave_nothing(text.as_bytes())
    }

    /// Formats all metrics as text: the metrics of index and ledger, and the counters of this process.
    pub fn metrics(
        &self,
        overdue: Duration,
        now: Timestamp,
        served: &ServiceMetrics,
        format: MetricsFormat,
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("recoup");
        let mut gauge = |name: &str, help: &str, value: Option<i64>| {
            if let Some(value) = value {
                let gauge: Gauge = Gauge::default();
                gauge.set(value);
                registry.register(name, help, gauge);
            }
        };
        gauge("can_send", "1 if retractions can be sent", Some(i64::from(self.blocked.is_empty())));
        let coverage = self.coverage.as_ref();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        gauge("index_age_seconds", "Seconds since the start of the newest finished crawl", self.age_seconds);
        gauge("index_complete", "1 if that crawl has no gaps", coverage.map(|it| i64::from(it.complete)));
        gauge("accounts_read", "Accounts whose rewards were read", coverage.map(|it| count(it.accounts_read)));
        gauge("accounts_known", "Accounts known", coverage.map(|it| count(it.accounts_known)));
        gauge("rewards_read", "Rewards read", coverage.map(|it| count(it.rewards_read)));
        gauge("rewards_known", "Rewards that the vendor counts", coverage.map(|it| count(it.rewards_known)));
        gauge("accounts_failed", "Accounts that could not be read", Some(count(self.failed_accounts)));
        let newest = self.runs.first();
        gauge("run_requests", "Requests of the newest run", newest.map(|run| count(run.requests)));
        gauge(
            "run_unfinished",
            "1 if the newest run can be resumed",
            newest.map(|run| i64::from(run.finished_at.is_none())),
        );
        let late = self.overdue(overdue, now).len() as u64;
        gauge("retractions_overdue", "Retractions that have been open for too long", Some(count(late)));
        let again = self.standing_again.len() as u64;
        gauge(
            "retractions_standing_again",
            "Confirmed retractions with a reward that is not cancelled",
            Some(count(again)),
        );
        let refused = self.refusals.len() as u64;
        gauge("credentials_refused", "Commands whose credentials the vendor refused", Some(count(refused)));
        gauge(
            "accounts_waiting",
            "Accounts that webhooks named and that are not read yet",
            Some(count(self.accounts_waiting)),
        );
        let proof = self.time_to_confirm.as_ref();
        gauge("confirmed_30d", "Retractions confirmed in the last 30 days", proof.map(|it| count(it.count)));
        gauge("confirm_seconds_median", "Median time from send to proof", proof.map(|it| it.median_seconds));
        gauge("confirm_seconds_p90", "90th percentile of the time from send to proof", proof.map(|it| it.p90_seconds));
        self.quota_metrics(&mut registry);
        self.server_metrics(&mut registry);
        let jobs = Family::<Labels, Gauge>::default();
        for (job, ok_at) in &self.jobs {
            let since = ok_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
            if let Some(since) = since {
                jobs.get_or_create(&vec![("job", job.clone())]).set(now.duration_since(since).as_secs());
            }
        }
        registry.register("job_ok_age_seconds", "Seconds since a scheduled job last succeeded", jobs);
        served.register(&mut registry);
        let states = Family::<Labels, Gauge>::default();
        for (state, number) in &self.retractions {
            states.get_or_create(&vec![("state", (*state).to_owned())]).set(count(*number));
        }
        registry.register("retractions", "Retractions in each state", states);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(match format {
            MetricsFormat::OpenMetrics => text,
            MetricsFormat::Text => as_text(&text),
        })
    }

    /// Only for stores on a server.
    fn server_metrics(&self, registry: &mut Registry) {
        let Some(server) = &self.server else { return };
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        gauge("server_version", "Version of the PostgreSQL server, for example 150005", server.version_number);
        gauge("server_primary", "1 if the server can be written", i64::from(server.is_primary));
        gauge("server_fsync", "1 if the server syncs its commits", i64::from(server.fsync && server.full_page_writes));
        gauge("server_standbys", "Connected standbys", server.standbys);
        let waits = i64::from(server.waits_for_standby);
        gauge("server_standby_synchronous", "1 if a commit waits for a standby", waits);
        gauge("server_tls", "1 if the connection is encrypted", i64::from(server.tls.is_some()));
        let ahead = server.clock_ahead_ms;
        gauge("server_clock_ahead_milliseconds", "How far the server's clock is ahead of this machine's", ahead);
        gauge("server_connections", "Open connections of this process", count(server.pool_open));
        gauge("server_connections_idle", "Open connections that no transaction uses", count(server.pool_idle));
        gauge("server_connections_most", "The most connections of one process", count(server.pool_most));
        let sizes = Family::<Labels, Gauge>::default();
        for table in &server.tables {
            let labels = vec![("store", table.store.clone()), ("table", table.table.clone())];
            sizes.get_or_create(&labels).set(table.bytes);
        }
        registry.register("server_table_bytes", "Size of each table with its indexes", sizes);
    }

    fn quota_metrics(&self, registry: &mut Registry) {
        let (left, used, hour) = (
            Family::<Labels, Gauge>::default(),
            Family::<Labels, Gauge>::default(),
            Family::<Labels, Gauge>::default(),
        );
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for line in &self.quota {
            // Takes only the first word of the host, because the base URL after it may contain a private host name.
            let host = || ("host", line.host.split(' ').next().unwrap_or_default().to_owned());
            if let Some(free) = line.left {
                left.get_or_create(&vec![host()]).set(count(free));
            }
            used.get_or_create(&vec![host()]).set(count(line.used));
            let by_purpose = [
                ("crawl", line.last_hour_crawl),
                ("looking", line.last_hour_looking),
                ("retraction", line.last_hour_retraction),
            ];
            for (purpose, requests) in by_purpose {
                hour.get_or_create(&vec![host(), ("purpose", purpose.to_owned())]).set(count(requests));
            }
        }
        registry.register("quota_left", "Requests left in the window, the reserve included", left);
        registry.register("quota_used", "Requests used in the window; without a limit, in the last hour", used);
        registry.register("requests_last_hour", "Requests of the last hour by purpose", hour);
    }
}

/// The counters of one process since its start: the requests that it received, and the requests that it sent. The
/// counters are empty for a command.
#[derive(Debug, Default)]
pub struct ServiceMetrics {
    /// Number of the service's responses by route and by first digit of the status.
    pub answers: BTreeMap<(String, u16), u64>,
    /// Number of the vendor's responses by host and status. Status 0 counts requests without a response.
    pub vendor: BTreeMap<(&'static str, u16), u64>,
    /// Number of refused webhook deliveries by reason.
    pub refused_hooks: BTreeMap<&'static str, u64>,
}

impl ServiceMetrics {
    fn register(&self, registry: &mut Registry) {
        let (answers, vendor) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
        for ((route, class), number) in &self.answers {
            let labels = vec![("route", route.clone()), ("status", format!("{class}xx"))];
            answers.get_or_create(&labels).inc_by(*number);
        }
        for ((host, status), number) in &self.vendor {
            let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
            vendor.get_or_create(&vec![("host", (*host).to_ascii_lowercase()), ("status", status)]).inc_by(*number);
        }
        if !self.refused_hooks.is_empty() {
            let refused = Family::<Labels, Counter>::default();
            for (why, number) in &self.refused_hooks {
                refused.get_or_create(&vec![("why", (*why).to_owned())]).inc_by(*number);
            }
            registry.register("webhooks_refused", "Refused webhooks by reason", refused);
        }
        if !self.answers.is_empty() {
            registry.register("http_answers", "Responses by route and status class", answers);
        }
        if !self.vendor.is_empty() {
            registry.register("vendor_answers", "The vendor's responses by host and status", vendor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_format_names_a_counter_as_its_samples() {
        let openmetrics = "# HELP a_answers Responses.\n# TYPE a_answers counter\na_answers_total{x=\"# TYPE\"} 1\n\
                           # HELP a_age_seconds Age.\n# TYPE a_age_seconds gauge\n# UNIT a_age_seconds seconds\na_age_seconds 5\n# EOF\n";
        let text = "# HELP a_answers_total Responses.\n# TYPE a_answers_total counter\na_answers_total{x=\"# TYPE\"} 1\n\
                    # HELP a_age_seconds Age.\n# TYPE a_age_seconds gauge\na_age_seconds 5\n";
        assert_eq!(as_text(openmetrics), text);
    }
}
