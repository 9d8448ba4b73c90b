//! Reversing and modifying actions: the capability that moves other people's money back.
//!
//! Sources: `docs/vendor/refund-guide.md` B and C, `docs/vendor/brand.md` §1 and §2, `docs/vendor/contradictions.md` 1 to 9. One call puts one DELETE or PUT
//! on the wire, by way of `dispatch`, and reports what is certain about it. It must never call anything success but QUEUED.

use tokio_util::sync::CancellationToken;
use url::Url;

use super::brand::{Brand, root, unusable_base};
use super::dispatch::{Act, Dispatcher, WriteOutcome};
use super::json::Fields;
use super::modification::{Modification, modification_form};
use super::pace::Permit;
use super::{Host, HostOptions};
use crate::clock::Clock;
use crate::error::Result;
use crate::model::Target;

const HOST: Host = Host {
    name: "Brand",
    token_hint: "RECOUP_ACCOUNT_SID and RECOUP_WRITE_TOKEN, or RECOUP_AUTH_TOKEN (or the _FILE variables)",
    url_hint: "RECOUP_BRAND_URL",
};

const REVERSE: Act = Act { endpoint: "Reverse an Action", lacking: "saying QUEUED and where" };
const MODIFY: Act = Act { endpoint: "Update an Action", lacking: "saying QUEUED and where" };

/// How a target is named: by ActionId, or by event type and order (`docs/vendor/refund-guide.md` C).
pub(crate) fn identifiers(target: &Target) -> Vec<(&'static str, String)> {
    match target {
        Target::Action(action_id) => vec![("ActionId", action_id.as_str().to_owned())],
        Target::Order { order_id, action_tracker_id } => {
            vec![("ActionTrackerId", action_tracker_id.clone()), ("OrderId", order_id.as_str().to_owned())]
        }
    }
}

/// The exact parameters of the DELETE. `Amount=0` always: it makes the call a full retraction (`docs/vendor/refund-guide.md` B5).
/// The disposition code is sent as it is (`docs/vendor/contradictions.md` 2).
pub fn reversal_form(target: &Target, disposition: &str) -> Vec<(&'static str, String)> {
    let mut form = identifiers(target);
    form.extend([("Amount", "0".to_owned()), ("DispositionCode", disposition.to_owned())]);
    form
}

/// Leave to send one request: slot and pace are waited for, so that the intent is recorded right before the send.
pub struct SendPermit(Permit);

/// The writing client of one account.
pub struct BrandWriter {
    dispatcher: Dispatcher,
    actions: Url,
    account_sid: String,
}

impl BrandWriter {
    /// A client whose options may hold a token of its own. It paces itself; [`BrandWriter::paced_with`] shares a reading
    /// client's pace.
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, Account SID, version, rate or token.
    pub fn new(
        options: &HostOptions,
        account_sid: &str,
        ir_version: &str,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        let actions = Url::parse(&format!("{}/Actions", root(options, account_sid)?)).map_err(unusable_base)?;
        let dispatcher = Dispatcher::new(HOST, options, Some(ir_version), clock, stop)?;
        Ok(Self { dispatcher, actions, account_sid: account_sid.to_owned() })
    }

    /// The same, passing the gate of a reading client of the same host: one quota, one deadline.
    #[must_use]
    pub fn paced_with(mut self, brand: &Brand) -> Self {
        self.dispatcher.pace_with(brand.pacer());
        self
    }

    /// Waits until a request may be sent. Record the intent after it, then call [`BrandWriter::reverse`] or
    /// [`BrandWriter::modify`].
    ///
    /// # Errors
    /// `Interrupted` or `Parked`; nothing was sent.
    pub async fn ready(&self) -> Result<SendPermit> {
        self.dispatcher.ready().await.map(SendPermit)
    }

    /// Sends one reversal and says what is certain about it. The future must be driven to its end: dropping it after the
    /// first poll leaves the same doubt as [`WriteOutcome::Unknown`].
    pub async fn reverse(&self, permit: SendPermit, target: &Target, disposition: &str) -> WriteOutcome {
        let form = reversal_form(target, disposition);
        let request = |http: &reqwest::Client| http.delete(self.actions.clone()).form(&form);
        self.without_account(self.dispatcher.once(&permit.0, REVERSE, request, queued).await)
    }

    /// Sends one modification (`PUT /Actions`) and says what is certain about it, exactly as with
    /// [`BrandWriter::reverse`]. QUEUED is all that is ever known of one: no published read proves the rest.
    pub async fn modify(&self, permit: SendPermit, target: &Target, modification: &Modification) -> WriteOutcome {
        let form = modification_form(target, modification);
        let request = |http: &reqwest::Client| http.put(self.actions.clone()).form(&form);
        self.without_account(self.dispatcher.once(&permit.0, MODIFY, request, queued).await)
    }

    /// The vendor's reason for a refusal, without the Account SID.
    fn without_account(&self, outcome: WriteOutcome) -> WriteOutcome {
        match outcome {
            WriteOutcome::Refused { status, message, body } => {
                let message = message.map(|text| text.replace(&self.account_sid, "…"));
                WriteOutcome::Refused { status, message, body }
            }
            outcome => outcome,
        }
    }
}

/// The QueuedUri of an answer that says QUEUED.
pub(crate) fn queued(body: &[u8]) -> Option<Option<String>> {
    let fields = Fields::parse(body)?;
    let is_queued = fields.text("Status")?.eq_ignore_ascii_case("QUEUED");
    fields.text("QueuedUri").filter(|_| is_queued).map(Some)
}
