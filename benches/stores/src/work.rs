//! The work: exchanges of GitHub jobs, each made from its number alone, so that any process knows them again.

use std::sync::Arc;

use countersign::audit::{DecisionId, Outcome, Record, RecordedClaims};
use countersign::clock::{Seconds, UnixTime};
use countersign::ledger::Spend;
use countersign::subject::SpentKey;
use serde_json::{Map, Value};

use crate::group::Fault;

/// When exchange 0 took place. They follow one another by a millisecond.
const BEGINNING: i64 = 1_795_003_200_000;

/// The claims of a push to a repository of an enterprise, as GitHub sends them.
const CLAIMS: &str = include_str!("claims.json");

/// When exchange `number` takes place.
pub fn moment(number: u64) -> UnixTime {
    UnixTime::from_millis(BEGINNING.saturating_add_unsigned(number))
}

/// The wish to use token `number`, which may be used once.
pub fn spend(number: u64) -> Spend {
    Spend {
        key: SpentKey::of_unverified(&format!("token {number}")),
        max_uses: 1,
        until: moment(number).plus(Seconds(300 + 660)),
        pins: Vec::new(),
    }
}

/// The name of the decision on exchange `number`: a UUID of version 7 whose random part is a digest of the number.
pub fn decision_id(number: u64) -> DecisionId {
    named(number, 0)
}

/// The name of the token that is issued for it.
pub fn token_id(number: u64) -> String {
    named(number, 7).to_string()
}

fn named(number: u64, salt: u64) -> DecisionId {
    let [high, low] = [digest(number, salt), digest(number, salt + 1)];
    let millis = moment(number).millis().cast_unsigned();
    let high = millis << 16 | 0x7000 | (high & 0x0FFF);
    let low = 1 << 63 | low >> 2;
    DecisionId::from_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

/// Every so many of the first exchanges is of another project, by another relationship and for another subject: what is
/// rare and long ago.
const RARE: u64 = 100;

/// How many exchanges have rare ones among them.
const LONG_AGO: u64 = 1000;

/// The project of the rare ones, and their subject and relationship.
pub const RARELY: &str = "octo-archive/once-upon-a-time";

/// The claims that GitHub's profile calls personal.
const PERSONAL: [&str; 2] = ["actor", "actor_id"];

/// Makes the records.
pub struct Records {
    template: Record,
    claims: Map<String, Value>,
}

impl Records {
    /// Reads the claims.
    pub fn new() -> Result<Self, Fault> {
        let claims: Map<String, Value> = serde_json::from_str(CLAIMS)?;
        let text = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let template = Record {
            issuer: Some("github".into()),
            verified: true,
            subject: text("sub"),
            repository: text("repository"),
            audience: "octo-platform-engineering/payments-settlement-service".into(),
            project: Some("octo-platform-engineering/payments-settlement-service".into()),
            project_id: Some("p2v6yd4hq3kx".into()),
            policy_digest: Some(hexadecimal(1) + &hexadecimal(2)),
            guard_rails_digest: Some(hexadecimal(3) + &hexadecimal(4)),
            trust: vec!["release".into()],
            scopes: vec!["read_registry".into(), "write_registry".into()],
            client_address: Some("20.57.43.17".into()),
            user_agent: Some("countersign/0.1.0 (linux; github-actions)".into()),
            ..Record::new(Outcome::Allowed, moment(0))
        };
        Ok(Self { template, claims })
    }

    /// The record of exchange `number`. What differs from job to job differs here, so that nothing compresses better
    /// than it would.
    pub fn record(&self, number: u64) -> Record {
        let at = moment(number);
        let run_id = (19_677_834_613 + number).to_string();
        let commit = hexadecimal(digest(number, 3)) + "d4e5b607";
        let texts = [
            ("jti", hexadecimal(digest(number, 4))),
            ("sha", commit.clone()),
            ("workflow_sha", commit.clone()),
            ("job_workflow_sha", commit),
            ("run_id", run_id.clone()),
            ("run_number", number.to_string()),
            ("check_run_id", (56_363_837_828 + number).to_string()),
        ];
        let texts = texts.map(|(claim, text)| (claim, Value::String(text)));
        let times = [("nbf", -300), ("iat", 0), ("exp", 300)];
        let times = times.map(|(claim, after)| (claim, Value::from(at.seconds() + after)));
        let mut claims = self.claims.clone();
        for (claim, value) in texts.into_iter().chain(times) {
            claims.insert(claim.to_owned(), value);
        }
        let mut record = Record {
            decision_id: decision_id(number),
            at_millis: at.millis(),
            claims: RecordedClaims::new(Arc::new(claims), PERSONAL.into()),
            run_id: Some(run_id),
            token_id: Some(token_id(number)),
            token_expires: Some(at.plus(Seconds(1800)).seconds()),
            ..self.template.clone()
        };
        if number < LONG_AGO && number.is_multiple_of(RARE) {
            record.project = Some(RARELY.into());
            record.subject = Some(RARELY.into());
            record.trust = vec![RARELY.into()];
        }
        record
    }
}

/// 32 digits that look random.
fn hexadecimal(number: u64) -> String {
    format!("{:016x}{:016x}", digest(number, 5), digest(number, 6))
}

/// A number that looks random and depends on both (`SplitMix64`).
fn digest(number: u64, salt: u64) -> u64 {
    let mut z = (number.rotate_left(32) ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_the_products_and_no_two_are_alike() {
        let records = Records::new().unwrap();
        let [one, other] = [1, 2].map(|number| serde_json::to_string(&records.record(number)));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!((2200..2500).contains(&one.len()), "{}: {one}", one.len());
        assert_ne!(one, other);
    }

    #[test]
    fn decisions_are_named_in_the_order_of_time() {
        let names: Vec<_> = (0..3000).map(decision_id).collect();
        assert!(names.is_sorted());
        assert!(
            names
                .iter()
                .all(|name| DecisionId::parse(&name.to_string()).is_ok())
        );
    }
}
