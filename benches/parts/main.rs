//! What each part of an exchange costs, and one whole exchange without a store.
//!
//! The cryptography alone stands first: whatever an exchange costs beyond that is ours.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement stops at the unexpected"
)]

mod world;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use countersign::clock::{Seconds, UnixTime};
use countersign::directory::Audience;
use countersign::exchange::{Caller, ExchangeRequest};
use countersign::http::read_form;
use countersign::issuer::{KeySet, Registry};
use countersign::project_token::{Holder, prepare};
use countersign::subject::{SignedClaims, SubjectToken, VerifiedClaims};
use countersign::trust::{
    Circumstances, Decision, Limits, ProjectPath, ProjectPolicy, Wish, decide, read_policy,
};
use criterion::{BatchSize, Criterion};
use futures_util::FutureExt as _;
use tokio::runtime::Runtime;
use url::form_urlencoded;

use world::{Ci, Nowhere};

/// 2026-11-20T12:00:00Z, when all of this happens.
const NOW: UnixTime = UnixTime::from_seconds(1_795_176_000);

const PUBLIC_URL: &str = "https://sts.example.com";

const LIMITS: Limits = Limits {
    default_lifetime: Seconds(3600),
    maximum_lifetime: Seconds(6 * 3600),
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    let parts = Parts::new();
    cryptography_alone(&mut criterion);
    the_subject_token(&mut criterion, &parts);
    the_decision(&mut criterion, &parts);
    the_answer(&mut criterion, &parts);
    all_of_it(&mut criterion, &parts);
    criterion.final_summary();
}

/// A CI system, and what we know of it.
struct Parts {
    ci: Ci,
    registry: Registry,
    keys: KeySet,
}

impl Parts {
    fn new() -> Self {
        let ci = Ci::new();
        Self {
            registry: Registry::new([ci.trusted(None)]),
            keys: KeySet::parse(ci.key_set().as_bytes()).unwrap().0,
            ci,
        }
    }

    fn check_signature(&self, token: SubjectToken) -> SignedClaims {
        let (trusted, matched) = self.registry.find(Ci::ISSUER).unwrap();
        let keys = self.keys.with_id(token.key_id().unwrap()).unwrap();
        token.check_signature(trusted, matched, keys).unwrap()
    }

    fn claims(&self) -> VerifiedClaims {
        let token = SubjectToken::read(self.ci.token("RS256")).unwrap();
        self.check_signature(token).accept(PUBLIC_URL, NOW).unwrap()
    }

    fn policy(&self, relationships: usize) -> ProjectPolicy {
        let path = ProjectPath::parse("acme/api").unwrap();
        let text = world::policy(relationships);
        read_policy(path, "acme/api.toml", &text, &self.registry).unwrap()
    }
}

fn cryptography_alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cryptography alone");
    let random = SystemRandom::new();
    let message = [b'm'; 1500];

    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)
        .unwrap();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key()).unwrap();
    group.bench_function("verify RS256 (RSA-2048)", |bench| {
        bench.iter(|| key.verify_sig(black_box(&message), &signature).unwrap());
    });

    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    group.bench_function("sign ES256", |bench| {
        bench.iter(|| ecdsa.sign(&random, black_box(&message)).unwrap());
    });
}

fn the_subject_token(criterion: &mut Criterion, parts: &Parts) {
    let mut group = criterion.benchmark_group("subject token");
    for algorithm in ["RS256", "ES256"] {
        let text = parts.ci.token(algorithm);
        let read = || SubjectToken::read(text.clone()).unwrap();
        if algorithm == "RS256" {
            group.bench_function(format!("read {} bytes", text.len()), |bench| {
                bench.iter_batched(
                    || text.clone(),
                    |text| SubjectToken::read(text).unwrap(),
                    BatchSize::SmallInput,
                );
            });
        }
        group.bench_function(format!("check the {algorithm} signature"), |bench| {
            bench.iter_batched(
                read,
                |token| parts.check_signature(token),
                BatchSize::SmallInput,
            );
        });
    }
    let signed = || parts.check_signature(SubjectToken::read(parts.ci.token("RS256")).unwrap());
    group.bench_function("accept the claims", |bench| {
        bench.iter_batched(
            signed,
            |signed| signed.accept(PUBLIC_URL, NOW).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn the_decision(criterion: &mut Criterion, parts: &Parts) {
    let mut group = criterion.benchmark_group("decide");
    let claims = parts.claims();
    for relationships in [1, 100] {
        let policy = parts.policy(relationships);
        group.bench_function(format!("by {relationships} trust relationships"), |bench| {
            bench.iter(|| decided(&policy, black_box(&claims)));
        });
    }
}

fn decided(policy: &ProjectPolicy, claims: &VerifiedClaims) -> Decision {
    let circumstances = Circumstances::unremembered(NOW);
    decide(policy, claims, &Wish::default(), &LIMITS, &circumstances)
}

fn the_answer(criterion: &mut Criterion, parts: &Parts) {
    let mut group = criterion.benchmark_group("project token");
    let (policy, claims) = (parts.policy(1), parts.claims());
    let path = ProjectPath::parse("acme/api").unwrap();
    let ring = world::ring(Arc::default()).now_or_never().unwrap();
    group.bench_function("prepare and sign", |bench| {
        bench.iter_batched(
            || decided(&policy, &claims).outcome.unwrap(),
            |grant| {
                let holder = Holder {
                    path: &path,
                    id: "p0000001",
                };
                let token = prepare(grant, holder, &claims, PUBLIC_URL, NOW);
                ring.sign(&token, NOW).unwrap()
            },
            BatchSize::SmallInput,
        );
    });
}

fn all_of_it(criterion: &mut Criterion, parts: &Parts) {
    let mut group = criterion.benchmark_group("exchange");
    let token = parts.ci.token("RS256");
    let ledger = Arc::new(Nowhere::default());
    let runtime = Runtime::new().unwrap();
    let exchange = runtime.block_on(world::exchange(&parts.ci, ledger.clone()));
    let run = |request| exchange.run(request).now_or_never().unwrap().unwrap();
    let request = || ExchangeRequest {
        subject_token: token.clone(),
        audience: "acme/api".to_owned(),
        project: Audience::parse("acme/api", PUBLIC_URL).unwrap(),
        wish: Wish::default(),
        caller: caller(),
    };
    run(request());

    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        )
        .append_pair("subject_token", &token)
        .append_pair(
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
        )
        .append_pair("audience", "acme/api")
        .finish();
    group.bench_function("read the form", |bench| {
        bench.iter(|| read_form(black_box(form.as_bytes()), PUBLIC_URL, caller()).unwrap());
    });
    group.bench_function("one, whole, without a store", |bench| {
        bench.iter_batched(request, run, BatchSize::SmallInput);
    });
    let record = ledger.seen.get().unwrap();
    group.bench_function("its record as JSON", |bench| {
        bench.iter(|| serde_json::to_vec(black_box(record)).unwrap());
    });
}

fn caller() -> Caller {
    Caller {
        address: Some("192.0.2.7".to_owned()),
        user_agent: Some("actions/oidc".to_owned()),
        fails_often: false,
    }
}
