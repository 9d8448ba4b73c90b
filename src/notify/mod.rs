//! Use case: sends the service's notices by an outbound webhook and by e-mail.
//!
//! The service detects events and queues notices ([`crate::store::notices`]); this module delivers the notices. A
//! notice contains a sentence, an order ID and a link to the page, and never personal data or a secret. A failed
//! delivery is retried with back-off. No use case waits for a delivery.

mod email;
#[cfg_attr(not(feature = "smtp"), path = "no_smtp.rs")]
mod smtp;
mod webhook;

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use email::{EmailSettings, SmtpTls};
pub use webhook::WebhookSettings;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::order_text::visible;
use crate::store::notices::{NoticeQueue, QueuedNotice};
use smtp::Email;
use webhook::Webhook;

/// Maximum pause between two attempts to deliver a notice.
const LONGEST_BACKOFF: Duration = Duration::from_hours(6);

/// The maximum number of attempts to deliver a notice, which take about three days with the default settings. recoup
/// drops the notice after the last attempt.
const ATTEMPTS: u32 = 20;

/// The time limit of one attempt to deliver a notice.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL of the page, for links in notices; `None` for notices without a link.
    pub page_url: Option<Url>,
    pub webhook: Option<WebhookSettings>,
    pub email: Option<EmailSettings>,
    /// The minimum time between the deliveries of two notices.
    pub gap: Duration,
    /// The interval at which the service looks for events that cause notices.
    pub check: Duration,
    /// The time after which an open retraction causes a notice.
    pub unconfirmed_after: Duration,
    /// The pause after the first failed attempt to deliver a notice. Each further failure doubles the pause.
    pub backoff: Duration,
}

/// The content of a notice, sent as JSON or as the text of an e-mail.
#[derive(Debug, Serialize)]
struct Message<'a> {
    /// The notice's ID. Each attempt sends the same ID, so that a receiver can drop duplicates.
    id: &'a str,
    event: &'a str,
    at: &'a str,
    text: &'a str,
    order_id: Option<&'a str>,
    link: Option<String>,
}

/// The result of the test notice to one channel.
#[derive(Debug, Serialize)]
pub struct Delivery {
    pub channel: &'static str,
    pub delivered: bool,
    /// Why the test notice was not delivered; `None` if it was delivered.
    pub error: Option<Error>,
}

pub struct Notifier {
    settings: Settings,
    webhook: Option<Webhook>,
    email: Option<Email>,
    clock: Clock,
    stop: CancellationToken,
}

impl Notifier {
    /// Creates a notifier. Fails if no channel is configured.
    pub fn new(settings: Settings, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let webhook = settings.webhook.as_ref().map(Webhook::new).transpose()?;
        let email = settings.email.as_ref().map(Email::new).transpose()?;
        if webhook.is_none() && email.is_none() {
            return Err(Error::new(Kind::Config, "no notices are set up")
                .hint("set [notices] webhook_url or smtp_host in recoup.toml; docs/notices.md has an example"));
        }
        Ok(Self { settings, webhook, email, clock, stop })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the names of the configured channels for notices.
    pub fn channels(&self) -> Vec<&'static str> {
        let all = [(self.webhook.is_some(), "webhook"), (self.email.is_some(), "email")];
        all.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect()
    }

    /// Sends one test notice by every channel, without the queue.
    pub async fn test(&self) -> Vec<Delivery> {
        let at = format!("{:.0}", self.clock.now());
        let mut done = Vec::new();
        for channel in self.channels() {
            let notice = QueuedNotice {
                key: format!("test:{at}"),
                channel: channel.to_owned(),
                event: "test".to_owned(),
                at: at.clone(),
                order_id: None,
                text: "a test of recoup's notices".to_owned(),
                path: "/".to_owned(),
                attempts: 0,
            };
            let error = self.send(&notice).await.err().map(|why| {
                Error::new(Kind::Network, format!("the {channel} did not take the notice: {why}"))
                    .hint("check the address and the secret under [notices], and what the receiver logs")
            });
            done.push(Delivery { channel, delivered: error.is_none(), error });
        }
        done
    }

    /// Sends the due notices one at a time, with at least `gap` between two notices.
    pub async fn deliver(&self, queue: &NoticeQueue) -> Result<()> {
        while let Some(notice) = queue.next_due(self.clock.now_ms())?.filter(|_| !self.stop.is_cancelled()) {
            match self.send(&notice).await {
                Ok(()) => queue.record(&notice, None, None)?,
                Err(why) => {
                    let attempts = notice.attempts + 1;
                    let next = (attempts < ATTEMPTS).then(|| {
                        let pause = self.settings.backoff.saturating_mul(1 << notice.attempts.min(20));
                        self.clock.now_ms() + pause.min(LONGEST_BACKOFF).as_millis() as i64
                    });
                    let end = if next.is_some() { "it is retried" } else { "it is dropped" };
                    tracing::warn!(channel = notice.channel, attempts, "a notice was not delivered: {why}; {end}");
                    queue.record(&notice, Some(&why), next)?;
                }
            }
            tokio::select! {
                () = self.clock.sleep(self.settings.gap) => {}
                () = self.stop.cancelled() => break,
            }
        }
        Ok(())
    }

    /// Sends one notice. The error of a failed delivery is a fragment of a sentence. The error does not contain the
    /// receiver's address, because the address may contain a secret.
    async fn send(&self, notice: &QueuedNotice) -> Result<(), String> {
        let link = self
            .settings
            .page_url
            .as_ref()
            .map(|page| format!("{}{}", page.as_str().trim_end_matches('/'), notice.path));
        let message = Message {
            id: &notice.key,
            event: &notice.event,
            at: &notice.at,
            text: &notice.text,
            order_id: notice.order_id.as_deref(),
            link,
        };
        match (notice.channel.as_str(), &self.webhook, &self.email) {
            ("webhook", Some(webhook), _) => webhook.send(&message, self.clock.now()).await,
            ("email", _, Some(email)) => email.send(&message).await,
            _ => Err("this channel is no longer set".to_owned()),
        }
    }
}

impl Message<'_> {
    /// Returns the notice as the text of an e-mail.
    #[cfg_attr(not(feature = "smtp"), expect(dead_code, reason = "only an e-mail has it"))]
    fn lines(&self) -> String {
        let order = self.order_id.map(|order| format!("order {}", visible(order)));
        let lines =
            [Some(self.text.to_owned()), order, self.link.clone(), Some(format!("{} · {}", self.event, self.at))];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n\n") + "\n"
    }
}
