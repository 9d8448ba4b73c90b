//! Writes one reward in the form of the REST API, directly as bytes.
//!
//! The keys of a REST reward and their order follow the vendor's published examples, with their irregularities: nulls
//! or missing keys, numbers as text, unknown types and extra keys. `--tidy` omits the irregularities of the vendor's
//! rewards. The simulator builds no JSON tree of a reward, because a crawl reads a million rewards.

use super::{
    data::Data,
    facts::{Facts, Kind, State, Touch},
    keys::{ActionKey, RewardKey, Side},
    names::hex,
    options::{LinkIn, LinkNames},
    random::Tag,
};

/// The options of the notation of rewards in REST.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) tidy: bool,
    pub(super) link_in: LinkIn,
    pub(super) names: LinkNames,
}

/// The JSON keys of one spelling: order ID, second order ID, ActionId.
pub(super) type Names = (&'static str, &'static str, &'static str);

const SPELLINGS: [Names; 4] = [
    ("orderId", "orderNumber", "actionId"),
    ("order_id", "order_number", "action_id"),
    ("OrderId", "OrderNumber", "ActionId"),
    ("Oid", "OrderNumber", "ActionID"),
];

/// The order IDs and the ActionId in a reward. An ambiguous or shared reward has two order IDs.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) orders: Vec<String>,
    pub(super) action: Option<String>,
}

impl Style {
    /// Returns the order IDs and the ActionId in this reward.
    pub(super) fn link(self, data: &Data, key: RewardKey) -> Link {
        let RewardKey { buyer, order, action, side } = key;
        if !side.is_linked() {
            return Link::default();
        }
        let mut orders = vec![data.order_id(buyer, order)];
        // The unusual spelling of keys has no form for a second order ID.
        if self.names != LinkNames::Unusual {
            orders.extend(data.second_order_id(buyer, order));
        }
        Link { orders, action: data.action_id(ActionKey { buyer, order, action }) }
    }

    /// Returns the spelling of the fields in an action's event. The spelling of the event's fields is the same for each
    /// reward of an action.
    pub(super) fn event_names(self, data: &Data, action: ActionKey) -> Names {
        self.spelling(data.hash(Tag::Look, action.reward(Side::Friend).pack(), 0))
    }

    fn spelling(self, look: u64) -> Names {
        match self.names {
            LinkNames::Camel => SPELLINGS[0],
            LinkNames::Snake => SPELLINGS[1],
            LinkNames::Pascal => SPELLINGS[2],
            LinkNames::Oid => SPELLINGS[3],
            LinkNames::Unusual => ("merchantRef", "", "conversionRef"),
            LinkNames::Mixed => SPELLINGS[(look >> 40 & 3) as usize],
        }
    }

    /// Writes the reward as one JSON object, and returns its facts.
    pub(super) fn write(self, out: &mut Vec<u8>, data: &Data, key: RewardKey, touch: Touch) -> Facts {
        let facts = data.facts(key, touch, self.tidy);
        // Of sixteen rewards, one has only the keys of the oldest example, eleven have keys with null, and four omit
        // these keys.
        let style = if self.tidy { 15 } else { facts.look & 15 };
        let mut object = Object::new(out, (1..12).contains(&style), !self.tidy && (facts.look >> 8).is_multiple_of(32));
        object.order_numbers = !self.tidy;
        let sparse = style == 0;
        object.key("id").push(b'"');
        data.write_reward_id(object.out, key);
        object.out.push(b'"');
        if !sparse {
            object.null("uniqueId");
            object.number("dateCreated", Some(facts.created));
            object.text("programId", (key.side != Side::Manual).then_some("friends-and-family"));
            object.text("programRewardKey", (key.side != Side::Manual).then_some(program_reward_key(key.side)));
            object.null("globalRewardKey");
            if key.side == Side::Manual {
                object.null("referralId");
            } else {
                object.key("referralId").push(b'"');
                data.write_referral_id(object.out, key.buyer, key.order);
                object.out.push(b'"');
            }
        }
        object.text("type", Some(facts.kind.name()));
        object.number("dateGiven", Some(facts.created));
        object.number("dateExpires", facts.expires);
        object.number("dateCancelled", facts.cancelled);
        object.number("dateScheduledFor", facts.scheduled);
        let owner = touch.moved_to.unwrap_or_else(|| data.owner(data.holder(key)));
        let user = touch.moved_to.unwrap_or_else(|| data.holder(key));
        object.key("accountId");
        quoted(object.out, |out| data.write_account_id(out, owner));
        object.key("userId");
        quoted(object.out, |out| data.write_user_id(out, user));
        object.raw("cancellable", if facts.cancellable { "true" } else { "false" });
        object.text("rewardSource", Some(facts.source));
        write_value(&mut object, facts, data, key);
        if !self.tidy && (facts.look >> 16).is_multiple_of(16) {
            object.raw("labels", r#"["spring",null,7]"#);
            object.raw("debug", r#"{"shard":"eu-2","retries":0,"nested":{"depth":2}}"#);
        }
        self.write_link(&mut object, facts.look, data, key);
        object.end();
        facts
    }

    /// Writes the order ID and the ActionId into the part of the reward that `--link-in` sets. A reward without an
    /// order has an empty order ID or no key for it.
    fn write_link(self, object: &mut Object<'_>, look: u64, data: &Data, key: RewardKey) {
        let names = self.spelling(look);
        let manual = !key.side.is_linked();
        match self.link_in {
            LinkIn::None | LinkIn::Graphql => {}
            LinkIn::Reward => write_link_keys(object, names, data, key),
            LinkIn::Event if manual => object.null("userEvent"),
            LinkIn::Meta if manual => object.null("meta"),
            LinkIn::Event => {
                object.key("userEvent");
                let mut event = object.child();
                event.key("id").push(b'"');
                data.write_event_id(event.out, ActionKey { buyer: key.buyer, order: key.order, action: key.action });
                event.out.push(b'"');
                event.text("key", Some("purchase"));
                event.number("dateTriggered", Some(data.ordered(key.buyer, key.order)));
                event.key("fields");
                let mut fields = event.child();
                write_link_keys(&mut fields, names, data, key);
                fields.text("currency", Some(data.currency(key.buyer)));
                fields.end();
                event.end();
            }
            LinkIn::Meta => {
                object.key("meta");
                let mut meta = object.child();
                meta.text("source", Some("shop"));
                meta.key("customMeta");
                let mut custom = meta.child();
                write_link_keys(&mut custom, names, data, key);
                custom.end();
                meta.end();
            }
        }
    }
}

/// Writes the fields of the event that caused an order's reward, as in GraphQL.
pub(super) fn write_event_fields(object: &mut Object<'_>, style: Style, data: &Data, action: ActionKey) {
    object.order_numbers = !style.tidy;
    if style.link_in != LinkIn::None {
        write_link_keys(object, style.event_names(data, action), data, action.reward(Side::Friend));
    }
    object.text("currency", Some(data.currency(action.buyer)));
}

/// Returns the reward's value, its unit, and the name of the unit.
pub(super) fn worth(facts: Facts) -> (i64, &'static str, Option<&'static str>) {
    match facts.kind {
        Kind::Credit => (facts.assigned.unwrap_or_default(), "CENTS", Some("Dollar Credit")),
        Kind::FuelTank => (1000, "CENTS", Some("Dollar Credit")),
        Kind::Discount => (5 + (facts.look >> 20 & 15) as i64, "%", None),
        Kind::Integration => (20, "giftcard20", Some("Gift Card")),
        Kind::Unknown => (100, "POINT", Some("Store \"points\"")),
    }
}

fn write_link_keys(object: &mut Object<'_>, names: Names, data: &Data, key: RewardKey) {
    let RewardKey { buyer, order, action, side } = key;
    if !side.is_linked() {
        object.null(names.0);
        object.null(names.2);
        return;
    }
    let id = data.order_id(buyer, order);
    if object.order_numbers && data.order_id_is_number(buyer, order) {
        object.raw(names.0, &id);
    } else {
        object.text(names.0, Some(&id));
    }
    if !names.1.is_empty()
        && let Some(second) = data.second_order_id(buyer, order)
    {
        object.text(names.1, Some(&second));
    }
    object.text(names.2, data.action_id(ActionKey { buyer, order, action }).as_deref());
}

/// Returns the key of the program's reward for this recipient.
pub(super) fn program_reward_key(side: Side) -> &'static str {
    match side {
        Side::Friend => "referredReward",
        Side::Third | Side::Loose => "bonusReward",
        Side::Referrer | Side::Manual => "referrerReward",
    }
}

fn write_value(object: &mut Object<'_>, facts: Facts, data: &Data, key: RewardKey) {
    let (value, unit, name) = worth(facts);
    object.text("unit", Some(unit));
    object.number("discountPercent", (facts.kind == Kind::Discount).then_some(value));
    object.text("name", name);
    object.null("description");
    object.number("assignedCredit", facts.assigned);
    object.number("redeemedCredit", facts.redeemed);
    match facts.redeemed {
        Some(redeemed) if matches!(facts.state, State::Redeemed | State::PartlyRedeemed) || redeemed > 0 => {
            object.key("redemptions").extend_from_slice(b"[");
            let mut redemption = object.child();
            let mut digits = [0; 24];
            hex(&mut digits, data.scramble(key.pack() | 3 << 60));
            redemption.key("id").push(b'"');
            redemption.out.extend_from_slice(&digits);
            redemption.out.push(b'"');
            redemption.number("dateRedeemed", Some(facts.redeemed_at));
            redemption.number("quantityRedeemed", Some(redeemed));
            redemption.end();
            object.out.push(b']');
        }
        Some(_) => object.raw("redemptions", "[]"),
        None => object.null("redemptions"),
    }
    object.null("currency");
    let tank = facts.kind == Kind::FuelTank;
    object.number("amount", tank.then_some(value));
    object.text("fuelTankCode", tank.then_some("CODE8"));
    object.text("fueltankType", tank.then_some("CREDIT"));
}

/// Writes a JSON object key by key.
pub(super) struct Object<'a> {
    pub(super) out: &'a mut Vec<u8>,
    first: bool,
    nulls: bool,
    numbers_as_text: bool,
    order_numbers: bool,
}

impl<'a> Object<'a> {
    /// Opens a JSON object. With `nulls`, a JSON object has null for absent values; otherwise it omits the keys of
    /// absent values.
    pub(super) fn new(out: &'a mut Vec<u8>, nulls: bool, numbers_as_text: bool) -> Self {
        out.push(b'{');
        Self { out, first: true, nulls, numbers_as_text, order_numbers: false }
    }

    pub(super) fn child(&mut self) -> Object<'_> {
        self.out.push(b'{');
        Object {
            out: self.out,
            first: true,
            nulls: self.nulls,
            numbers_as_text: self.numbers_as_text,
            order_numbers: self.order_numbers,
        }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// Writes a key of the JSON object. The caller writes the value after the JSON key.
    pub(super) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn raw(&mut self, key: &str, value: &str) {
        self.key(key).extend_from_slice(value.as_bytes());
    }

    pub(super) fn null(&mut self, key: &str) {
        if self.nulls {
            self.raw(key, "null");
        }
    }

    pub(super) fn text(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => {
                self.key(key);
                string(self.out, value);
            }
            None => self.null(key),
        }
    }

    pub(super) fn number(&mut self, key: &str, value: Option<i64>) {
        let Some(value) = value else { return self.null(key) };
        let quoted = self.numbers_as_text;
        let out = self.key(key);
        if quoted {
            out.push(b'"');
        }
        integer(out, value);
        if quoted {
            out.push(b'"');
        }
    }
}

/// Writes the output of `write` as a JSON string.
pub(super) fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(b'"');
    write(out);
    // Few texts need escaping. Therefore only texts that need escaping are written a second time.
    if out[start + 1..].iter().any(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        let plain = out.split_off(start + 1);
        out.truncate(start);
        string(out, &String::from_utf8_lossy(&plain));
    } else {
        out.push(b'"');
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if !text.bytes().any(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                let mut digits = [0; 2];
                hex(&mut digits, u64::from(byte));
                out.extend_from_slice(&digits);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}
