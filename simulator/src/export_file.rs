//! Writes the file of a simulated export: its columns, and its rows in pieces.
//!
//! The vendor publishes no column names for exports. Therefore the simulated columns follow the fields of the API. The
//! simulator writes the rows from [`World`] while it sends the file. Therefore the file of a million participants is
//! never in memory.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{
    advocate::shows_email,
    data::Data,
    facts::{Facts, State},
    keys::{RewardKey, Side},
    options::ExportColumns,
    reward_json::{Link, integer, program_reward_key, worth},
    world::World,
};

/// The number of participants in each piece of an export file.
const PIECE: u64 = 500;

/// The kind of objects in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reward,
    User,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    kind: Kind,
    /// The export contains only rewards modified, or users created, at or after this time, in Unix milliseconds.
    since: Option<i64>,
    user_fields: bool,
    referral_fields: bool,
}

/// The parameters that an export accepts: the parameters in the vendor's document, and the filters of its
/// `RewardFilterInput`.
const PARAMS: [&str; 10] = [
    "createdSince",
    "createdBefore",
    "updatedSince",
    "updatedBefore",
    "createdOrUpdatedSince",
    "createdOrUpdatedBefore",
    "programId",
    "filter",
    "at",
    "fields",
];
const FILTERED: [&str; 16] = [
    "id",
    "type",
    "unit",
    "rewardSource",
    "userId",
    "accountId",
    "referralId",
    "programId",
    "programRewardKey",
    "globalRewardKey",
    "dateCreated",
    "dateGiven",
    "dateExpires",
    "dateCancelled",
    "dateScheduledFor",
    "dateRedeemed",
];
const COMPARED: [&str; 9] = ["eq", "in", "ne", "nin", "exists", "gte", "lt", "timeframe", "interval"];

impl Content {
    /// Parses the `params` of an export. The parse error contains the unknown parameter or value.
    pub(super) fn read(kind: Kind, params: &Value) -> Result<Self, String> {
        let object = |value: &Value, what: &str| match value {
            Value::Null => Ok(Vec::new()),
            Value::Object(map) => Ok(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
            _ => Err(format!("{what} is no object.")),
        };
        let mut content = Self { kind, since: None, user_fields: false, referral_fields: false };
        for (key, value) in object(params, "params")? {
            match (key.as_str(), kind) {
                ("createdOrUpdatedSince", Kind::User) => content.since = Some(moment(&key, &value)?),
                ("filter", Kind::Reward) => {
                    for (key, value) in object(&value, "filter")? {
                        match key.rsplit_once('_') {
                            Some(("dateModified", "gte")) => content.since = Some(moment(&key, &value)?),
                            Some((field, compared))
                                if (FILTERED.contains(&field) || field == "dateModified")
                                    && COMPARED.contains(&compared) => {}
                            None if key == "AND" || key == "OR" => {}
                            _ => return Err(format!("{key} is no field of RewardFilterInput.")),
                        }
                    }
                }
                ("fields", _) => {
                    let is_on = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
                    content.user_fields = is_on("includeUserFields");
                    content.referral_fields = is_on("includeReferralFields");
                }
                (known, _) if PARAMS.contains(&known) => {}
                _ => return Err(format!("{key} is no parameter of an export.")),
            }
        }
        Ok(content)
    }

    fn columns(self, shape: ExportColumns) -> Vec<Column> {
        use Column as C;
        if self.kind == Kind::User {
            return vec![C::User, C::Account, C::Email, C::FirstName, C::LastName, C::Created];
        }
        let mut columns = vec![
            C::Id,
            C::Type,
            C::Unit,
            C::Value,
            C::Assigned,
            C::Redeemed,
            C::Program,
            C::ProgramRewardKey,
            C::Source,
            C::Created,
            C::Given,
            C::ScheduledFor,
            C::Expires,
            C::Cancelled,
            C::Modified,
            C::Statuses,
        ];
        if shape != ExportColumns::NoAccount {
            columns.extend([C::Account, C::UserId]);
        }
        if self.user_fields {
            columns.extend([C::Email, C::FirstName, C::LastName]);
        }
        if self.referral_fields {
            columns.push(C::Referral);
        }
        if shape == ExportColumns::Linked {
            columns.extend([C::Order, C::Action, C::OtherOrder]);
        }
        columns
    }

    /// Returns the export file in pieces. With `breaks`, returns at most half of the export file.
    pub(super) fn pieces(
        self,
        world: Arc<World>,
        shape: ExportColumns,
        breaks: bool,
    ) -> impl Iterator<Item = Bytes> + Send + Sync {
        let columns = self.columns(shape);
        let half = world.page_unchanged(0, 1).1 / 2;
        let (mut offset, mut begun) = (0, false);
        std::iter::from_fn(move || {
            let mut piece = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
            if !begun {
                begun = true;
                // Writing into a Vec cannot fail.
                let _written = piece.write_record(columns.iter().map(|column| column.name()));
                return piece.into_inner().ok().map(Bytes::from);
            }
            loop {
                let size = if breaks { PIECE.min(half.saturating_sub(offset)) } else { PIECE };
                let (people, _) = world.page_unchanged(offset, size);
                if people.is_empty() {
                    return None;
                }
                offset += people.len() as u64;
                for person in people {
                    self.write(&mut piece, &columns, &world, person);
                }
                let _flushed = piece.flush();
                // Skips empty pieces of the file, because each piece costs a write.
                if !piece.get_ref().is_empty() {
                    break;
                }
            }
            let mut piece = piece.into_inner().ok()?;
            if breaks && offset >= half {
                // Cuts the export file in the middle of a row, because a client must be able to see the break.
                piece.truncate(piece.len() - 5);
            }
            Some(Bytes::from(piece))
        })
    }

    /// Writes the rows of one participant: the user's row, or the rewards of the account that the participant owns.
    fn write(self, out: &mut csv::Writer<Vec<u8>>, columns: &[Column], world: &World, person: u64) {
        let data = &world.data;
        let mut cell = Vec::with_capacity(64);
        if self.kind == Kind::User {
            let created = data.joined(person);
            if self.since.is_none_or(|since| created >= since) {
                let row = Row { data, owner: data.owner(person), user: person, created, reward: None };
                row.write(out, columns, world, &mut cell);
            }
            return;
        }
        if data.owner(person) != person {
            return;
        }
        let is_linked = columns.contains(&Column::Order);
        world.rewards(person, |key, touch| {
            let facts = data.facts(key, touch, world.style.tidy);
            if self.since.is_some_and(|since| facts.modified < since) {
                return;
            }
            let link = if is_linked { world.style.link(data, key) } else { Link::default() };
            let user = touch.moved_to.unwrap_or_else(|| data.holder(key));
            let reward = Reward { key, facts, link };
            let row = Row { data, owner: person, user, created: facts.created, reward: Some(reward) };
            row.write(out, columns, world, &mut cell);
        });
    }
}

/// Parses a time in Unix milliseconds from a number or a text.
fn moment(key: &str, value: &Value) -> Result<i64, String> {
    let ms = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    ms.ok_or_else(|| format!("{key} is no moment in Unix milliseconds."))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    /// The column of the user's ID. In an export of users, the name of the user ID's column is `id`.
    User,
    Type,
    Unit,
    Value,
    Assigned,
    Redeemed,
    Program,
    ProgramRewardKey,
    Source,
    Created,
    Given,
    ScheduledFor,
    Expires,
    Cancelled,
    Modified,
    Statuses,
    Account,
    UserId,
    Email,
    FirstName,
    LastName,
    Referral,
    Order,
    Action,
    OtherOrder,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Id | Self::User => "id",
            Self::Type => "type",
            Self::Unit => "unit",
            Self::Value => "value",
            Self::Assigned => "assignedCredit",
            Self::Redeemed => "redeemedCredit",
            Self::Program => "programId",
            Self::ProgramRewardKey => "programRewardKey",
            Self::Source => "rewardSource",
            Self::Created => "dateCreated",
            Self::Given => "dateGiven",
            Self::ScheduledFor => "dateScheduledFor",
            Self::Expires => "dateExpires",
            Self::Cancelled => "dateCancelled",
            Self::Modified => "dateModified",
            Self::Statuses => "statuses",
            Self::Account => "accountId",
            Self::UserId => "userId",
            Self::Email => "email",
            Self::FirstName => "firstName",
            Self::LastName => "lastName",
            Self::Referral => "referralId",
            Self::Order => "orderId",
            Self::Action => "actionId",
            Self::OtherOrder => "orderNumber",
        }
    }
}

struct Row<'a> {
    data: &'a Data,
    owner: u64,
    user: u64,
    created: i64,
    reward: Option<Reward>,
}

struct Reward {
    key: RewardKey,
    facts: Facts,
    link: Link,
}

impl Row<'_> {
    fn write(&self, out: &mut csv::Writer<Vec<u8>>, columns: &[Column], world: &World, cell: &mut Vec<u8>) {
        for column in columns {
            cell.clear();
            if let Some(reward) = &self.reward {
                reward.write(cell, *column, self.data);
            }
            self.write_shared(cell, *column, world);
            // Writing into a Vec cannot fail.
            let _written = out.write_field(&*cell);
        }
        let _written = out.write_record(None::<&[u8]>);
    }

    /// Writes a cell of a column that exports of users and of rewards have.
    fn write_shared(&self, cell: &mut Vec<u8>, column: Column, world: &World) {
        match column {
            Column::User | Column::UserId => self.data.write_user_id(cell, self.user),
            Column::Account => self.data.write_account_id(cell, self.owner),
            Column::Email if shows_email(world, self.user) => {
                cell.extend_from_slice(self.data.email(self.user).as_bytes());
            }
            Column::FirstName => cell.extend_from_slice(self.data.first_name(self.user).as_bytes()),
            Column::LastName => cell.extend_from_slice(self.data.last_name(self.user).as_bytes()),
            Column::Created => integer(cell, self.created),
            _ => {}
        }
    }
}

impl Reward {
    /// Writes a cell of a column that only exports of rewards have.
    fn write(&self, cell: &mut Vec<u8>, column: Column, data: &Data) {
        let Self { key, facts, link, .. } = self;
        let by_program = key.side != Side::Manual;
        let number = match column {
            Column::Value => Some(worth(*facts).0),
            Column::Assigned => facts.assigned,
            Column::Redeemed => facts.redeemed,
            Column::Given => Some(facts.created),
            Column::ScheduledFor => facts.scheduled,
            Column::Expires => facts.expires,
            Column::Cancelled => facts.cancelled,
            Column::Modified => Some(facts.modified),
            _ => None,
        };
        if let Some(number) = number {
            integer(cell, number);
        }
        let text = match column {
            Column::Type => facts.kind.name(),
            Column::Unit => worth(*facts).1,
            Column::Program if by_program => "friends-and-family",
            Column::ProgramRewardKey if by_program => program_reward_key(key.side),
            Column::Source => facts.source,
            Column::Statuses => statuses(facts.state),
            Column::Order => link.orders.first().map_or("", String::as_str),
            Column::OtherOrder => link.orders.get(1).map_or("", String::as_str),
            Column::Action => link.action.as_deref().unwrap_or_default(),
            _ => "",
        };
        cell.extend_from_slice(text.as_bytes());
        match column {
            Column::Id => data.write_reward_id(cell, *key),
            Column::Referral if by_program => data.write_referral_id(cell, key.buyer, key.order),
            _ => {}
        }
    }
}

/// The vendor writes a list of statuses into an export's cell. In the simulator, the list of statuses always has one
/// element.
fn statuses(state: State) -> &'static str {
    match state {
        State::Pending => "PENDING",
        State::Available | State::PartlyRedeemed => "AVAILABLE",
        State::Redeemed => "REDEEMED",
        State::Expired => "EXPIRED",
        State::Cancelled => "CANCELLED",
    }
}
