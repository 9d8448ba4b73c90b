//! Parses `recoup.toml`: its tables and profiles. An error in `recoup.toml` names the file, the section and the key.
//!
//! recoup checks every level of `recoup.toml`, including profiles that the command does not use. `recoup.toml` never
//! contains a token, only the path of a token file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::values::{PerWindow, Rate, Share, Span};
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::refunds::read::LIST_FORMAT;
use crate::refunds::{ColumnMapping, formats};

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(path) => vec![path],
            Self::Many(paths) => paths,
        }
    }
}

macro_rules! tables {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name { $(pub(super) $field: Option<$kind>,)* }

        impl Overlay for $name {
            fn overlay(&mut self, over: Self) {
                $(if over.$field.is_some() { self.$field = over.$field; })*
            }
        }
    )*};
}

tables! {
    /// One level of `recoup.toml`: the top level, or a `[profile.NAME]`.
    struct Base {
        tenant: String,
        account_sid: String,
        advocate_url: String,
        brand_url: String,
        database: PathBuf,
        database_file: PathBuf,
        ledger: PathBuf,
        access: PathBuf,
        auth_token_file: PathBuf,
        advocate_token_file: PathBuf,
        write_token_file: PathBuf,
        ir_version: String,
    }
    struct MappingTable {
        order_id: OneOrMany,
        action_id: OneOrMany,
    }
    /// The table `[advocate]` or `[brand]` of `recoup.toml`.
    struct HostTable {
        rate: Rate,
        quota: PerWindow,
        reserve: Share,
        concurrency: u32,
        start_concurrency: u32,
        timeout: Span,
        connect_timeout: Span,
        attempts: u32,
        backoff: Span,
        backoff_max: Span,
        max_wait: Span,
    }
    struct CrawlTable {
        page_size: u32,
        overlap: u32,
        max_sweeps: u32,
        batch: u32,
        graphql_page_size: u32,
        export_wait: Span,
        reread_after: Span,
    }
    struct RetractTable {
        wait: Span,
        first_poll: Span,
        max_poll: Span,
        max_index_age: Span,
        lock_wait: Span,
        settle: Span,
        max_count: u64,
        max_value: u64,
        list_after: Span,
        list_gap: Span,
        list_pages: u32,
        reread_for: Span,
    }
    struct FileTable {
        reason_codes: Vec<String>,
        action_tracker: String,
    }
    struct ServeTable {
        listen: String,
        tls_cert: PathBuf,
        tls_key: PathBuf,
        behind_proxy: bool,
        proxy_address: String,
        proxy_header: String,
        session_idle: Span,
        session_end: Span,
        ready_max_age: Span,
        token_requests_per_minute: u32,
        reasons: Vec<String>,
        shop_order_url: String,
        vendor_action_url: String,
    }
    struct ScheduleTable {
        refresh: String,
        verify: String,
        webhooks: String,
        backup: String,
        backup_folder: PathBuf,
        backup_keep: u32,
        jitter: Share,
        refresh_max_requests: u64,
    }
    struct WebhookTable {
        jwks_url: String,
    }
    struct NoticesTable {
        page_url: String,
        webhook_url: String,
        secret_file: PathBuf,
        smtp_host: String,
        smtp_port: u16,
        smtp_tls: String,
        smtp_user: String,
        smtp_password_file: PathBuf,
        from: String,
        to: Vec<String>,
        rate: Rate,
        check: Span,
        backoff: Span,
        unconfirmed_after: Span,
    }
    struct RefundsTable {
        order_prefix: String,
        strip_order_prefix: String,
    }
}

/// One level of `recoup.toml` before its tables are checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Level {
    #[serde(flatten)]
    pub(super) base: BTreeMap<String, toml::Value>,
}

/// The checked tables of one level of `recoup.toml`.
#[derive(Debug, Clone, Default)]
pub(super) struct Sections {
    pub(super) base: Base,
    pub(super) mapping: MappingTable,
    pub(super) advocate: HostTable,
    pub(super) brand: HostTable,
    pub(super) crawl: CrawlTable,
    pub(super) retract: RetractTable,
    pub(super) file: FileTable,
    pub(super) serve: ServeTable,
    pub(super) schedule: ScheduleTable,
    pub(super) webhook: WebhookTable,
    pub(super) notices: NoticesTable,
    pub(super) refunds: RefundsTable,
    /// The tables `[refund_format.NAME]` of `recoup.toml`, by name.
    pub(super) refund_formats: BTreeMap<String, ColumnMapping>,
}

impl Sections {
    /// Checks the tables of one level of `recoup.toml`. `above` is the prefix of a section in errors: empty, or
    /// `profile.NAME.`.
    pub(super) fn read(level: Level, file: &Path, above: &str) -> Result<Self> {
        let mut rest = level.base;
        let mut take = |name: &str| rest.remove(name).unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
        let (mapping, advocate, brand) = (take("mapping"), take("advocate"), take("brand"));
        let (crawl, retract, by_file) = (take("crawl"), take("retract"), take("file"));
        let (serve, schedule, webhook) = (take("serve"), take("schedule"), take("webhook"));
        let (refunds, refund_formats, notices) = (take("refunds"), take("refund_format"), take("notices"));
        let at = |name: &str| Location { file, section: format!("{above}{name}").trim_end_matches('.').to_owned() };
        let mut base: Base = at("").table(toml::Value::Table(rest.into_iter().collect()))?;
        // recoup resolves a relative path in `recoup.toml` against the folder of `recoup.toml`, not against the working
        // directory.
        let folder = file.parent().unwrap_or(Path::new(""));
        let paths = [
            &mut base.database_file,
            &mut base.ledger,
            &mut base.access,
            &mut base.auth_token_file,
            &mut base.advocate_token_file,
            &mut base.write_token_file,
        ];
        let is_address = |path: &PathBuf| path.to_str().is_some_and(crate::store::Server::is_address);
        let database = base.database.as_mut().filter(|path| !is_address(path));
        for path in paths.into_iter().flatten().chain(database) {
            *path = folder.join(&*path);
        }
        let mut serve: ServeTable = at("serve").table(serve)?;
        let mut schedule: ScheduleTable = at("schedule").table(schedule)?;
        let mut notices: NoticesTable = at("notices").table(notices)?;
        let paths = [
            &mut serve.tls_cert,
            &mut serve.tls_key,
            &mut schedule.backup_folder,
            &mut notices.secret_file,
            &mut notices.smtp_password_file,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        let mapping: MappingTable = at("mapping").table(mapping)?;
        Mapping::new(&paths_of(mapping.order_id.clone()), &paths_of(mapping.action_id.clone()))
            .map_err(|error| error.context(file.display()))?;
        Ok(Self {
            base,
            mapping,
            advocate: at("advocate").table(advocate)?,
            brand: at("brand").table(brand)?,
            crawl: at("crawl").table(crawl)?,
            retract: at("retract").table(retract)?,
            file: at("file").table(by_file)?,
            serve,
            schedule,
            webhook: at("webhook").table(webhook)?,
            notices,
            refunds: at("refunds").table(refunds)?,
            refund_formats: refund_formats_of(refund_formats, &at)?,
        })
    }

    pub(super) fn overlay(&mut self, over: Self) {
        self.base.overlay(over.base);
        self.mapping.overlay(over.mapping);
        self.advocate.overlay(over.advocate);
        self.brand.overlay(over.brand);
        self.crawl.overlay(over.crawl);
        self.retract.overlay(over.retract);
        self.file.overlay(over.file);
        self.serve.overlay(over.serve);
        self.schedule.overlay(over.schedule);
        self.webhook.overlay(over.webhook);
        self.notices.overlay(over.notices);
        self.refunds.overlay(over.refunds);
        self.refund_formats.extend(over.refund_formats);
    }
}

/// User-defined formats of refund files, by name.
fn refund_formats_of<'a>(
    value: toml::Value,
    at: &impl Fn(&str) -> Location<'a>,
) -> Result<BTreeMap<String, ColumnMapping>> {
    let toml::Value::Table(tables) = value else { return Err(at("refund_format").wrong(None, "is not a table")) };
    let mut formats = BTreeMap::new();
    for (name, table) in tables {
        let place = at(&format!("refund_format.{name}"));
        let explained: ColumnMapping =
            table.try_into().map_err(|error: toml::de::Error| place.wrong(None, error.message()))?;
        if formats::by_name(&name).is_some() || name == LIST_FORMAT {
            return Err(place.wrong(None, "has the name of a built-in format"));
        }
        if explained.order_column.is_none() {
            return Err(place.wrong(Some("order_column"), "is missing"));
        }
        explained.check().map_err(|error| place.wrong(None, &error.message))?;
        formats.insert(name, explained);
    }
    Ok(formats)
}

/// The position of a table in `recoup.toml`, for errors.
pub(super) struct Location<'a> {
    file: &'a Path,
    section: String,
}

impl Location<'_> {
    /// Deserializes a table of `recoup.toml` key by key, so that an error can name the key.
    fn table<T: Default + Overlay + for<'de> Deserialize<'de>>(&self, value: toml::Value) -> Result<T> {
        let toml::Value::Table(table) = value else {
            return Err(self.wrong(None, "is not a table"));
        };
        let mut whole = T::default();
        for (key, value) in table {
            let one = toml::Value::Table(toml::Table::from_iter([(key.clone(), value)]));
            let one = one.try_into().map_err(|error: toml::de::Error| self.wrong(Some(&key), error.message()))?;
            whole.overlay(one);
        }
        Ok(whole)
    }

    fn wrong(&self, key: Option<&str>, what: &str) -> Error {
        let section = if self.section.is_empty() { String::new() } else { format!(" [{}]", self.section) };
        let key = key.map(|key| format!(" {key}:")).unwrap_or_default();
        Error::new(Kind::Config, format!("{}:{section}{key} {}", self.file.display(), what.trim_end()))
            .hint("docs/settings.md lists every key")
    }
}

/// A table of `recoup.toml` that a profile can override.
pub(super) trait Overlay {
    /// Replaces each value that `over` sets, and keeps the other values.
    fn overlay(&mut self, over: Self);
}

pub(super) fn paths_of(entry: Option<OneOrMany>) -> Vec<String> {
    entry.map(OneOrMany::into_vec).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FileShape {
    #[serde(default)]
    pub(super) profile: BTreeMap<String, Level>,
    #[serde(flatten)]
    pub(super) top: Level,
}

pub(super) fn read_file(path: &Path) -> Result<FileShape> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Kind::Config, format!("failed to read {}: {error}", path.display()))
            .hint("check --config and RECOUP_CONFIG")
    })?;
    toml::from_str(&text).map_err(|error| {
        // The parser's own text quotes the line, which may hold a password.
        let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Error::new(Kind::Config, format!("failed to parse {}: {place}{}", path.display(), error.message()))
            .hint("docs/settings.md lists every key")
    })
}
