//! Reverses and modifies actions by the Brand API. A reversal takes a reward back, and nothing can undo it.
//!
//! The vendor's facts about reversals are from `docs/vendor/refund-guide.md` B and C, `docs/vendor/brand.md` §1 and §2,
//! and `docs/vendor/contradictions.md` 1 to 9. Each call of the writer sends one DELETE or PUT through `single_write`,
//! and returns a [`WriteOutcome`]. Only an answer of the vendor with the status QUEUED counts as success.

use tokio_util::sync::CancellationToken;
use url::Url;

use super::brand::{Brand, root, unusable_base};
use super::loose_json::Fields;
use super::modification::{Modification, modification_form};
use super::pace::Permit;
use super::single_write::{AcceptedBody, SingleWriter, WriteKind, WriteOutcome};
use super::{Host, HostOptions};
use crate::clock::Clock;
use crate::error::Result;
use crate::model::Target;

const HOST: Host = Host {
    name: "Brand",
    token_hint: "RECOUP_ACCOUNT_SID and RECOUP_WRITE_TOKEN, or RECOUP_AUTH_TOKEN (or the _FILE variables)",
    url_hint: "RECOUP_BRAND_URL",
};

const REVERSE: WriteKind = WriteKind { endpoint: "Reverse an Action", lacking: "saying QUEUED and where" };
const MODIFY: WriteKind = WriteKind { endpoint: "Update an Action", lacking: "saying QUEUED and where" };

/// Returns the parameters that identify a target: the ActionId, or event type and order ID
/// (`docs/vendor/refund-guide.md` C).
pub(crate) fn identifiers(target: &Target) -> Vec<(&'static str, String)> {
    match target {
        Target::Action(action_id) => vec![("ActionId", action_id.as_str().to_owned())],
        Target::Order { order_id, action_tracker_id } => {
            vec![("ActionTrackerId", action_tracker_id.clone()), ("OrderId", order_id.as_str().to_owned())]
        }
    }
}

/// Returns the parameters of the DELETE that reverses an action. `Amount=0` reverses the whole action
/// (`docs/vendor/refund-guide.md` B5). recoup sends the disposition code unchanged (`docs/vendor/contradictions.md` 2).
pub fn reversal_form(target: &Target, disposition: &str) -> Vec<(&'static str, String)> {
    let mut form = identifiers(target);
    form.extend([("Amount", "0".to_owned()), ("DispositionCode", disposition.to_owned())]);
    form
}

/// Permission to send one reversal or modification immediately.
pub struct SendPermit(Permit);

/// Reverses and modifies actions of one account of the Brand API.
pub struct BrandWriter {
    writer: SingleWriter,
    actions: Url,
    account_sid: String,
}

impl BrandWriter {
    /// Creates a writer. The token of the new client may differ from the reader's token. The writer has its own pacer,
    /// if [`BrandWriter::paced_with`] does not share the pacer of a [`Brand`].
    ///
    /// # Errors
    /// Fails with `Config` if the base URL, the Account SID, the version, the rate or the token is unusable.
    pub fn new(
        options: &HostOptions,
        account_sid: &str,
        ir_version: &str,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        let actions = Url::parse(&format!("{}/Actions", root(options, account_sid)?)).map_err(unusable_base)?;
        let writer = SingleWriter::new(HOST, options, Some(ir_version), clock, stop)?;
        Ok(Self { writer, actions, account_sid: account_sid.to_owned() })
    }

    /// Shares the pacer, and with it the quota and the deadline, with a reader of the same host.
    #[must_use]
    pub fn paced_with(mut self, brand: &Brand) -> Self {
        self.writer.share_pace(brand.pacer());
        self
    }

    /// Waits until the pacer of the Brand host admits a request. After the wait for the pacer, the caller records its
    /// intent in the ledger, and calls [`BrandWriter::reverse`] or [`BrandWriter::modify`].
    ///
    /// # Errors
    /// Fails with `Interrupted` or `Parked`. After an error, the writer has sent nothing.
    pub async fn ready(&self) -> Result<SendPermit> {
        self.writer.ready().await.map(SendPermit)
    }

    /// Sends one reversal to the vendor. The caller must await the future of a write to its end. If the caller drops
    /// the future of a reversal after its first poll, the vendor may have processed the reversal, as with
    /// [`WriteOutcome::Unknown`].
    pub async fn reverse(&self, permit: SendPermit, target: &Target, disposition: &str) -> WriteOutcome {
        let form = reversal_form(target, disposition);
        let request = |http: &reqwest::Client| http.delete(self.actions.clone()).form(&form);
        self.without_account(self.writer.send(&permit.0, REVERSE, request, queued).await)
    }

    /// Sends one modification to the vendor (`PUT /Actions`). The caller must await the future of a modification to its
    /// end, as for [`BrandWriter::reverse`]. No published endpoint shows the effect of a modification. Therefore QUEUED
    /// is the last state that recoup can know.
    pub async fn modify(&self, permit: SendPermit, target: &Target, modification: &Modification) -> WriteOutcome {
        let form = modification_form(target, modification);
        let request = |http: &reqwest::Client| http.put(self.actions.clone()).form(&form);
        self.without_account(self.writer.send(&permit.0, MODIFY, request, queued).await)
    }

    /// Removes the Account SID from the vendor's reason for a refusal.
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

/// Parses an answer of the vendor that has the status QUEUED and a QueuedUri.
pub(crate) fn queued(body: &[u8]) -> Option<AcceptedBody> {
    let fields = Fields::parse(body)?;
    let is_queued = fields.text("Status")?.eq_ignore_ascii_case("QUEUED");
    let queued_uri = fields.text("QueuedUri").filter(|_| is_queued)?;
    Some(AcceptedBody { queued_uri: Some(queued_uri) })
}
