//! Which keys of a published set are used, and which are left out.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use jsonwebtoken::DecodingKey;
use serde_json::json;

use super::*;

const PUBLISHED: [(&str, usize, &str); 3] = [
    (
        "github",
        4,
        include_str!("../../../tests/data/jwks/github.json"),
    ),
    (
        "github-2025",
        4,
        include_str!("../../../tests/data/jwks/github-2025.json"),
    ),
    (
        "gitlab",
        3,
        include_str!("../../../tests/data/jwks/gitlab.json"),
    ),
];

fn encoded(octets: &[u8]) -> Value {
    json!(URL_SAFE_NO_PAD.encode(octets))
}

/// An RSA key of 2048 bits that was published.
fn rsa_key() -> Value {
    let set: Value = serde_json::from_str(PUBLISHED[0].2).unwrap();
    set["keys"][0].clone()
}

/// An RSA key whose modulus is the last `bits` bits of a published one.
fn rsa_of(bits: usize) -> Value {
    let mut modulus = modulus();
    modulus.drain(..256 - bits.div_ceil(8));
    let unused = modulus.len() * 8 - bits;
    modulus[0] = (modulus[0] | 0x80) >> unused;
    with(rsa_key(), "n", encoded(&modulus))
}

fn modulus() -> Vec<u8> {
    let key = rsa_key();
    URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap()
}

/// The example of RFC 7517, section A.1.
fn p256_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "ec",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn p384_key() -> Value {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    json!({
        "kty": "EC", "crv": "P-384", "kid": "ec",
        "x": encoded(&point[1..49]), "y": encoded(&point[49..]),
    })
}

fn ed25519_key() -> Value {
    let pair = Ed25519KeyPair::generate().unwrap();
    json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "ed",
        "x": encoded(pair.public_key().as_ref()),
    })
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

fn without(mut key: Value, member: &str) -> Value {
    key.as_object_mut().unwrap().remove(member).unwrap();
    key
}

fn parse(keys: &[Value]) -> Result<(KeySet, Vec<UnusableKey>), SetFault> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// The algorithm of the one key of a set.
fn algorithm_of(key: Value) -> Result<SigningAlgorithm, SetFault> {
    let (set, _) = parse(&[key])?;
    let keys = set.with_id(set.ids()[0]).unwrap();
    Ok(keys[0].algorithm())
}

#[test]
fn every_key_of_a_published_set_is_usable() {
    for (name, count, set) in PUBLISHED {
        let (keys, unusable) = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!((keys.ids().len(), unusable), (count, vec![]), "{name}");
        for kid in keys.ids() {
            let algorithm = keys.with_id(kid).unwrap()[0].algorithm();
            assert_eq!(algorithm, SigningAlgorithm::RS256, "{name}: {kid}");
        }
    }
}

#[test]
fn the_algorithm_belongs_to_the_key() {
    use SigningAlgorithm::{ES256, ES384, EdDSA, PS512, RS256, RS384};
    for (key, algorithm) in [
        (without(rsa_key(), "alg"), RS256),
        (with(rsa_key(), "alg", Value::Null), RS256),
        (with(rsa_key(), "alg", json!("RS384")), RS384),
        (with(rsa_key(), "alg", json!("PS512")), PS512),
        (p256_key(), ES256),
        (with(p256_key(), "alg", json!("ES256")), ES256),
        (p384_key(), ES384),
        (ed25519_key(), EdDSA),
        (with(ed25519_key(), "alg", json!("EdDSA")), EdDSA),
    ] {
        assert_eq!(algorithm_of(key.clone()), Ok(algorithm), "{key}");
    }
}

#[test]
fn what_real_issuers_write_beside_a_key_does_not_cost_it() {
    let java = [&[0], modulus().as_slice()].concat();
    for key in [
        with(rsa_key(), "x5c", json!(["garbage", 7])),
        with(rsa_key(), "x5u", json!("https://evil.example/x")),
        with(rsa_key(), "issued", json!({ "any": ["thing"] })),
        with(rsa_key(), "use", Value::Null),
        without(rsa_key(), "use"),
        with(rsa_key(), "key_ops", json!(["verify"])),
        with(rsa_key(), "n", encoded(&java)),
        with(rsa_key(), "e", json!("AAEAAQ==")),
        rsa_of(2048),
    ] {
        let outcome = algorithm_of(key.clone());
        assert_eq!(outcome, Ok(SigningAlgorithm::RS256), "{key}");
    }
}

#[test]
fn a_kid_that_is_a_number_is_its_digits_and_costs_the_key_beside_it_nothing() {
    let (keys, unusable) = parse(&[with(rsa_key(), "kid", json!(7)), p256_key()]).unwrap();
    assert_eq!((keys.ids(), unusable), (vec!["7", "ec"], vec![]));
}

#[test]
fn keys_of_one_name_are_all_kept() {
    let keys = [with(rsa_key(), "kid", json!("ec")), p256_key()];
    let (keys, _) = parse(&keys).unwrap();
    assert_eq!(keys.with_id("ec").unwrap().len(), 2);
    assert!(keys.with_id("EC").is_none());
}

/// Asserts that each key is left out of its set for the reason given, and costs the key beside it nothing.
#[track_caller]
fn assert_never_used(cases: Vec<(&str, Value, &str)>) {
    let good = with(rsa_key(), "kid", json!("good"));
    for (what, key, expected) in cases {
        let (keys, unusable) = parse(&[key.clone(), good.clone()]).unwrap();
        assert_eq!(keys.ids(), ["good"], "{what}");
        assert!(unusable[0].why.contains(expected), "{what}: {unusable:?}");
        assert!(
            matches!(parse(&[key]), Err(SetFault::NoUsableKey(_))),
            "{what}"
        );
    }
}

#[test]
fn weak_and_broken_rsa_keys_are_never_used() {
    let even = [&modulus()[..255], &[0]].concat();
    let exponent = |value: &[u8]| with(rsa_key(), "e", encoded(value));
    assert_never_used(vec![
        ("RSA-1024", rsa_of(1024), "under 2048 bits"),
        ("RSA-2047", rsa_of(2047), "under 2048 bits"),
        (
            "RSA-8200",
            with(rsa_key(), "n", encoded(&vec![0xff; 1025])),
            "over 8192 bits",
        ),
        (
            "an empty modulus",
            with(rsa_key(), "n", json!("")),
            "under 2048",
        ),
        ("e = 0", exponent(&[0]), "exponent"),
        ("e = 1", exponent(&[1]), "exponent"),
        ("e = 3", exponent(&[3]), "exponent"),
        ("even e", exponent(&[1, 0, 2]), "exponent"),
        ("a huge e", exponent(&[0xff; 9]), "exponent"),
        (
            "an even modulus",
            with(rsa_key(), "n", encoded(&even)),
            "even modulus",
        ),
        ("no modulus", without(rsa_key(), "n"), "lacks a member"),
        (
            "standard base64",
            with(rsa_key(), "e", json!("A/+B")),
            "not base64url",
        ),
        (
            "a published private key",
            with(rsa_key(), "d", json!("AQAB")),
            "private part",
        ),
        (
            "alg of another type",
            with(rsa_key(), "alg", json!("ES256")),
            "its type",
        ),
        (
            "a number for n",
            with(rsa_key(), "n", json!(5)),
            "wrong type",
        ),
    ]);
}

#[test]
fn elliptic_keys_off_their_curve_or_on_another_are_never_used() {
    let other_point = p256_key()["x"].clone();
    let on = |curve: &str| with(p256_key(), "crv", json!(curve));
    let montgomery = with(ed25519_key(), "crv", json!("X25519"));
    let short_octets = |octets: usize| encoded(&vec![1; octets]);
    let mut identity = [0; 32];
    identity[0] = 1;
    identity[31] = 0x80;
    assert_never_used(vec![
        (
            "alg of another type",
            with(p256_key(), "alg", json!("RS256")),
            "its type",
        ),
        (
            "alg of another curve",
            with(p256_key(), "alg", json!("ES384")),
            "its type",
        ),
        (
            "alg of another type",
            with(ed25519_key(), "alg", json!("ES256")),
            "its type",
        ),
        (
            "a point off the curve",
            with(p256_key(), "y", other_point),
            "off its curve",
        ),
        (
            "a short coordinate",
            with(p256_key(), "x", short_octets(31)),
            "wrong length",
        ),
        (
            "a long coordinate",
            with(p256_key(), "y", short_octets(33)),
            "wrong length",
        ),
        ("no coordinate", without(p256_key(), "y"), "lacks a member"),
        ("P-521", on("P-521"), "(`crv`)"),
        ("secp256k1", on("secp256k1"), "unknown type or curve"),
        ("no curve", without(p256_key(), "crv"), "(`crv`)"),
        ("the wrong curve", on("P-384"), "wrong length"),
        ("X25519", montgomery, "unknown type or curve"),
        (
            "a short Ed25519 key",
            with(ed25519_key(), "x", short_octets(31)),
            "wrong length",
        ),
        (
            "zeros",
            with(ed25519_key(), "x", encoded(&[0; 32])),
            "small order",
        ),
        (
            "the identity",
            with(ed25519_key(), "x", encoded(&identity)),
            "small order",
        ),
    ]);
}

#[test]
fn keys_for_another_purpose_or_without_a_name_are_never_used() {
    let octet = json!({ "kty": "oct", "kid": "x", "k": "c2VjcmV0", "alg": "HS256" });
    assert_never_used(vec![
        ("use = enc", with(rsa_key(), "use", json!("enc")), "(`use`)"),
        (
            "another use",
            with(rsa_key(), "use", json!("any")),
            "(`use`)",
        ),
        (
            "key_ops without verify",
            with(rsa_key(), "key_ops", json!(["encrypt"])),
            "(`key_ops`)",
        ),
        (
            "empty key_ops",
            with(rsa_key(), "key_ops", json!([])),
            "(`key_ops`)",
        ),
        (
            "alg = HS256",
            with(rsa_key(), "alg", json!("HS256")),
            "not accepted (`alg`)",
        ),
        (
            "alg = none",
            with(rsa_key(), "alg", json!("none")),
            "not accepted (`alg`)",
        ),
        (
            "alg = RSA-OAEP",
            with(rsa_key(), "alg", json!("RSA-OAEP")),
            "not accepted",
        ),
        (
            "alg in lower case",
            with(rsa_key(), "alg", json!("rs256")),
            "not accepted",
        ),
        (
            "a symmetric key",
            without(octet.clone(), "alg"),
            "not an asymmetric key",
        ),
        ("a symmetric key", octet, "not accepted (`alg`)"),
        (
            "an unknown type",
            with(rsa_key(), "kty", json!("AKP")),
            "unknown type",
        ),
        ("no type", without(rsa_key(), "kty"), "unknown type"),
        ("no kid", without(rsa_key(), "kid"), "has no `kid`"),
        (
            "an empty kid",
            with(rsa_key(), "kid", json!("")),
            "has no `kid`",
        ),
        (
            "a list for kid",
            with(rsa_key(), "kid", json!(["x"])),
            "has no `kid`",
        ),
        ("no object", json!("key"), "unknown type"),
    ]);
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in ["", "[]", "{}", "{\"keys\":{}}", "<html>", "{\"keys\":null}"] {
        let outcome = KeySet::parse(text.as_bytes());
        assert!(matches!(outcome, Err(SetFault::NotASet(_))), "{text}");
    }
    assert_eq!(parse(&[]).unwrap_err(), SetFault::NoUsableKey(vec![]));
}

#[test]
fn a_kid_cannot_forge_a_line_of_the_log() {
    let long = format!("a\n{}", "b".repeat(100));
    let key = with(with(rsa_key(), "kid", json!(long)), "use", json!("enc"));
    let text = parse(&[key]).unwrap_err().to_string();
    assert!(!text.contains('\n') && text.len() < 200, "{text}");
}

/// A key of every algorithm as its issuer publishes it, and its signature of `message`.
fn signed(message: &[u8]) -> Vec<(Value, Vec<u8>)> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RFC 8017, section A.1.1: 9 octets, the modulus, then the exponent.
    let modulus = encoded(&rsa.public_key().as_ref()[9..265]);
    let encodings: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    let by_rsa = encodings.map(|(name, encoding)| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(encoding, &random, message, &mut signature)
            .unwrap();
        let key = json!({"kty": "RSA", "kid": "k", "alg": name, "n": modulus, "e": "AQAB"});
        (key, signature)
    });
    let curves = [
        ("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ];
    let by_curve = curves.map(|(curve, signing)| {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let key = json!({"kty": "EC", "kid": "k", "crv": curve, "x": encoded(x), "y": encoded(y)});
        let signature = pair.sign(&random, message).unwrap();
        (key, signature.as_ref().to_vec())
    });
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = encoded(pair.public_key().as_ref());
    let key = json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": x});
    let by_edwards = (key, pair.sign(message).as_ref().to_vec());
    by_rsa
        .into_iter()
        .chain(by_curve)
        .chain([by_edwards])
        .collect()
}

#[test]
fn a_held_key_and_one_that_jsonwebtoken_builds_anew_agree_on_every_signature() {
    for (key, signature) in signed(b"message") {
        let (set, _) = parse(std::slice::from_ref(&key)).unwrap();
        let held = &set.with_id("k").unwrap()[0];
        let algorithm = held.algorithm().as_str().parse().unwrap();
        let anew = DecodingKey::from_jwk(&serde_json::from_value(key).unwrap()).unwrap();

        let mut forms = vec![Vec::new(), vec![0; signature.len()], signature.clone()];
        forms.push(signature[1..].to_vec());
        forms.push([&signature[..], &[0]].concat());
        forms.push([&[0], &signature[..]].concat());
        for octet in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[octet] ^= 1;
            forms.push(changed);
        }
        for (message, form) in forms
            .iter()
            .flat_map(|form| [("message", form), ("", form)])
        {
            let text = URL_SAFE_NO_PAD.encode(form);
            let agreed = jsonwebtoken::crypto::verify(&text, message.as_bytes(), &anew, algorithm);
            let verifies = held.verifies(message.as_bytes(), form);
            assert_eq!(verifies, agreed.unwrap_or(false), "{held:?}: {form:?}");
            assert_eq!(verifies, *form == signature && message == "message");
        }
    }
}

#[test]
fn a_key_is_known_by_the_thumbprint_of_the_standard_however_it_is_written() {
    // The example of RFC 7638, section 3.1.
    let example = json!({
        "kty": "RSA", "kid": "2011-04-29", "alg": "RS256", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let thumbprint = |key: &Value| encoded(usable(key).unwrap().1.thumbprint());
    let expected = json!("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(thumbprint(&example), expected);

    let modulus = URL_SAFE_NO_PAD.decode(example["n"].as_str().unwrap());
    let signed = [&[0][..], &modulus.unwrap()].concat();
    let otherwise = with(with(example, "n", encoded(&signed)), "kid", json!("other"));
    assert_eq!(thumbprint(&otherwise), expected);
}
