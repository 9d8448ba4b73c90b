//! Whether a delivery is the vendor's: a detached JWS over the raw body. Pure.
//!
//! `X-Hook-JWS-RFC-7797` holds `HEADER..SIGNATURE`; what is signed is `HEADER.BASE64URL(body)`, over the body as it came, and the
//! key is found by `kid` (`docs/vendor/advocate.md` §5). Which algorithm the vendor uses is not published. The key decides: an RSA key is
//! for RS256 and a P-256 key for ES256, and a delivery that names another algorithm is refused. A sender must never choose how it
//! is checked. No JWT crate: the payload is detached and holds no claims, and `jsonwebtoken` would bring a second implementation
//! of RSA and ECDSA beside ring's.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// The algorithm of RSA keys.
const RS256: &str = "RS256";

/// The algorithm of keys on the curve P-256.
const ES256: &str = "ES256";

/// Bytes of each coordinate on that curve.
const COORDINATE: usize = 32;

/// The longest header and signature, in bytes.
const SIGNATURE_AT_MOST: usize = 8 * 1024;

/// The shortest modulus that is taken, in bytes: 2048 bits.
const MODULUS_AT_LEAST: usize = 256;

/// Why a delivery is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It carries no signature, or one that is none.
    Unsigned,
    /// It is signed by another algorithm than the one that its key is for.
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
            Self::Algorithm => "the signature is of another algorithm than its key is for",
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
    algorithm: &'static str,
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
pub enum Key {
    /// For RS256.
    Rsa {
        /// Big-endian, without zeros in front, as the exponent.
        modulus: Vec<u8>,
        /// The public exponent.
        exponent: Vec<u8>,
    },
    /// For ES256: the uncompressed point.
    P256(Vec<u8>),
}

impl Key {
    /// The one algorithm that it is for.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => RS256,
            Self::P256(_) => ES256,
        }
    }
}

/// Takes a signature apart.
pub(super) fn parse(signature: &str) -> Result<Parsed<'_>, Rejected> {
    if signature.len() > SIGNATURE_AT_MOST {
        return Err(Rejected::TooLarge);
    }
    let (header, signature) = signature.trim().split_once("..").ok_or(Rejected::Unsigned)?;
    let decoded = |text: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_not_base64| Rejected::Unsigned);
    let parsed: Header = serde_json::from_slice(&decoded(header)?).map_err(|_no_header| Rejected::Unsigned)?;
    let algorithm = [RS256, ES256].into_iter().find(|known| *known == parsed.alg).ok_or(Rejected::Algorithm)?;
    // What must be understood and is not, must be refused, and so must an empty list or one that names what the header has not
    // (RFC 7515, section 4.1.11). `b64` must be among the names if it is there (RFC 7797, section 6).
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

/// Whether the signature fits the body.
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

/// An entry of a set, of whatever kind.
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
    /// The key, if it is one that can be used.
    fn key(&self) -> Option<Key> {
        let bytes = |text: &Option<String>| Base64UrlUnpadded::decode_vec(text.as_deref()?).ok();
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let number = |text| Some(bytes(text)?.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
                let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
                (modulus.len() >= MODULUS_AT_LEAST).then_some(Key::Rsa { modulus, exponent })?
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

/// The keys of a JWKS that can be used, by name; `None` where it is no JWKS.
pub fn keys_of(jwks: &[u8]) -> Option<BTreeMap<String, Key>> {
    let set: Set = serde_json::from_slice(jwks).ok()?;
    // A key of another kind is no reason to do without the others.
    let entries = set.keys.into_iter().filter_map(|entry| serde_json::from_value::<Entry>(entry).ok());
    Some(entries.filter_map(|entry| Some((entry.kid.clone(), entry.key()?))).collect())
}
