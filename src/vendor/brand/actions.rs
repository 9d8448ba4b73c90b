//! Reading actions: one of them, its items, and the log of what was changed.
//!
//! Source: `docs/vendor/brand.md` §2, §3 (Actions v14: Action, ActionItem, ActionUpdate). Whether an Advocate event is an action at
//! all is not published, so *none* is a normal answer. Texts and amounts stay as they came; it must never search by order
//! ID, which no version of the API can.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::super::advocate::segment;
use super::super::json::Fields;
use super::paging::{Listed, Page, page};
use super::{Brand, PAGES, missing, moment, read_moment};
use crate::error::{Error, Kind, Result};
use crate::model::decimal::Decimal;
use crate::model::{ActionId, OrderId};

/// The longest range of dates that the vendor takes in one question (`docs/vendor/brand.md` §3).
const RANGE: SignedDuration = SignedDuration::from_hours(45 * 24);

/// One action, as far as recoup looks at it. Texts are as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The ActionId.
    pub id: ActionId,
    /// `PENDING`, `APPROVED`, `REVERSED` or anything newer.
    pub state: Option<String>,
    /// The amount, in `Currency`, as decimal text.
    pub amount: Option<String>,
    /// The amount before any modification, as decimal text.
    pub intended_amount: Option<String>,
    /// What the newest modification changed of the amount; the amount itself where there was none.
    pub delta_amount: Option<String>,
    /// The currency of all of them, as an ISO 4217 code.
    pub currency: Option<String>,
    /// The order ID: `Oid` in answers, `OrderId` in requests (`docs/vendor/contradictions.md` 25).
    pub oid: Option<OrderId>,
    /// After it the action cannot be changed.
    pub locking_date: Option<String>,
    /// When the partner's commission was cleared and paid; none where it was not yet.
    pub cleared_date: Option<String>,
    /// When it happened.
    pub event_date: Option<String>,
    /// When the vendor recorded it.
    pub creation_date: Option<String>,
    /// The event type's ID.
    pub action_tracker_id: Option<String>,
    /// The event type's name.
    pub action_tracker_name: Option<String>,
    /// The program's ID.
    pub campaign_id: Option<String>,
    /// `NEW`, `EXISTING` or whatever the event type has.
    pub customer_status: Option<String>,
}

impl Action {
    /// Whether the vendor shows it as reversed.
    pub fn is_reversed(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED"))
    }

    /// When it locks, where that can be read.
    pub fn locks_at(&self) -> Option<Timestamp> {
        read_moment(self.locking_date.as_ref())
    }

    /// When it happened, where that can be read.
    pub fn happened_at(&self) -> Option<Timestamp> {
        read_moment(self.event_date.as_ref())
    }

    /// Whether its amount was 0 from the start, so that `Amount=0` counts as a modification and reverses nothing
    /// (`docs/vendor/contradictions.md` 4). `None` where no amount can be read.
    pub fn was_always_zero(&self) -> Option<bool> {
        let before = self.intended_amount.as_ref().or(self.amount.as_ref())?;
        Decimal::parse(before).map(Decimal::is_zero)
    }
}

/// One line of an action's order. Texts are as they came; numbers are text in the vendor's own schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionItem {
    /// The item's SKU, by which a modification names it.
    pub sku: String,
    /// Its name.
    pub name: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// How many.
    pub quantity: Option<String>,
    /// What they cost together, in `currency`.
    pub sale_amount: Option<String>,
    /// `SaleAmountCurrency`.
    pub currency: Option<String>,
    /// When it was last modified; none where it never was.
    pub adjustment_date: Option<String>,
    /// The code of the last modification.
    pub adjustment_reason: Option<String>,
}

impl ActionItem {
    /// What they cost together, as a number.
    pub fn amount(&self) -> Option<Decimal> {
        Decimal::parse(self.sale_amount.as_deref()?)
    }
}

/// One entry of the log of an action: it changed state or was modified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionUpdate {
    /// `<ActionId>.<n>`.
    pub id: String,
    /// The action; where the entry does not say, all of `id` before its last dot.
    pub action_id: ActionId,
    /// The state at this entry. `REVERSED` is what the Performance side shows of a reversal (`docs/vendor/brand.md` §3).
    pub state: Option<String>,
    /// The code that was given, `ORDER_UPDATE` for one.
    pub disposition: Option<String>,
    /// What it changed of the amount.
    pub delta_amount: Option<String>,
    /// The currency of that.
    pub currency: Option<String>,
    /// The item it is about, where there is one.
    pub sku: Option<String>,
    /// How many of it there are then.
    pub quantity: Option<String>,
    /// The order ID.
    pub oid: Option<OrderId>,
    /// When it was recorded.
    pub update_date: Option<String>,
    /// After it the action cannot be changed.
    pub locking_date: Option<String>,
    /// The program's ID.
    pub campaign_id: Option<String>,
    /// The event type's ID.
    pub action_tracker_id: Option<String>,
}

impl ActionUpdate {
    /// When it was recorded, where that can be read.
    pub fn updated_at(&self) -> Option<Timestamp> {
        read_moment(self.update_date.as_ref())
    }

    /// Whether the action is reversed at this entry.
    pub fn is_reversed(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED"))
    }
}

/// Which entries of the log are asked for. The vendor requires the program and both dates or neither, takes at most 45 days
/// at once and none older than three years; it cannot be asked for one action (Actions v14, listActionUpdates).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFilter {
    /// The program: an action's `campaign_id`, or the first group of its ActionId.
    pub campaign_id: String,
    /// Recorded from this moment on.
    pub from: Timestamp,
    /// Recorded until this moment.
    pub to: Timestamp,
    /// Only entries with this state: `PENDING`, `APPROVED`, `REVERSED`.
    pub state: Option<String>,
}

impl Brand {
    /// One action; `None` if the vendor does not know it, which may be so for every Advocate event (`docs/vendor/brand.md` §3).
    /// Another action is no answer.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn action(&self, id: &ActionId) -> Result<Option<Action>> {
        let url = self.url(&format!("Actions/{}", escaped(id)?))?;
        let own = |body: &Bytes| {
            let mut found = actions(body)?;
            let is_foreign = found.iter().any(|action| action.id != *id);
            (!is_foreign).then(|| found.pop())
        };
        Ok(self.0.client.get("action", &url, own).await?.flatten())
    }

    /// The lines of an action's order, as they were recorded; `None` where the vendor does not know the action.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`; the last also where not all lines could be read,
    /// because what is shown of an order before it is changed must be all of it.
    pub async fn action_items(&self, id: &ActionId) -> Result<Option<Vec<ActionItem>>> {
        let url = self.url(&format!("Actions/{}/Items", escaped(id)?))?;
        match self.list("action items", url, PAGES, item_page).await? {
            Some(list) if !list.complete => {
                Err(Error::new(Kind::Vendor, "the vendor's list of the action's items could not be read whole"))
            }
            list => Ok(list.map(|list| list.rows)),
        }
    }

    /// The log of a program's actions, from at most `pages` pages.
    ///
    /// # Errors
    /// `Usage` for a range that the vendor does not take; otherwise `Interrupted`, `Parked`, `Credentials`, `Scope`,
    /// `Network`, `Vendor`.
    pub async fn action_updates(&self, filter: &UpdateFilter, pages: usize) -> Result<Listed<ActionUpdate>> {
        let span = filter.to.duration_since(filter.from);
        if span.is_negative() || span > RANGE {
            return Err(Error::new(Kind::Usage, "the vendor lists updates of at most 45 days at once"));
        }
        let mut pairs = vec![
            ("CampaignId", filter.campaign_id.clone()),
            ("StartDate", moment(filter.from)),
            ("EndDate", moment(filter.to)),
        ];
        pairs.extend(filter.state.clone().map(|state| ("State", state)));
        let list = self.list("action updates", self.query("ActionUpdates", &pairs)?, pages, update_page).await?;
        list.ok_or_else(|| missing("action updates"))
    }
}

fn escaped(id: &ActionId) -> Result<String> {
    segment(id.as_str())
        .ok_or_else(|| Error::new(Kind::Vendor, "an ActionId that is empty or made of dots cannot be looked up"))
}

/// One action bare, or the rows of a page of them.
pub(crate) fn actions(body: &Bytes) -> Option<Vec<Action>> {
    let fields = Fields::parse(body)?;
    if fields.raw("Actions").is_none() {
        return Some(vec![one_action(&fields)?]);
    }
    page(body, &["Actions"], |fields, _| one_action(fields)).map(Page::into_rows)
}

fn one_action(fields: &Fields) -> Option<Action> {
    Some(Action {
        id: ActionId::new(fields.text("Id")?),
        state: fields.text("State"),
        amount: fields.text("Amount"),
        intended_amount: fields.text("IntendedAmount"),
        delta_amount: fields.text("DeltaAmount"),
        currency: fields.text("Currency"),
        oid: fields.text("Oid").or_else(|| fields.text("OrderId")).map(OrderId::new),
        locking_date: fields.text("LockingDate"),
        cleared_date: fields.text("ClearedDate"),
        event_date: fields.text("EventDate"),
        creation_date: fields.text("CreationDate"),
        action_tracker_id: fields.text("ActionTrackerId"),
        action_tracker_name: fields.text("ActionTrackerName"),
        campaign_id: fields.text("CampaignId"),
        customer_status: fields.text("CustomerStatus"),
    })
}

/// The list sits under `ActionItems`.
pub(crate) fn item_page(body: &Bytes) -> Option<Page<ActionItem>> {
    page(body, &["ActionItems", "ActionItem"], |fields, _| one_item(fields))
}

fn one_item(fields: &Fields) -> Option<ActionItem> {
    Some(ActionItem {
        sku: fields.text("Sku")?,
        name: fields.text("ItemName"),
        category: fields.text("Category"),
        quantity: fields.text("Quantity"),
        sale_amount: fields.text("SaleAmount"),
        currency: fields.text("SaleAmountCurrency"),
        adjustment_date: fields.text("AdjustmentDate"),
        adjustment_reason: fields.text("AdjustmentReason"),
    })
}

/// The list sits under `ActionUpdates`.
pub(crate) fn update_page(body: &Bytes) -> Option<Page<ActionUpdate>> {
    page(body, &["ActionUpdates", "ActionUpdate"], |fields, _| one_update(fields))
}

fn one_update(fields: &Fields) -> Option<ActionUpdate> {
    let id = fields.text("Id")?;
    let action_id = fields.text("ActionId").or_else(|| id.rsplit_once('.').map(|(action, _)| action.to_owned()))?;
    Some(ActionUpdate {
        action_id: ActionId::new(action_id),
        id,
        state: fields.text("State"),
        disposition: fields.text("Disposition"),
        delta_amount: fields.text("DeltaAmount"),
        currency: fields.text("Currency"),
        sku: fields.text("Sku"),
        quantity: fields.text("Quantity"),
        oid: fields.text("Oid").or_else(|| fields.text("OrderId")).map(OrderId::new),
        update_date: fields.text("UpdateDate"),
        locking_date: fields.text("LockingDate"),
        campaign_id: fields.text("CampaignId"),
        action_tracker_id: fields.text("ActionTrackerId").or_else(|| fields.text("EventTypeId")),
    })
}
