//! `/errors/<reason>`: what a reason means and how to mend it. The text is that of `docs/errors.md`.

use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use pulldown_cmark::{Parser, html};

use super::Service;
use super::error::no_such_path;

/// The document: a preface, and a section for each reason.
const DOCUMENT: &str = include_str!("../../docs/errors.md");

/// The address that stands for ours in the document.
const EXAMPLE_URL: &str = "https://sts.example.com";

/// What a section begins with; the reason follows.
const HEADING: &str = "\n## ";

const STYLE: &str = "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif;color:#222;background:#fff}\
pre{padding:.7rem;overflow-x:auto}pre,code{background:#f2f2f2}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}pre,code{background:#2b2b2b}a{color:#8cb4ff}}";

/// The address of the page about `reason` (`error_uri` of RFC 6749, section 5.2).
pub(super) fn page_about(public_url: &str, reason: &str) -> String {
    format!("{public_url}/errors/{reason}")
}

/// The page about one reason.
pub(super) async fn one(
    request: HttpRequest,
    reason: Path<String>,
    service: Data<Service>,
) -> HttpResponse {
    match section(&reason) {
        Some(text) => page(&request, &reason, text, &service.exchange.public_url),
        None => no_such_path().await,
    }
}

/// The preface, and the list of all reasons.
pub(super) async fn all(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let preface = DOCUMENT.split(HEADING).next().unwrap_or_default();
    page(&request, "refusals", preface, &service.exchange.public_url)
}

/// Every reason that has a section, in the order of the document.
fn reasons() -> impl Iterator<Item = &'static str> {
    DOCUMENT
        .split(HEADING)
        .skip(1)
        .map(|section| section.lines().next().unwrap_or_default())
}

/// The section about `reason`, with its heading.
fn section(reason: &str) -> Option<&'static str> {
    let sections = DOCUMENT.split(HEADING).skip(1);
    sections
        .into_iter()
        .find(|section| section.lines().next() == Some(reason))
}

fn page(request: &HttpRequest, title: &str, markdown: &str, public_url: &str) -> HttpResponse {
    let text = markdown.replace(EXAMPLE_URL, public_url);
    let text = if text.starts_with('#') {
        text
    } else {
        format!("# {text}")
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .insert_header((VARY, "accept"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if wants_text(request.headers()) {
        return response
            .content_type("text/plain; charset=utf-8")
            .body(text);
    }
    // Nothing here runs or is fetched, and the header holds a browser to it.
    response
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
        .content_type("text/html; charset=utf-8")
        .body(in_html(title, &text))
}

/// Whether the caller names plain text and not HTML.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let accept = accept.unwrap_or_default().to_ascii_lowercase();
    let named = |media_type: &str| accept.contains(media_type);
    (named("text/plain") || named("text/markdown")) && !named("text/html")
}

fn in_html(title: &str, markdown: &str) -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new(markdown));
    let others: Vec<String> = reasons()
        .map(|reason| format!("<a href=\"/errors/{reason}\">{reason}</a>"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title} · Countersign</title>\n\
        <style>{STYLE}</style>\n</head>\n<body>\n{body}<hr>\n<p>All reasons: {}</p>\n</body>\n</html>\n",
        others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The source of every file that gives reasons their names.
    const NAMES: [&str; 5] = [
        include_str!("audit/fault.rs"),
        include_str!("error.rs"),
        include_str!("../exchange/denial.rs"),
        include_str!("../subject/fault.rs"),
        include_str!("../trust/decision.rs"),
    ];

    /// The words in quotation marks that look like a reason, in the functions that name reasons.
    fn reasons_of_the_code() -> BTreeSet<&'static str> {
        let functions = NAMES.iter().flat_map(|source| {
            let named = source.split("fn code(&self) -> &'static str {").skip(1);
            let rows = source.split("fn row_of_request").skip(1);
            named
                .chain(rows)
                .filter_map(|rest| rest.split("\n    }\n").next())
        });
        let words = functions.flat_map(|body| {
            let body = body.split("\n}\n").next().unwrap_or_default();
            body.split('"').skip(1).step_by(2)
        });
        words.filter(|word| word.contains('-')).collect()
    }

    #[test]
    fn every_reason_has_a_section_and_every_section_a_reason() {
        let of_the_document: BTreeSet<&str> = reasons().collect();
        let of_the_code = reasons_of_the_code();
        assert!(of_the_code.len() >= 20, "{of_the_code:?}");
        assert_eq!(of_the_document, of_the_code);
        assert_eq!(reasons().count(), of_the_document.len(), "one stands twice");
    }

    #[test]
    fn every_section_says_what_happened_how_to_see_more_and_how_to_mend_it() {
        for reason in reasons() {
            let section = section(reason).unwrap();
            for part in [
                "**What happened.**",
                "**How to see more.**",
                "**How to mend it.**",
            ] {
                assert_eq!(section.matches(part).count(), 1, "{reason}: {part}");
            }
        }
    }

    #[test]
    fn a_page_is_plain_html_without_scripts() {
        for reason in reasons() {
            let html = in_html(reason, section(reason).unwrap());
            assert!(html.contains("<p>All reasons: "), "{reason}");
            for sign in ["<script", "javascript:", " onclick", "<img", "http-equiv"] {
                assert!(!html.contains(sign), "{reason}: {sign}");
            }
            assert!(
                !html.contains("<vault>"),
                "{reason}: what stands in code is escaped"
            );
        }
    }
}
