//! Reads actions: one action, its items, and the log of changes.
//!
//! Source: `docs/vendor/brand.md` §2, §3 (Actions v14: Action, ActionItem, ActionUpdate). The vendor does not publish
//! whether an Advocate event is an action, so *no such action* is a normal answer. No version of the API can search
//! actions by order ID. Texts and amounts keep the vendor's form.

use jiff::{SignedDuration, Timestamp};

use super::super::advocate::segment;
use super::super::loose_json::Fields;
use super::paging::{Listed, Page, page};
use super::{Brand, PAGES, format_time, missing, parse_time};
use crate::error::{Error, Kind, Result};
use crate::model::decimal::Decimal;
use crate::model::{ActionId, OrderId};

/// The longest range of dates in one request (`docs/vendor/brand.md` §3).
const RANGE: SignedDuration = SignedDuration::from_hours(45 * 24);

/// The fields of an action that recoup uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub id: ActionId,
    /// `PENDING`, `APPROVED`, `REVERSED` or another state; the set is open.
    pub state: Option<String>,
    /// Decimal text.
    pub amount: Option<String>,
    /// The amount before any modification, as decimal text.
    pub intended_amount: Option<String>,
    /// The ISO 4217 code of all amounts.
    pub currency: Option<String>,
    /// `Oid` in answers, `OrderId` in requests (`docs/vendor/contradictions.md` 25).
    pub oid: Option<OrderId>,
    /// After this date the action cannot be changed.
    pub locking_date: Option<String>,
    pub event_date: Option<String>,
    /// The ID of the event type.
    pub action_tracker_id: Option<String>,
    /// The ID of the program.
    pub campaign_id: Option<String>,
}

impl Action {
    pub fn is_reversed(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED"))
    }

    pub fn locks_at(&self) -> Option<Timestamp> {
        parse_time(self.locking_date.as_ref())
    }

    pub fn happened_at(&self) -> Option<Timestamp> {
        parse_time(self.event_date.as_ref())
    }
}

/// One item of an action's order. The vendor's schema has numbers as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionItem {
    /// A modification names the item by its SKU.
    pub sku: String,
    pub name: Option<String>,
    pub category: Option<String>,
    pub quantity: Option<String>,
    /// The price of the whole quantity.
    pub sale_amount: Option<String>,
    pub currency: Option<String>,
}

impl ActionItem {
    pub fn amount(&self) -> Option<Decimal> {
        Decimal::parse(self.sale_amount.as_deref()?)
    }
}

/// One entry in the log of an action: a change of state or a modification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionUpdate {
    /// `<ActionId>.<n>`.
    pub id: String,
    /// If the entry does not name the action, this is `id` up to its last dot.
    pub action_id: ActionId,
    /// The state after this entry. The Performance side shows a reversal as `REVERSED` (`docs/vendor/brand.md` §3).
    pub state: Option<String>,
    pub update_date: Option<String>,
}

impl ActionUpdate {
    pub fn updated_at(&self) -> Option<Timestamp> {
        parse_time(self.update_date.as_ref())
    }

    /// Whether the action is reversed after this entry.
    pub fn is_reversed(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED"))
    }
}

/// Which entries of the log to list. The vendor requires the program, accepts at most 45 days at once and no date older
/// than three years, and has no filter for one action (Actions v14, listActionUpdates).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFilter {
    /// The program: the `campaign_id` of an action, or the first group of its ActionId.
    pub campaign_id: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// `PENDING`, `APPROVED` or `REVERSED`; `None` for every state.
    pub state: Option<String>,
}

impl Brand {
    /// One action; `None` if the vendor does not know it, which may be so for every Advocate event
    /// (`docs/vendor/brand.md` §3). A body with another ActionId counts as unreadable.
    pub async fn action(&self, id: &ActionId) -> Result<Option<Action>> {
        let url = self.url(&format!("Actions/{}", escaped(id)?))?;
        let own = |body: &[u8]| {
            let mut found = actions(body)?;
            let is_foreign = found.iter().any(|action| action.id != *id);
            (!is_foreign).then(|| found.pop())
        };
        Ok(self.0.client.get("action", &url, own).await?.flatten())
    }

    /// The items of an action's order; `None` if the vendor does not know the action.
    ///
    /// # Errors
    /// Also `Vendor` if not every item can be read: a person must see the whole order before changing it.
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
    /// Also `Usage` for a range that the vendor does not accept.
    pub async fn action_updates(&self, filter: &UpdateFilter, pages: usize) -> Result<Listed<ActionUpdate>> {
        let span = filter.to.duration_since(filter.from);
        if span.is_negative() || span > RANGE {
            return Err(Error::new(Kind::Usage, "the vendor lists updates of at most 45 days at once"));
        }
        let mut pairs = vec![
            ("CampaignId", filter.campaign_id.clone()),
            ("StartDate", format_time(filter.from)),
            ("EndDate", format_time(filter.to)),
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

/// Reads one bare action, or the rows of a page.
pub(crate) fn actions(body: &[u8]) -> Option<Vec<Action>> {
    let fields = Fields::parse(body)?;
    if fields.raw("Actions").is_none() {
        return Some(vec![one_action(&fields)?]);
    }
    page(body, &["Actions"], |fields, _| one_action(fields)).map(|page| page.rows)
}

fn one_action(fields: &Fields) -> Option<Action> {
    Some(Action {
        id: ActionId::new(fields.text("Id")?),
        state: fields.text("State"),
        amount: fields.text("Amount"),
        intended_amount: fields.text("IntendedAmount"),
        currency: fields.text("Currency"),
        oid: fields.first_text(&["Oid", "OrderId"]).map(OrderId::new),
        locking_date: fields.text("LockingDate"),
        event_date: fields.text("EventDate"),
        action_tracker_id: fields.text("ActionTrackerId"),
        campaign_id: fields.text("CampaignId"),
    })
}

pub(crate) fn item_page(body: &[u8]) -> Option<Page<ActionItem>> {
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
    })
}

pub(crate) fn update_page(body: &[u8]) -> Option<Page<ActionUpdate>> {
    page(body, &["ActionUpdates", "ActionUpdate"], |fields, _| one_update(fields))
}

fn one_update(fields: &Fields) -> Option<ActionUpdate> {
    let id = fields.text("Id")?;
    let action_id = fields.text("ActionId").or_else(|| id.rsplit_once('.').map(|(action, _)| action.to_owned()))?;
    Some(ActionUpdate {
        action_id: ActionId::new(action_id),
        id,
        state: fields.text("State"),
        update_date: fields.text("UpdateDate"),
    })
}
