//! The form that asks for an exchange (RFC 8693, section 2.1).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use url::{Url, form_urlencoded};

use super::super::error::RequestError;
use crate::directory::Audience;
use crate::exchange::{Caller, ExchangeRequest};
use crate::subject::LONGEST_TOKEN;
use crate::trust::{Scopes, Wish};

/// The one grant that is offered (RFC 8693, section 2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// RFC 8693, section 3.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The longest `resource`, in bytes: it stands in the record of a denial, whoever sent it.
const LONGEST_RESOURCE: usize = 2048;

/// Reads the body of a request for an exchange. `public_url` is our own address, below which a project may be named.
pub fn read_form(
    body: &[u8],
    public_url: &str,
    caller: Caller,
) -> Result<ExchangeRequest, RequestError> {
    exchange_request(Form::parse(body)?, public_url, caller)
}

/// The parameters of the form, each at most once. An empty one is an absent one (RFC 6749, section 3.2).
struct Form<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Form<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let mut parameters: HashMap<Cow<'a, str>, Cow<'a, str>> = HashMap::new();
        for (name, value) in pairs(body) {
            if value.is_empty() {
                continue;
            }
            match parameters.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(taken) => {
                    let shown: String = taken.key().chars().take(40).collect();
                    return Err(fault(&format!("the parameter {shown} stands twice")));
                }
            }
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.0.remove(name)
    }

    fn require(&mut self, name: &str, mend: &str) -> Result<Cow<'a, str>, RequestError> {
        self.take(name)
            .ok_or_else(|| fault(&format!("the parameter {name} is missing or empty: {mend}")))
    }
}

/// The pairs of a form. A token, which is nearly all of it, has nothing to decode: `%` and `+` are searched for, and nothing is
/// copied.
fn pairs(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let (text, rest) = match std::str::from_utf8(body) {
        Ok(text) => (text, None),
        Err(_) => ("", Some(body)),
    };
    let plain = text.split('&').filter_map(pair);
    plain.chain(rest.into_iter().flat_map(form_urlencoded::parse))
}

/// The name and the value of a pair; `None` if it is empty.
fn pair(text: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let is_encoded = text.contains('%') || text.contains('+');
    match text.split_once('=').filter(|_| !is_encoded) {
        Some((name, value)) => Some((Cow::Borrowed(name), Cow::Borrowed(value))),
        None => form_urlencoded::parse(text.as_bytes()).next(),
    }
}

fn exchange_request(
    mut form: Form<'_>,
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
        subject_token: subject_token.into_owned(),
        audience: audience.into_owned(),
        project,
        wish,
        caller,
    })
}

/// Refuses another grant than the one that is offered, and a token for somebody else (RFC 8693, section 2.1).
fn check_grant(form: &mut Form<'_>) -> Result<(), RequestError> {
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
fn check_types(form: &mut Form<'_>) -> Result<(), RequestError> {
    match &*form.require("subject_token_type", &format!("send {ID_TOKEN}"))? {
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
fn resource(text: Cow<'_, str>) -> Result<String, RequestError> {
    match Url::parse(&text) {
        Ok(url) if url.fragment().is_none() && text.len() <= LONGEST_RESOURCE => {
            Ok(text.into_owned())
        }
        _ => Err(RequestError::TargetMalformed(
            "resource must be an absolute URI of at most 2048 characters, without a fragment"
                .to_owned(),
        )),
    }
}

pub(super) fn fault(message: &str) -> RequestError {
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
        let body = body.finish();
        read_form(
            body.as_bytes(),
            "https://sts.example.com",
            Caller::default(),
        )
    }

    #[test]
    fn a_form_is_read_as_the_library_reads_it_whatever_its_octets_are() {
        let bodies: [&[u8]; 16] = [
            b"",
            b"&",
            b"&&a=b&",
            b"a",
            b"=",
            b"=b",
            b"a=",
            b"a=b=c",
            b"a=%62&c=d",
            b"a=%zz%",
            b"a+b=c+d&e=f",
            b"a=%ff&b=c",
            b"\xff=b&c=d",
            b"a=b&\xff&c=d",
            b"a=b&c=\xff",
            "a=\u{e9}&b=%C3%A9".as_bytes(),
        ];
        for body in bodies {
            let read: Vec<_> = pairs(body).collect();
            let expected: Vec<_> = form_urlencoded::parse(body).collect();
            assert_eq!(read, expected, "{body:?}");
        }
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
