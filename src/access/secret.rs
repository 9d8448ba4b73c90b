//! Passwords, session cookies and tokens: generated at random, stored as hashes, compared in constant time.
//!
//! The database stores a password as argon2id (19 MiB, two passes, one lane). A cookie or a token has 256 random bits,
//! so a SHA-256 hash protects it. This module never prints or stores a secret in plain text.

use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::model::hex;

/// Minimum length of a password, in characters.
pub const PASSWORD_AT_LEAST: usize = 12;

/// Maximum length of a password, in bytes, to bound the time of one sign-in attempt.
pub(super) const PASSWORD_AT_MOST: usize = 256;

/// Prefix of every token, by which secret scanners find a leaked token.
pub(super) const TOKEN_PREFIX: &str = "rcp_";

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_cause| Error::new(Kind::Failed, "the operating system provides no random bytes"))?;
    Ok(bytes)
}

/// Returns 128 random bits as text, for short-lived values such as CSRF tokens.
pub fn random_text() -> Result<String> {
    Ok(hex(&random::<16>()?))
}

/// Returns 256 random bits as text that is wiped from memory on drop.
pub(super) fn random_secret() -> Result<Zeroizing<String>> {
    Ok(Zeroizing::new(hex(&*Zeroizing::new(random::<32>()?))))
}

/// Generates a 100-bit password that a person can type: five groups of four characters, from 32 letters and digits that
/// are hard to confuse.
pub fn new_password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";
    let bytes = random::<20>()?;
    let letters: Vec<char> = bytes
        .iter()
        .map(|byte| match char::from(LETTERS[usize::from(byte & 31)]) {
            '-' => 'x',
            letter => letter,
        })
        .collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// Returns the hash under which the database stores a cookie or a token.
pub(super) fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Computes the CSRF token that belongs to a cookie.
pub(super) fn sign(key: &str, subject: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), subject.as_bytes()).as_ref())
}

/// Returns `true` if a form contains the CSRF token that belongs to this cookie.
pub(super) fn is_signature(key: &str, subject: &str, given: &str) -> bool {
    let right = sign(key, subject);
    // The comparison hashes both values with a new random key, so that its timing does not reveal where the values
    // differ.
    let Ok(fresh) = random::<32>() else { return false };
    let fresh = hmac::Key::new(hmac::HMAC_SHA256, &fresh);
    hmac::verify(&fresh, given.as_bytes(), hmac::sign(&fresh, right.as_bytes()).as_ref()).is_ok()
}

/// Refuses a password that is too short, too long or easy to guess.
pub(super) fn check_password(password: &str) -> Result<()> {
    if password.chars().count() < PASSWORD_AT_LEAST || password.len() > PASSWORD_AT_MOST {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "a password needs at least {PASSWORD_AT_LEAST} characters and may have at most {PASSWORD_AT_MOST} bytes"
            ),
        )
        .hint("leave --password-stdin out to get a random password"));
    }
    Ok(())
}

pub(super) fn hash_password(password: &str) -> Result<String> {
    let salt = random::<16>()?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| Error::new(Kind::Failed, format!("the password could not be hashed: {error}")))?;
    Ok(hash.to_string())
}

/// Compares a password with its stored hash. If the user has no stored hash, the comparison takes equally long and
/// returns `false`, so that timing does not reveal whether the user exists.
pub(super) fn verify_password(password: &str, kept: Option<&str>) -> Result<bool> {
    static DUMMY_HASH: OnceLock<String> = OnceLock::new();
    let dummy = if let Some(hash) = DUMMY_HASH.get() {
        hash
    } else {
        let hash = hash_password(&random_secret()?)?;
        DUMMY_HASH.get_or_init(|| hash)
    };
    let hash = PasswordHash::new(kept.unwrap_or(dummy))
        .map_err(|error| Error::new(Kind::Storage, format!("a stored password is damaged: {error}")))?;
    let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    Ok(fits && kept.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let kept = hash_password("correct horse battery").expect("hashes");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify_password("correct horse battery", Some(&kept)).expect("verifies"));
        assert!(!verify_password("correct horse batterz", Some(&kept)).expect("verifies"));
        assert!(!verify_password("correct horse battery", None).expect("verifies"));
        assert!(verify_password("x", Some("no hash")).is_err());
    }

    #[test]
    fn what_is_made_at_random_is_long_enough_and_never_the_same() {
        let password = new_password().expect("random");
        assert!(check_password(&password).is_ok(), "{} characters", password.len());
        assert_eq!(password.len(), 24);
        assert_ne!(new_password().expect("random"), password);
        assert_eq!(random_secret().expect("random").len(), 64);
        assert_ne!(random_secret().expect("random"), random_secret().expect("random"));
        assert_ne!(random_text().expect("random"), random_text().expect("random"));
    }

    #[test]
    fn a_form_of_another_session_is_found_out() {
        let token = sign("key", "cookie");
        assert!(is_signature("key", "cookie", &token));
        for (key, subject, given) in [
            ("key", "other", token.as_str()),
            ("other", "cookie", &token),
            ("key", "cookie", ""),
            ("key", "cookie", &token[1..]),
        ] {
            assert!(!is_signature(key, subject, given));
        }
    }

    #[test]
    fn a_password_has_a_length() {
        for (password, fine) in [("short", false), ("exactly-12-c", true), ("", false), ("äöüäöüäöüäöü", true)]
        {
            assert_eq!(check_password(password).is_ok(), fine, "{password}");
        }
        assert!(check_password(&"x".repeat(257)).is_err());
    }
}
