//! Subject tokens: what is believed, and each thing that is not. The keys are real, the time stands still.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use countersign::clock::UnixTime;
use countersign::issuer::{IssuerForm, KeySet, Match, PublicKey, TrustedIssuer, profile_named};
use countersign::subject::{InvalidToken, Rejected, SignedClaims, SubjectToken, VerifiedClaims};

use crate::support::keys::{SigningKey, encoded};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://ci.example";
const OURS: &str = "https://sts.example.com";

/// RSA keys take a while to make, so all tests share these.
static RS256: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rs256("key"));
static PS256: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::ps256("key"));

/// What a good token says.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "job", "aud": OURS,
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": "1",
    })
}

fn with(mut object: Value, member: &str, value: Value) -> Value {
    object[member] = value;
    object
}

fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}

fn trusted() -> TrustedIssuer {
    let form = IssuerForm::parse(ISSUER, false, false).unwrap();
    TrustedIssuer::new("ci", profile_named("generic").unwrap(), form, OURS)
}

fn matched(trusted: &TrustedIssuer, iss: &str) -> Match {
    trusted.form.matches(iss).unwrap()
}

/// The keys that an issuer publishes under the name `key`.
fn published(jwks: &[Value]) -> Arc<[PublicKey]> {
    let set = json!({ "keys": jwks }).to_string();
    let (set, unusable) = KeySet::parse(set.as_bytes()).unwrap();
    assert_eq!(unusable, []);
    set.with_id("key").unwrap().clone()
}

fn check_signature(token: String, keys: &[PublicKey]) -> Result<SignedClaims, InvalidToken> {
    let token = SubjectToken::read(token)?;
    let trusted = Arc::new(trusted());
    let matched = matched(&trusted, ISSUER);
    token.check_signature(trusted, matched, keys)
}

/// The whole way of a token that was signed with `key`, at `now`.
fn verify(
    trusted: TrustedIssuer,
    claims: &Value,
    now: i64,
) -> Result<VerifiedClaims, Box<Rejected>> {
    let key = SigningKey::es256("key");
    let token = SubjectToken::read(key.token(claims)).unwrap();
    let iss = token.unverified_issuer().unwrap().to_owned();
    let matched = matched(&trusted, &iss);
    let signed = token
        .check_signature(Arc::new(trusted), matched, &published(&[key.jwk()]))
        .unwrap();
    signed.accept(OURS, UnixTime::from_seconds(now))
}

/// What is wrong with `claims` now.
fn fault(claims: &Value) -> InvalidToken {
    verify(trusted(), claims, NOW).unwrap_err().fault
}

fn read_fault(token: impl Into<String>) -> String {
    let fault = SubjectToken::read(token.into()).unwrap_err();
    assert_eq!(fault.code(), "token-malformed");
    fault.to_string()
}

#[test]
fn a_genuine_token_of_each_kind_is_believed() {
    let (es256, ed25519) = (SigningKey::es256("key"), SigningKey::ed25519("key"));
    for key in [&*RS256, &*PS256, &es256, &ed25519] {
        let signed = check_signature(key.token(&claims()), &published(&[key.jwk()])).unwrap();
        let claims = signed.accept(OURS, UnixTime::from_seconds(NOW)).unwrap();
        assert_eq!(claims.subject(), "job", "{}", key.algorithm());
        assert_eq!(claims.issuer().as_str(), ISSUER);
        assert_eq!(claims.expires(), UnixTime::from_seconds(NOW + 300));
    }
}

#[test]
fn what_ci_systems_leave_out_is_not_missed() {
    let key = SigningKey::es256("key");
    let bare = ["jti", "nbf"].into_iter().fold(claims(), without);
    for typ in [None, Some("jwt"), Some("JWT")] {
        let mut header = without(key.header(), "typ");
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        let token = key.sign(&header.to_string(), &bare.to_string());
        let signed = check_signature(token, &published(&[key.jwk()])).unwrap();
        assert!(signed.accept(OURS, UnixTime::from_seconds(NOW)).is_ok());
    }
}

#[test]
fn one_name_for_keys_of_two_kinds_costs_neither() {
    let key = SigningKey::es256("key");
    let both = published(&[RS256.jwk(), key.jwk(), SigningKey::es256("key").jwk()]);
    assert!(check_signature(RS256.token(&claims()), &both).is_ok());
    assert!(check_signature(key.token(&claims()), &both).is_ok());
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let keys = published(&[RS256.jwk()]);
    let payload = claims().to_string();
    let header = |alg: &str| json!({ "alg": alg, "kid": "key" }).to_string();
    let unsigned = |alg: &str| {
        format!(
            "{}.{}.",
            encoded(header(alg).as_bytes()),
            encoded(payload.as_bytes())
        )
    };
    // The oldest trick: the public key taken for a shared secret.
    let public = RS256.jwk()["n"].as_str().unwrap().to_owned();
    let by_secret = |secret: &[u8]| {
        let signed = format!(
            "{}.{}",
            encoded(header("HS256").as_bytes()),
            encoded(payload.as_bytes())
        );
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
        format!("{signed}.{}", encoded(tag.as_ref()))
    };
    for token in [
        unsigned("none"),
        unsigned("None"),
        unsigned(""),
        unsigned("rs256"),
        unsigned("RSA-OAEP"),
        by_secret(b"secret"),
        by_secret(public.as_bytes()),
        by_secret(RS256.jwk().to_string().as_bytes()),
        RS256.sign(&header("PS256"), &payload),
        RS256.sign(&header("RS512"), &payload),
        PS256.token(&claims()),
        SigningKey::es256("key").token(&claims()),
    ] {
        let fault = check_signature(token, &keys).unwrap_err();
        assert_eq!(fault.code(), "algorithm-refused", "{fault}");
    }
}

#[test]
fn a_signature_of_anybody_else_is_refused() {
    let key = SigningKey::es256("key");
    let other = SigningKey::es256("key");
    let keys = published(&[key.jwk()]);
    let genuine = key.token(&claims());
    let parts: Vec<&str> = genuine.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let changed = encoded(with(claims(), "sub", json!("admin")).to_string().as_bytes());
    let header_changed = encoded(with(key.header(), "x", json!(1)).to_string().as_bytes());
    for token in [
        other.token(&claims()),
        format!("{header}.{changed}.{signature}"),
        format!("{header_changed}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", &signature[..40]),
        format!("{header}.{payload}.{}", encoded(&[0; 64])),
        format!("{header}.{payload}.{}", encoded(&[1; 1000])),
    ] {
        let fault = check_signature(token, &keys).unwrap_err();
        assert_eq!(fault, InvalidToken::SignatureInvalid);
    }
    assert!(check_signature(genuine, &[]).is_err());
}

#[test]
fn keys_and_addresses_in_a_header_never_matter() {
    let key = SigningKey::es256("key");
    let attacker = SigningKey::es256("key");
    let mut header = attacker.header();
    header["jwk"] = attacker.jwk();
    header["jku"] = json!("https://evil.example/keys");
    header["x5u"] = json!("https://evil.example/certificate");
    header["x5c"] = json!(["MIIB"]);
    let (header, payload) = (header.to_string(), claims().to_string());
    let keys = published(&[key.jwk()]);
    let fault = check_signature(attacker.sign(&header, &payload), &keys).unwrap_err();
    assert_eq!(fault, InvalidToken::SignatureInvalid);
    assert!(check_signature(key.sign(&header, &payload), &keys).is_ok());
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let key = SigningKey::es256("../../etc/passwd'; --");
    let token = SubjectToken::read(key.token(&claims())).unwrap();
    assert_eq!(token.key_id(), Some("../../etc/passwd'; --"));
    let header = without(key.header(), "kid").to_string();
    let token = SubjectToken::read(key.sign(&header, "{}")).unwrap();
    assert_eq!(token.key_id(), None);
}

#[test]
fn what_is_no_jwt_in_compact_form_is_refused() {
    let key = SigningKey::es256("key");
    let genuine = key.token(&claims());
    let (rest, signature) = genuine.rsplit_once('.').unwrap();
    for (token, expected) in [
        (String::new(), "three parts"),
        ("eyJ".to_owned(), "three parts"),
        (rest.to_owned(), "three parts"),
        (format!("{genuine}.{signature}"), "three parts"),
        (format!("{genuine}.x.y"), "three parts"),
        (format!(".{genuine}"), "three parts"),
        ("..".to_owned(), "header"),
        (format!("Bearer {genuine}"), "header is not base64url"),
        (format!(" {genuine}"), "header is not base64url"),
        (format!("{genuine}\n"), "signature is not base64url"),
        (format!("{genuine}=="), "signature is not base64url"),
        (format!("{rest}.%%"), "signature is not base64url"),
        (
            format!("{}.e30.{signature}", encoded(b"[]")),
            "header is not a JSON object",
        ),
        (
            format!(
                "{}.bnVsbA.{signature}",
                encoded(key.header().to_string().as_bytes())
            ),
            "payload is not a JSON object",
        ),
        ("a".repeat(16 * 1024 + 1), "longer than 16 KiB"),
    ] {
        let fault = read_fault(token);
        assert!(fault.contains(expected), "{expected}: {fault}");
    }
}

#[test]
fn a_token_of_exactly_16_kib_is_read() {
    let key = SigningKey::es256("key");
    let longer = |by: usize| key.token(&with(claims(), "pad", json!("x".repeat(by))));
    let mut by = 16 * 1024 * 3 / 4 - 400;
    while longer(by).len() < 16 * 1024 {
        by += 1;
    }
    assert_eq!(longer(by).len(), 16 * 1024);
    assert!(SubjectToken::read(longer(by)).is_ok());
    assert!(read_fault(longer(by + 1)).contains("16 KiB"));
}

#[test]
fn base64url_has_one_form() {
    let key = SigningKey::es256("key");
    let header = encoded(key.header().to_string().as_bytes());
    let standard = STANDARD_NO_PAD.encode("{\"alg\":\"\u{3ff}\u{fff}???>>>\"}");
    assert!(standard.contains(['+', '/']));
    // Two octets are three characters, of which the last carries two bits that mean nothing: `e30` is `{}`, and so
    // would `e31` be to a lenient reader.
    for (token, part) in [
        (format!("{header}=.e30.AA"), "header"),
        (format!("{standard}.e30.AA"), "header"),
        (format!("{header}.e30=.AA"), "payload"),
        (format!("{header}.e31.AA"), "payload"),
        (format!("{header}.e3.AA"), "payload"),
        (format!("{header}.e.AA"), "payload"),
        (format!("{header}.e30.AA=="), "signature"),
        (format!("{header}.e30.AB"), "signature"),
        (format!("{header}.e30.A"), "signature"),
        (format!("{header}.e30.A/"), "signature"),
    ] {
        let fault = read_fault(token);
        let expected = format!("its {part} is not base64url");
        assert!(fault.contains(&expected), "{expected}: {fault}");
    }
    assert!(SubjectToken::read(format!("{header}.e30.AA")).is_ok());
}

#[test]
fn a_member_that_stands_twice_is_refused_in_header_and_payload() {
    let key = SigningKey::es256("key");
    let header = key.header().to_string();
    let twice = |object: &Value, member: &str| {
        let text = object.to_string();
        format!("{{\"{member}\":\"other\",{}", &text[1..])
    };
    for token in [
        key.sign(&header, &twice(&claims(), "aud")),
        key.sign(&header, &twice(&claims(), "iss")),
        key.sign(&header, &twice(&claims(), "sub")),
        key.sign(&header, &twice(&claims(), "i\\u0073s")),
        key.sign(&twice(&key.header(), "alg"), "{}"),
        key.sign(&twice(&key.header(), "kid"), "{}"),
    ] {
        assert!(read_fault(token).contains("stands twice"));
    }
}

#[test]
fn a_header_that_asks_for_more_than_a_signature_is_refused() {
    let key = SigningKey::es256("key");
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(true)),
        ("b64", json!(false)),
        ("kid", json!(7)),
        ("kid", json!(null)),
        ("typ", json!("at+jwt")),
        ("typ", json!("application/at+jwt")),
        ("typ", json!("")),
        ("typ", json!(null)),
        ("alg", json!(null)),
        ("alg", json!(["ES256"])),
    ] {
        let header = with(key.header(), member, value.clone()).to_string();
        let fault = read_fault(key.sign(&header, &claims().to_string()));
        assert!(fault.contains(member), "{member} {value}: {fault}");
    }
    let header = without(key.header(), "alg").to_string();
    assert!(read_fault(key.sign(&header, "{}")).contains("`alg`"));
}

#[test]
fn a_token_that_names_no_issuer_finds_none() {
    let key = SigningKey::es256("key");
    for claims in [
        without(claims(), "iss"),
        with(claims(), "iss", json!([ISSUER])),
    ] {
        let token = SubjectToken::read(key.token(&claims)).unwrap();
        assert_eq!(token.unverified_issuer().unwrap_err().code(), "claim-type");
    }
}

#[test]
fn claims_of_a_wrong_type_are_named() {
    let long = |length: usize| json!("ä".repeat(length));
    let cases = [
        ("exp", json!("1800000300")),
        ("exp", json!(null)),
        ("exp", json!(1e300)),
        ("exp", json!(9_007_199_254_740_993_i64)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(true)),
        ("exp", json!([NOW])),
        ("iat", json!("1800000000")),
        ("iat", json!(-1e300)),
        ("nbf", json!("1800000000")),
        ("nbf", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(null)),
        ("sub", long(1025)),
        ("sub", json!("job\nother")),
        ("sub", json!("job\u{0}")),
        ("sub", json!("job\u{85}")),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!(null)),
        ("aud", json!(7)),
        ("aud", json!(null)),
        ("aud", json!({ "0": OURS })),
        ("aud", json!([OURS, 7])),
        ("aud", json!([[OURS]])),
    ];
    for (claim, value) in cases {
        match fault(&with(claims(), claim, value.clone())) {
            InvalidToken::ClaimType { claim: named, .. } => assert_eq!(named, claim, "{value}"),
            other => panic!("{claim} = {value}: {other}"),
        }
    }
    for claim in ["exp", "iat", "sub", "aud"] {
        let fault = fault(&without(claims(), claim));
        assert!(matches!(fault, InvalidToken::ClaimType { claim: named, .. } if named == claim));
    }
    for length in [1, 1024] {
        let outcome = verify(trusted(), &with(claims(), "sub", long(length)), NOW);
        assert!(outcome.is_ok(), "{length} characters");
    }
}

#[test]
fn numbers_that_no_json_reader_agrees_on_are_refused() {
    let key = SigningKey::es256("key");
    let text = claims().to_string();
    for number in ["1e999", "NaN", "Infinity", "01800000300", "+1800000300"] {
        let text = text.replace(&(NOW + 300).to_string(), number);
        assert!(read_fault(key.sign(&key.header().to_string(), &text)).contains("not JSON"));
    }
}

#[test]
fn a_fraction_of_a_second_is_cut() {
    let fraction = |seconds: i64| serde_json::from_str(&format!("{seconds}.9")).unwrap();
    let with_fraction = with(claims(), "exp", fraction(NOW + 300));
    let accepted = verify(trusted(), &with_fraction, NOW).unwrap();
    assert_eq!(accepted.expires(), UnixTime::from_seconds(NOW + 300));
    let with_fraction = with(claims(), "iat", fraction(NOW + 60));
    assert!(verify(trusted(), &with_fraction, NOW).is_ok());
}

#[test]
fn the_audience_must_hold_ours_letter_by_letter() {
    for aud in [
        json!("https://sts.example.com/"),
        json!("https://STS.example.com"),
        json!("https://other.example"),
        json!(""),
        json!([]),
        json!(["https://other.example", "sts.example.com"]),
    ] {
        let found = fault(&with(claims(), "aud", aud.clone()));
        assert_eq!(found.code(), "audience-mismatch", "{aud}");
    }
    for aud in [json!([OURS]), json!(["https://other.example", OURS])] {
        assert!(verify(trusted(), &with(claims(), "aud", aud), NOW).is_ok());
    }
}

#[test]
fn a_wrong_audience_is_told_our_public_address_and_no_other() {
    let trusted = TrustedIssuer {
        audiences: vec!["internal-name".to_owned(), "second".to_owned()],
        ..trusted()
    };
    let wrong = with(claims(), "aud", json!(["theirs\n", "more"]));
    let fault = verify(trusted, &wrong, NOW).unwrap_err().fault;
    let text = fault.to_string();
    assert!(
        text.contains(OURS) && text.contains("`theirs`, `more`"),
        "{text}"
    );
    assert!(!text.contains("internal-name") && !text.contains('\n'));
}

#[test]
fn circleci_puts_its_organization_where_the_audience_belongs() {
    let organization = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b";
    let form = IssuerForm::parse("https://oidc.circleci.com/org/{organization}", true, false);
    let circleci = |own_audience_only| TrustedIssuer {
        own_audience_only,
        ..TrustedIssuer::new(
            "circleci",
            profile_named("circleci").unwrap(),
            form.clone().unwrap(),
            OURS,
        )
    };
    let mut token = with(claims(), "aud", json!([organization]));
    token["iss"] = json!(format!("https://oidc.circleci.com/org/{organization}"));
    token["oidc.circleci.com/org-id"] = json!(organization);
    let accepted = verify(circleci(false), &token, NOW).unwrap();
    assert_eq!(accepted.organization_of_issuer(), Some(organization));
    let fault = verify(circleci(true), &token, NOW).unwrap_err().fault;
    assert_eq!(fault.code(), "audience-mismatch");
    token["oidc.circleci.com/org-id"] = json!("another");
    let fault = verify(circleci(false), &token, NOW).unwrap_err().fault;
    assert_eq!(fault.code(), "audience-mismatch");
}

#[test]
fn times_are_kept_to_the_second_with_a_minute_of_leeway() {
    let strict = || TrustedIssuer {
        max_token_age: Some(600),
        ..trusted()
    };
    let lives = |seconds: i64| with(claims(), "exp", json!(NOW + seconds));
    let starts = |claim: &str, seconds: i64| with(claims(), claim, json!(NOW + seconds));
    for (what, claims, at, expected) in [
        ("exp + 60", claims(), 360, None),
        ("exp + 61", claims(), 361, Some("token-expired")),
        ("nbf - 60", starts("nbf", 60), 0, None),
        (
            "nbf - 61",
            starts("nbf", 61),
            0,
            Some("token-not-yet-valid"),
        ),
        ("iat - 60", starts("iat", 60), 0, None),
        (
            "iat - 61",
            starts("iat", 61),
            0,
            Some("token-not-yet-valid"),
        ),
        ("iat + age + 60", lives(3600), 660, None),
        ("iat + age + 61", lives(3600), 661, Some("token-too-old")),
        ("exp - iat = 24 h", lives(86_400), 0, None),
        (
            "exp - iat over 24 h",
            lives(86_401),
            0,
            Some("token-too-old"),
        ),
        (
            "exp in the year 100000",
            lives(3_000_000_000_000),
            0,
            Some("token-too-old"),
        ),
        (
            "a negative exp",
            with(claims(), "exp", json!(-1)),
            0,
            Some("token-expired"),
        ),
        ("exp before iat", lives(-61), 0, Some("token-expired")),
    ] {
        let outcome = verify(strict(), &claims, NOW + at);
        let code = outcome.err().map(|refused| refused.fault.code());
        assert_eq!(code, expected, "{what}");
    }
}

#[test]
fn without_a_limit_of_age_the_token_s_own_end_is_the_bound() {
    let hours = with(claims(), "exp", json!(NOW + 36_000));
    assert!(verify(trusted(), &hours, NOW + 36_060).is_ok());
    assert!(verify(trusted(), &hours, NOW + 36_061).is_err());
}

#[test]
fn a_good_signature_does_not_make_a_token_that_of_another_issuer() {
    // Issuers share keys, so the key was found under one issuer and the claims name another.
    let key = SigningKey::es256("key");
    let keys = published(&[key.jwk()]);
    for iss in [
        "https://ci.example/",
        "https://ci.example/acme",
        "https://CI.example",
        "",
    ] {
        let signed = check_signature(key.token(&with(claims(), "iss", json!(iss))), &keys).unwrap();
        let refused = signed
            .accept(OURS, UnixTime::from_seconds(NOW))
            .unwrap_err();
        assert_eq!(refused.fault.code(), "issuer-unknown", "{iss}");
    }
}

#[test]
fn a_refusal_keeps_what_the_issuer_signed() {
    let late = verify(trusted(), &claims(), NOW + 1000).unwrap_err();
    assert_eq!(late.signed.all()["sub"], "job");
    assert_eq!(&*late.signed.trusted().name, "ci");
}

#[test]
fn a_token_is_remembered_by_its_issuer_and_its_id_or_else_by_what_was_signed() {
    let spent = |claims: &Value| verify(trusted(), claims, NOW).unwrap().spent_key();
    let nameless = without(claims(), "jti");
    assert_eq!(
        spent(&claims()),
        spent(&with(claims(), "sub", json!("else")))
    );
    assert_ne!(spent(&claims()), spent(&with(claims(), "jti", json!("2"))));
    assert_ne!(spent(&claims()), spent(&nameless));
    assert_ne!(
        spent(&nameless),
        spent(&with(nameless.clone(), "sub", json!("else")))
    );

    // A second signature by one key over one token is the same token.
    let key = SigningKey::es256("key");
    let keys = published(&[key.jwk()]);
    let signed = || check_signature(key.token(&nameless), &keys).unwrap();
    assert_ne!(key.token(&nameless), key.token(&nameless));
    assert_eq!(signed().spent_key(), signed().spent_key());
}

#[test]
fn a_token_does_not_print_itself() {
    let token = RS256.token(&claims());
    let read = SubjectToken::read(token).unwrap();
    assert_eq!(format!("{read:?}"), "SubjectToken(..)");
}
