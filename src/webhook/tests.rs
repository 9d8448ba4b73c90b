//! Deliveries that hold, and every way in which one does not.

use base64ct::{Base64UrlUnpadded, Encoding};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use super::verify::{check, parse};
use super::*;

fn pair() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(include_bytes!("../simulator/hook_key.p8")).expect("a key")
}

fn sign(header: &serde_json::Value, body: &[u8], raw: bool) -> String {
    let header = Base64UrlUnpadded::encode_string(header.to_string().as_bytes());
    let mut signed = format!("{header}.").into_bytes();
    if raw {
        signed.extend_from_slice(body);
    } else {
        signed.extend_from_slice(Base64UrlUnpadded::encode_string(body).as_bytes());
    }
    let mut signature = vec![0; pair().public().modulus_len()];
    pair().sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature).expect("signs");
    format!("{header}..{}", Base64UrlUnpadded::encode_string(&signature))
}

fn key() -> Key {
    let set = json!({ "keys": [jwk("k"), { "kty": "EC", "kid": "other" }] });
    let keys = keys_of(set.to_string().as_bytes()).expect("a set");
    assert_eq!(keys.len(), 1, "a key of another kind is left out");
    keys["k"].clone()
}

fn jwk(kid: &str) -> serde_json::Value {
    let public = PublicKeyComponents::<Vec<u8>>::from(pair().public());
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    json!({ "kty": "RSA", "kid": kid, "n": text(&public.n), "e": text(&public.e) })
}

fn verdict(signature: &str, body: &[u8]) -> Result<(), Rejected> {
    let parsed = parse(signature)?;
    check(&parsed, body, &key())
}

#[test]
fn only_the_vendors_algorithm_over_the_raw_body_holds() {
    let body = br#"{ "id": "1",  "type": "test" }"#;
    let header = json!({ "alg": "RS256", "kid": "k" });
    assert_eq!(verdict(&sign(&header, body, false), body), Ok(()));
    let unencoded = json!({ "alg": "RS256", "kid": "k", "b64": false, "crit": ["b64"] });
    assert_eq!(verdict(&sign(&unencoded, body, true), body), Ok(()));
    for (header, why) in [
        (json!({ "alg": "none", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "HS256", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "RS512", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "rs256", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "RS256" }), Rejected::UnknownKey),
        (json!({ "alg": "RS256", "kid": "" }), Rejected::UnknownKey),
        (json!({ "kid": "k" }), Rejected::Unsigned),
        (json!({ "alg": "RS256", "kid": "k", "crit": ["exp"] }), Rejected::Algorithm),
        (json!([]), Rejected::Unsigned),
    ] {
        assert_eq!(verdict(&sign(&header, body, false), body), Err(why), "{header}");
    }
    // The same JSON written otherwise is another body.
    assert_eq!(verdict(&sign(&header, body, false), br#"{"id":"1","type":"test"}"#), Err(Rejected::Signature));
    assert_eq!(verdict(&sign(&header, body, false), b""), Err(Rejected::Signature));
}

#[test]
fn a_short_key_and_a_set_that_is_none_are_not_taken() {
    let mut short = jwk("k");
    short["n"] = Base64UrlUnpadded::encode_string(&[0xff; 128]).into();
    let mut padded = jwk("k");
    padded["n"] = Base64UrlUnpadded::encode_string(&[vec![0; 200], vec![0xff; 128]].concat()).into();
    let mut other = jwk("k");
    other["use"] = "enc".into();
    for set in [json!({ "keys": [short, padded, other] }), json!({ "keys": [] }), json!({ "keys": [1, "x", null] })] {
        assert_eq!(keys_of(set.to_string().as_bytes()).map(|keys| keys.len()), Some(0), "{set}");
    }
    for text in ["", "[]", "{}", "{\"keys\":1}", "<html>"] {
        assert!(keys_of(text.as_bytes()).is_none(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_bit_of_body_or_signature_makes_it_no_delivery(place: prop::sample::Index, bit in 0_u8..8, of_body: bool) {
        let body = br#"{"id":"1","type":"reward.created","data":{"accountId":"a"}}"#.to_vec();
        let signature = sign(&json!({ "alg": "RS256", "kid": "k" }), &body, false);
        if of_body {
            let mut body = body;
            let at = place.index(body.len());
            body[at] ^= 1 << bit;
            prop_assert_eq!(verdict(&signature, &body), Err(Rejected::Signature));
        } else {
            let (header, text) = signature.split_once("..").expect("two parts");
            let mut bytes = Base64UrlUnpadded::decode_vec(text).expect("base64url");
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let altered = format!("{header}..{}", Base64UrlUnpadded::encode_string(&bytes));
            prop_assert_eq!(verdict(&altered, &body), Err(Rejected::Signature));
        }
    }

    #[test]
    fn nothing_that_a_stranger_sends_breaks_it(signature in ".{0,300}", bytes: Vec<u8>) {
        prop_assert!(verdict(&signature, &bytes).is_err());
        drop(keys_of(&bytes));
        drop(serde_json::from_slice::<Envelope>(&bytes).map(|event| (account_of(&event), event.created.as_ref().and_then(moment))));
    }
}
