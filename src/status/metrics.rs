//! The status as metrics, for the textfile collector of a Prometheus node exporter.
//!
//! Written whole and put in place in one step, so that a collector never reads half a file. Names no order, no account and
//! no person.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Status;
use crate::error::{Error, Kind, Result};

/// One label and its value.
type Labels = Vec<(&'static str, String)>;

impl Status {
    /// Writes the metrics file.
    pub fn write_metrics(&self, path: &Path, overdue: Duration, now: Timestamp) -> Result<()> {
        let failed = |what: &str| {
            Error::new(Kind::Storage, format!("failed to write {}: {what}", path.display()))
                .hint("--metrics-file must name a file in a folder that can be written to")
        };
        let text = self.metrics(overdue, now).map_err(|error| failed(&error.to_string()))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new();
        // The collector runs as somebody else.
        #[cfg(unix)]
        file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = file.tempfile_in(folder).map_err(|error| failed(&error.to_string()))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&error.to_string()))?;
        file.persist(path).map_err(|error| failed(&error.error.to_string())).map(drop)
    }

    fn metrics(&self, overdue: Duration, now: Timestamp) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("recoup");
        let mut gauge = |name: &str, help: &str, value: Option<i64>| {
            if let Some(value) = value {
                let gauge: Gauge = Gauge::default();
                gauge.set(value);
                registry.register(name, help, gauge);
            }
        };
        let coverage = self.coverage.as_ref();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        gauge("index_age_seconds", "Since the newest crawl that came to its end began", self.age_seconds);
        gauge("index_complete", "1: that crawl has no gaps", coverage.map(|it| i64::from(it.complete)));
        gauge("accounts_read", "Accounts whose rewards were read", coverage.map(|it| count(it.accounts_read)));
        gauge("accounts_known", "Accounts known", coverage.map(|it| count(it.accounts_known)));
        gauge("rewards_read", "Rewards read", coverage.map(|it| count(it.rewards_read)));
        gauge("rewards_known", "Rewards that the vendor counts", coverage.map(|it| count(it.rewards_known)));
        gauge("accounts_failed", "Accounts that could not be read", Some(count(self.failed_accounts)));
        let newest = self.runs.first();
        gauge("run_requests", "Requests of the newest run", newest.map(|run| count(run.requests)));
        gauge("run_unfinished", "1: the newest run can go on", newest.map(|run| i64::from(run.finished_at.is_none())));
        let late = self.overdue(overdue, now).len() as u64;
        gauge("retractions_overdue", "Retractions that have been open for too long", Some(count(late)));
        let again = self.standing_again.len() as u64;
        gauge("retractions_standing_again", "Proven retractions with a reward that stands", Some(count(again)));
        let refused = self.refusals.len() as u64;
        gauge("credentials_refused", "Commands whose credentials were refused the last time", Some(count(refused)));
        let states = Family::<Labels, Gauge>::default();
        for (state, number) in &self.retractions {
            states.get_or_create(&vec![("state", (*state).to_owned())]).set(count(*number));
        }
        registry.register("retractions", "Retractions in each state", states);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
