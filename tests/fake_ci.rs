//! The pretended CI systems over real HTTP, checked by the code that checks the real ones.
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::{FrozenClock, UnixTime};
use countersign::fake_ci::{FakeCi, FakeCiError, Signer, claim_sets};
use countersign::http::fake_ci::serve;
use countersign::issuer::profile::Source;
use countersign::issuer::{IssuerForm, KeySet, PROFILES, Registry, TrustedIssuer, profile_named};
use countersign::subject::{SubjectToken, VerifiedClaims};
use serde_json::{Map, Value, json};

/// 2027-03-01T00:00:00Z, months after the times in the files.
fn now() -> UnixTime {
    UnixTime::from_seconds(1_803_859_200)
}

const AUDIENCE: &str = "https://sts.example.com";

const ORGANIZATION: &str = "a40f5d1f-d889-42e9-94ea-b9b33585fc6b";

/// One server for all tests, on a thread of its own, because the runtime of a test ends with the test.
static CI: LazyLock<Arc<FakeCi>> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ci = Arc::new(FakeCi::new(address, Arc::new(FrozenClock::at(now()))).unwrap());
    let served = ci.clone();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async { serve(listener, served).unwrap().await })
    });
    ci
});

fn base() -> &'static str {
    CI.signer().base()
}

/// An answer: its status, and its body as text.
struct Answer(u16, String);

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.1).unwrap_or_else(|_| panic!("not JSON: {}", self.1))
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer(response.status().as_u16(), response.text().await.unwrap())
}

async fn get(path: &str) -> Answer {
    send(reqwest::Client::new().get(format!("{}{path}", base()))).await
}

/// The registry of a service that is configured with the issuer's own addresses.
fn registry() -> Registry {
    let issuers = PROFILES.into_iter().filter_map(|profile| {
        let url = CI.signer().issuer_url(profile.name).ok()?;
        let form = IssuerForm::parse(&url, profile.organization_in_issuer, true).unwrap();
        Some(TrustedIssuer::new(profile.name, profile, form, AUDIENCE))
    });
    Registry::new(issuers)
}

/// Verifies a token as the service does, with the keys that are published where the profile says.
async fn verified(token: &str) -> VerifiedClaims {
    let token = SubjectToken::read(token.to_owned()).unwrap();
    let (trusted, matched) = registry().find(token.unverified_issuer().unwrap()).unwrap();
    let address = matched.issuer.at(trusted.profile.keys_path.unwrap());
    let published = send(reqwest::Client::new().get(address)).await;
    let (keys, unusable) = KeySet::parse(published.1.as_bytes()).unwrap();
    assert_eq!(unusable, []);
    let key = keys.with_id(token.key_id().unwrap()).unwrap();
    let signed = token.check_signature(trusted, matched, key).unwrap();
    signed.accept(AUDIENCE, now()).unwrap()
}

/// What a job sees in its environment after evaluating `lines`, in a real shell.
fn in_shell(lines: &str, script: &str) -> String {
    let ran = Command::new("sh")
        .args(["-c", &format!("eval \"$1\"; {script}"), "sh", lines])
        .output()
        .unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test]
async fn every_claim_set_verifies_with_the_published_keys() {
    for set in claim_sets() {
        let (profile, name) = (set.profile.name, set.name);
        let answer = get(&format!(
            "/token/{profile}?claims={name}&audience={AUDIENCE}"
        ))
        .await;
        assert_eq!(answer.0, 200, "{name}");
        let answer = answer.json();
        let claims = verified(answer["token"].as_str().unwrap()).await;
        assert_eq!(
            Value::Object((**claims.all()).clone()),
            answer["claims"],
            "{name}"
        );
        assert_eq!(claims.trusted().profile.name, profile);
        for (claim, value) in &set.claims {
            if !["iss", "aud", "iat", "nbf", "exp", "jti"].contains(&claim.as_str()) {
                assert_eq!(&claims.all()[claim], value, "{name}: {claim}");
            }
        }
        let span = |claims: &Map<String, Value>, claim: &str| {
            Some(claims.get(claim)?.as_i64()? - claims["iat"].as_i64()?)
        };
        assert_eq!(claims.all()["iat"], now().seconds());
        for claim in ["exp", "nbf"] {
            assert_eq!(
                span(claims.all(), claim),
                span(&set.claims, claim),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn the_header_of_a_token_is_like_the_real_one() {
    for (profile, typ, like_real) in [
        ("github", true, "cc413527-173f-5a05-976e-9c52b1d7b431"),
        (
            "buildkite",
            false,
            "f4b821837b4edcba56136f22f37ee6969520df23407126cce188d4141c015d68",
        ),
        (
            "gitlab",
            true,
            "4i3sFE7sxqNPOT7FdvcGA1ZVGGI_r-tsDXnEuYT4ZqE",
        ),
    ] {
        let token = get(&format!("/token/{profile}")).await.json();
        let header = token["token"].as_str().unwrap().split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!(header["alg"], "RS256");
        assert_eq!(header.get("typ").is_some(), typ, "{profile}");
        let kid = header["kid"].as_str().unwrap();
        assert_eq!(kid.len(), like_real.len(), "{profile}: {kid}");
    }
}

#[tokio::test]
async fn a_token_with_its_ci_systems_default_audience_is_for_whom_the_real_one_is() {
    for (profile, audience) in [
        ("github", "https://github.com/octo-org"),
        ("circleci", ORGANIZATION),
        ("buildkite", "https://buildkite.com/acme-inc"),
        ("rwx", "http://127.0.0.1:8080"),
        ("gitlab", &format!("{}/gitlab", base())),
    ] {
        let answer = get(&format!("/token/{profile}")).await.json();
        assert_eq!(answer["claims"]["aud"], audience);
    }
    // The one default that a service accepts: the organization of the very token.
    let token = get("/token/circleci").await.json();
    verified(token["token"].as_str().unwrap()).await;
}

#[tokio::test]
async fn only_ci_systems_that_send_a_jti_send_one_and_it_is_fresh() {
    for (profile, version) in [("github", 4), ("buildkite", 7), ("gitlab", 4)] {
        let path = format!("/token/{profile}");
        let (one, other) = (get(&path).await.json(), get(&path).await.json());
        assert_ne!(one["claims"]["jti"], other["claims"]["jti"]);
        let id = uuid::Uuid::try_parse(one["claims"]["jti"].as_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), version);
    }
    for profile in ["circleci", "rwx"] {
        let answer = get(&format!("/token/{profile}")).await.json();
        assert_eq!(answer["claims"].get("jti"), None);
    }
}

#[tokio::test]
async fn overrides_change_add_and_take_away_claims() {
    let query = "run_id=7&environment=production&actor=null&iat=1803859100&extra=%7B%22a%22%3A1%7D";
    let answer = get(&format!("/token/github?{query}")).await.json();
    let claims = &answer["claims"];
    assert_eq!(claims["run_id"], "7");
    assert_eq!(
        claims["sub"],
        "repo:octo-org/octo-repo:environment:production"
    );
    assert_eq!(claims.get("actor"), None);
    assert_eq!(claims["iat"], 1_803_859_100);
    assert_eq!(claims["exp"], now().seconds() + 300);
    assert_eq!(claims["extra"], json!({"a": 1}));

    let body = json!({"run_id": 7, "jti": null, "sub": "mine", "aud": ["a", "b"]}).to_string();
    let posted = reqwest::Client::new()
        .post(format!("{}/token/gitlab?claims=gitlab-tag", base()))
        .body(body);
    let claims = &send(posted).await.json()["claims"];
    assert_eq!(claims["run_id"], 7);
    assert_eq!(claims.get("jti"), None);
    assert_eq!(claims["sub"], "mine");
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["ref"], "v1.2.3");
}

#[tokio::test]
async fn the_issuer_follows_the_organization_of_circleci() {
    let other = "11111111-2222-4333-8444-555555555555";
    let query = format!("oidc.circleci.com%2Forg-id={other}");
    let answer = get(&format!("/token/circleci?{query}")).await.json();
    assert_eq!(
        answer["claims"]["iss"],
        format!("{}/circleci/org/{other}", base())
    );
    assert_eq!(answer["claims"]["aud"], other);
    let claims = verified(answer["token"].as_str().unwrap()).await;
    assert_eq!(claims.organization_of_issuer(), Some(other));

    let query = format!("claims=circleci-v2-root-issuer&audience={AUDIENCE}");
    let root = get(&format!("/token/circleci?{query}")).await.json();
    assert_eq!(root["claims"]["iss"], format!("{}/circleci", base()));
}

#[tokio::test]
async fn what_does_not_exist_is_answered_with_what_does() {
    let answer = get("/token/github?claims=github-tags").await;
    assert_eq!(answer.0, 404);
    let known = &answer.json()["known"];
    assert!(known.as_array().unwrap().contains(&json!("github-tag")));

    let answer = get("/token/jenkins").await;
    assert_eq!(
        (answer.0, &answer.json()["error"]),
        (404, &json!("profile-unknown"))
    );

    let listed = get("/claims").await.json();
    let listed = listed.as_object().unwrap();
    assert_eq!(listed.len(), 5);
    assert!(
        listed["rwx"]
            .as_array()
            .unwrap()
            .contains(&json!("rwx-locked-vault"))
    );

    let posted = reqwest::Client::new().post(format!("{}/token/rwx", base()));
    assert_eq!(send(posted.body("[]")).await.0, 400);
}

#[tokio::test]
async fn each_discovery_document_names_its_own_issuer_and_keys() {
    let organization = format!("/circleci/org/{ORGANIZATION}");
    for (issuer, keys) in [
        ("/github", "/.well-known/jwks"),
        ("/circleci", "/.well-known/jwks-pub.json"),
        (&organization, "/.well-known/jwks-pub.json"),
        ("/buildkite", "/.well-known/jwks"),
        ("/rwx", "/.well-known/jwks.json"),
        ("/gitlab", "/oauth/discovery/keys"),
    ] {
        let document = get(&format!("{issuer}/.well-known/openid-configuration")).await;
        let document = document.json();
        assert_eq!(document["issuer"], format!("{}{issuer}", base()));
        assert_eq!(document["jwks_uri"], format!("{}{issuer}{keys}", base()));
        assert_eq!(
            document["id_token_signing_alg_values_supported"],
            json!(["RS256"])
        );
        let keys = get(&format!("{issuer}{keys}")).await.1;
        assert!(KeySet::parse(keys.as_bytes()).is_ok(), "{issuer}");
    }
}

#[tokio::test]
async fn organizations_of_circleci_share_one_key_and_are_uuids() {
    let keys = |organization: &str| {
        let path = format!("/circleci/org/{organization}/.well-known/jwks-pub.json");
        async move { get(&path).await }
    };
    let zero = keys("00000000-0000-0000-0000-000000000000").await;
    assert_eq!(zero.1, keys(ORGANIZATION).await.1);
    assert_eq!(zero.1, get("/circleci/.well-known/jwks-pub.json").await.1);
    for other in ["acme", "A40F5D1F-D889-42E9-94EA-B9B33585FC6B"] {
        assert_eq!(keys(other).await.0, 404, "{other}");
    }
}

#[tokio::test]
async fn a_github_step_gets_its_token_with_its_request_token_only() {
    let lines = get("/env/github?claims=github-tag&actor=it%27s%20%24(me)")
        .await
        .1;
    let seen = in_shell(
        &lines,
        r#"printf '%s\n' "$GITHUB_ACTIONS" "$ACTIONS_ID_TOKEN_REQUEST_URL" "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" "$GITHUB_ACTOR" "$GITHUB_REF_NAME""#,
    );
    let [actions, address, token, actor, name] = seen.lines().collect::<Vec<_>>()[..] else {
        panic!("{seen}");
    };
    assert_eq!((actions, actor, name), ("true", "it's $(me)", "v1.2.3"));
    assert!(address.contains('?'), "a client must add to a query");

    let client = reqwest::Client::new();
    let ask = |audience: &str| client.get(format!("{address}&audience={audience}"));
    let answer = send(
        ask("https%3A%2F%2Fsts.example.com").header("Authorization", format!("bearer {token}")),
    )
    .await;
    assert_eq!(answer.0, 200);
    let claims = verified(answer.json()["value"].as_str().unwrap()).await;
    assert_eq!(claims.text("ref"), Some("refs/tags/v1.2.3"));
    assert_eq!(claims.text("actor"), Some("it's $(me)"));

    let default = send(client.get(address).bearer_auth(token)).await.json();
    let read = SubjectToken::read(default["value"].as_str().unwrap().to_owned());
    assert!(read.is_ok());

    assert_eq!(send(ask("x")).await.0, 401);
    for header in [
        "bearer ",
        "bearer x.y",
        &format!("token {token}"),
        &format!("bearer {token}x"),
    ] {
        let answer = send(ask("x").header("Authorization", header)).await;
        assert_eq!(answer.0, 401, "{header}");
        assert!(!answer.1.contains(token));
    }
}

/// Asks as a Buildkite agent does.
async fn ask_agent(lines: &str, job: Option<&str>, body: &Value) -> Answer {
    let variable = |name: &str| in_shell(lines, &format!("printf %s \"${name}\""));
    let own = variable("BUILDKITE_JOB_ID");
    let endpoint = variable("BUILDKITE_AGENT_ENDPOINT");
    let job = job.unwrap_or(&own);
    let request = reqwest::Client::new()
        .post(format!("{endpoint}/jobs/{job}/oidc/tokens"))
        .header(
            "Authorization",
            format!("Token {}", variable("BUILDKITE_AGENT_ACCESS_TOKEN")),
        )
        .body(body.to_string());
    send(request).await
}

#[tokio::test]
async fn a_buildkite_token_has_the_optional_claims_that_were_asked_for_and_no_others() {
    for set in ["buildkite-push", "buildkite-optional-claims"] {
        let lines = get(&format!("/env/buildkite?claims={set}&build_branch=dev"))
            .await
            .1;
        let plain = ask_agent(&lines, None, &json!({"audience": AUDIENCE}))
            .await
            .json();
        let claims = verified(plain["token"].as_str().unwrap()).await;
        assert_eq!(claims.get("organization_id"), None);
        assert_eq!(claims.text("build_branch"), Some("dev"));

        let body = json!({
            "audience": AUDIENCE,
            "lifetime": 600,
            "claims": ["organization_id", "pipeline_id"],
        });
        let more = ask_agent(&lines, None, &body).await.json();
        let claims = verified(more["token"].as_str().unwrap()).await;
        assert_eq!(
            claims.text("organization_id"),
            Some("f892efa9-103e-4d28-97a1-3b8616a0994d")
        );
        assert!(claims.text("pipeline_id").is_some());
        assert_eq!(claims.get("cluster_id"), None);
        assert_eq!(claims.all()["exp"], now().seconds() + 600);

        let body = json!({"audience": AUDIENCE, "subject_claim": "pipeline_id"});
        let renamed = ask_agent(&lines, None, &body).await.json();
        let claims = verified(renamed["token"].as_str().unwrap()).await;
        assert_eq!(Some(claims.subject()), claims.text("pipeline_id"));
    }
}

#[tokio::test]
async fn a_buildkite_token_that_the_real_one_would_refuse_is_refused() {
    let lines = get("/env/buildkite").await.1;
    for (job, body, status) in [
        (None, json!({"claims": ["repository"]}), 422),
        (None, json!({"lifetime": 7201}), 422),
        (None, json!({"subject_claim": "build_branch"}), 422),
        (None, json!({"aws_session_tags": ["job_id"]}), 422),
        (None, json!({"lifetime": "long"}), 422),
        (Some("0184990a-477b-4fa8-9968-000000000000"), json!({}), 403),
    ] {
        let answer = ask_agent(&lines, job, &body).await;
        assert_eq!(answer.0, status, "{body}: {}", answer.1);
    }
    let github = get("/env/github").await.1;
    let strange = in_shell(&github, "printf %s \"$ACTIONS_ID_TOKEN_REQUEST_TOKEN\"");
    let lines = format!("{lines}\nBUILDKITE_AGENT_ACCESS_TOKEN='{strange}'");
    assert_eq!(ask_agent(&lines, None, &json!({})).await.0, 401);
}

#[tokio::test]
async fn tokens_in_variables_survive_the_shell_and_verify() {
    for (profile, variable, marker) in [
        ("circleci", "CIRCLE_OIDC_TOKEN", "CIRCLECI"),
        ("circleci", "CIRCLE_OIDC_TOKEN_V2", "CIRCLECI"),
        ("rwx", "RWX_OIDC_TOKEN", "CI"),
        ("gitlab", "COUNTERSIGN_ID_TOKEN", "GITLAB_CI"),
    ] {
        let lines = get(&format!("/env/{profile}?audience={AUDIENCE}")).await.1;
        let token = in_shell(&lines, &format!("printf %s \"${variable}\""));
        let claims = verified(&token).await;
        assert_eq!(claims.trusted().profile.name, profile);
        let with_repository = claims.subject().contains("/vcs-origin/");
        assert_eq!(with_repository, variable == "CIRCLE_OIDC_TOKEN_V2");
        assert_eq!(
            in_shell(&lines, &format!("printf %s \"${marker}\"")),
            "true"
        );
    }
}

#[tokio::test]
async fn a_second_job_finds_nothing_of_the_first_in_its_environment() {
    let (first, second) = (get("/env/github").await.1, get("/env/gitlab").await.1);
    let seen = in_shell(
        &format!("{first}{second}"),
        r#"printf %s "${ACTIONS_ID_TOKEN_REQUEST_TOKEN-none} ${GITHUB_ACTIONS-none} $GITLAB_CI""#,
    );
    assert_eq!(seen, "none none true");
}

#[tokio::test]
async fn an_error_is_safe_to_evaluate_and_fails() {
    let answer = get("/env/github?claims=%24(echo%20ran)%60echo%20ran%60%27;echo%20ran").await;
    assert_eq!(answer.0, 404);
    assert_eq!(in_shell(&answer.1, r#"printf %s "$?""#), "1");
}

#[tokio::test]
async fn the_configuration_that_it_offers_lists_its_issuers() {
    let offered: toml::Table = get("/countersign.toml").await.1.parse().unwrap();
    assert_eq!(offered["allow-loopback-http"], toml::Value::Boolean(true));
    let issuers = offered["issuer"].as_array().unwrap();
    assert_eq!(issuers.len(), 5);
    for issuer in issuers {
        let profile = profile_named(issuer["profile"].as_str().unwrap()).unwrap();
        let url = issuer["url"].as_str().unwrap();
        assert!(IssuerForm::parse(url, profile.organization_in_issuer, true).is_ok());
    }
}

#[tokio::test]
async fn its_page_names_every_claim_set() {
    let page = get("/").await.1;
    for set in claim_sets() {
        assert!(page.contains(set.name), "{}", set.name);
    }
}

/// The value of a job's claims that a policy compares with an identity field of one exact value.
fn compared(claims: &Map<String, Value>, source: Source) -> Option<String> {
    let text = |claim: &str| claims.get(claim)?.as_str();
    let value = match source {
        Source::Within { claim, parent } => text(claim)?
            .strip_prefix(text(parent)?)?
            .strip_prefix('/')?,
        other => text(other.claim())?,
    };
    Some(value.to_owned())
}

#[test]
fn every_shipped_policy_speaks_of_a_pretended_job_and_gives_its_ids() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/trust-policies/acme");
    let mut profiles = Vec::new();
    for file in ["api", "web", "images", "site", "mobile"] {
        let text = std::fs::read_to_string(format!("{folder}/{file}.toml")).unwrap();
        let policy: toml::Table = text.parse().unwrap();
        for trust in policy["trust"].as_array().unwrap() {
            let profile = profile_named(trust["issuer"].as_str().unwrap()).unwrap();
            profiles.push(profile.name);
            let given = |name: &str| trust.get(name).and_then(toml::Value::as_str);
            for field in profile.fields.iter().filter(|field| field.id_of.is_some()) {
                assert!(given(field.name).is_some(), "{file}: no {}", field.name);
            }
            let someone = claim_sets().iter().any(|set| {
                set.profile.name == profile.name
                    && profile.fields.iter().all(|field| {
                        let found = compared(&set.claims, field.source);
                        given(field.name).is_none_or(|wanted| found.as_deref() == Some(wanted))
                    })
            });
            assert!(someone, "{file}: {}", trust["name"]);
        }
    }
    profiles.dedup();
    assert_eq!(
        profiles,
        ["github", "circleci", "buildkite", "rwx", "gitlab"]
    );
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    for address in ["0.0.0.0:9100", "192.0.2.1:9100", "[::]:9100"] {
        let address = address.parse().unwrap();
        let refused = FakeCi::new(address, Arc::new(FrozenClock::at(now()))).err();
        assert_eq!(refused, Some(FakeCiError::NotLoopback(address)));
    }
}

#[test]
fn two_signers_do_not_pass_for_each_other() {
    let (one, other) = (
        Signer::new("http://127.0.0.1:1").unwrap(),
        Signer::new("http://127.0.0.1:1").unwrap(),
    );
    let signed = one.token(
        "rwx",
        "rwx-locked-vault",
        Some(AUDIENCE),
        &Map::new(),
        now(),
    );
    let token = SubjectToken::read(signed.unwrap().token).unwrap();
    let keys = other.jwks("rwx", None).unwrap().to_string();
    let (keys, _) = KeySet::parse(keys.as_bytes()).unwrap();
    assert!(keys.with_id(token.key_id().unwrap()).is_none());
}
