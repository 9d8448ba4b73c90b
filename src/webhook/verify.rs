//! Whether a delivery is the vendor's: a detached JWS over the raw body. Pure.
//!
//! `X-Hook-JWS-RFC-7797` holds `HEADER..SIGNATURE`; what is signed is `HEADER.BASE64URL(body)`, over the body as it came, and the
//! key is found by `kid` (`advocate-api.md` §5). Which algorithm the vendor uses is not published; RS256 is the one that a set of
//! RSA keys is for, and every other one is refused: a sender must never choose how it is checked.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;

/// The one algorithm.
const ALGORITHM: &str = "RS256";

/// The longest header and signature, in bytes.
const SIGNATURE_AT_MOST: usize = 8 * 1024;

/// The shortest modulus that is taken, in bytes: 2048 bits.
const MODULUS_AT_LEAST: usize = 256;

/// Why a delivery is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It carries no signature, or one that is none.
    Unsigned,
    /// It is signed by another algorithm than the one that is taken.
    Algorithm,
    /// No key of that name is the vendor's.
    UnknownKey,
    /// The signature does not fit the body.
    Signature,
    /// The vendor's keys cannot be fetched now.
    NoKeys,
    /// It is too large.
    TooLarge,
    /// It is signed, and no event.
    Malformed,
    /// It is another tenant's.
    OtherTenant,
}

impl Rejected {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "the delivery carries no usable signature",
            Self::Algorithm => "the signature is of another algorithm than RS256",
            Self::UnknownKey => "the signature names a key that is not the vendor's",
            Self::Signature => "the signature does not fit the body",
            Self::NoKeys => "the vendor's keys cannot be fetched now",
            Self::TooLarge => "the delivery is too large",
            Self::Malformed => "the delivery is no event",
            Self::OtherTenant => "the delivery is another tenant's",
        }
    }
}

/// A signature, taken apart.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) kid: String,
    header: &'a str,
    signature: Vec<u8>,
    /// The body is signed as it is, and not as base64url (RFC 7797).
    raw: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    b64: Option<bool>,
    crit: Option<Vec<String>>,
}

/// A public key of the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// Takes a signature apart.
pub(super) fn parse(signature: &str) -> Result<Parsed<'_>, Rejected> {
    if signature.len() > SIGNATURE_AT_MOST {
        return Err(Rejected::TooLarge);
    }
    let (header, signature) = signature.trim().split_once("..").ok_or(Rejected::Unsigned)?;
    let decoded = |text: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_not_base64| Rejected::Unsigned);
    let parsed: Header = serde_json::from_slice(&decoded(header)?).map_err(|_no_header| Rejected::Unsigned)?;
    if parsed.alg != ALGORITHM {
        return Err(Rejected::Algorithm);
    }
    // What must be understood and is not, must be refused (RFC 7515, section 4.1.11).
    if parsed.crit.is_some_and(|names| names.iter().any(|name| name != "b64")) {
        return Err(Rejected::Algorithm);
    }
    let kid = parsed.kid.filter(|kid| !kid.is_empty() && kid.len() <= 200).ok_or(Rejected::UnknownKey)?;
    let signature = decoded(signature)?;
    if signature.is_empty() {
        return Err(Rejected::Unsigned);
    }
    Ok(Parsed { kid, header, signature, raw: parsed.b64 == Some(false) })
}

/// Whether the signature fits the body.
pub(super) fn check(parsed: &Parsed<'_>, body: &[u8], key: &Key) -> Result<(), Rejected> {
    let mut signed = parsed.header.as_bytes().to_vec();
    signed.push(b'.');
    if parsed.raw {
        signed.extend_from_slice(body);
    } else {
        signed.extend_from_slice(Base64UrlUnpadded::encode_string(body).as_bytes());
    }
    let components = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
    components
        .verify(&RSA_PKCS1_2048_8192_SHA256, &signed, &parsed.signature)
        .map_err(|_does_not_fit| Rejected::Signature)
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: String,
    n: String,
    e: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
}

/// The keys of a JWKS that can be used, by name; `None` where it is no JWKS.
pub fn keys_of(jwks: &[u8]) -> Option<BTreeMap<String, Key>> {
    let set: Set = serde_json::from_slice(jwks).ok()?;
    let mut keys = BTreeMap::new();
    for entry in set.keys {
        // A key of another kind is no reason to do without the others.
        let Ok(entry) = serde_json::from_value::<Entry>(entry) else { continue };
        let for_this = entry.kty == "RSA"
            && entry.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && entry.alg.as_deref().is_none_or(|alg| alg == ALGORITHM);
        let (Ok(modulus), Ok(exponent)) =
            (Base64UrlUnpadded::decode_vec(&entry.n), Base64UrlUnpadded::decode_vec(&entry.e))
        else {
            continue;
        };
        let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
        let exponent: Vec<u8> = exponent.into_iter().skip_while(|byte| *byte == 0).collect();
        if for_this && modulus.len() >= MODULUS_AT_LEAST {
            keys.insert(entry.kid, Key { modulus, exponent });
        }
    }
    Some(keys)
}
