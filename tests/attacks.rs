//! What somebody would try who should not get a token, or should not get one twice, or wants the service to stop, to
//! forget, or to say what is not so. One test an attack.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use countersign::clock::{Seconds, UnixTime};
use countersign::issuer::{IssuerForm, Registry, TrustedIssuer, profile_named};
use countersign::store::Options;
use countersign::trust::{ProjectPath, ProjectPolicy, read_policy};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::service::{
    Answer, ID_TOKEN, NOON, Settings, TOKEN_EXCHANGE, TestService, answer, ci,
};

/// Sends a body as it stands to the token endpoint.
async fn raw_form(service: &TestService, body: String) -> Answer {
    let request = service
        .post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded");
    answer(request.body(body)).await
}

/// What a policy file of these lines is read as, with GitHub as the only issuer.
fn read(text: &str) -> Result<ProjectPolicy, countersign::trust::PolicyFault> {
    let github = profile_named("github").unwrap();
    let form = IssuerForm::parse(github.default_url.unwrap(), false, false).unwrap();
    let registry = Registry::new([TrustedIssuer::new("github", github, form, "https://sts.x")]);
    let path = ProjectPath::parse("acme/api").unwrap();
    read_policy(path, "acme/api.toml", text, &registry)
}

#[tokio::test]
async fn an_id_of_another_type_or_spelling_is_another_id() {
    let service = TestService::start().await;
    for id in [
        json!(74),
        json!(74.0),
        json!(["74"]),
        json!({ "id": "74" }),
        json!("74 "),
        json!("074"),
        json!("74\u{0}"),
        json!("\u{ff17}\u{ff14}"),
        json!(true),
        json!(null),
        json!(""),
    ] {
        let token = service.token("github-push", &[("repository_id", id.clone())]);
        let refused = service.exchange(&token, "acme/api").await;
        assert_eq!(refused.reason(), "not-trusted", "{id}");
        assert!(
            refused.description().starts_with("no trust relationship"),
            "{id}"
        );
    }
}

#[tokio::test]
async fn one_jti_at_two_issuers_is_two_tokens_and_at_one_issuer_one() {
    let service = TestService::start().await;
    let same = [("jti", json!("one-and-the-same"))];
    let github = service.token("github-push", &same);
    assert_eq!(service.exchange(&github, "acme/api").await.status, 200);
    let gitlab = service.token("gitlab-push", &same);
    assert_eq!(service.exchange(&gitlab, "acme/mobile").await.status, 200);
    let other_run = [same[0].clone(), ("run_id", json!("7"))];
    let again = service.token("github-push", &other_run);
    assert_ne!(again, github);
    let refused = service.exchange(&again, "acme/api").await;
    assert_eq!(refused.reason(), "token-spent");
}

#[tokio::test]
async fn of_forty_simultaneous_exchanges_of_a_token_for_ten_uses_exactly_ten_succeed() {
    let service = TestService::start().await;
    let token = service.token("gitlab-push", &[]);
    let exchange = |_| service.exchange(&token, "acme/mobile");
    let answers = join_all((0..40).map(exchange)).await;
    let (issued, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(issued.len(), 10);
    assert!(
        refused
            .iter()
            .all(|answer| answer.reason() == "token-spent")
    );
    let mut uses = BTreeSet::new();
    for answer in issued {
        uses.insert(service.record(answer).await.use_number.unwrap());
    }
    assert_eq!(uses, (1..=10).collect());
}

#[tokio::test]
async fn a_restart_with_fewer_uses_counts_those_before_it() {
    let service = TestService::start().await;
    let token = service.token("gitlab-push", &[]);
    for _ in 0..3 {
        assert_eq!(service.exchange(&token, "acme/mobile").await.status, 200);
    }
    let folder = service.stop().await;
    let fewer = "name = \"gitlab\"\nmax-uses = 3";
    let tables = ci().signer().issuer_tables();
    assert!(tables.contains("name = \"gitlab\""), "{tables}");
    let settings = Settings {
        issuers: Some(tables.replace("name = \"gitlab\"", fewer)),
        ..Settings::default()
    };
    let service = TestService::in_folder(folder, settings).await;
    let refused = service.exchange(&token, "acme/mobile").await;
    assert_eq!(refused.reason(), "token-spent");
}

#[tokio::test]
async fn a_clock_that_ran_ahead_and_was_put_back_does_not_revive_a_spent_token() {
    let service = TestService::start().await;
    let early = service.token("github-push", &[]);
    assert_eq!(service.exchange(&early, "acme/api").await.status, 200);
    service.advance(Seconds(20 * 3600));
    let meanwhile = service.token("github-push", &[]);
    assert_eq!(service.exchange(&meanwhile, "acme/api").await.status, 200);
    service.clock.set(UnixTime::from_seconds(NOON));
    let refused = service.exchange(&early, "acme/api").await;
    assert_eq!(refused.reason(), "store-unavailable");
    // Nothing is known of tokens as old as the forgotten one; of those made a second later it is.
    service.advance(Seconds(1));
    let fresh = service.token("github-push", &[]);
    assert_eq!(service.exchange(&fresh, "acme/api").await.status, 200);
    assert_eq!(service.exchange(&early, "acme/api").await.status, 503);
}

#[tokio::test]
async fn who_can_invent_subjects_cannot_fill_the_record_with_them() {
    let service = TestService::start().await;
    let mut recorded = 0;
    for vault in 0..100 {
        let sub = json!(format!("org:mallory:vault:{vault}"));
        let token = service.token("rwx-vault-subject-org-slug", &[("sub", sub)]);
        let refused = service.exchange(&token, "acme/site").await;
        assert_eq!(refused.reason(), "not-trusted");
        recorded += usize::from(refused.json()["decision_id"].is_string());
    }
    assert_eq!(recorded, 60);
}

#[tokio::test]
async fn a_project_token_is_no_subject_token() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let issued = service.exchange(&token, "acme/api").await.access_token();
    let refused = service.exchange(&issued, "acme/api").await;
    assert_eq!(refused.reason(), "token-malformed");
}

#[tokio::test]
async fn thirty_simultaneous_denials_of_one_token_are_one_record() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[("ref", json!("refs/heads/x"))]);
    let exchange = |_| service.exchange(&token, "acme/api");
    let answers = join_all((0..30).map(exchange)).await;
    let id = |answer: &Answer| answer.json()["decision_id"].as_str().map(str::to_owned);
    let ids: BTreeSet<_> = answers.iter().map(id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(!ids.contains(&None));
}

#[tokio::test]
async fn a_policy_that_changes_under_way_decides_as_the_old_one_or_as_the_new_one() {
    let service = TestService::start().await;
    let file = service.folder.path().join("trust-policies/acme/api.toml");
    let open = std::fs::read_to_string(file).unwrap();
    let shut = format!("{open}\n[[deny]]\nname = \"nobody\"\nissuer = \"github\"\n");
    let digest_of_open = {
        let token = service.token("github-push", &[]);
        let issued = service.exchange(&token, "acme/api").await;
        service.record(&issued).await.policy_digest
    };
    let exchanges = join_all((0..60).map(|_| async {
        let token = service.token("github-push", &[]);
        service.exchange(&token, "acme/api").await
    }));
    let changes = async {
        for _ in 0..10 {
            service.policy("acme/api", &shut).await;
            service.policy("acme/api", &open).await;
        }
    };
    let (answers, ()) = join(exchanges, changes).await;
    for answer in &answers {
        let record = service.record(answer).await;
        let decided_by_open = record.policy_digest == digest_of_open;
        assert_eq!(answer.status == 200, decided_by_open, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_caller_cannot_choose_the_address_that_is_recorded() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", TOKEN_EXCHANGE)
        .append_pair("subject_token", &token)
        .append_pair("subject_token_type", ID_TOKEN)
        .append_pair("audience", "acme/api")
        .finish();
    let mut request = service
        .post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", "x".repeat(5000));
    for name in [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
    ] {
        request = request.header(name, "198.51.100.7");
    }
    let record = service.record(&answer(request.body(body)).await).await;
    assert_eq!(record.client_address.as_deref(), Some("127.0.0.1"));
    assert_eq!(record.user_agent.unwrap().len(), 200);
}

#[tokio::test]
async fn a_target_in_another_spelling_names_no_project_and_leaves_no_record() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    for target in [
        "acme//api",
        "acme/api/",
        "/acme/api",
        "acme/./api",
        "acme/../acme/api",
        "acme/api\0",
        "acme/api.toml/..",
        "acme%2Fapi",
        "acme\\api",
        "ACME/api",
        "acme/_organization",
        "acme/api ",
        "acme/\u{430}pi",
        "\u{feff}acme/api",
        "https://sts.example.com/projects/acme/api?x",
        "https://sts.example.com:443/projects/acme/api",
        "https://STS.example.com/projects/acme/api",
        "https://x@sts.example.com/projects/acme/api",
        "https://sts.example.com/projects/../projects/acme/api",
    ] {
        let refused = service.exchange(&token, target).await;
        assert_eq!(refused.reason(), "target-malformed", "{target:?}");
        assert_eq!(refused.json()["decision_id"], Value::Null, "{target:?}");
    }
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
}

#[tokio::test]
async fn a_resource_in_another_spelling_is_another_resource() {
    let service = TestService::start().await;
    let policy = "[[trust]]\nname = \"build\"\nissuer = \"github\"\nowner-id = 65\nrepository-id = 74\nscopes = [\"deploy\"]\nresources = [\"https://api.example\"]\n";
    service.policy("acme/api", policy).await;
    let token = service.token("github-push", &[]);
    for resource in [
        "https://api.example/",
        "https://API.example",
        "https://api.example:443",
        "HTTPS://api.example",
        " https://api.example",
        "https://api.example\n",
        "https://api.example?",
        "https://api.example.evil.example",
        "https://sts.example.com",
    ] {
        let asked = [("resource", resource)];
        let refused = service.exchange_with(&token, "acme/api", &asked).await;
        assert_eq!(refused.reason(), "resource-not-allowed", "{resource:?}");
    }
    let long = format!("https://api.example/{}", "x".repeat(2048));
    for resource in ["https://api.example#", "//api.example", "api", &long] {
        let asked = [("resource", resource)];
        let refused = service.exchange_with(&token, "acme/api", &asked).await;
        assert_eq!(refused.reason(), "target-malformed", "{resource:.40}");
    }
    let asked = [("resource", "https://api.example")];
    let issued = service.exchange_with(&token, "acme/api", &asked).await;
    assert_eq!(issued.status, 200, "{}", issued.text);
}

#[tokio::test]
async fn a_scope_in_another_spelling_is_another_scope() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    for (scope, reason) in [
        ("READ_REGISTRY", "scope-exceeds-grant"),
        ("read_registry,write_registry", "scope-exceeds-grant"),
        ("*", "scope-exceeds-grant"),
        ("read_registr?", "scope-exceeds-grant"),
        ("read_registry admin", "scope-exceeds-grant"),
        ("read_registry\u{a0}x", "request-malformed"),
        ("read_registry\tx", "request-malformed"),
        ("read_registry\nx", "request-malformed"),
        ("read_registry\0", "request-malformed"),
        ("read_registr\u{443}", "request-malformed"),
    ] {
        let asked = [("scope", scope)];
        let refused = service.exchange_with(&token, "acme/api", &asked).await;
        assert_eq!(refused.reason(), reason, "{scope:?}");
    }
    let asked = [("scope", "  read_registry read_registry  ")];
    let issued = service.exchange_with(&token, "acme/api", &asked).await;
    assert_eq!(issued.json()["scope"], "read_registry");
}

#[tokio::test]
async fn tricks_of_form_encoding_add_no_parameter_and_hide_none() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let form =
        format!("grant_type={TOKEN_EXCHANGE}&subject_token_type={ID_TOKEN}&subject_token={token}");
    for (more, said) in [
        ("&audience=acme/api&%61udience=acme/web", "stands twice"),
        ("&audience=acme/api&subject_token=x", "stands twice"),
        ("&audience=acme/api&%73cope=a&scope=b", "stands twice"),
        ("&audience=acme/api;scope=x", "names no project"),
        ("&audience=acme/api%00", "names no project"),
        ("&audience=acme/api+", "names no project"),
        ("&audience=acme%252Fapi", "names no project"),
        ("&audience=acme/api&scope=%FF", "scope cannot be read"),
        ("&audience%00=acme/api", "audience is missing"),
        ("&Audience=acme/api", "audience is missing"),
        ("&audience[]=acme/api", "audience is missing"),
        ("&audience=&audience=", "audience is missing"),
        ("&audience=acme/api&actor_token=%00", "actor_token"),
    ] {
        let refused = raw_form(&service, format!("{form}{more}")).await;
        assert_eq!(refused.status, 400, "{more}");
        assert!(
            refused.description().contains(said),
            "{more}: {}",
            refused.text
        );
    }
    let hidden = raw_form(&service, format!("\u{feff}{form}&audience=acme/api")).await;
    assert!(hidden.description().contains("grant_type is missing"));
    let whole = raw_form(&service, format!("&&{form}&=&x&audience=acme%2Fapi&")).await;
    assert_eq!(whole.status, 200, "{}", whole.text);
}

#[tokio::test]
async fn what_a_caller_writes_does_not_break_out_of_a_description() {
    let service = TestService::start().await;
    let odd = "\"}\r\nSet-Cookie: x=1\r\n\r\n{\"access_token\":\"\u{1b}[2J\\\u{202e}é";
    let branch = service.token("github-push", &[("ref", json!(odd))]);
    let issuer = service.token("github-push", &[("iss", json!(odd))]);
    let audience = service.token("github-push", &[("aud", json!(odd))]);
    let resource = format!("x:{odd}");
    let answers = [
        service.exchange(&branch, "acme/api").await,
        service.exchange(&issuer, "acme/api").await,
        service.exchange(&audience, "acme/api").await,
        service
            .exchange_with(
                &service.token("github-push", &[]),
                "acme/api",
                &[("resource", &resource)],
            )
            .await,
        service
            .form(&[("grant_type", "x"), (odd, "1"), (odd, "2")])
            .await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 400);
        assert!(answer.headers.get("set-cookie").is_none());
        assert_eq!(answer.json()["access_token"], Value::Null);
        let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        assert!(answer.description().chars().all(allowed), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_is_sent() {
    let service = TestService::start().await;
    let address = service.base.trim_start_matches("http://").to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        let head = "POST /oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99999999999\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        let mut begin = [0; 12];
        connection.read_exact(&mut begin).unwrap();
        begin
    });
    assert_eq!(&read.await.unwrap(), b"HTTP/1.1 400");
}

#[tokio::test]
async fn who_asks_all_the_time_whether_we_are_ready_leaves_room_for_exchanges() {
    let store = Options {
        waiting: 40,
        ..Options::default()
    };
    let settings = Settings {
        store,
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    let asking = join_all((0..300).map(|_| service.get("/readyz")));
    let exchanging = join_all((0..20).map(|_| async {
        let token = service.token("github-push", &[]);
        service.exchange(&token, "acme/api").await
    }));
    let (ready, exchanged) = join(asking, exchanging).await;
    assert!(ready.iter().all(|answer| answer.status == 200));
    assert!(exchanged.iter().all(|answer| answer.status == 200));
}

#[test]
fn a_large_policy_that_is_all_wrong_is_refused_soon_and_shows_a_hundred_problems() {
    let began = Instant::now();
    let fault = read(&"[[trust]]\n".repeat(50_000)).unwrap_err();
    assert_eq!(fault.problems().len(), 101);
    let last = fault
        .problems()
        .iter()
        .find(|one| one.code() == "more-problems");
    assert!(last.unwrap().message().contains("more problems"));
    assert!(fault.render(false).contains("more-problems"));
    assert!(
        began.elapsed().as_secs() < 60,
        "it takes hours without a bound"
    );
}

#[test]
fn the_globs_of_a_policy_cannot_fill_the_memory() {
    let mut text = String::new();
    for number in 0..200 {
        let glob = format!("{number}{}", "?".repeat(1000));
        writeln!(text, "[[trust]]\nname = \"{number}\"\nissuer = \"github\"\nowner-id = 1\nrepository-id = 2\nscopes = [\"a\"]\nclaims = {{ ref = {{ glob = \"{glob}\" }} }}").unwrap();
    }
    let fault = read(&text).unwrap_err();
    assert_eq!(fault.problems()[0].code(), "glob-invalid");
    assert!(fault.problems().len() > 50);
}
