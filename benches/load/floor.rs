//! The floor: an exchange by the same framework and the same cryptography, with a fixed rule, no store and no log.
//!
//! Nothing that keeps the promise of an answer (read the form, check the signature, compare claims and times, sign a
//! token) can cost less on this machine; what the service costs beyond it is the service's own.

use std::collections::HashMap;
use std::net::TcpListener;

use actix_web::web::{Bytes, Data, post};
use actix_web::{App, HttpResponse, HttpServer};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::drive::tokens::{AUDIENCE, LIFETIME, PROJECT};
use crate::drive::wire::Connection;

/// How long its tokens live, in seconds.
const ISSUED_FOR: i64 = 900;

struct Floor {
    issuer: String,
    keys: HashMap<String, ParsedPublicKey>,
    own: EcdsaKeyPair,
    random: SystemRandom,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    repository_owner_id: String,
    repository_id: String,
    environment: String,
    r#ref: String,
    sha: String,
}

#[derive(Serialize)]
struct Issued<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    scope: &'a str,
    client_id: &'a str,
    r#ref: &'a str,
    sha: &'a str,
}

/// Serves until the process is killed, with the keys that `issuer` publishes now.
pub fn serve(issuer: &str) {
    let floor = Data::new(Floor {
        issuer: issuer.to_owned(),
        keys: held_keys(issuer),
        own: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        random: SystemRandom::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(floor.clone())
            .route("/oauth/token", post().to(token))
            .route("/bare", post().to(bare))
    });
    let server = server.listen(listener).unwrap().run();
    eprintln!("{{\"message\":\"listening\",\"url\":\"http://{address}\"}}");
    actix_web::rt::System::new().block_on(server).unwrap();
}

fn held_keys(issuer: &str) -> HashMap<String, ParsedPublicKey> {
    let answer = Connection::open(issuer).unwrap().get("/.well-known/jwks");
    let set: Value = serde_json::from_str(&answer.unwrap().text).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let held = keys.map(|key| {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(text(&key[name])).unwrap();
        let components = RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        (text(&key["kid"]), parsed.unwrap())
    });
    held.collect()
}

/// What a request of this size costs that asks for nothing.
async fn bare(_body: Bytes) -> HttpResponse {
    HttpResponse::Ok().body("ok")
}

async fn token(body: Bytes, floor: Data<Floor>) -> HttpResponse {
    match floor.exchange(&body) {
        Some(token) => HttpResponse::Ok()
            .insert_header(("Cache-Control", "no-store"))
            .json(json!({
                "access_token": token,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": ISSUED_FOR,
                "scope": "publish read",
            })),
        None => HttpResponse::BadRequest().json(json!({ "error": "invalid_request" })),
    }
}

impl Floor {
    fn exchange(&self, body: &[u8]) -> Option<String> {
        let form: HashMap<_, _> = form_urlencoded::parse(body).collect();
        let token = form.get("subject_token")?;
        let claims = self.verify(token)?;
        let now = SystemClock.now().seconds();
        let in_time = claims.nbf <= now && now < claims.exp && claims.iat + LIFETIME >= now;
        let ours = claims.iss == self.issuer && claims.aud == AUDIENCE;
        let trusted = form.get("audience")? == PROJECT
            && claims.repository_owner_id == "65123456"
            && claims.repository_id == "74123456"
            && claims.environment == "production"
            && claims.r#ref == "refs/heads/main";
        (in_time && ours && trusted).then(|| self.sign(&claims, now))?
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let key = self
            .keys
            .get(&header.kid)
            .filter(|_| header.alg == "RS256")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        key.verify_sig(signed.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    fn sign(&self, claims: &Claims, now: i64) -> Option<String> {
        let issued = Issued {
            iss: AUDIENCE,
            sub: "project:acme/widgets",
            aud: AUDIENCE,
            iat: now,
            nbf: now,
            exp: now + ISSUED_FOR,
            jti: uuid::Uuid::new_v4().to_string(),
            scope: "publish read",
            client_id: &claims.sub,
            r#ref: &claims.r#ref,
            sha: &claims.sha,
        };
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"ES256","kid":"own"}"#);
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&issued).ok()?);
        let signed = format!("{header}.{payload}");
        let signature = self.own.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
