//! What an exchange needs around it: a CI system that signs, a folder of policies, and a ledger that keeps nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::audit::Happening;
use countersign::audit::{DecisionId, Event, Record};
use countersign::clock::{FrozenClock, UnixTime};
use countersign::directory::{
    Directory, FirstLoads, OnRecord, PolicyChange, PolicyHistory, ProjectIds,
};
use countersign::discovery::{ArchivedKeys, FetchSettings, KeyArchive, KeyDirectory};
use countersign::exchange::Exchange;
use countersign::issuer::{Issuer, IssuerForm, Registry, TrustedIssuer, profile_named};
use countersign::ledger::{
    Denial, DenialAllowance, DenialKey, Ledger, RememberedNames, Spend, Spent, StoreUnavailable,
    Unrecorded,
};
use countersign::project_token::{KeyRing, SigningKeyStore, StoredKey, TokenAlgorithm};
use countersign::trust::{Limits, NameState, Names, PIN_WINDOW, ProjectPath};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{LIMITS, NOW, PUBLIC_URL};

/// GitHub Actions, as far as it is needed here: two keys, and what it says of one job.
pub struct Ci {
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
}

impl Ci {
    pub const ISSUER: &str = "https://token.actions.githubusercontent.com";

    pub fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ecdsa: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    /// Its key set (RFC 7517, section 5).
    pub fn key_set(&self) -> String {
        let rsa = self.rsa.public_key().as_ref();
        let point = self.ecdsa.public_key().as_ref();
        // RFC 8017, section A.1.1: 9 octets, the modulus, then the exponent.
        let modulus = encoded(&rsa[9..265]);
        json!({"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "RS256", "n": modulus, "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "ES256",
             "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
        ]})
        .to_string()
    }

    /// The token of a job, signed with RS256 or ES256.
    pub fn token(&self, algorithm: &str) -> String {
        let header = json!({"typ": "JWT", "alg": algorithm, "kid": algorithm}).to_string();
        let signed = format!(
            "{}.{}",
            encoded(header.as_bytes()),
            encoded(claims().to_string().as_bytes())
        );
        let signature = self.signature(algorithm, signed.as_bytes());
        format!("{signed}.{}", encoded(&signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        if algorithm == "ES256" {
            return self.ecdsa.sign(&random, message).unwrap().as_ref().to_vec();
        }
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let signing = self
            .rsa
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
        signing.unwrap();
        signature
    }

    /// How it is registered.
    pub fn trusted(&self, key_set: Option<&TempDir>) -> TrustedIssuer {
        let profile = profile_named("github").unwrap();
        let form = IssuerForm::parse(Self::ISSUER, false, false).unwrap();
        let mut trusted = TrustedIssuer::new("github", profile, form, PUBLIC_URL);
        trusted.jwks_file = key_set.map(|folder| {
            let file = folder.path().join("keys.json");
            fs::write(&file, self.key_set()).unwrap();
            file
        });
        trusted
    }
}

fn encoded(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// The claims of a deployment, every one that GitHub sends.
fn claims() -> Value {
    let now = NOW.seconds();
    let sha = "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334";
    json!({
        "jti": "5ad4c6f1-27a5-4f1c-8b0f-0c9d3d2f6a7e",
        "sub": "repo:octo-org/octo-repo:environment:production", "aud": PUBLIC_URL,
        "ref": "refs/heads/main", "sha": sha, "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org", "repository_owner_id": "65123456",
        "repository_id": "74123456", "run_id": "9876543210", "run_number": "1042",
        "run_attempt": "2", "repository_visibility": "private", "actor_id": "12345678",
        "actor": "octocat", "workflow": "release", "head_ref": "", "base_ref": "",
        "event_name": "workflow_dispatch", "ref_protected": "true", "ref_type": "branch",
        "environment": "production", "workflow_sha": sha,
        "workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "job_workflow_sha": sha, "runner_environment": "github-hosted",
        "iss": Ci::ISSUER, "nbf": now - 300, "exp": now + 300, "iat": now,
    })
}

/// A policy of so many relationships, of which the last one holds.
pub fn policy(relationships: usize) -> String {
    let mut text = String::new();
    for number in 0..relationships {
        let id = 74_123_457 + number - relationships;
        let repository = if number + 1 == relationships {
            "octo-repo".to_owned()
        } else {
            format!("repository-{number}")
        };
        writeln!(
            text,
            "[[trust]]\nname = \"release {number}\"\nissuer = \"github\"\n\
            owner = \"octo-org\"\nowner-id = 65123456\n\
            repository = \"{repository}\"\nrepository-id = {id}\n\
            scopes = [\"read_registry\", \"write_registry\"]\nlifetime = \"30m\"\n\n\
            [trust.claims]\nevent_name = [\"push\", \"workflow_dispatch\"]\n\
            ref = \"refs/heads/main\"\nenvironment = \"production\"\n\
            runner_environment = \"github-hosted\"\n"
        )
        .unwrap();
    }
    text
}

/// Everything that an exchange needs, with the project `acme/api`.
pub async fn exchange(ci: &Ci, ledger: Arc<Nowhere>) -> Exchange {
    let folder = tempfile::tempdir().unwrap();
    let organization = folder.path().join("trust-policies/acme");
    fs::create_dir_all(&organization).unwrap();
    fs::write(organization.join("api.toml"), policy(1)).unwrap();

    let clock = Arc::new(FrozenClock::at(NOW));
    let registry = Arc::new(Registry::new([ci.trusted(Some(&folder))]));
    let settings = FetchSettings::default();
    let keys = KeyDirectory::new(registry.clone(), clock.clone(), ledger.clone(), settings);
    let keys = keys.unwrap();
    keys.refresh().await;
    let directory = Directory::open(
        folder.path().join("trust-policies"),
        registry.clone(),
        ledger.clone(),
        ledger.clone(),
        ledger.clone(),
        clock.clone(),
    );
    Exchange {
        directory: Arc::new(directory.await.unwrap()),
        ring: Arc::new(ring(ledger.clone()).await),
        clock,
        registry,
        keys,
        ledger,
        allowance: DenialAllowance::default(),
        public_url: PUBLIC_URL.to_owned(),
        limits: LIMITS,
        pin_window: PIN_WINDOW,
    }
}

/// Keys of our own, for ES256.
pub async fn ring(store: Arc<Nowhere>) -> KeyRing {
    let Limits {
        maximum_lifetime, ..
    } = LIMITS;
    let ring = KeyRing::open(store, None, TokenAlgorithm::ES256, maximum_lifetime, NOW);
    ring.await.unwrap()
}

/// A store that keeps nothing, so that what is measured is everything else. It shows the first record that it was given.
#[derive(Default)]
pub struct Nowhere {
    pub seen: OnceLock<Record>,
}

impl Ledger for Nowhere {
    fn spend(&self, _: Spend, record: Record) -> BoxFuture<'_, Result<Spent, StoreUnavailable>> {
        let _ = self.seen.set(record);
        answer(Spent::Nth {
            number: 1,
            index: 0,
        })
    }

    fn record_denial(&self, denial: Denial) -> BoxFuture<'_, Result<DecisionId, StoreUnavailable>> {
        answer(denial.record.decision_id)
    }

    fn denial_on_record(
        &self,
        _: DenialKey,
    ) -> BoxFuture<'_, Result<Option<DecisionId>, StoreUnavailable>> {
        answer(None)
    }

    fn count_denial(&self, _: Unrecorded, _: UnixTime) {}

    fn decision(&self, _: DecisionId) -> BoxFuture<'_, Result<Option<Record>, StoreUnavailable>> {
        answer(None)
    }

    fn name_states(
        &self,
        _: Vec<Names>,
    ) -> BoxFuture<'_, Result<HashMap<Names, NameState>, StoreUnavailable>> {
        answer(HashMap::new())
    }

    fn pins(
        &self,
        _: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<RememberedNames>, StoreUnavailable>> {
        answer(Vec::new())
    }

    fn reset_pin(
        &self,
        _: Names,
        _: String,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<Option<Event>, StoreUnavailable>> {
        answer(None)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        answer(())
    }
}

impl ProjectIds for Nowhere {
    fn ids_of(
        &self,
        paths: Vec<ProjectPath>,
    ) -> BoxFuture<'_, Result<Vec<String>, StoreUnavailable>> {
        answer((0..paths.len()).map(|id| format!("p{id:07}")).collect())
    }
}

impl FirstLoads for Nowhere {
    fn note_names(
        &self,
        _: Vec<Names>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        answer(())
    }
}

impl PolicyHistory for Nowhere {
    fn policies_on_record(
        &self,
    ) -> BoxFuture<'_, Result<HashMap<String, OnRecord>, StoreUnavailable>> {
        answer(HashMap::new())
    }

    fn record_policies(
        &self,
        _: Vec<PolicyChange>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        answer(())
    }

    fn policy_text(&self, _: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreUnavailable>> {
        answer(None)
    }
}

impl KeyArchive for Nowhere {
    fn last_good(
        &self,
        _: &Issuer,
    ) -> BoxFuture<'_, Result<Option<ArchivedKeys>, StoreUnavailable>> {
        answer(None)
    }

    fn keep(
        &self,
        _: &Issuer,
        _: ArchivedKeys,
        _: Option<Happening>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<(), StoreUnavailable>> {
        answer(())
    }
}

impl SigningKeyStore for Nowhere {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreUnavailable>> {
        answer(Vec::new())
    }

    fn replace_signing_keys(
        &self,
        _: Vec<String>,
        _: Vec<StoredKey>,
        _: Vec<String>,
        _: Vec<Happening>,
        _: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        answer(true)
    }
}

fn answer<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, StoreUnavailable>> {
    async move { Ok(value) }.boxed()
}
