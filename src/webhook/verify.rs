//! Verifies the signature of a webhook delivery, without I/O. The signature is a detached JWS over the raw body.
//!
//! The header `X-Hook-JWS-RFC-7797` contains `HEADER..SIGNATURE`. The signature covers `HEADER.BASE64URL(body)`,
//! computed from the unchanged body, and `kid` identifies the key (`docs/vendor/advocate.md` §5). The vendor does not
//! publish its signature algorithm, so the type of the key decides: RS256 for an RSA key, ES256 for a P-256 key. recoup
//! refuses a delivery whose header states another algorithm, because a sender must not choose how its signature is
//! checked. recoup uses no JWT crate: the payload is detached and has no claims, and `jsonwebtoken` would add a second
//! implementation of RSA and ECDSA beside ring's.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

const RS256: &str = "RS256";

const ES256: &str = "ES256";

/// The length of each P-256 coordinate, in bytes.
const COORDINATE: usize = 32;

/// The maximum length of header and signature of a webhook together, in bytes.
const MAX_SIGNATURE: usize = 8 * 1024;

/// The minimum length of an RSA modulus, in bytes (2048 bits).
const MIN_MODULUS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// The signature is missing or cannot be parsed.
    Unsigned,
    /// The header states a different algorithm than the key's.
    Algorithm,
    /// The vendor has no key with this ID.
    UnknownKey,
    /// The signature of the webhook does not match the body.
    Signature,
    /// recoup cannot fetch the vendor's keys now.
    NoKeys,
    TooLarge,
    /// The signature is valid, but the body is not an event.
    Malformed,
    /// The webhook event belongs to another tenant.
    OtherTenant,
}

impl Rejected {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "the delivery has no valid signature header",
            Self::Algorithm => "the signature uses an algorithm that its key is not for",
            Self::UnknownKey => "the signature names a key that is not the vendor's",
            Self::Signature => "the signature does not match the body",
            Self::NoKeys => "the vendor's keys cannot be fetched now",
            Self::TooLarge => "the delivery is too large",
            Self::Malformed => "the delivery is no event",
            Self::OtherTenant => "the delivery is for another tenant",
        }
    }
}

/// The parsed signature header of a webhook.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) kid: String,
    algorithm: &'static str,
    header: &'a str,
    signature: Vec<u8>,
    /// `true` if the signature covers the body itself and not its base64url encoding (RFC 7797).
    raw: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    b64: Option<bool>,
    crit: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Rsa {
        /// The RSA modulus as big-endian bytes without leading zeros. The RSA exponent has the same format.
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The uncompressed point of a P-256 key.
    P256(Vec<u8>),
}

impl Key {
    /// Returns the only algorithm that this key verifies.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => RS256,
            Self::P256(_) => ES256,
        }
    }
}

pub(super) fn parse(signature: &str) -> Result<Parsed<'_>, Rejected> {
    if signature.len() > MAX_SIGNATURE {
        return Err(Rejected::TooLarge);
    }
    let (header, signature) = signature.trim().split_once("..").ok_or(Rejected::Unsigned)?;
    let decoded = |text: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_not_base64| Rejected::Unsigned);
    let parsed: Header = serde_json::from_slice(&decoded(header)?).map_err(|_no_header| Rejected::Unsigned)?;
    let algorithm = [RS256, ES256].into_iter().find(|known| *known == parsed.alg).ok_or(Rejected::Algorithm)?;
    // By RFC 7515, section 4.1.11, a recipient must refuse a critical parameter that it does not understand, an empty
    // list, and a list with a missing parameter. By RFC 7797, section 6, the list must contain `b64` if `b64` is
    // present.
    let is_named = match &parsed.crit {
        None => false,
        Some(names) if names.as_slice() == ["b64"] => true,
        Some(_) => return Err(Rejected::Algorithm),
    };
    if is_named != parsed.b64.is_some() {
        return Err(Rejected::Algorithm);
    }
    let kid = parsed.kid.filter(|kid| !kid.is_empty() && kid.len() <= 200).ok_or(Rejected::UnknownKey)?;
    let signature = decoded(signature)?;
    if signature.is_empty() {
        return Err(Rejected::Unsigned);
    }
    Ok(Parsed { kid, algorithm, header, signature, raw: parsed.b64 == Some(false) })
}

/// Checks the signature of a webhook's body.
pub(super) fn check(parsed: &Parsed<'_>, body: &[u8], key: &Key) -> Result<(), Rejected> {
    if parsed.algorithm != key.algorithm() {
        return Err(Rejected::Algorithm);
    }
    let mut signed = parsed.header.as_bytes().to_vec();
    signed.push(b'.');
    if parsed.raw {
        signed.extend_from_slice(body);
    } else {
        signed.extend_from_slice(Base64UrlUnpadded::encode_string(body).as_bytes());
    }
    let fits = match key {
        Key::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            &signed,
            &parsed.signature,
        ),
        Key::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&signed, &parsed.signature),
    };
    fits.map_err(|_does_not_fit| Rejected::Signature)
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// An entry of a key set, whether or not recoup supports its type.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Entry {
    /// Returns the key if recoup supports its type.
    fn key(&self) -> Option<Key> {
        let bytes = |text: &Option<String>| Base64UrlUnpadded::decode_vec(text.as_deref()?).ok();
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let number = |text| Some(bytes(text)?.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
                let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
                (modulus.len() >= MIN_MODULUS).then_some(Key::Rsa { modulus, exponent })?
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                (x.len() == COORDINATE && y.len() == COORDINATE).then(|| Key::P256([vec![4], x, y].concat()))?
            }
            _ => return None,
        };
        let for_this = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == key.algorithm());
        for_this.then_some(key)
    }
}

/// Parses the supported keys of a JWKS, by ID. Returns `None` if the text is not a JWKS.
pub fn parse_jwks(jwks: &[u8]) -> Option<BTreeMap<String, Key>> {
    let set: Set = serde_json::from_slice(jwks).ok()?;
    // Skips an unsupported key, so that the other keys stay usable.
    let entries = set.keys.into_iter().filter_map(|entry| serde_json::from_value::<Entry>(entry).ok());
    Some(entries.filter_map(|entry| Some((entry.kid.clone(), entry.key()?))).collect())
}
