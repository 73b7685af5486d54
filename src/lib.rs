//! Countersign.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod directory;
pub mod discovery;
pub mod fake_ci;
pub mod http;
pub mod issuer;
pub mod ledger;
pub mod project_token;
pub mod subject;
pub mod trust;
