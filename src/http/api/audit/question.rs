//! `GET /api/v1/audit/{who,use,alarms,policy}`: what a reviewer asks.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::super::super::Service;
use super::super::super::audit::{Answer, Part, Places, answered};
use super::parameters::Parameters;
use super::wish::{names, wish};
use crate::reading::{self, Question, Sources};

/// Answers `question`.
pub(super) async fn answer(
    question: Question,
    request: HttpRequest,
    service: Data<Service>,
    places: Data<Places>,
) -> HttpResponse {
    let answer = read(question, &request, &service, &places).await;
    answered(&request, &service, answer).await
}

async fn read(
    question: Question,
    request: &HttpRequest,
    service: &Service,
    places: &Places,
) -> Answer {
    service.audit_access.check(request, Part::Entries)?;
    let parameters = Parameters::read(request.query_string(), &names(question))?;
    let exchange = &service.exchange;
    let wish = wish(question, &parameters, exchange.clock.now())?;
    let _place = places.for_a_search().await?;
    let sources = Sources {
        log: &*service.log,
        policies: &*service.policies,
        registry: &exchange.registry,
    };
    let answer = reading::answer(sources, &wish).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(answer))
}
