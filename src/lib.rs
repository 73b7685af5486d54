//! Countersign.

pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod directory;
pub mod discovery;
pub mod exchange;
pub mod fake_ci;
pub mod http;
pub mod issuer;
pub mod ledger;
pub mod project_token;
pub mod store;
pub mod subject;
pub mod trust;
