//! Formats numbers in texts for people.

/// Formats a number with separators: 48210 becomes `48,210`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with its noun: `1 order`, `2,000 orders`. Every message uses this function, because no message may
/// contain `1 orders`.
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        number => format!("{} {noun}s", grouped(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_grouped_and_its_noun_agrees() {
        for (number, text) in [(0, "0 rows"), (1, "1 row"), (999, "999 rows"), (1_234_567, "1,234,567 rows")] {
            assert_eq!(counted(number, "row"), text);
        }
    }
}
