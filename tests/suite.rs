//! What the service promises, one test a promise. Each module says what it is about.

mod architecture;
mod claims;
mod discovery;
mod exchange;
mod fake_ci;
mod ledger;
mod process;
mod refusals;
mod support;
