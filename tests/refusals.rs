//! Every reason once: what the caller is told, and what is recorded.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::Seconds;
use serde_json::{Value, json};

use crate::support::service::{Answer, ID_TOKEN, NOON, TOKEN_EXCHANGE, TestService, ci};

/// What matters of an answer, in one line. Decision ids differ from run to run.
fn shown(answer: &Answer) -> String {
    let body = answer.json();
    let recorded = if body.get("decision_id").is_some() {
        "recorded"
    } else {
        "not recorded"
    };
    assert_eq!(answer.headers["cache-control"], "no-store");
    let page = format!("https://sts.example.com/errors/{}", answer.reason());
    assert_eq!(body["error_uri"], page.as_str());
    format!(
        "{} {} {} ({recorded})\n{}",
        answer.status,
        body["error"].as_str().unwrap(),
        answer.reason(),
        answer.description(),
    )
}

/// The same token with another header or payload, and the signature it had.
fn altered(token: &str, header: Option<Value>, payload: Option<&str>) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = header.map_or_else(|| parts[0].to_owned(), |header| encode(&header.to_string()));
    let payload = payload.map_or_else(|| parts[1].to_owned(), encode);
    format!("{header}.{payload}.{}", parts[2])
}

fn header(token: &str) -> Value {
    let first = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap()
}

fn with(mut header: Value, name: &str, value: Value) -> Value {
    header[name] = value;
    header
}

/// What is sent, and what it shows.
fn faulty_tokens(service: &TestService) -> Vec<(&'static str, String)> {
    let token = service.token("github-push", &[]);
    let with_algorithm =
        |name: &str| altered(&token, Some(with(header(&token), "alg", json!(name))), None);
    let changed = |changes: &[(&str, Value)]| service.token("github-push", changes);
    let other_payload = format!(r#"{{"iss":"{}/github"}}"#, ci().signer().base());
    let foreign = json!("https://token.actions.githubusercontent.com/");
    vec![
        ("no token at all", "x".to_owned()),
        (
            "a duplicate member",
            altered(&token, None, Some(r#"{"iss":"a","iss":"b"}"#)),
        ),
        ("an issuer nobody registered", changed(&[("iss", foreign)])),
        ("no algorithm", with_algorithm("none")),
        ("a symmetric algorithm", with_algorithm("HS256")),
        (
            "an algorithm that is not the key's",
            with_algorithm("PS256"),
        ),
        (
            "a changed payload",
            altered(&token, None, Some(&other_payload)),
        ),
        (
            "an audience that is not ours",
            service.token_for("github-push", Some("https://other.example"), &[]),
        ),
        ("a subject that is a number", changed(&[("sub", json!(7))])),
        ("no expiry", changed(&[("exp", Value::Null)])),
        (
            "expired",
            changed(&[("iat", json!(NOON - 400)), ("exp", json!(NOON - 61))]),
        ),
        ("not yet valid", changed(&[("nbf", json!(NOON + 61))])),
        (
            "made too long ago",
            changed(&[("iat", json!(NOON - 661)), ("exp", json!(NOON + 3600))]),
        ),
        (
            "a lifetime of more than a day",
            changed(&[("exp", json!(NOON + 86_401))]),
        ),
        (
            "no identity of this project",
            changed(&[
                ("repository_id", json!("9")),
                ("repository_owner_id", json!("9")),
            ]),
        ),
        (
            "identity proven, conditions not met",
            changed(&[("ref", json!("refs/heads/dev"))]),
        ),
        (
            "a self-hosted runner, which a deny forbids",
            changed(&[("runner_environment", json!("self-hosted"))]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_is_told_with_what_to_mend() {
    let service = TestService::start().await;
    let mut told = Vec::new();
    for (what, token) in faulty_tokens(&service) {
        let answer = service.exchange(&token, "acme/api").await;
        told.push(format!("# {what}\n{}", shown(&answer)));
    }
    let token = service.token("github-push", &[]);
    for (what, parameter) in [
        (
            "more than the grant",
            ("scope", "read_registry write_repository"),
        ),
        (
            "a resource that no relationship allows",
            ("resource", "https://api.example"),
        ),
    ] {
        let answer = service
            .exchange_with(&token, "acme/api", &[parameter])
            .await;
        told.push(format!("# {what}\n{}", shown(&answer)));
    }
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
    let spent = service.exchange(&token, "acme/api").await;
    told.push(format!("# spent\n{}", shown(&spent)));
    insta::assert_snapshot!(told.join("\n\n"));
}

const BY_NAME: &str = r#"
[[trust]]
name = "build"
issuer = "github"
owner = "octo-org"
repository = "octo-repo"
scopes = ["read_registry"]
claims = { ref = "refs/heads/main" }

[[trust]]
name = "pipeline"
issuer = "buildkite"
organization = "acme-inc"
pipeline = "super-duper-app"
scopes = ["read_registry"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_without_an_id_can_run_into_is_told_to_its_owner_alone() {
    let service = TestService::start().await;
    service.policy("acme/named", BY_NAME).await;
    service.policy("acme/unused", BY_NAME).await;
    for set in ["github-push", "buildkite-optional-claims"] {
        let token = service.token(set, &[]);
        let first = service.exchange(&token, "acme/named").await;
        assert_eq!(first.status, 200, "{set}");
    }
    let again = ("repository_id", json!("75"));
    let elsewhere = ("repository_owner_id", json!("66"));
    let mut told = Vec::new();
    for (what, set, changes) in [
        (
            "registered again by the same owner",
            "github-push",
            vec![again.clone()],
        ),
        (
            "registered again by somebody else",
            "github-push",
            vec![again.clone(), elsewhere],
        ),
        (
            "registered again, on another branch",
            "github-push",
            vec![again, ("ref", json!("refs/heads/x"))],
        ),
        ("Buildkite without ids", "buildkite-push", vec![]),
    ] {
        let answer = service
            .exchange(&service.token(set, &changes), "acme/named")
            .await;
        told.push(format!("# {what}\n{}", shown(&answer)));
    }
    service.advance(Seconds(31 * 24 * 60 * 60));
    let late = service
        .exchange(&service.token("github-push", &[]), "acme/unused")
        .await;
    told.push(format!("# nobody used the names in time\n{}", shown(&late)));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_is_told_what_it_lacks() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let form = |changes: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE.to_owned()),
            ("subject_token", token.clone()),
            ("subject_token_type", ID_TOKEN.to_owned()),
            ("audience", "acme/api".to_owned()),
        ];
        form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        form.extend(
            changes
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        form
    };
    let mut told = Vec::new();
    let huge = "x".repeat(16 * 1024 + 1);
    for (what, form) in [
        ("no grant type", form(&[("grant_type", "")])),
        ("another grant", form(&[("grant_type", "password")])),
        ("no token", form(&[("subject_token", "")])),
        ("a token over 16 KiB", form(&[("subject_token", &huge)])),
        (
            "a static token's type",
            form(&[(
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            )]),
        ),
        ("no audience", form(&[("audience", "")])),
        (
            "two audiences",
            form(&[("audience", "acme/api"), ("audience", "acme/web")]),
        ),
        (
            "an audience that is no project",
            form(&[("audience", "https://github.com/acme")]),
        ),
        ("a relative resource", form(&[("resource", "/api")])),
        ("an actor", form(&[("actor_token", "x")])),
        ("a scope that is none", form(&[("scope", "a\"b")])),
        (
            "a refresh token wanted",
            form(&[(
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:refresh_token",
            )]),
        ),
    ] {
        let pairs: Vec<(&str, &str)> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        told.push(format!("# {what}\n{}", shown(&service.form(&pairs).await)));
    }
    for (what, content_type, body) in [
        ("JSON", "application/json", "{}".to_owned()),
        (
            "an empty body",
            "application/x-www-form-urlencoded",
            String::new(),
        ),
        (
            "a body over 64 KiB",
            "application/x-www-form-urlencoded",
            format!("a={}", "x".repeat(64 * 1024)),
        ),
        (
            "bytes that are no text",
            "application/x-www-form-urlencoded",
            "grant_type=%ff%fe&audience=%00".to_owned(),
        ),
    ] {
        let request = service
            .post("/oauth/token")
            .header("content-type", content_type)
            .body(body);
        told.push(format!(
            "# {what}\n{}",
            shown(&crate::support::service::answer(request).await)
        ));
    }
    insta::assert_snapshot!(told.join("\n\n"));
    assert_eq!(
        service.exchange(&token, "acme/api").await.status,
        200,
        "none of these spent the token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_asked_in_another_way_is_said_so() {
    let service = TestService::start().await;
    assert_eq!(service.get("/oauth/token").await.status, 405);
    assert_eq!(service.get("/oauth/token").await.headers["allow"], "POST");
    assert_eq!(service.get("/nothing").await.status, 404);
    let head = service.head("/healthz").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let posted = crate::support::service::answer(service.post("/healthz")).await;
    assert_eq!(posted.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn look_alike_issuers_are_nobody() {
    let service = TestService::start().await;
    let base = ci().signer().base().to_owned();
    for iss in [
        format!("{base}/github/"),
        format!("{base}/GitHub"),
        format!("{base}/github/acme"),
        format!("{base}/github?x"),
        base.replace("http://", "http://github@"),
        format!("{}/github", base.replace("http://", "HTTP://")),
        String::new(),
    ] {
        let token = service.token("github-push", &[("iss", json!(iss))]);
        let answer = service.exchange(&token, "acme/api").await;
        assert_eq!(answer.reason(), "issuer-unknown", "{iss}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_issuers_key_does_not_sign_for_this_one() {
    let service = TestService::start().await;
    let base = ci().signer().base();
    // Signed by GitLab's key, and says that it is from GitHub.
    let token = service.token("gitlab-push", &[("iss", json!(format!("{base}/github")))]);
    let answer = service.exchange(&token, "acme/api").await;
    assert_eq!(answer.reason(), "key-unknown", "{}", answer.text);
    // The same, under a name of GitHub's key.
    let github = service.token("github-push", &[]);
    let relabelled = altered(
        &token,
        Some(with(header(&token), "kid", header(&github)["kid"].clone())),
        None,
    );
    assert_eq!(
        service.refusal(&relabelled, "acme/api").await,
        "signature-invalid"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_genuine_and_not_a_jobs_get_nothing() {
    let service = TestService::start().await;
    let null = Value::Null;
    let login: Vec<(&str, Value)> = [
        "job_id",
        "project_id",
        "project_path",
        "namespace_id",
        "pipeline_source",
    ]
    .map(|claim| (claim, null.clone()))
    .to_vec();
    let stream: Vec<(&str, Value)> = vec![
        ("oidc.circleci.com/project-id", null.clone()),
        ("oidc.circleci.com/ssh-rerun", null.clone()),
        (
            "sub",
            json!("org/a40f5d1f-d889-42e9-94ea-b9b33585fc6b/file-streaming/audit-logs"),
        ),
    ];
    for (what, set, changes, project) in [
        (
            "a user's login at GitLab",
            "gitlab-push",
            login,
            "acme/mobile",
        ),
        (
            "CircleCI's audit log streaming",
            "circleci-v2-push",
            stream,
            "acme/web",
        ),
        (
            "a merge request from a fork",
            "gitlab-merge-request-from-fork",
            vec![],
            "acme/mobile",
        ),
        (
            "a job with a shell in it",
            "circleci-v2-ssh-rerun",
            vec![],
            "acme/web",
        ),
        (
            "a fork's pull request at CircleCI",
            "circleci-v2-fork-pull-request",
            vec![],
            "acme/web",
        ),
        (
            "pull_request_target",
            "github-pull_request_target",
            vec![],
            "acme/api",
        ),
        (
            "a repository name that was registered again",
            "github-push",
            vec![
                ("repository_id", json!("9999")),
                ("repository_owner_id", json!("8888")),
            ],
            "acme/api",
        ),
        (
            "a repository name that was registered again by the same owner",
            "github-push",
            vec![("repository_id", json!("9999"))],
            "acme/api",
        ),
    ] {
        let answer = service
            .exchange(&service.token(set, &changes), project)
            .await;
        assert_eq!(answer.reason(), "not-trusted", "{what}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_at_the_second_that_the_leeway_ends() {
    let service = TestService::start().await;
    let token = service.token("gitlab-push", &[("exp", json!(NOON + 10))]);
    service.advance(Seconds(70));
    assert_eq!(service.exchange(&token, "acme/mobile").await.status, 200);
    service.advance(Seconds(1));
    assert_eq!(
        service.refusal(&token, "acme/mobile").await,
        "token-expired"
    );
}
