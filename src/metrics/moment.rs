//! How it stands at the moment of a scrape.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::histogram::as_float;

type Float = Gauge<f64, AtomicU64>;

/// How it stands. Whoever is asked for metrics fills it in. Spans of time are in seconds.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a metric of its own, and none decides anything"
)]
pub struct Moment {
    /// Whether `/readyz` would answer 200.
    pub ready: bool,
    /// Whether the store can write.
    pub store_available: bool,
    /// How many projects have a policy in force.
    pub projects: usize,
    /// How many files are not in force as they stand.
    pub policy_problems: usize,
    /// How many relationships a guard rail switched off.
    pub switched_off: usize,
    /// The digest of all policies in force, in hexadecimal.
    pub policy_digest: String,
    /// How many other instances were seen on the same store of late.
    pub instances: usize,
    /// How many of them have other policies in force, or other settings.
    pub disagreeing: usize,
    /// The issuers.
    pub issuers: Vec<IssuerMoment>,
    /// How many entries the last checkpoint covers, and how long ago it was last seen to cover all.
    pub checkpoint: Option<(u64, f64)>,
    /// Whether something keeps checkpoints from being signed.
    pub log_fault: bool,
    /// How many signing keys are published.
    pub signing_keys: usize,
    /// How long the one that signs has been signing, if there is one.
    pub signing_key_age: Option<f64>,
    /// How many addresses have failed of late.
    pub failing_addresses: usize,
    /// How many answers are held back.
    pub held_back: usize,
    /// How many connections may be open.
    pub most_connections: usize,
    /// How long the certificate for TLS is still good, where there is one; negative once it is not.
    pub certificate_left: Option<f64>,
    /// Whether the files of the certificate hold another one that cannot be used.
    pub certificate_fault: bool,
}

/// How it stands with an issuer of the configuration: with all addresses of it, if it has one for each organization.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IssuerMoment {
    /// Its name in the configuration.
    pub name: String,
    /// How many keys are in use, at the address that has the fewest.
    pub keys: usize,
    /// How old the keys in use are, at the address where they are oldest; none where none was ever had.
    pub key_age: Option<f64>,
    /// At how many addresses the last try failed.
    pub failing: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    issuer: String,
}

/// Registers gauges that hold one value.
struct Told<'a>(&'a mut Registry);

impl Told<'_> {
    fn number(&mut self, name: &str, help: &str, value: usize) {
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        self.float(name, help, as_float(value));
    }

    fn yes(&mut self, name: &str, help: &str, value: bool) {
        self.number(name, help, usize::from(value));
    }

    fn float(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Float::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn maybe(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.float(name, help, value);
        }
    }
}

impl Moment {
    pub(super) fn register(&self, registry: &mut Registry) {
        let mut told = Told(registry);
        told.yes(
            "ready",
            "Whether exchanges are answered: 1, or 0",
            self.ready,
        );
        told.yes(
            "store_available",
            "Whether the store can write at this moment: 1, or 0",
            self.store_available,
        );
        self.of_policies(&mut told);
        told.yes(
            "log_fault",
            "Whether something keeps checkpoints of the log from being signed: 1, or 0",
            self.log_fault,
        );
        if let Some((entries, age)) = self.checkpoint {
            told.float(
                "log_checkpoint_entries",
                "How many entries the last checkpoint covers",
                as_float(entries),
            );
            told.float(
                "log_checkpoint_age_seconds",
                "How long ago the last checkpoint was seen to cover the whole log",
                age,
            );
        }
        told.number(
            "signing_keys",
            "Our signing keys that are published",
            self.signing_keys,
        );
        told.maybe(
            "signing_key_age_seconds",
            "How long the key that signs has been signing",
            self.signing_key_age,
        );
        told.number(
            "failing_addresses",
            "Addresses whose budget of failures is not whole",
            self.failing_addresses,
        );
        told.number(
            "held_back",
            "Answers to failures that are held back at this moment",
            self.held_back,
        );
        told.number(
            "connections_limit",
            "How many connections may be open",
            self.most_connections,
        );
        told.maybe(
            "tls_certificate_expires_in_seconds",
            "How long the certificate in use is still good; below zero once it is not",
            self.certificate_left,
        );
        told.yes(
            "tls_certificate_fault",
            "Whether the files hold another certificate that cannot be used: 1, or 0",
            self.certificate_fault,
        );
        self.of_issuers(registry);
    }

    fn of_policies(&self, told: &mut Told<'_>) {
        told.number("projects", "Projects with a policy in force", self.projects);
        told.number(
            "policy_problems",
            "Files of policies that are not in force as they stand",
            self.policy_problems,
        );
        told.number(
            "relationships_switched_off",
            "Trust relationships that a guard rail switched off",
            self.switched_off,
        );
        let digest = vec![("digest".to_owned(), self.policy_digest.clone())];
        told.0.register(
            "policies",
            "The digest of all policies in force: the same on all instances that agree",
            Info::new(digest),
        );
        told.number(
            "instances_seen",
            "Other instances on the same store that were seen of late",
            self.instances,
        );
        told.number(
            "instances_disagreeing",
            "Those of them that have other policies in force, or other settings",
            self.disagreeing,
        );
    }

    fn of_issuers(&self, registry: &mut Registry) {
        let keys = Family::<Named, Gauge>::default();
        let failing = Family::<Named, Gauge>::default();
        let age = Family::<Named, Float>::default();
        for issuer in &self.issuers {
            let named = Named {
                issuer: issuer.name.clone(),
            };
            let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
            keys.get_or_create(&named).set(number(issuer.keys));
            failing.get_or_create(&named).set(number(issuer.failing));
            if let Some(seconds) = issuer.key_age {
                age.get_or_create(&named).set(seconds);
            }
        }
        registry.register("issuer_keys", "Keys of the issuer that are in use", keys);
        registry.register(
            "issuer_key_age_seconds",
            "How long ago the keys in use were fetched; after a day they are not used any more",
            age,
        );
        registry.register(
            "issuer_failing",
            "Addresses of the issuer where the last try to fetch keys failed",
            failing,
        );
    }
}
