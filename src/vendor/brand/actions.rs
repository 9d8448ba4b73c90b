//! Reads actions from the Brand API: one action, its items, and the log of changes.
//!
//! The vendor's facts about actions are from `docs/vendor/brand.md` §2, §3 (Actions v14: Action, ActionItem,
//! ActionUpdate). The vendor does not publish whether an Advocate event is an action. Therefore a 404 for an action is
//! a normal answer. No version of the Brand API can search actions by order ID. The texts and amounts of an action stay
//! in the vendor's notation.

use jiff::{SignedDuration, Timestamp};

use super::super::advocate::segment;
use super::super::loose_json::Fields;
use super::paging::{Listed, Page, page};
use super::{Brand, PAGES, format_time, missing, parse_time};
use crate::error::{Error, Kind, Result};
use crate::model::decimal::Decimal;
use crate::model::{ActionId, OrderId};

/// The longest range of dates that the vendor accepts in one request for the action log (`docs/vendor/brand.md` §3).
const RANGE: SignedDuration = SignedDuration::from_hours(45 * 24);

/// The fields of an action that recoup uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub id: ActionId,
    /// The state of the action: `PENDING`, `APPROVED`, `REVERSED` or another state. The vendor may add states.
    pub state: Option<String>,
    /// The current amount of the action, as decimal text.
    pub amount: Option<String>,
    /// The amount of the action before every modification, as decimal text.
    pub intended_amount: Option<String>,
    /// The ISO 4217 currency code of every amount in this action.
    pub currency: Option<String>,
    /// The order ID of the action. The vendor calls the order ID `Oid` in answers and `OrderId` in requests
    /// (`docs/vendor/contradictions.md` 25).
    pub oid: Option<OrderId>,
    /// The date after which the vendor refuses changes to the action.
    pub locking_date: Option<String>,
    pub event_date: Option<String>,
    /// The ID of the action's event type.
    pub action_tracker_id: Option<String>,
    /// The ID of the action's program.
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

/// One item of an action's order. The vendor's schema writes the numbers of an item as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionItem {
    /// The SKU of the item. A modification names an item by its SKU.
    pub sku: String,
    pub name: Option<String>,
    pub category: Option<String>,
    pub quantity: Option<String>,
    /// The price of all units of the item.
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
    /// The ID of the log entry: `<ActionId>.<n>`.
    pub id: String,
    /// The ActionId of the log entry. If the entry has no ActionId, recoup takes the part of `id` before its last dot.
    pub action_id: ActionId,
    /// The state of the action after this log entry. The Performance side of the vendor shows a reversal as `REVERSED`
    /// (`docs/vendor/brand.md` §3).
    pub state: Option<String>,
    pub update_date: Option<String>,
}

impl ActionUpdate {
    pub fn updated_at(&self) -> Option<Timestamp> {
        parse_time(self.update_date.as_ref())
    }

    /// Returns `true` if this log entry leaves the action reversed.
    pub fn is_reversed(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED"))
    }
}

/// Selects entries of the action log. For the action log, the vendor requires a program, limits a request to 45 days,
/// rejects dates older than three years, and cannot filter by action (Actions v14, listActionUpdates).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFilter {
    /// The ID of the program: the `campaign_id` of an action, or the first group of its ActionId.
    pub campaign_id: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// The state of the actions to select: `PENDING`, `APPROVED` or `REVERSED`; `None` selects every state.
    pub state: Option<String>,
}

impl Brand {
    /// Reads one action; `None` if the vendor does not know the ActionId. The vendor may know no Advocate event as an
    /// action (`docs/vendor/brand.md` §3). A response with another ActionId counts as unreadable.
    pub async fn action(&self, id: &ActionId) -> Result<Option<Action>> {
        let url = self.url(&format!("Actions/{}", escaped(id)?))?;
        let own = |body: &[u8]| {
            let mut found = actions(body)?;
            let is_foreign = found.iter().any(|action| action.id != *id);
            (!is_foreign).then(|| found.pop())
        };
        Ok(self.0.client.get("action", &url, own).await?.flatten())
    }

    /// Reads the items of an action's order; `None` if the vendor does not know the action.
    ///
    /// # Errors
    /// Also fails with `Vendor` if any item cannot be read, because the caller changes an order only after it has seen
    /// every item.
    pub async fn action_items(&self, id: &ActionId) -> Result<Option<Vec<ActionItem>>> {
        let url = self.url(&format!("Actions/{}/Items", escaped(id)?))?;
        match self.list("action items", url, PAGES, item_page).await? {
            Some(list) if !list.complete => {
                Err(Error::new(Kind::Vendor, "the vendor's list of the action's items could not be read whole"))
            }
            list => Ok(list.map(|list| list.rows)),
        }
    }

    /// Reads at most `pages` pages of the log of a program's actions.
    ///
    /// # Errors
    /// Also fails with `Usage` if the vendor does not accept the date range.
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

/// Parses one bare action, or the actions of a page.
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
