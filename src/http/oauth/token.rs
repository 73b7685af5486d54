//! `POST /oauth/token` (RFC 8693): the form on the wire becomes an exchange, and its outcome an answer.

use std::collections::HashMap;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, USER_AGENT};
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::json;
use tokio::time::timeout;
use url::{Url, form_urlencoded};

use super::super::Service;
use super::super::client_address::client_address;
use super::super::error::{RequestError, malformed, refused};
use super::super::failures::BeyondLimit;
use super::super::log::Noted;
use crate::directory::Audience;
use crate::exchange::{Caller, ExchangeRequest, Issued};
use crate::subject::LONGEST_TOKEN;
use crate::trust::{Scopes, Wish};

/// The one grant that is offered (RFC 8693, section 2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// RFC 8693, section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The largest body that is read, in bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// The longest `resource`, in bytes: it stands in the record of a denial, whoever sent it.
const LONGEST_RESOURCE: usize = 2048;

/// How much of a `User-Agent` is recorded, in characters.
const USER_AGENT_KEPT: usize = 200;

/// Exchanges a subject token for a project token.
pub(in crate::http) async fn token(
    request: HttpRequest,
    payload: Payload,
    service: Data<Service>,
) -> HttpResponse {
    let exchange_request = match read(&request, payload, &service).await {
        Ok(exchange_request) => exchange_request,
        Err(error) => return malformed(&request, &error),
    };
    let project = exchange_request.audience.clone();
    match service.exchange.run(exchange_request).await {
        Ok(issued) => answer(&request, issued, project),
        Err(refusal) => refused(&request, &refusal, project),
    }
}

/// RFC 8693, section 2.2.1.
fn answer(request: &HttpRequest, issued: Issued, project: String) -> HttpResponse {
    let decision_id = issued.decision_id.to_string();
    request.extensions_mut().insert(Noted {
        reason: None,
        decision_id: Some(decision_id.clone()),
        project: Some(project),
        scope: Some(issued.scope.clone()),
    });
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({
            "access_token": issued.token.into_text(),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": issued.scope,
            "decision_id": decision_id,
        }))
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
) -> Result<ExchangeRequest, RequestError> {
    if !is_form(request.headers()) {
        return Err(fault(
            "the content type must be application/x-www-form-urlencoded",
        ));
    }
    let too_large = || fault("the body is larger than 64 KiB");
    if announced(request.headers()).is_some_and(|length| length > LARGEST_BODY) {
        return Err(too_large());
    }
    let whole = timeout(
        service.patience.body,
        payload.to_bytes_limited(LARGEST_BODY),
    );
    let body = match whole.await {
        Err(_) => return Err(fault("the body did not arrive in time")),
        Ok(Err(_)) => return Err(too_large()),
        Ok(Ok(Err(_))) => return Err(fault("the body ended before it was whole")),
        Ok(Ok(Ok(body))) => body,
    };
    let form = Form::parse(&body)?;
    exchange_request(form, &service.exchange.public_url, caller(request, service))
}

/// How long the body says that it is.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| {
        media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

fn caller(request: &HttpRequest, service: &Service) -> Caller {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let address = client_address(peer, request.headers(), &service.trusted_proxies);
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok());
    Caller {
        address: address.map(|address| address.to_string()),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_KEPT).collect()),
        fails_often: request.extensions().contains::<BeyondLimit>(),
    }
}

/// The parameters of the form, each at most once. An empty one is an absent one (RFC 6749, section 3.2).
struct Form(HashMap<String, String>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, RequestError> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            let shown: String = name.chars().take(40).collect();
            if parameters
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return Err(fault(&format!("the parameter {shown} stands twice")));
            }
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn require(&mut self, name: &str, mend: &str) -> Result<String, RequestError> {
        self.take(name)
            .ok_or_else(|| fault(&format!("the parameter {name} is missing or empty: {mend}")))
    }
}

fn exchange_request(
    mut form: Form,
    public_url: &str,
    caller: Caller,
) -> Result<ExchangeRequest, RequestError> {
    check_grant(&mut form)?;
    let subject_token =
        form.require("subject_token", "send the identity token of the CI system")?;
    if subject_token.len() > LONGEST_TOKEN {
        return Err(fault("the subject_token is larger than 16 KiB"));
    }
    check_types(&mut form)?;
    let audience = form.require("audience", "name the project, as organization/project")?;
    let project = Audience::parse(&audience, public_url)
        .map_err(|fault| RequestError::TargetMalformed(fault.to_string()))?;
    let resource = form.take("resource").map(resource).transpose()?;
    let scopes = form.take("scope").map(|text| {
        Scopes::parse(&text).map_err(|invalid| fault(&format!("scope cannot be read: {invalid}")))
    });
    let scopes = scopes.transpose()?.filter(|scopes| !scopes.is_empty());
    let wish = Wish { scopes, resource };
    Ok(ExchangeRequest {
        subject_token,
        audience,
        project,
        wish,
        caller,
    })
}

/// Refuses another grant than the one that is offered, and a token for somebody else (RFC 8693, section 2.1).
fn check_grant(form: &mut Form) -> Result<(), RequestError> {
    if form.require("grant_type", &format!("send {TOKEN_EXCHANGE}"))? != TOKEN_EXCHANGE {
        return Err(RequestError::GrantTypeUnsupported);
    }
    if form.take("actor_token").is_some() || form.take("actor_token_type").is_some() {
        return Err(fault(
            "an actor_token is not accepted: a job acts for itself",
        ));
    }
    Ok(())
}

/// Refuses tokens of other types than those that are taken and given (RFC 8693, section 3).
fn check_types(form: &mut Form) -> Result<(), RequestError> {
    match form
        .require("subject_token_type", &format!("send {ID_TOKEN}"))?
        .as_str()
    {
        ID_TOKEN | JWT => {}
        _ => {
            return Err(fault(&format!(
                "the subject_token_type must be {ID_TOKEN} or {JWT}"
            )));
        }
    }
    match form.take("requested_token_type").as_deref() {
        None | Some(ACCESS_TOKEN | JWT) => {}
        Some(_) => {
            return Err(fault(&format!(
                "the requested_token_type must be left out, {ACCESS_TOKEN} or {JWT}"
            )));
        }
    }
    Ok(())
}

/// An absolute URI without a fragment (RFC 8707, section 2). Its text is compared, and never rewritten.
fn resource(text: String) -> Result<String, RequestError> {
    match Url::parse(&text) {
        Ok(url) if url.fragment().is_none() && text.len() <= LONGEST_RESOURCE => Ok(text),
        _ => Err(RequestError::TargetMalformed(
            "resource must be an absolute URI of at most 2048 characters, without a fragment"
                .to_owned(),
        )),
    }
}

fn fault(message: &str) -> RequestError {
    RequestError::Malformed(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[(&str, &str)] = &[
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", "a.b.c"),
        ("subject_token_type", ID_TOKEN),
        ("audience", "acme/api"),
    ];

    fn outcome(changes: &[(&str, &str)]) -> Result<ExchangeRequest, RequestError> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in FORM {
            let replaced = changes.iter().any(|(changed, _)| changed == name);
            if !replaced {
                body.append_pair(name, value);
            }
        }
        for (name, value) in changes {
            body.append_pair(name, value);
        }
        let form = Form::parse(body.finish().as_bytes())?;
        exchange_request(form, "https://sts.example.com", Caller::default())
    }

    #[test]
    fn a_whole_form_is_an_exchange() {
        let request = outcome(&[("scope", "b a"), ("resource", "https://api.example")]).unwrap();
        assert_eq!(request.wish.scopes.unwrap().to_string(), "a b");
        assert_eq!(
            request.wish.resource.as_deref(),
            Some("https://api.example")
        );
    }

    #[test]
    fn an_empty_parameter_is_an_absent_one() {
        let request = outcome(&[("scope", ""), ("resource", ""), ("actor_token", "")]).unwrap();
        assert!(request.wish.scopes.is_none() && request.wish.resource.is_none());
        assert!(outcome(&[("subject_token", "")]).is_err());
    }

    #[test]
    fn what_is_missing_repeated_or_not_offered_is_named() {
        for (changes, said) in [
            (&[("grant_type", "")][..], "grant_type is missing"),
            (&[("subject_token_type", "x")], "subject_token_type must be"),
            (
                &[("subject_token_type", ACCESS_TOKEN)],
                "subject_token_type must be",
            ),
            (&[("audience", "")], "audience is missing"),
            (
                &[("audience", "acme/api"), ("audience", "acme/api")],
                "audience stands twice",
            ),
            (&[("scope", "a"), ("scope", "b")], "scope stands twice"),
            (&[("scope", "a\u{7}")], "scope cannot be read"),
            (&[("actor_token", "x")], "actor_token is not accepted"),
            (
                &[("requested_token_type", "x")],
                "requested_token_type must be",
            ),
        ] {
            match outcome(changes) {
                Err(RequestError::Malformed(message)) => {
                    assert!(message.contains(said), "{message}");
                }
                other => panic!("{changes:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn another_grant_is_told_apart_from_a_bad_request() {
        let refused = outcome(&[("grant_type", "client_credentials")]).unwrap_err();
        assert_eq!(refused, RequestError::GrantTypeUnsupported);
    }

    #[test]
    fn a_target_that_is_none_is_told_apart_from_a_bad_request() {
        for change in [
            ("audience", "Acme"),
            ("resource", "/path"),
            ("resource", "https://a/#b"),
        ] {
            let refused = outcome(&[change]).unwrap_err();
            assert!(
                matches!(refused, RequestError::TargetMalformed(_)),
                "{change:?}"
            );
        }
    }
}
