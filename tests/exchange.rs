//! The service on a loopback port: one test for each promise we make.
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::audit::Outcome;
use countersign::clock::Seconds;
use countersign::ledger::newest;
use countersign::store::Options;
use futures_util::future::join_all;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::service::{NOON, Settings, TestService, ci};

/// The claims of a project token, checked with the published keys by a library that is not ours.
async fn checked(service: &TestService, token: &str) -> (jsonwebtoken::Header, Value) {
    let keys: JwkSet =
        serde_json::from_str(&service.get("/.well-known/jwks.json").await.text).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut rules = Validation::new(header.alg);
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules);
    (header, claims.unwrap().claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_each_ci_system_exchanges_its_identity_token_for_a_project_token() {
    let service = TestService::start().await;
    for (set, project, trust) in [
        ("github-push", "acme/api", "build"),
        ("circleci-v2-push", "acme/web", "publish"),
        ("buildkite-optional-claims", "acme/images", "build main"),
        ("rwx-vault-subject-org-slug", "acme/site", "preview"),
        ("gitlab-push", "acme/mobile", "test"),
    ] {
        let answer = service.job(set, project).await;
        assert_eq!(answer.status, 200, "{set}: {}", answer.text);
        let (_, claims) = checked(&service, &answer.access_token()).await;
        assert_eq!(claims["project"], project);
        let names: Vec<&str> = claims["trust"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(names.contains(&trust), "{set}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_that_of_rfc_8693_and_is_kept_by_nobody() {
    let service = TestService::start().await;
    let answer = service.job("github-push", "acme/api").await;
    let members: BTreeSet<String> = answer.json().as_object().unwrap().keys().cloned().collect();
    let expected = [
        "access_token",
        "audit_index",
        "decision_id",
        "expires_in",
        "issued_token_type",
        "scope",
        "token_type",
    ];
    assert_eq!(members, expected.map(str::to_owned).into());
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(
        answer.json()["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    assert_eq!(answer.json()["expires_in"], 3600);
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_party_can_check_a_project_token_with_the_published_keys() {
    let service = TestService::start().await;
    let answer = service.job("github-push", "acme/api").await;
    let (header, claims) = checked(&service, &answer.access_token()).await;
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(claims["iss"], "https://sts.example.com");
    assert_eq!(claims["aud"], "https://sts.example.com");
    assert_eq!(
        claims["sub"],
        format!("project:{}", claims["project_id"].as_str().unwrap())
    );
    assert_eq!(claims["organization"], "acme");
    assert_eq!(
        claims["client_id"],
        "github:repo:octo-org/octo-repo:ref:refs/heads/main"
    );
    assert_eq!(
        (claims["iat"].as_i64(), claims["nbf"].as_i64()),
        (Some(NOON), Some(NOON))
    );
    assert_eq!(claims["exp"], NOON + 3600);
    assert_eq!(claims["scope"], answer.json()["scope"]);
    assert_eq!(claims["ci"]["repository"], "octo-org/octo-repo");
    assert_eq!(claims["ci"]["ref"], "refs/heads/main");
    assert_eq!(claims["ci"]["actor"], "octocat");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signing_algorithm_makes_tokens_that_verify() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let tables = format!("[token]\nsigning-algorithm = \"{algorithm}\"\n");
        let service = TestService::with(Settings {
            tables,
            ..Settings::default()
        })
        .await;
        let answer = service.job("github-push", "acme/api").await;
        let (header, _) = checked(&service, &answer.access_token()).await;
        assert_eq!(format!("{:?}", header.alg), algorithm);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_simultaneous_exchanges_of_one_token_exactly_one_succeeds() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let answers = join_all((0..64).map(|_| service.exchange(&token, "acme/api"))).await;
    let issued = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(issued, 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "token-spent")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_its_ci_hands_out_once_can_be_exchanged_ten_times() {
    let service = TestService::start().await;
    let token = service.token("gitlab-push", &[]);
    for number in 1..=10 {
        let answer = service.exchange(&token, "acme/mobile").await;
        assert_eq!(answer.status, 200);
        assert_eq!(service.record(&answer).await.use_number, Some(number));
    }
    assert_eq!(service.refusal(&token, "acme/mobile").await, "token-spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_stays_spent_for_another_project_and_after_a_restart() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
    let other = std::fs::read_to_string(service.folder.path().join("trust-policies/acme/api.toml"));
    service.policy("acme/other", &other.unwrap()).await;
    assert_eq!(service.refusal(&token, "acme/other").await, "token-spent");

    let service = TestService::in_folder(service.stop().await, Settings::default()).await;
    assert_eq!(service.refusal(&token, "acme/api").await, "token-spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_can_be_tried_again_once_the_policy_is_mended() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    assert_eq!(service.refusal(&token, "acme/api").await, "not-trusted");
    let text = std::fs::read_to_string("trust-policies/acme/api.toml").unwrap();
    service
        .policy(
            "acme/api",
            &text.replace("refs/heads/main", "refs/heads/dev"),
        )
        .await;
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_signing_keys_and_project_ids() {
    let service = TestService::start().await;
    let before = service.job("github-push", "acme/api").await.access_token();
    let (_, claims) = checked(&service, &before).await;

    let service = TestService::in_folder(service.stop().await, Settings::default()).await;
    let (_, again) = checked(&service, &before).await;
    assert_eq!(again, claims);
    let by_id = claims["project_id"].as_str().unwrap();
    let answer = service.job("github-push", by_id).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_named_by_path_id_or_address() {
    let service = TestService::start().await;
    let by_path = service.job("github-push", "acme/api").await;
    let (_, claims) = checked(&service, &by_path.access_token()).await;
    let id = claims["project_id"].as_str().unwrap();
    for audience in [id, "https://sts.example.com/projects/acme/api"] {
        let answer = service.job("github-push", audience).await;
        let (_, claims) = checked(&service, &answer.access_token()).await;
        assert_eq!(claims["project"], "acme/api", "{audience}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_ask_for_less_than_it_may_have_and_not_for_more() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let more = service
        .exchange_with(&token, "acme/api", &[("scope", "read_registry admin")])
        .await;
    assert_eq!(
        (more.json()["error"].as_str(), more.reason().as_str()),
        (Some("invalid_scope"), "scope-exceeds-grant")
    );
    assert!(more.description().contains("admin"), "{}", more.text);
    let less = service
        .exchange_with(&token, "acme/api", &[("scope", "read_registry")])
        .await;
    assert_eq!(less.json()["scope"], "read_registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_becomes_the_audience_of_the_token_if_a_relationship_allows_it() {
    let service = TestService::start().await;
    let text = std::fs::read_to_string("trust-policies/acme/api.toml").unwrap();
    let text = text.replace(
        "lifetime = \"1h\"",
        "lifetime = \"1h\"\nresources = [\"https://api.example\"]",
    );
    service.policy("acme/api", &text).await;
    let token = service.token("github-push", &[]);
    let refused = service
        .exchange_with(&token, "acme/api", &[("resource", "https://other.example")])
        .await;
    assert_eq!(refused.reason(), "resource-not-allowed");
    let answer = service
        .exchange_with(&token, "acme/api", &[("resource", "https://api.example")])
        .await;
    assert_eq!(
        checked(&service, &answer.access_token()).await.1["aud"],
        "https://api.example"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_who_got_what_by_which_rule_and_holds_no_token() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[]);
    let answer = service.exchange(&token, "acme/api").await;
    let record = service.record(&answer).await;
    let (_, claims) = checked(&service, &answer.access_token()).await;
    assert_eq!(record.outcome, Outcome::Allowed);
    assert_eq!(record.issuer.as_deref(), Some("github"));
    assert_eq!(
        record.subject.as_deref(),
        Some("repo:octo-org/octo-repo:ref:refs/heads/main")
    );
    assert_eq!(
        record.claims["sha"],
        json!("2f1a8c9d4e5b60718293a4b5c6d7e8f901234567")
    );
    assert_eq!(record.project.as_deref(), Some("acme/api"));
    assert_eq!(record.trust, ["build"]);
    assert_eq!(record.token_id.as_deref(), claims["jti"].as_str());
    assert_eq!(record.token_expires, claims["exp"].as_i64());
    assert_eq!(record.client_address.as_deref(), Some("127.0.0.1"));
    assert!(
        record
            .policy_digest
            .as_deref()
            .unwrap()
            .starts_with("sha256:")
    );
    let text = serde_json::to_string(&record).unwrap();
    assert!(!text.contains(&token) && !text.contains(&answer.access_token()));
    assert!(!text.contains(token.rsplit('.').next().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_recorded_once_and_explained_to_the_operator_in_full() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    let first = service.exchange(&token, "acme/api").await;
    let again = service.exchange(&token, "acme/api").await;
    assert_eq!(first.json()["decision_id"], again.json()["decision_id"]);

    let record = service.record(&first).await;
    assert_eq!(record.reason.as_deref(), Some("not-trusted"));
    let nearest = &record.explanation.as_ref().unwrap().relationships[0];
    assert_eq!(&*nearest.name, "build");
    let failed: Vec<_> = nearest
        .findings
        .iter()
        .filter(|finding| !finding.holds)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&*failed[0].claim, failed[0].found.as_ref()),
        ("ref", Some(&json!("refs/heads/dev")))
    );
    assert!(failed[0].wanted.contains("refs/heads/main"));
    assert_eq!(record.explanation.as_ref().unwrap().relationships.len(), 3);
    assert_eq!(record.explanation.as_ref().unwrap().denies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_by_another_version_of_the_policy_has_a_record_of_its_own() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    let before = service.exchange(&token, "acme/api").await;
    let text = std::fs::read_to_string("trust-policies/acme/api.toml").unwrap();
    let text = text.replace("refs/heads/main", "refs/heads/stable");
    service.policy("acme/api", &text).await;
    let after = service.exchange(&token, "acme/api").await;
    assert_ne!(
        service.record(&before).await.policy_digest,
        service.record(&after).await.policy_digest
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_have_passed_is_not_told_to_the_caller() {
    let service = TestService::start().await;
    let token = service.token("github-push", &[("ref", json!("refs/heads/dev"))]);
    let told = service.exchange(&token, "acme/api").await.description();
    assert!(
        told.contains("build") && told.contains("ref") && told.contains("refs/heads/dev"),
        "{told}"
    );
    assert!(!told.contains("refs/heads/main"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_project_and_one_that_does_not_trust_the_caller_answer_alike() {
    let service = TestService::start().await;
    let stranger = [
        ("repository_owner_id", json!("666")),
        ("repository_id", json!("667")),
    ];
    let unknown = service
        .exchange(&service.token("github-push", &stranger), "acme/nothing")
        .await;
    let untrusting = service
        .exchange(&service.token("github-push", &stranger), "acme/api")
        .await;
    let apart = |answer: &crate::support::service::Answer| {
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("decision_id");
        (answer.status, body)
    };
    assert_eq!(apart(&unknown), apart(&untrusting));
    assert_eq!(unknown.reason(), "not-trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_is_recorded_up_to_its_rate() {
    let service = TestService::start().await;
    let stranger = [
        ("repository_owner_id", json!("666")),
        ("repository_id", json!("667")),
    ];
    let mut recorded = 0;
    for _ in 0..70 {
        let answer = service
            .exchange(&service.token("github-push", &stranger), "acme/api")
            .await;
        assert_eq!(answer.reason(), "not-trusted");
        recorded += usize::from(answer.json().get("decision_id").is_some());
    }
    assert_eq!(recorded, 60);
    let other = [
        ("repository_owner_id", json!("777")),
        ("repository_id", json!("778")),
    ];
    let answer = service
        .exchange(&service.token("github-push", &other), "acme/api")
        .await;
    assert!(
        answer.json().get("decision_id").is_some(),
        "another customer has an allowance of its own"
    );
}

/// A store whose disk has as much room as a test says.
fn disk(free: &Arc<AtomicU64>) -> Options {
    let free = free.clone();
    Options {
        free_space: Some(Arc::new(move || -> io::Result<u64> {
            Ok(free.load(Ordering::SeqCst))
        })),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_issued_and_the_service_recovers_by_itself() {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let service = TestService::with(Settings {
        store: disk(&free),
        ..Settings::default()
    })
    .await;
    // A key that comes while nothing can be recorded is not believed.
    let first = service.token("github-push", &[]);
    assert_eq!(service.exchange(&first, "acme/api").await.status, 200);
    let token = service.token("github-push", &[("jti", json!("another"))]);
    free.store(0, Ordering::SeqCst);
    let answer = service.exchange(&token, "acme/api").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "store-unavailable")
    );
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(service.get("/readyz").await.status, 503);
    assert_eq!(service.get("/healthz").await.status, 200);

    free.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(service.exchange(&token, "acme/api").await.status, 200);
    assert_eq!(service.get("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_file_keeps_its_last_good_version_and_is_reported() {
    let service = TestService::start().await;
    service.policy("acme/api", "[[trust]]\nname = ").await;
    assert_eq!(service.job("github-push", "acme/api").await.status, 200);
    let ready = service.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()["status"].as_str()),
        (200, Some("degraded"))
    );
    assert_eq!(ready.json()["policies"][0]["file"], "acme/api.toml");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_broken_at_start_disables_its_project_alone() {
    let service = TestService::start().await;
    let folder = service.stop().await;
    std::fs::write(
        folder.path().join("trust-policies/acme/api.toml"),
        "nonsense",
    )
    .unwrap();
    let service = TestService::in_folder(folder, Settings::default()).await;
    let refused = service.job("github-push", "acme/api").await;
    assert_eq!(refused.reason(), "not-trusted");
    let other = service.job("gitlab-push", "acme/mobile").await;
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_policy_file_takes_its_project_with_it_at_once() {
    let service = TestService::start().await;
    std::fs::remove_file(service.folder.path().join("trust-policies/acme/api.toml")).unwrap();
    service.reload().await;
    let answer = service.job("github-push", "acme/api").await;
    assert_eq!(answer.reason(), "not-trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circleci_organization_that_no_policy_names_is_not_trusted_once_its_signature_is_checked()
{
    let service = TestService::start().await;
    let other = json!("11111111-2222-4333-8444-555555555555");
    let token = service.token("circleci-v2-push", &[("oidc.circleci.com/org-id", other)]);
    let answer = service.exchange(&token, "acme/web").await;
    assert_eq!(answer.reason(), "not-trusted", "{}", answer.text);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(342));
    assert_eq!(
        service.refusal(&forged, "acme/web").await,
        "signature-invalid"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_root_form_of_circleci_is_that_of_its_organization() {
    let service = TestService::start().await;
    let token = service.token_for(
        "circleci-v2-root-issuer",
        Some("https://sts.example.com"),
        &[],
    );
    let answer = service.exchange(&token, "acme/web").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_serve_while_the_issuer_is_down_and_not_for_ever() {
    let service = TestService::start().await;
    assert_eq!(service.job("github-push", "acme/api").await.status, 200);
    // The same data folder, and issuers at addresses where nobody listens: only what was archived is known.
    let dead = crate::support::service::ci().signer().issuer_tables();
    let tables = dead.replace(
        "profile = \"github\"\n",
        "profile = \"github\"\njwks-url = \"http://127.0.0.1:9/jwks\"\n",
    );
    let settings = Settings {
        issuers: Some(tables),
        ..Settings::default()
    };
    let service = TestService::in_folder(service.stop().await, settings).await;
    service.parts.service.exchange.keys.warm([]).await;
    assert_eq!(service.job("github-push", "acme/api").await.status, 200);

    service.advance(Seconds(25 * 60 * 60));
    let answer = service.job("github-push", "acme/api").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "issuer-unreachable")
    );
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_tells_others_how_to_use_and_how_to_trust_us() {
    let service = TestService::start().await;
    let metadata = service
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata["issuer"], "https://sts.example.com");
    assert_eq!(
        metadata["token_endpoint"],
        "https://sts.example.com/oauth/token"
    );
    let discovery = service
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(
        discovery["jwks_uri"],
        "https://sts.example.com/.well-known/jwks.json"
    );
    assert_eq!(
        discovery["id_token_signing_alg_values_supported"],
        json!(["ES256"])
    );
    let keys = service.get("/.well-known/jwks.json").await.json();
    assert_eq!(
        keys["keys"].as_array().unwrap().len(),
        2,
        "one signs, one will"
    );
    for key in keys["keys"].as_array().unwrap() {
        assert!(key.get("d").is_none());
        assert_eq!(key["use"], "sig");
    }
}

/// The leaf of the last decision of a service.
async fn last_leaf(service: &TestService) -> Value {
    let last = newest(&*service.parts.service.log, "decision").await;
    serde_json::from_slice(&last.unwrap().unwrap().leaf).unwrap()
}

#[tokio::test]
async fn a_subject_that_repeats_who_started_the_job_is_in_no_leaf() {
    let service = TestService::start().await;
    for (actor, jti, is_withheld) in [
        ("octo-org", "one", true),
        ("octocat", "two", false),
        ("oc", "three", false),
    ] {
        let changes = [("actor", json!(actor)), ("jti", json!(jti))];
        let token = service.token("github-push", &changes);
        let answer = service.exchange(&token, "acme/api").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let leaf = last_leaf(&service).await;
        assert_eq!(leaf["claims"].get("actor"), None);
        for place in ["/subject", "/claims/sub"] {
            assert_eq!(leaf.pointer(place).is_none(), is_withheld, "{leaf}");
            assert_eq!(leaf["withheld"].get(place).is_some(), is_withheld, "{leaf}");
        }
        let record = service.record(&answer).await;
        let subject = "repo:octo-org/octo-repo:ref:refs/heads/main";
        assert_eq!(record.subject.as_deref(), Some(subject));
        assert_eq!(record.claims["sub"], subject);
    }
    service.stop().await;
}

#[tokio::test]
async fn of_an_issuer_that_nothing_is_known_of_the_standard_claims_about_a_person_are_in_no_leaf() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("trust-policies")).unwrap();
    let tables = ci().signer().issuer_tables();
    let generic = tables.replace("profile = \"github\"", "profile = \"generic\"");
    let settings = Settings {
        issuers: Some(generic),
        ..Settings::default()
    };
    let service = TestService::in_folder(folder, settings).await;
    let policy = "[[trust]]\nname = \"any\"\nissuer = \"github\"\nsub = \"user:mona-lisa\"\nscopes = [\"read_registry\"]\n";
    service.policy("acme/api", policy).await;
    let personal = [
        ("sub", json!("user:mona-lisa")),
        ("preferred_username", json!("mona-lisa")),
        ("name", json!("Mona Lisa Octocat")),
        ("email", json!("mona@example.com")),
        ("address", json!({"locality": "Octotown"})),
    ];
    let token = service.token("github-push", &personal);
    let answer = service.exchange(&token, "acme/api").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let leaf = last_leaf(&service).await;
    for value in ["mona", "Mona", "Octotown"] {
        assert!(!leaf.to_string().contains(value), "{value} in {leaf}");
    }
    assert_eq!(leaf["claims"]["repository"], "octo-org/octo-repo");
    let record = service.record(&answer).await;
    for (name, value) in personal {
        assert_eq!(record.claims[name], value);
    }
    service.stop().await;
}
