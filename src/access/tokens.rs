//! Creates, lists, revokes and checks API tokens.
//!
//! A token allows a request only if both its scopes and its user's role allow it. The database stores only the token's
//! hash. Every token expires.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::{AccessControl, AuthMethod, By, Principal, Right, Role, check_name, secret};
use crate::error::{Error, Kind, Result};
use crate::store::access::{NewToken, TokenRow};

/// What recoup knows of a token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Token {
    pub id: i64,
    /// The name of the token's user.
    pub user: String,
    /// The purpose of the token, as its creator described it.
    pub name: String,
    pub scopes: Vec<Right>,
    /// When the token was created, RFC 3339.
    pub created_at: String,
    /// When the token expires, RFC 3339.
    pub expires_at: String,
    /// When the token was last used, RFC 3339, to the minute.
    pub used_at: Option<String>,
    /// When the token was revoked, RFC 3339; `null` if it was not revoked.
    pub revoked_at: Option<String>,
}

impl AccessControl {
    /// Creates a token. Returns the token's number and its secret, which recoup does not store.
    pub fn add_token(
        &mut self,
        owner: &str,
        name: &str,
        scopes: &[Right],
        expires_in: Duration,
        by: &By<'_>,
    ) -> Result<(i64, SecretString)> {
        check_name("token", name)?;
        let owner = self.user(owner)?;
        if owner.disabled_at.is_some() {
            return Err(Error::new(Kind::Refused, format!("user {:?} is disabled", owner.name)));
        }
        if let Some(right) = scopes.iter().find(|right| !owner.role.may(**right)) {
            let (right, role) = (right.as_str(), owner.role.as_str());
            return Err(Error::new(
                Kind::Usage,
                format!("a token with the scope {right} would be useless: {} has the role {role}", owner.name),
            )
            .hint("leave the scope out, or give the user another role first"));
        }
        let secret = Zeroizing::new(format!("{}{}", secret::TOKEN_PREFIX, *secret::random_secret()?));
        let words: Vec<&str> = scopes.iter().map(|right| right.as_str()).collect();
        let expires = by.at.checked_add(expires_in).unwrap_or(Timestamp::MAX);
        let new = NewToken {
            user: &owner.name,
            name,
            hash: &secret::hash(&secret),
            scopes: &words.join(" "),
            expires_ms: expires.as_millisecond(),
        };
        Ok((self.file.add_token(&new, by)?, SecretString::from(secret.as_str())))
    }

    /// Returns all tokens, or the tokens of one user.
    pub fn tokens(&self, owner: Option<&str>) -> Result<Vec<Token>> {
        Ok(self.file.tokens(owner)?.into_iter().map(token).collect())
    }

    pub fn revoke_token(&mut self, id: i64, by: &By<'_>) -> Result<()> {
        if self.file.revoke_token(id, by)? {
            return Ok(());
        }
        Err(Error::new(Kind::Failed, format!("there is no active token {id}"))
            .hint("`recoup user token list` shows them"))
    }

    /// Returns the user whom a token belongs to; `None` if the token is invalid or the user is disabled.
    pub fn token(&mut self, secret: &str, now: Timestamp) -> Result<Option<Principal>> {
        if !secret.starts_with(secret::TOKEN_PREFIX) {
            return Ok(None);
        }
        let Some(row) = self.file.token(&secret::hash(secret), now.as_millisecond())? else { return Ok(None) };
        let Some(role) = Role::parse(&row.role) else { return Ok(None) };
        let by = AuthMethod::Token { id: row.id, scopes: scopes_of(&row.scopes) };
        Ok(Some(Principal { name: row.user, role, os_user: row.os_user, by }))
    }
}

fn token(row: TokenRow) -> Token {
    let moment = |ms: i64| Timestamp::from_millisecond(ms).map(|at| format!("{at:.0}")).unwrap_or_default();
    Token {
        id: row.id,
        user: row.user,
        name: row.name,
        scopes: scopes_of(&row.scopes),
        created_at: row.created_at,
        expires_at: moment(row.expires_ms),
        used_at: row.used_ms.map(moment),
        revoked_at: row.revoked_at,
    }
}

fn scopes_of(words: &str) -> Vec<Right> {
    words.split(' ').filter_map(Right::parse).collect()
}
