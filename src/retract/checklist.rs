//! Lists the steps that a person should check outside the API, in the order of the vendor's refund guide.
//!
//! The checklist only restates the vendor's refund guide (sections A, D and F), the help centre and the program's
//! rules.

use crate::model::program_rule::{ProgramRule, RuleState};

pub const WHERE_TO_LOOK: &str = "the vendor shows the result under Engage → Reporting → Referral Feed: status Started, with the date of the retraction";

/// The vendor configuration that a reversal needs to take rewards back.
pub const PROGRAM_RULE: &[&str] = &[
    "a program rule must exist, or nothing is taken back: Engage → Program rules → Add Rule",
    "trigger: Friend refunds a purchase",
    "select the purchase event that the refund belongs to, name the rule, Next",
    "select the action to take, name it, Next; review and Save",
];

/// Returns the steps to check for a reward that a reversal did not cancel. `rules` contains the program rules, as
/// recoup read them before the send.
pub fn why_it_may_stand(sent_by_action_id: bool, rules: &[ProgramRule]) -> Vec<String> {
    let mut steps: Vec<String> =
        rules.iter().map(|rule| format!("seen before it was sent, {}", rule.dated_line())).collect();
    let rule = if rules.iter().any(|rule| rule.state == RuleState::NoSuchRule) {
        "1. there was no program rule for refunds when this was sent, so its rewards are expected to stay: set the rule up under          Engage → Program rules → Add Rule → Friend refunds a purchase → the purchase event → Next → the action → Next → Save;          then send it again with `recoup retract ORDER --resend --reason TEXT`, from 24 hours after the submission completed"
    } else if rules.iter().any(|rule| rule.state == RuleState::FoundBut) {
        "1. the program rule has the limits named above, and may leave rewards out: look at it under Engage → Program rules"
    } else if rules.iter().any(|rule| rule.state != RuleState::Found) || rules.is_empty() {
        "1. is there a program rule with the trigger Friend refunds a purchase for this purchase event? Engage → Program rules \
         → Add Rule → Friend refunds a purchase → the purchase event → Next → the action → Next → Save"
    } else {
        "1. the program rule was found: is it still there, and is it for this purchase event? Engage → Program rules → Friend \
         refunds a purchase"
    };
    steps.extend([rule.to_owned(), "2. did the call carry Amount=0? It did: recoup always sends it".to_owned()]);
    steps.push(if sent_by_action_id {
        "3. is it the right ActionId? Compare it with the event in the vendor's Reward Feed (Show more)".to_owned()
    } else {
        "3. is it the right order ID and action tracker ID (Settings → Event Types)?".to_owned()
    });
    steps.push(format!("then {WHERE_TO_LOOK}"));
    steps
}

/// Returns the steps to check after an adjustment with an uncertain outcome.
pub fn uncertain_change() -> Vec<String> {
    vec![
        "the vendor may or may not have made the change; recoup never sends it again by itself, and takes no other change of \
         this action until it is known"
            .to_owned(),
        "look at the action in the vendor's platform under Engage → Transactions, and compare its items".to_owned(),
    ]
}

/// Returns the steps to check for a request that the vendor did not answer. `looked` is the result of the newest
/// reading of the submissions list.
pub fn unknown_request(looked: Option<&str>) -> Vec<String> {
    let mut steps = vec![
        "no answer came, so the vendor may or may not have received it; recoup never sends it again by itself"
            .to_owned(),
        "`recoup verify` continues to read the rewards and, rarely, the vendor's list of submissions. It ends as confirmed, \
         or as not_received once two whole lists without it were read an hour apart"
            .to_owned(),
    ];
    steps.extend(looked.map(|looked| format!("the newest reading: {looked}")));
    steps.push(format!("until then look yourself: {WHERE_TO_LOOK}"));
    steps
}

/// Returns the steps to check for a request that the vendor did not receive.
pub fn not_received() -> Vec<String> {
    vec!["nothing was taken back; send it again with `recoup retract ORDER --resend --reason TEXT`".to_owned()]
}

/// Returns the steps to check for a reward whose cancellation had no effect.
pub fn why_a_reward_may_stand() -> Vec<String> {
    vec![
        "recoup does not cancel it again; look under Engage → Participants → the participant → Rewards, where More → Cancel \
         Reward does it by hand"
            .to_owned(),
        "`recoup verify` reads it again, and confirms it once it reads as cancelled".to_owned(),
        REWARD_ALONE.to_owned(),
    ]
}

pub const REWARD_ALONE: &str = "this cancels one reward: it does not reverse the action, whose other rewards stay";
