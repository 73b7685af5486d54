//! `/api/v1/audit…`: entries of the log with their withheld values, and proofs.

mod cursor;
mod entry;
mod export;
mod list;
mod parameters;
mod proof;
mod question;
mod wish;

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, Route};

use super::super::audit::Places;
use super::super::{Service, only, read};
use crate::reading::Question;

/// Every path below `/api/v1/audit`.
pub(in crate::http) fn routes(config: &mut ServiceConfig) {
    let path = |path: &str| format!("/api/v1/audit{path}");
    let mut get = |below: &str, route: Route| {
        config.service(only(&path(below), route, "GET"));
    };
    get("", read().to(list::list));
    get("/export", read().to(export::export));
    for question in [
        Question::Who,
        Question::Use,
        Question::Alarms,
        Question::Policy,
    ] {
        let answer = move |request: HttpRequest, service: Data<Service>, places: Data<Places>| {
            question::answer(question, request, service, places)
        };
        get(&format!("/{}", question.name()), read().to(answer));
    }
    get("/entries/{index}", read().to(entry::entry));
    get("/proof/inclusion", read().to(proof::inclusion));
    get("/proof/consistency", read().to(proof::consistency));
    get("/proof/{index}", read().to(proof::tlog_proof));
}
