//! `/api/v1/audit…`: entries of the log with their withheld values, and proofs.

mod entry;
mod parameters;
mod proof;

use actix_web::web::ServiceConfig;

use super::super::{only, read};

/// Every path below `/api/v1/audit`.
pub(in crate::http) fn routes(config: &mut ServiceConfig) {
    let path = |path: &str| format!("/api/v1/audit{path}");
    let mut get = |below: &str, route: actix_web::Route| {
        config.service(only(&path(below), route, "GET"));
    };
    get("/entries/{index}", read().to(entry::entry));
    get("/proof/inclusion", read().to(proof::inclusion));
    get("/proof/consistency", read().to(proof::consistency));
    get("/proof/{index}", read().to(proof::tlog_proof));
}
