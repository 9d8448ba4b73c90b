//! Masks account IDs. They are often e-mail addresses, and most tasks do not need them.

/// Keeps enough characters to distinguish accounts, and too few to reconstruct an address.
pub(in crate::serve) fn mask_account(account: &str) -> String {
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    match account.rsplit_once('@') {
        Some((person, domain)) => {
            let end = domain.rsplit_once('.').map(|(_, end)| format!(".{end}")).unwrap_or_default();
            format!("{}•••@{}•••{end}", first(person), first(domain))
        }
        None if account.chars().count() > 4 => format!("{}•••", account.chars().take(2).collect::<String>()),
        None => "•••".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_an_account_is_left() {
        for (account, masked) in [
            ("jane.doe@example.com", "j•••@e•••.com"),
            ("a@b", "a•••@b•••"),
            ("odd@name@host.org", "o•••@h•••.org"),
            ("5f3a9c", "5f•••"),
            ("abcd", "•••"),
            ("", "•••"),
            ("ä@ö.de", "ä•••@ö•••.de"),
        ] {
            assert_eq!(mask_account(account), masked, "{account}");
        }
    }
}
