//! What the service promises, one test a promise. Each module says what it is about.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops, in its helpers too"
)]

mod administration;
mod architecture;
mod attacks;
mod audit_http;
mod calm;
mod claims;
mod claims_page;
mod deploy;
mod discovery;
mod docs;
mod exchange;
mod fake_ci;
mod guard_rails;
mod kills;
mod ledger;
mod lint;
mod long_log;
mod notary;
mod pg_faults;
mod pg_log;
mod pins;
mod policy_record;
mod process;
mod reading;
mod refusals;
mod several_instances;
mod store_copy;
mod subject;
mod support;
mod verbs;
mod verifier;
