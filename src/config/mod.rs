//! The settings. Flags override environment variables, which override `recoup.toml`, which overrides the defaults.
//!
//! Only this module reads the environment. For each secret, the settings contain the value of a variable, or the path
//! of a file that the client reads. A secret is never a flag, never in `recoup.toml` itself, and never printed.

mod database;
mod environment;
mod file;
mod flags;
mod notices;
mod schedule;
mod serve;
mod show;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

pub use database::stores_at;
use database::{Named, Places};
pub use environment::Environment;
use file::{HostTable, Sections, paths_of, read_file};
pub use flags::GlobalFlags;
pub use schedule::ScheduleSettings;
pub use serve::ServeSettings;
pub use show::Shown;
pub use values::{PerWindow, Rate, Share, Span, Until};

use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::model::budget::{Budget, Purpose, Quota, QuotaSettings, RESERVE};
use crate::notify;
use crate::refunds::{ColumnMapping, OrderIdRewrite};
use crate::retract::{PACE, REREAD_FOR, ResolverSettings};
use crate::store::budget::SharedBudget;
use crate::store::{Identity, Place};
use crate::vendor::{Credentials, FormatProblems, HostOptions, IR_VERSION, Secret, check_base};

const ADVOCATE_URL: &str = "https://app.referralsaasquatch.com/api/v1";
const BRAND_URL: &str = "https://api.impact.com/Advertisers";
/// The default quota of the Brand API (`docs/vendor/brand.md` §7). The vendor publishes no quota for the Advocate API.
const BRAND_QUOTA: Quota = Quota { limit: 1_000, window_ms: 3_600_000 };

#[derive(Debug, Clone, Copy)]
pub struct RetractSettings {
    /// How long recoup checks a retraction after the send.
    pub wait: Duration,
    /// The delay between the send and the first read of the submission at the vendor.
    pub first_poll: Duration,
    /// The longest delay between two reads of the submission at the vendor.
    pub max_poll: Duration,
    /// The maximum age of an order's rewards in the index. recoup does not retract an order with older rewards.
    pub max_index_age: Duration,
    /// How long a command waits for another process that is sending.
    pub lock_wait: Duration,
    /// How long the vendor may take to cancel the rewards after the submission completed.
    pub settle: Duration,
    /// The maximum number of orders in one batch.
    pub max_count: u64,
    /// The maximum value that one batch may retract, in each unit of the rewards.
    pub max_value: u64,
    /// When the resolver of unknown requests reads the vendor's list of submissions.
    pub resolver: ResolverSettings,
    /// How long recoup keeps reading the rewards of an *unconfirmed* retraction.
    pub reread_for: Duration,
}

/// The settings for reversal files.
#[derive(Debug, Clone, Default)]
pub struct FileSettings {
    /// The operator's own reason codes for reversal files, in addition to the vendor's documented ones.
    pub reason_codes: Vec<String>,
    /// The action tracker (event type) ID for an order without one.
    pub action_tracker: Option<String>,
}

/// The settings for reading refund files.
#[derive(Debug, Clone, Default)]
pub struct RefundSettings {
    /// The rule that turns an order ID in a refund file into the vendor's order ID.
    pub order_text: OrderIdRewrite,
    /// The user's refund formats from `recoup.toml`, by name.
    pub formats: BTreeMap<String, ColumnMapping>,
}

#[derive(Debug, Clone, Copy)]
pub struct CrawlSettings {
    /// The number of participants in a page of the list.
    pub page_size: u32,
    /// The number of participants that two consecutive pages share. The shared participants show the crawler whether
    /// the list has shifted.
    pub overlap: u32,
    /// The maximum number of passes over the list of participants.
    pub max_sweeps: u32,
    /// The number of rows that the crawler commits at once.
    pub batch: u32,
    /// The number of rewards in a page of GraphQL results.
    pub graphql_page_size: u32,
    /// How long the crawler waits for an export.
    pub export_wait: Duration,
    /// The maximum age of an account before the crawler reads it again; `None` for no maximum.
    pub reread_after: Option<Duration>,
}

/// All settings of a command, which reads them once.
#[derive(Debug, Clone)]
pub struct Settings {
    pub profile: Option<String>,
    /// The place of the index: a file or a PostgreSQL address.
    pub database: Place,
    pub ledger: Place,
    /// The place of the users' database.
    pub access: Place,
    /// The value of the header `IR-Version` for the Brand API.
    pub ir_version: String,
    /// The configured JSONPaths of order ID and ActionId.
    pub mapping: Mapping,
    pub crawl: CrawlSettings,
    pub retract: RetractSettings,
    pub file: FileSettings,
    pub refunds: RefundSettings,
    pub serve: ServeSettings,
    pub schedule: ScheduleSettings,
    /// The channels for notices; `None` if no channel is configured.
    pub notices: Option<notify::Settings>,
    /// The URL of the vendor's webhook keys; `None` for the default path on the Advocate host.
    jwks_url: Option<String>,
    /// The crash point to arm, which has an effect only in a build with the feature `failpoints`.
    pub crash_at: Option<String>,
    tenant: Option<String>,
    account_sid: Option<String>,
    advocate_url: String,
    brand_url: String,
    advocate: HostTable,
    brand: HostTable,
    auth_token: Option<Secret>,
    advocate_token: Option<Secret>,
    write_token: Option<Secret>,
    sources: show::Sources,
}

impl Settings {
    pub fn load(global: &GlobalFlags, env: &Environment) -> Result<Self> {
        let named = global.config.clone().or_else(|| env.path("RECOUP_CONFIG"));
        let path = named.or_else(|| Self::file(global, env).filter(|path| path.exists()));
        let file = path.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut sources = show::Sources::default();
        if let Some(path) = &path {
            sources.add_level(&file.top, path, None);
            if let Some((name, level)) = global.profile.as_ref().and_then(|name| file.profile.get_key_value(name)) {
                sources.add_level(level, path, Some(name));
            }
        }
        sources.add_overrides(global, env);
        let path = path.unwrap_or_default();
        let mut sections = Sections::read(file.top, &path, "")?;
        // Checks all profiles of `recoup.toml`, so that recoup reports a mistake at once and not when the profile is
        // first used.
        let mut profiles = BTreeMap::new();
        for (name, level) in file.profile {
            let level = Sections::read(level, &path, &format!("profile.{name}."))?;
            profiles.insert(name, level);
        }
        if let Some(name) = &global.profile {
            check_profile_name(name)?;
            sections.overlay(profiles.remove(name).ok_or_else(|| {
                Error::new(Kind::Config, format!("the configuration file has no [profile.{name}]"))
                    .hint("add it, or leave --profile out")
            })?);
        }
        Ok(Self { sources, ..Self::from_parts(global, env, sections)? })
    }

    /// Returns the path of `recoup.toml`, which may not exist. Returns `None` without a home directory.
    pub fn file(global: &GlobalFlags, env: &Environment) -> Option<PathBuf> {
        let named = global.config.clone().or_else(|| env.path("RECOUP_CONFIG"));
        named.or_else(|| env.xdg("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("recoup.toml")))
    }

    fn from_parts(global: &GlobalFlags, env: &Environment, sections: Sections) -> Result<Self> {
        let Sections {
            base,
            mapping,
            advocate,
            brand,
            crawl,
            retract,
            file,
            serve,
            schedule,
            webhook,
            mut notices,
            refunds,
            refund_formats,
        } = sections;
        let text = |name: &str, in_file: Option<String>| {
            env.get(name).map(str::to_owned).or(in_file).filter(|text| !text.is_empty())
        };
        let named = Named {
            database: base.database,
            database_file: base.database_file,
            ledger: base.ledger,
            access: base.access,
        };
        let Places { database, ledger, access } = Places::of(global, env, named)?;
        Ok(Self {
            profile: global.profile.clone(),
            database,
            access,
            ledger,
            ir_version: base.ir_version.unwrap_or_else(|| IR_VERSION.to_owned()),
            mapping: Mapping::new(&paths_of(mapping.order_id), &paths_of(mapping.action_id))?,
            crawl: CrawlSettings {
                page_size: crawl.page_size.unwrap_or(100).max(2),
                overlap: crawl.overlap.unwrap_or(10).max(1),
                max_sweeps: crawl.max_sweeps.unwrap_or(5).max(1),
                batch: crawl.batch.unwrap_or(24_000).max(1),
                graphql_page_size: crawl.graphql_page_size.unwrap_or(1000).max(10),
                export_wait: span(crawl.export_wait, Duration::from_hours(3)),
                reread_after: crawl.reread_after.map(|span| span.0),
            },
            retract: RetractSettings {
                wait: span(retract.wait, Duration::from_mins(10)),
                first_poll: span(retract.first_poll, Duration::from_secs(1)),
                max_poll: span(retract.max_poll, Duration::from_mins(1)),
                max_index_age: span(retract.max_index_age, Duration::from_hours(168)),
                lock_wait: span(retract.lock_wait, Duration::from_mins(1)),
                settle: span(retract.settle, Duration::from_mins(10)),
                max_count: retract.max_count.unwrap_or(100),
                max_value: retract.max_value.unwrap_or(1_000_000),
                resolver: ResolverSettings {
                    list_after: span(retract.list_after, Duration::from_mins(5)),
                    list_gap: span(retract.list_gap, Duration::from_hours(1)),
                    list_pages: retract.list_pages.unwrap_or(100).max(1) as usize,
                },
                reread_for: span(retract.reread_for, REREAD_FOR),
            },
            file: FileSettings {
                reason_codes: file.reason_codes.unwrap_or_default(),
                action_tracker: file.action_tracker,
            },
            refunds: RefundSettings {
                order_text: OrderIdRewrite {
                    prefix: refunds.order_prefix.unwrap_or_default(),
                    strip: refunds.strip_order_prefix.unwrap_or_default(),
                },
                formats: refund_formats,
            },
            serve: ServeSettings::of(serve)?,
            schedule: ScheduleSettings::of(schedule)?,
            notices: {
                let signing = env.secret("RECOUP_NOTICE_SECRET", notices.secret_file.take())?;
                let password = env.secret("RECOUP_SMTP_PASSWORD", notices.smtp_password_file.take())?;
                notices::notices(notices, signing, password)?
            },
            jwks_url: webhook.jwks_url,
            crash_at: env.get("RECOUP_CRASH_AT").map(str::to_owned),
            tenant: text("RECOUP_TENANT", base.tenant),
            account_sid: text("RECOUP_ACCOUNT_SID", base.account_sid),
            advocate_url: text("RECOUP_ADVOCATE_URL", base.advocate_url).unwrap_or_else(|| ADVOCATE_URL.to_owned()),
            brand_url: text("RECOUP_BRAND_URL", base.brand_url).unwrap_or_else(|| BRAND_URL.to_owned()),
            advocate,
            brand,
            auth_token: env.secret("RECOUP_AUTH_TOKEN", base.auth_token_file)?,
            advocate_token: env.secret("RECOUP_ADVOCATE_TOKEN", base.advocate_token_file)?,
            write_token: env.secret("RECOUP_WRITE_TOKEN", base.write_token_file)?,
            sources: show::Sources::default(),
        })
    }

    pub fn tenant(&self) -> Result<&str> {
        if let Some(tenant) = &self.tenant {
            FormatProblems::of(tenant).refuse("the tenant")?;
        }
        self.tenant.as_deref().ok_or_else(|| {
            Error::new(Kind::Config, "the tenant is not set").hint(
                "set RECOUP_TENANT (Settings > Advocate Settings > General > Tenant Details), or try `recoup demo`",
            )
        })
    }

    pub fn account_sid(&self) -> Result<&str> {
        if let Some(account_sid) = &self.account_sid {
            FormatProblems::of(account_sid).refuse("the Account SID")?;
        }
        self.account_sid.as_deref().ok_or_else(|| {
            Error::new(Kind::Config, "the Account SID is not set").hint("set RECOUP_ACCOUNT_SID, or try `recoup demo`")
        })
    }

    /// Describes malformed tenants, Account SIDs and tokens: one sentence each, without any part of the value. Fails if
    /// an HTTP header cannot contain a value.
    pub fn malformed_credentials(&self) -> Vec<Result<String>> {
        let mut found = Vec::new();
        for (name, text) in [("the tenant", &self.tenant), ("the Account SID", &self.account_sid)] {
            let odd = FormatProblems::of(text.as_deref().unwrap_or_default());
            found.extend(odd.describe().map(|what| odd.refuse(name).map(|()| format!("{name} {what}"))));
        }
        for secret in [&self.auth_token, &self.advocate_token, &self.write_token].into_iter().flatten() {
            found.extend(secret.format_problems().map(|problems| secret.check_format().map(|()| problems)));
        }
        found
    }

    /// Returns the paths of the token files.
    pub fn token_files(&self) -> impl Iterator<Item = &Path> {
        let secrets = [&self.auth_token, &self.advocate_token, &self.write_token].into_iter().flatten();
        secrets.filter_map(|secret| if let Secret::File(path) = secret { Some(path.as_path()) } else { None })
    }

    /// Returns the owner of index and ledger: the tenant, the account and the base URLs of both hosts.
    pub fn identity(&self) -> Result<Identity> {
        Ok(Identity {
            tenant: self.tenant()?.to_owned(),
            account_sid: self.account_sid()?.to_owned(),
            advocate_url: base_url(&self.advocate_url, "RECOUP_ADVOCATE_URL")?.to_string(),
            brand_url: base_url(&self.brand_url, "RECOUP_BRAND_URL")?.to_string(),
        })
    }

    /// Returns the configured parts of the databases' owner. Reading an index needs no tenant, but a configured tenant
    /// must match the index. An unset part of the owner is empty, and recoup does not compare it.
    pub fn identity_if_set(&self) -> Result<Option<Identity>> {
        match (&self.tenant, &self.account_sid) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => self.identity().map(Some),
            (tenant, account_sid) => Ok(Some(Identity {
                tenant: tenant.clone().unwrap_or_default(),
                account_sid: account_sid.clone().unwrap_or_default(),
                advocate_url: String::new(),
                brand_url: String::new(),
            })),
        }
    }

    /// Returns the URL of the vendor's webhook keys. The default URL is on the Advocate host (`docs/vendor/advocate.md`
    /// §5).
    pub fn jwks_url(&self) -> Result<Url> {
        if let Some(text) = &self.jwks_url {
            return base_url(text, "[webhook] jwks_url");
        }
        let mut url = base_url(&self.advocate_url, "RECOUP_ADVOCATE_URL")?;
        url.set_path("/.well-known/jwks.json");
        Ok(url)
    }

    pub fn advocate_options(&self, flags: HostFlags) -> Result<HostOptions> {
        let (user, secret) = match (&self.advocate_token, &self.auth_token) {
            // The Advocate API requires an empty user name with the tenant's API key (`docs/vendor/contradictions.md`
            // 42).
            (Some(key), _) => (String::new(), key.clone()),
            (None, Some(token)) => (self.account_sid()?.to_owned(), token.clone()),
            (None, None) => return Err(no_token()),
        };
        let defaults = HostDefaults { name: "advocate", concurrency: 8, start_concurrency: 2, quota: None };
        let base = base_url(&self.advocate_url, "RECOUP_ADVOCATE_URL")?;
        Ok(self.host_options(base, Credentials { user, secret }, &self.advocate, &defaults, flags))
    }

    /// Returns the options of a client that reads the Brand API.
    pub fn brand_options(&self, flags: HostFlags) -> Result<HostOptions> {
        self.brand_with(self.auth_token.as_ref(), flags)
    }

    /// Returns the options of a client that writes to the Brand API.
    pub fn writer_options(&self, within: Option<Duration>) -> Result<HostOptions> {
        let flags = HostFlags { purpose: Purpose::Retraction, within, ..HostFlags::default() };
        self.brand_with(self.write_token.as_ref().or(self.auth_token.as_ref()), flags)
    }

    fn brand_with(&self, secret: Option<&Secret>, flags: HostFlags) -> Result<HostOptions> {
        let credentials =
            Credentials { user: self.account_sid()?.to_owned(), secret: secret.ok_or_else(no_token)?.clone() };
        let defaults = HostDefaults { name: "brand", concurrency: 2, start_concurrency: 2, quota: Some(BRAND_QUOTA) };
        Ok(self.host_options(
            base_url(&self.brand_url, "RECOUP_BRAND_URL")?,
            credentials,
            &self.brand,
            &defaults,
            flags,
        ))
    }

    fn host_options(
        &self,
        base: Url,
        credentials: Credentials,
        table: &HostTable,
        defaults: &HostDefaults,
        flags: HostFlags,
    ) -> HostOptions {
        let concurrency = flags.concurrency.or(table.concurrency).unwrap_or(defaults.concurrency).max(1) as usize;
        let key = format!("{} {}", defaults.name, base.as_str().trim_end_matches('/'));
        let budget: Arc<dyn Budget> = Arc::new(SharedBudget::new(&self.database, key, self.identity().ok()));
        HostOptions {
            base,
            credentials,
            quota_settings: QuotaSettings {
                rate: flags.rate.or(table.rate).map(|rate| rate.0),
                quota: table.quota.map_or(defaults.quota, |quota| quota.0),
                quota_is_default: table.quota.is_none(),
                reserve: table.reserve.map_or(RESERVE, |share| share.0),
            },
            purpose: flags.purpose,
            budget: Some(budget),
            max_requests: flags.max_requests,
            until: flags.until,
            concurrency,
            start_concurrency: (table.start_concurrency.unwrap_or(defaults.start_concurrency) as usize)
                .clamp(1, concurrency),
            timeout: span(table.timeout, Duration::from_secs(30)),
            connect_timeout: span(table.connect_timeout, Duration::from_secs(5)),
            attempts: table.attempts.unwrap_or(5).max(1),
            backoff: span(table.backoff, Duration::from_millis(500)),
            backoff_max: span(table.backoff_max, Duration::from_mins(1)),
            max_wait: span(flags.max_wait.or(table.max_wait), Duration::from_hours(1))
                .min(flags.within.map_or(Duration::MAX, |within| within.max(PACE))),
        }
    }
}

/// One command's values for a host, which override the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostFlags {
    /// The maximum number of requests in flight to the host.
    pub concurrency: Option<u32>,
    /// The maximum number of requests to the host in a second.
    pub rate: Option<Rate>,
    /// The longest wait for the vendor's quota.
    pub max_wait: Option<Span>,
    /// How long the command may take (`--wait`). Each wait for the quota has the same time limit.
    pub within: Option<Duration>,
    pub purpose: Purpose,
    /// The maximum number of requests that the command sends to the host.
    pub max_requests: Option<u64>,
    /// The time after which the command starts no request.
    pub until: Option<Timestamp>,
}

struct HostDefaults {
    name: &'static str,
    concurrency: u32,
    start_concurrency: u32,
    quota: Option<Quota>,
}

fn span(span: Option<Span>, default: Duration) -> Duration {
    span.map_or(default, |span| span.0)
}

fn no_token() -> Error {
    Error::new(Kind::Config, "there is no token").hint(
        "set RECOUP_AUTH_TOKEN, or RECOUP_AUTH_TOKEN_FILE to the path of a file with the token, or try `recoup demo`",
    )
}

fn base_url(text: &str, name: &str) -> Result<Url> {
    let url = Url::parse(text.trim_end_matches('/')).map_err(|error| {
        Error::new(Kind::Config, format!("{name} is not a URL: {error}")).hint("write it as https://HOST/PATH")
    })?;
    check_base(&url)?;
    Ok(url)
}

fn check_profile_name(name: &str) -> Result<()> {
    let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fine {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "the name of a profile may have letters, digits, - and _")
        .hint("the name is that of a [profile.NAME] in recoup.toml"))
}

#[cfg(test)]
mod tests;
