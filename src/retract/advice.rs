//! What the vendor's guide asks for outside the API, in the guide's order.
//!
//! Text only. Everything here restates the refund guide (sections A, D and F); nothing may be added that it does not say.

/// Where the result of a retraction is shown.
pub const WHERE_TO_LOOK: &str = "the vendor shows the result under Engage → Reporting → Referral Feed: status Started, with the date of the retraction";

/// The set-up without which no reversal takes a reward back.
pub const PROGRAM_RULE: &[&str] = &[
    "a program rule must exist, or nothing is taken back: Engage → Program rules → Add Rule",
    "trigger: Friend refunds a purchase",
    "select the purchase event that the refund belongs to, name the rule, Next",
    "select the action to take, name it, Next; review and Save",
];

/// What to check when a reward stays, in the guide's order.
pub fn why_it_may_stand(sent_by_action_id: bool) -> Vec<String> {
    let mut steps = vec![
        "1. is there a program rule with the trigger Friend refunds a purchase for this purchase event? Engage → Program rules \
         → Add Rule → Friend refunds a purchase → the purchase event → Next → the action → Next → Save"
            .to_owned(),
        "2. did the call carry Amount=0? It did: recoup always sends it".to_owned(),
    ];
    steps.push(if sent_by_action_id {
        "3. is it the right ActionId? Compare it with the event in the vendor's Reward Feed (Show more)".to_owned()
    } else {
        "3. is it the right order ID and action tracker ID (Settings → Event Types)?".to_owned()
    });
    steps.push(format!("then {WHERE_TO_LOOK}"));
    steps
}

/// What a person should look at when a change of an action was not answered, or its submission is gone.
pub fn what_a_doubtful_change_means() -> Vec<String> {
    vec![
        "the vendor may or may not have made the change; recoup never sends it again by itself, and takes no other change of \
         this action until it is known"
            .to_owned(),
        "look at the action in the vendor's platform under Engage → Transactions, and compare its items".to_owned(),
    ]
}

/// What a person should look at when no answer came.
pub fn what_unknown_means() -> Vec<String> {
    vec![
        "no answer came, so the vendor may or may not have received it; recoup never sends it again by itself"
            .to_owned(),
        "`recoup verify` goes on reading the rewards: once they are cancelled, this is confirmed".to_owned(),
        format!("until then look yourself: {WHERE_TO_LOOK}"),
    ]
}
