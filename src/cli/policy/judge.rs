//! The judge that the service uses, asked about claims that nobody sent.

use serde_json::{Map, Value};

use super::setting::Setting;
use crate::clock::{Clock as _, SystemClock};
use crate::subject::{InvalidToken, VerifiedClaims};
use crate::trust::{Circumstances, Decision, Limits, ProjectPolicy, Wish, decide};

/// Takes `claims` as if they were genuine, for us and in their time. Refused as the service would if their issuer is not
/// registered, or they are no claims of a token.
pub(super) fn suppose(
    setting: &Setting,
    claims: Map<String, Value>,
) -> Result<VerifiedClaims, InvalidToken> {
    let iss = match claims.get("iss") {
        Some(Value::String(iss)) => iss,
        Some(_) => return Err(fault("is not a text")),
        None => return Err(fault("is missing")),
    };
    let (trusted, matched) = setting
        .registry
        .find(iss)
        .ok_or_else(|| InvalidToken::issuer_unknown(iss))?;
    VerifiedClaims::supposed(trusted, matched, claims)
}

fn fault(fault: &str) -> InvalidToken {
    InvalidToken::ClaimType {
        claim: "iss",
        fault: fault.to_owned(),
    }
}

/// Asks the policy, with no pins remembered.
pub(super) fn judge(
    policy: &ProjectPolicy,
    claims: &VerifiedClaims,
    wish: &Wish,
    limits: Limits,
) -> Decision {
    decide(
        policy,
        claims,
        wish,
        &limits,
        &Circumstances::unremembered(SystemClock.now()),
    )
}
