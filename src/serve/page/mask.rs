//! Masks account IDs. Account IDs are often e-mail addresses, and most tasks do not need them.

use std::collections::BTreeMap;

/// The masks of all account IDs on one page. Different account IDs get different masks.
pub(in crate::serve) struct Masks(BTreeMap<String, String>);

impl Masks {
    /// If two account IDs have the same mask, the masks get numbers in the order of the page. A mask contains no hash
    /// of the account ID, because a reader could test addresses against the hash.
    pub(in crate::serve) fn of<'a>(accounts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut by_mask: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for account in accounts {
            let alike = by_mask.entry(mask(account)).or_default();
            if !alike.contains(&account) {
                alike.push(account);
            }
        }
        let mut masks = BTreeMap::new();
        for (mask, alike) in by_mask {
            let is_alone = alike.len() == 1;
            for (n, account) in (1..).zip(alike) {
                let shown = if is_alone { mask.clone() } else { format!("{mask} ({n})") };
                masks.insert(account.to_owned(), shown);
            }
        }
        Self(masks)
    }

    pub(in crate::serve) fn of_account(&self, account: &str) -> String {
        self.0.get(account).cloned().unwrap_or_else(|| mask(account))
    }
}

/// Masks one account ID. A mask has too few characters to reconstruct an e-mail address.
pub(super) fn mask(account: &str) -> String {
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
            assert_eq!(Masks::of([account, account]).of_account(account), masked, "{account}");
        }
    }

    #[test]
    fn different_accounts_of_one_screen_have_different_masks() {
        let accounts = ["bob@example.com", "ann@example.com", "bea@elsewhere.com", "bob@example.com"];
        let masks = Masks::of(accounts);
        let shown = accounts.map(|account| masks.of_account(account));
        assert_eq!(shown, ["b•••@e•••.com (1)", "a•••@e•••.com", "b•••@e•••.com (2)", "b•••@e•••.com (1)"]);
    }
}
