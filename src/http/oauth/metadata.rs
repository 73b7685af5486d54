//! What others need to know to use us, and to trust our tokens.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use serde_json::{Value, json};

use super::super::Service;
use super::form::TOKEN_EXCHANGE;
use crate::trust::KNOWN_SCOPES;

/// How long a verifier may keep our keys and metadata. Half the time that a new key is published before it signs.
const KEEP: &str = "public, max-age=300";

/// RFC 8414, section 3.2.
pub(in crate::http) async fn metadata(service: Data<Service>) -> HttpResponse {
    let us = &service.exchange.public_url;
    cached(&json!({
        "issuer": us,
        "token_endpoint": format!("{us}/oauth/token"),
        "jwks_uri": format!("{us}/.well-known/jwks.json"),
        "grant_types_supported": [TOKEN_EXCHANGE],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": KNOWN_SCOPES,
    }))
}

/// OpenID Connect Discovery 1.0, section 4.2, as far as a relying party of our tokens needs it.
pub(in crate::http) async fn discovery(service: Data<Service>) -> HttpResponse {
    let exchange = &service.exchange;
    let us = &exchange.public_url;
    cached(&json!({
        "issuer": us,
        "token_endpoint": format!("{us}/oauth/token"),
        "jwks_uri": format!("{us}/.well-known/jwks.json"),
        "grant_types_supported": [TOKEN_EXCHANGE],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": exchange.ring.algorithms(),
        "scopes_supported": ["openid"],
        "claims_supported": [
            "iss", "sub", "aud", "client_id", "jti", "iat", "nbf", "exp", "scope", "project",
            "project_id", "organization", "trust", "ci",
        ],
    }))
}

/// RFC 7517, section 5.
pub(in crate::http) async fn keys(service: Data<Service>) -> HttpResponse {
    cached(&service.exchange.ring.public_set())
}

fn cached(body: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, KEEP))
        .json(body)
}
