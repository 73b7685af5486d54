//! RWX (RWX docs, "OIDC"). The vault's subject is all that tells one token from another.

use super::claim;
use crate::issuer::profile::{
    Claim,
    ClaimType::Text,
    TrustClass::{OfRun, ReusableName},
};

pub(in crate::issuer) const RWX: &[Claim] = &[
    claim("run_id", Text, OfRun, "id of the run"),
    claim("run_url", Text, OfRun, "page of the run"),
    claim(
        "sub",
        Text,
        ReusableName,
        "the vault that made the token, in its organization; copy it as RWX shows it",
    ),
    claim("task_id", Text, OfRun, "id of the task"),
    claim("task_url", Text, OfRun, "page of the task"),
];
