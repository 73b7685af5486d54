//! Countersign exchanges the identity token of a CI job for a short-lived project token (RFC 8693).
//!
//! A CI job sends the identity token that its CI system signed, the *subject token*, and names a *project*. The token is
//! checked, the project's *trust relationships* are asked, and the answer is a *project token*, or what to mend. The
//! whole service is that one sentence, and [`exchange`] says it:
//!
//! ```text
//! POST /oauth/token ─ http/oauth/token.rs ─ exchange.rs ─┬─ discovery      whose keys are these?
//!                                                        ├─ subject        is the token genuine, and what does it say?
//!                                                        ├─ trust          does the project trust what it says, and why?
//!                                                        ├─ project_token  mint
//!                                                        └─ ledger         spent and on record, on disk, before it is answered
//! ```
//!
//! Below those stand [`clock`] and [`issuer`]; [`audit`] is the record of a decision, and [`directory`] knows which
//! projects there are. [`store`] alone knows a database, and [`http`] alone knows HTTP servers. [`config`] reads the
//! configuration, and [`cli`] puts everything together. [`client`] is the other end of an exchange, and [`fake_ci`]
//! stands in for the CI systems. `digest`, `excerpt` and `text` are tools that every room may use. Who may import whom
//! stands in `tests/architecture.rs`, as a test.

pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod digest;
pub mod directory;
pub mod discovery;
mod excerpt;
pub mod exchange;
pub mod fake_ci;
pub mod http;
pub mod issuer;
pub mod ledger;
pub mod project_token;
pub mod store;
pub mod subject;
mod text;
pub mod trust;
