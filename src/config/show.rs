//! The effective settings and the source of each, for `recoup config show`. The output of `recoup config show` contains
//! no secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file::Level;
use super::{Environment, GlobalFlags, Settings};

/// Every key of `recoup.toml` with its default, as the user would write it; `None` for a key without a default. A test
/// compares these defaults with the defaults in the code.
pub(super) const DEFAULTS: [(&str, Option<&str>); 95] = [
    ("tenant", None),
    ("account_sid", None),
    ("advocate_url", Some(super::ADVOCATE_URL)),
    ("brand_url", Some(super::BRAND_URL)),
    ("database", None),
    ("database_file", None),
    ("ledger", None),
    ("access", None),
    ("auth_token_file", None),
    ("advocate_token_file", None),
    ("write_token_file", None),
    ("ir_version", Some("14")),
    ("mapping.order_id", None),
    ("mapping.action_id", None),
    ("advocate.rate", None),
    ("advocate.quota", None),
    ("advocate.reserve", Some("10%")),
    ("advocate.concurrency", Some("8")),
    ("advocate.start_concurrency", Some("2")),
    ("advocate.timeout", Some("30s")),
    ("advocate.connect_timeout", Some("5s")),
    ("advocate.attempts", Some("5")),
    ("advocate.backoff", Some("500ms")),
    ("advocate.backoff_max", Some("60s")),
    ("advocate.max_wait", Some("1h")),
    ("brand.rate", None),
    ("brand.quota", Some("1000/h")),
    ("brand.reserve", Some("10%")),
    ("brand.concurrency", Some("2")),
    ("brand.start_concurrency", Some("2")),
    ("brand.timeout", Some("30s")),
    ("brand.connect_timeout", Some("5s")),
    ("brand.attempts", Some("5")),
    ("brand.backoff", Some("500ms")),
    ("brand.backoff_max", Some("60s")),
    ("brand.max_wait", Some("1h")),
    ("crawl.page_size", Some("100")),
    ("crawl.overlap", Some("10")),
    ("crawl.max_sweeps", Some("5")),
    ("crawl.batch", Some("24000")),
    ("crawl.graphql_page_size", Some("1000")),
    ("crawl.export_wait", Some("3h")),
    ("crawl.reread_after", None),
    ("retract.wait", Some("10m")),
    ("retract.first_poll", Some("1s")),
    ("retract.max_poll", Some("60s")),
    ("retract.max_index_age", Some("7d")),
    ("retract.lock_wait", Some("60s")),
    ("retract.settle", Some("10m")),
    ("retract.max_count", Some("100")),
    ("retract.max_value", Some("1000000")),
    ("retract.list_after", Some("5m")),
    ("retract.list_gap", Some("1h")),
    ("retract.list_pages", Some("100")),
    ("retract.reread_for", Some("14d")),
    ("file.reason_codes", None),
    ("file.action_tracker", None),
    ("serve.listen", Some("127.0.0.1:8080")),
    ("serve.tls_cert", None),
    ("serve.tls_key", None),
    ("serve.behind_proxy", Some("false")),
    ("serve.proxy_address", None),
    ("serve.proxy_header", None),
    ("serve.session_idle", Some("1h")),
    ("serve.session_end", Some("12h")),
    ("serve.ready_max_age", Some("26h")),
    ("serve.token_requests_per_minute", Some("6000")),
    ("serve.reasons", None),
    ("serve.shop_order_url", None),
    ("serve.vendor_action_url", None),
    ("schedule.refresh", Some("1h")),
    ("schedule.verify", Some("5m")),
    ("schedule.webhooks", Some("5s")),
    ("schedule.backup", Some("off")),
    ("schedule.backup_folder", None),
    ("schedule.backup_keep", None),
    ("schedule.jitter", Some("10%")),
    ("schedule.refresh_max_requests", None),
    ("notices.page_url", None),
    ("notices.webhook_url", None),
    ("notices.secret_file", None),
    ("notices.smtp_host", None),
    ("notices.smtp_port", None),
    ("notices.smtp_tls", Some("starttls")),
    ("notices.smtp_user", None),
    ("notices.smtp_password_file", None),
    ("notices.from", None),
    ("notices.to", None),
    ("notices.rate", Some("30/m")),
    ("notices.check", Some("10s")),
    ("notices.backoff", Some("10s")),
    ("notices.unconfirmed_after", Some("24h")),
    ("webhook.jwks_url", None),
    ("refunds.order_prefix", None),
    ("refunds.strip_order_prefix", None),
];

/// The settings that an environment variable can override.
const VARIABLES: [(&str, &str); 13] = [
    ("tenant", "RECOUP_TENANT"),
    ("account_sid", "RECOUP_ACCOUNT_SID"),
    ("advocate_url", "RECOUP_ADVOCATE_URL"),
    ("brand_url", "RECOUP_BRAND_URL"),
    ("database", "RECOUP_DATABASE"),
    ("database_file", "RECOUP_DATABASE_FILE"),
    ("ledger", "RECOUP_LEDGER"),
    ("access", "RECOUP_ACCESS"),
    ("auth_token_file", "RECOUP_AUTH_TOKEN_FILE"),
    ("advocate_token_file", "RECOUP_ADVOCATE_TOKEN_FILE"),
    ("write_token_file", "RECOUP_WRITE_TOKEN_FILE"),
    ("notices.secret_file", "RECOUP_NOTICE_SECRET_FILE"),
    ("notices.smtp_password_file", "RECOUP_SMTP_PASSWORD_FILE"),
];

const NOT_SHOWN: &str = "(a secret, not shown)";

/// The settings whose environment variable contains the secret itself.
const SECRETS: [(&str, &str); 5] = [
    ("auth_token_file", "RECOUP_AUTH_TOKEN"),
    ("advocate_token_file", "RECOUP_ADVOCATE_TOKEN"),
    ("write_token_file", "RECOUP_WRITE_TOKEN"),
    ("notices.secret_file", "RECOUP_NOTICE_SECRET"),
    ("notices.smtp_password_file", "RECOUP_SMTP_PASSWORD"),
];

/// A setting in the output of `recoup config show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The key of `recoup.toml`, with its table.
    pub key: String,
    /// The value of the setting; `null` if the setting is unset and has no default.
    pub value: Option<String>,
    /// The source of the value: a flag, a variable, the path of the configuration file (and its profile), or `default`.
    pub source: String,
}

/// The values that configuration file, environment and flags set, with their sources, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    file: Option<PathBuf>,
    set: BTreeMap<String, (String, String)>,
}

impl Sources {
    /// Adds the values that one level of the configuration file sets.
    pub(super) fn add_level(&mut self, level: &Level, file: &Path, profile: Option<&str>) {
        self.file = Some(file.to_owned());
        let folder = file.parent().unwrap_or(Path::new(""));
        let source = match profile {
            None => file.display().to_string(),
            Some(name) => format!("{} [profile.{name}]", file.display()),
        };
        for (key, text) in level.flat() {
            let is_path = ["_file", "tls_cert", "tls_key", "backup_folder"].iter().any(|end| key.ends_with(end));
            let text = if is_path { folder.join(text).display().to_string() } else { text };
            // `config show` hides the URL of a webhook receiver, because the URL may contain a token.
            let text = if key == "notices.webhook_url" { NOT_SHOWN.to_owned() } else { text };
            self.set.insert(key, (text, source.clone()));
        }
    }

    pub(super) fn add_overrides(&mut self, global: &GlobalFlags, env: &Environment) {
        for (key, name) in VARIABLES {
            if let Some(text) = env.get(name) {
                self.set.insert(key.to_owned(), (text.to_owned(), name.to_owned()));
            }
        }
        for (key, name) in SECRETS {
            if env.get(name).is_some() {
                self.set.insert(key.to_owned(), (NOT_SHOWN.to_owned(), name.to_owned()));
            }
        }
        if global.database.is_some() {
            self.set.insert("database".to_owned(), (String::new(), "--database".to_owned()));
        }
    }
}

impl Settings {
    /// Returns every setting, in the order of `docs/settings.md`.
    pub fn shown(&self) -> Vec<Shown> {
        let Sources { file, set } = &self.sources;
        let files = [("database", &self.database), ("ledger", &self.ledger), ("access", &self.access)];
        let mut shown = vec![Shown {
            key: "configuration file".to_owned(),
            value: file.as_ref().map(|path| path.display().to_string()),
            source: if file.is_some() { "--config, RECOUP_CONFIG or default" } else { "there is none" }.to_owned(),
        }];
        shown.extend(DEFAULTS.iter().map(|(key, default)| {
            let (value, source) = match set.get(*key) {
                Some((value, source)) => (Some(value.clone()), source.clone()),
                None => (default.map(str::to_owned), "default".to_owned()),
            };
            // The parsed place of a store is shown, because unlike the setting it contains no password.
            let path = files.iter().find(|(name, _)| name == key).map(|(_, place)| place.to_string());
            Shown { key: (*key).to_owned(), value: path.or(value), source }
        }));
        let formats = set.iter().filter(|(key, _)| key.starts_with("refund_format."));
        shown.extend(formats.map(|(key, (value, source))| Shown {
            key: key.clone(),
            value: Some(value.clone()),
            source: source.clone(),
        }));
        shown
    }
}

impl Level {
    /// Returns the values that this level of the configuration file sets. Each key includes the names of its tables in
    /// the file.
    fn flat(&self) -> Vec<(String, String)> {
        self.base.iter().flat_map(|(key, value)| flat(key, value)).collect()
    }
}

fn flat(key: &str, value: &toml::Value) -> Vec<(String, String)> {
    match value {
        toml::Value::Table(table) => {
            table.iter().flat_map(|(name, value)| flat(&format!("{key}.{name}"), value)).collect()
        }
        value => vec![(key.to_owned(), text(value))],
    }
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(is_so) => is_so.to_string(),
        toml::Value::Datetime(at) => at.to_string(),
        toml::Value::Table(_) => "(a table)".to_owned(),
    }
}
