//! Maps the codes of the vendor and of the ledger to words for people. Unlike the page, the API returns the codes
//! unchanged.

use crate::store::ledger::State;

/// Returns the state of a retraction in words.
pub(super) fn retraction_state(state: State) -> &'static str {
    match state {
        State::NotReceived => "not received",
        State::HandedOver => "handed over",
        other => other.as_str(),
    }
}

/// Currencies without hundredths, or with thousandths. The page shows amounts in these currencies as the vendor writes
/// them, because no document names their smallest unit.
const WITHOUT_CENTS: [&str; 20] = [
    "BHD", "BIF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "OMR", "PYG", "RWF",
    "TND", "UGX", "VND", "XAF",
];

/// Returns the state of a reward in words.
pub(super) fn state(code: &str) -> &str {
    match code {
        "partly_redeemed" => "partly redeemed",
        "missing" => "no longer listed",
        other => other,
    }
}

/// Returns the recipient of a reward in words.
pub(super) fn source(code: &str) -> String {
    match code {
        "REFERRED" => "referrer".to_owned(),
        "FRIEND_SIGNUP" => "friend".to_owned(),
        "MANUAL" => "given by hand".to_owned(),
        other => other.to_lowercase().replace('_', " "),
    }
}

/// Formats an amount with its currency or unit. Returns an empty text if the amount is unknown.
pub(super) fn amount(number: Option<i64>, unit: Option<&str>, currency: Option<&str>) -> String {
    let Some(number) = number else { return String::new() };
    match (unit, currency) {
        (Some("CENTS"), Some(currency)) if !WITHOUT_CENTS.contains(&currency) => {
            let (sign, cents) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
            format!("{sign}{}.{:02} {currency}", crate::model::grouped(cents / 100), cents % 100)
        }
        (Some("CENTS"), currency) => format!("{number} cents {}", currency.unwrap_or_default()).trim_end().to_owned(),
        (Some(unit), _) => format!("{number} {}", unit.to_lowercase().replace('_', " ")),
        (None, _) => number.to_string(),
    }
}

/// Replaces the unit of amounts in a text of the ledger. A text of the ledger names no currency, so the amounts stay in
/// cents.
pub(super) fn with_units(text: &str) -> String {
    text.replace(" CENTS", " cents")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_its_currency_and_no_cent_is_invented() {
        for (number, unit, currency, words) in [
            (Some(4200), Some("CENTS"), Some("USD"), "42.00 USD"),
            (Some(123_456_705), Some("CENTS"), Some("EUR"), "1,234,567.05 EUR"),
            (Some(-5), Some("CENTS"), Some("USD"), "-0.05 USD"),
            (Some(4200), Some("CENTS"), Some("JPY"), "4200 cents JPY"),
            (Some(4200), Some("CENTS"), None, "4200 cents"),
            (Some(15), Some("%"), Some("USD"), "15 %"),
            (Some(1), Some("MONTH"), None, "1 month"),
            (Some(7), None, None, "7"),
            (None, Some("CENTS"), Some("USD"), ""),
        ] {
            assert_eq!(amount(number, unit, currency), words);
        }
        assert_eq!((source("REFERRED").as_str(), source("AUTO_FILL").as_str()), ("referrer", "auto fill"));
        assert_eq!((state("partly_redeemed"), state("cancelled")), ("partly redeemed", "cancelled"));
    }
}
