//! Parses amounts as shops write them: `-12.50`, `12,50 €`, `(1.234,50)`, `USD 1,234.50`.
//!
//! Parsed amounts are exact decimals. `1,234` may mean 1234 or 1.234. Therefore `1,234` is an error, because a wrong
//! amount could make a partial refund look like a full refund.

pub use crate::model::decimal::Decimal;

const MAX_DIGITS: usize = 18;

/// The ISO 4217 codes of current currencies.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ \
    GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL \
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG \
    QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS \
    UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// The signed amount, in whole units of the currency.
    pub value: Decimal,
    /// The currency: its ISO 4217 code if the cell has one, otherwise its sign. A currency sign may mean several
    /// currencies: see [`may_be_same_currency`].
    pub currency: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountError {
    /// The text of the cell may mean two different amounts.
    Ambiguous,
    Unreadable,
}

/// Parses a cell as an amount; `None` if the cell is empty.
pub fn parse(text: &str) -> Result<Option<Amount>, AmountError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    let (inner, in_parentheses) = match trimmed.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (inner.trim(), true),
        None => (trimmed, false),
    };
    let number_part = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
    let start = inner.find(number_part).ok_or(AmountError::Unreadable)?;
    let end = inner.rfind(number_part).ok_or(AmountError::Unreadable)? + 1;
    let before = parse_affix(&inner[..start])?;
    let after = parse_affix(&inner[end..])?;
    let signs = usize::from(in_parentheses) + usize::from(before.sign.is_some()) + usize::from(after.sign.is_some());
    let differ = matches!((&before.code, &after.code), (Some(one), Some(other)) if !may_be_same_currency(one, other));
    if signs > 1 || (before.is_iso && after.is_iso) || differ {
        return Err(AmountError::Unreadable);
    }
    let code = if after.is_iso { after.code } else { before.code.or(after.code) };
    let value = number(&inner[start..end])?;
    let negative = in_parentheses || before.sign.or(after.sign) == Some('-');
    Ok(Some(Amount { value: if negative { -value } else { value }, currency: code }))
}

/// Parses a JSON number, whose decimal point is always `.`.
pub fn parse_json_number(text: &str) -> Result<Option<Amount>, AmountError> {
    let (bare, negative) = match text.strip_prefix('-') {
        Some(bare) => (bare, true),
        None => (text, false),
    };
    let (whole, rest) = bare.split_once('.').unwrap_or((bare, ""));
    let value = decimal(whole, rest)?;
    let value = if negative { -value } else { value };
    Ok(Some(Amount { value, currency: None }))
}

/// The text before or after the digits of an amount.
#[derive(Debug, Default)]
struct Affix {
    sign: Option<char>,
    code: Option<String>,
    is_iso: bool,
}

fn parse_affix(text: &str) -> Result<Affix, AmountError> {
    let mut found = Affix::default();
    let mut name = String::new();
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '+' | '-' | '\u{2212}' if found.sign.is_none() => found.sign = Some(if c == '+' { '+' } else { '-' }),
            '+' | '-' | '\u{2212}' => return Err(AmountError::Unreadable),
            c => name.push(c),
        }
    }
    if name.is_empty() {
        return Ok(found);
    }
    if let Some(code) = CURRENCIES.split_ascii_whitespace().find(|code| *code == name) {
        found.code = Some(code.to_owned());
        found.is_iso = true;
        return Ok(found);
    }
    found.code = match codes_of(&name) {
        Some(codes) if codes.len() == 3 => Some(codes.to_owned()),
        Some(_) => Some(name.to_lowercase()),
        None if is_symbol(&name) => Some(name),
        // Refuses an amount with words, a percent sign or another unit.
        None => return Err(AmountError::Unreadable),
    };
    Ok(found)
}

/// The currency codes that a sign may mean, separated by blanks.
fn codes_of(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "€" => "EUR",
        "£" => "GBP",
        "US$" => "USD",
        "C$" | "CA$" => "CAD",
        "A$" | "AU$" => "AUD",
        "NZ$" => "NZD",
        "HK$" => "HKD",
        "S$" => "SGD",
        "NT$" => "TWD",
        "MX$" => "MXN",
        "R$" => "BRL",
        "₹" => "INR",
        "₩" => "KRW",
        "₺" => "TRY",
        "₽" => "RUB",
        "₫" => "VND",
        "₪" => "ILS",
        "₱" => "PHP",
        "₴" => "UAH",
        "฿" => "THB",
        "zł" => "PLN",
        "¥" | "￥" => "JPY CNY",
        "kr" | "Kr" => "SEK NOK DKK ISK",
        "$" | "＄" => {
            "USD CAD AUD NZD HKD SGD TWD MXN ARS CLP COP UYU BBD BMD BND BSD BZD FJD GYD JMD KYD LRD NAD SBD SRD TTD XCD"
        }
        _ => return None,
    })
}

/// Returns `true` if a text is a currency code, in upper or lower case.
pub fn is_currency(text: &str) -> bool {
    CURRENCIES.split_ascii_whitespace().any(|code| code.eq_ignore_ascii_case(text))
}

/// Returns `true` if two currency codes or signs may mean the same currency. An unknown currency sign may mean any
/// currency.
pub fn may_be_same_currency(one: &str, other: &str) -> bool {
    let codes = |name: &str| match codes_of(name) {
        Some(codes) => Some(codes.to_owned()),
        None => name.bytes().all(|b| b.is_ascii_alphabetic()).then(|| name.to_uppercase()),
    };
    match (codes(one), codes(other)) {
        (Some(one), Some(other)) => {
            one.split_ascii_whitespace().any(|code| other.split_ascii_whitespace().any(|it| it == code))
        }
        _ => true,
    }
}

/// Returns `true` if a text is a currency sign: one symbol with at most two letters before it, such as `$`, `₹` or
/// `A$`. `¢` is not a currency sign here, because `1250¢` is 12.50.
fn is_symbol(name: &str) -> bool {
    let sign = |c: char| matches!(c, '$' | '£' | '¥' | '฿' | '＄' | '￥' | '\u{20a0}'..='\u{20bf}');
    name.ends_with(sign) && name.chars().count() <= 3 && name.chars().rev().skip(1).all(|c| c.is_ascii_uppercase())
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',') || groups_only(c)
}

/// Returns `true` if a mark always separates thousands and is never a decimal point.
fn groups_only(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}')
}

fn number(text: &str) -> Result<Decimal, AmountError> {
    if !text.chars().all(|c| c.is_ascii_digit() || is_mark(c)) {
        return Err(AmountError::Unreadable);
    }
    let marks: Vec<char> = text.chars().filter(|c| is_mark(*c)).collect();
    let Some(last) = marks.last().copied() else { return decimal(text, "") };
    let first = marks[0];
    let (head, tail) = text.rsplit_once(last).ok_or(AmountError::Unreadable)?;
    if first == last {
        if marks.iter().any(|mark| *mark != first) {
            return Err(AmountError::Unreadable);
        }
        if marks.len() > 1 || groups_only(first) {
            // A mark that occurs twice in an amount is a thousands separator.
            return grouped(text, first).and_then(|whole| decimal(&whole, ""));
        }
        if tail.is_empty() {
            return Err(AmountError::Unreadable);
        }
        if tail.len() == 3 && (1..=3).contains(&head.len()) && !head.starts_with('0') {
            return Err(AmountError::Ambiguous);
        }
        return decimal(head, tail);
    }
    // If a number contains two different marks, the first separates thousands and the last is the decimal point.
    if tail.is_empty() || groups_only(last) || marks[..marks.len() - 1].iter().any(|mark| *mark != first) {
        return Err(AmountError::Unreadable);
    }
    grouped(head, first).and_then(|whole| decimal(&whole, tail))
}

/// Returns the digits of an amount such as `1,234,567`. Fails if a group of digits has a wrong length.
fn grouped(text: &str, mark: char) -> Result<String, AmountError> {
    let mut groups = text.split(mark);
    let first = groups.next().unwrap_or_default();
    let fits = (1..=3).contains(&first.len()) && !first.starts_with('0') && groups.all(|group| group.len() == 3);
    if fits { Ok(text.split(mark).collect()) } else { Err(AmountError::Unreadable) }
}

fn decimal(whole: &str, rest: &str) -> Result<Decimal, AmountError> {
    let digits = format!("{whole}{rest}");
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::Unreadable);
    }
    Decimal::parse(&format!("{whole}.{rest}")).ok_or(AmountError::Unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sign_may_stand_for_several_currencies() {
        for (one, other, may) in [
            ("$", "USD", true),
            ("$", "cad", true),
            ("$", "EUR", false),
            ("¥", "$", false),
            ("¥", "JPY", true),
            ("kr", "SEK", true),
            ("usd", "USD", true),
            ("USD", "EUR", false),
            ("₸", "USD", true),
        ] {
            assert_eq!(
                (may_be_same_currency(one, other), may_be_same_currency(other, one)),
                (may, may),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn an_unambiguous_amount_is_parsed() {
        for (text, value, currency) in [
            ("0", "0", None),
            ("0.00", "0", None),
            ("-0,00", "0", None),
            ("12.50", "12.5", None),
            ("12,50", "12.5", None),
            (" -12.50 ", "-12.5", None),
            ("\u{2212}12,50", "-12.5", None),
            ("12.50-", "-12.5", None),
            ("+7", "7", None),
            ("(12.50)", "-12.5", None),
            ("($1,234.50)", "-1234.5", Some("$")),
            ("$12.50 USD", "12.5", Some("USD")),
            ("€12,50", "12.5", Some("EUR")),
            ("12,50\u{a0}€", "12.5", Some("EUR")),
            ("EUR 1.234,50", "1234.5", Some("EUR")),
            ("-£3", "-3", Some("GBP")),
            ("£-3", "-3", Some("GBP")),
            ("US$3", "3", Some("USD")),
            ("A$3.1", "3.1", Some("AUD")),
            ("1'234.50 CHF", "1234.5", Some("CHF")),
            ("1\u{202f}234,5", "1234.5", None),
            ("1 234 567", "1234567", None),
            ("1,234,567", "1234567", None),
            ("1.234.567", "1234567", None),
            ("1,234.567", "1234.567", None),
            ("1234.567", "1234.567", None),
            ("0.123", "0.123", None),
            ("0,000", "0", None),
            (".500", "0.5", None),
            ("1.2345", "1.2345", None),
            ("12 kr", "12", Some("kr")),
        ] {
            let amount = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}")).expect(text);
            let value = Decimal::parse(value).expect(value);
            assert_eq!((amount.value, amount.currency.as_deref()), (value, currency), "{text:?}");
        }
        assert_eq!(parse(" \u{a0}"), Ok(None));
    }

    #[test]
    fn an_ambiguous_or_unreadable_amount_is_an_error() {
        for text in ["1,234", "1.234", "-12,345", "€ 100.000", "(1,000)"] {
            assert_eq!(parse(text), Err(AmountError::Ambiguous), "{text:?}");
        }
        for text in [
            "x",
            "12 pcs",
            "50%",
            "1E+02",
            "1250¢",
            "12.",
            ",",
            "--1",
            "-1-",
            "(-1)",
            "1,23,456.50",
            "1.2.3",
            "1,234,56",
            "0,123,456",
            "1.234,567.8",
            "1 234'567",
            "EUR 1 USD",
            "€1 USD",
            "1234567890123456789",
            "١٢",
            "12/50",
            "#REF!",
            "=1+1",
        ] {
            assert_eq!(parse(text), Err(AmountError::Unreadable), "{text:?}");
        }
    }

    #[test]
    fn a_point_in_a_json_number_is_the_decimal_point() {
        for (text, value) in [("1.234", Some("1.234")), ("-12.50", Some("-12.5")), ("0", Some("0")), ("1e3", None)] {
            let read = parse_json_number(text).ok().flatten().map(|amount| amount.value);
            assert_eq!(read, value.and_then(Decimal::parse), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_decimal_is_parsed_back(hundredths: i32) {
            let number = Decimal::from_hundredths(i64::from(hundredths));
            match parse(&number.to_string()) {
                Ok(amount) => prop_assert_eq!(amount.map(|amount| amount.value), Some(number)),
                Err(no) => prop_assert_eq!(no, AmountError::Ambiguous),
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            drop(parse(&text));
            drop(parse_json_number(&text));
        }

        #[test]
        fn nothing_panics_on_what_looks_like_an_amount(text in "[-+(]?[€$]?[0-9.,' -]{0,24}( ?[A-Z]{3})?[)-]?") {
            drop(parse(&text));
        }
    }
}
