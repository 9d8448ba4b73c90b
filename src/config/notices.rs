//! `[notices]`: the channels for the service's notices. Without a webhook and a mail server, recoup sends no notices.

use std::time::Duration;

use url::Url;

use super::file::NoticesTable;
use super::span;
use crate::error::{Error, Kind, Result};
use crate::notify::{EmailSettings, Settings, SmtpTls, WebhookSettings};
use crate::vendor::Secret;

/// The default rate limit: one notice every two seconds.
const PER_SECOND: f64 = 0.5;

/// Returns `None` if neither a webhook nor a mail server is configured.
pub(super) fn notices(
    table: NoticesTable,
    signing: Option<Secret>,
    password: Option<Secret>,
) -> Result<Option<Settings>> {
    let wrong = |key: &str, why: &str, hint: &str| {
        Error::new(Kind::Config, format!("[notices] {key}: {why}")).hint(hint.to_owned())
    };
    // The error does not repeat the webhook's URL, because the URL may contain a token.
    let url = |key: &str, text: String| {
        Url::parse(&text).map_err(|_error| wrong(key, "is not a URL", "write it as https://HOST/PATH"))
    };
    let webhook = match (table.webhook_url, signing) {
        (Some(text), Some(secret)) => Some(WebhookSettings { url: url("webhook_url", text)?, secret }),
        (Some(_), None) => {
            return Err(wrong(
                "webhook_url",
                "there is no secret to sign with",
                "set RECOUP_NOTICE_SECRET, or RECOUP_NOTICE_SECRET_FILE to the path of a file with it",
            ));
        }
        (None, _) => None,
    };
    let email = match (table.smtp_host, table.from, table.to) {
        (Some(host), Some(from), Some(to)) if !to.is_empty() => Some(EmailSettings {
            host,
            port: table.smtp_port,
            tls: match table.smtp_tls.as_deref().unwrap_or("starttls") {
                "tls" => SmtpTls::Tls,
                "starttls" => SmtpTls::StartTls,
                "none" => SmtpTls::None,
                _ => return Err(wrong("smtp_tls", "is none of its words", "write \"tls\", \"starttls\" or \"none\"")),
            },
            login: match (table.smtp_user, password) {
                (Some(user), Some(password)) => Some((user, password)),
                (None, _) => None,
                (Some(_), None) => {
                    return Err(wrong(
                        "smtp_user",
                        "there is no password",
                        "set RECOUP_SMTP_PASSWORD, or RECOUP_SMTP_PASSWORD_FILE to the path of a file with it",
                    ));
                }
            },
            from,
            to,
        }),
        (None, ..) => None,
        _ => return Err(wrong("smtp_host", "needs `from` and `to`", "set the sender and a list of recipients")),
    };
    if webhook.is_none() && email.is_none() {
        return Ok(None);
    }
    Ok(Some(Settings {
        page_url: table.page_url.map(|text| url("page_url", text)).transpose()?,
        webhook,
        email,
        gap: Duration::from_secs_f64(1.0 / table.rate.map_or(PER_SECOND, |rate| rate.0)),
        unconfirmed_after: span(table.unconfirmed_after, Duration::from_hours(24)),
        check: span(table.check, Duration::from_secs(10)).max(Duration::from_millis(10)),
        backoff: span(table.backoff, Duration::from_secs(10)).max(Duration::from_millis(10)),
    }))
}
