//! Exchanges the identity tokens of CI jobs for short-lived project tokens (RFC 8693).
//!
//! # The story, in one reading
//!
//! A CI job sends the identity token that its CI system signed (the *subject token*) and names a *project*. We check the
//! token, ask the project's *trust relationships*, and answer with a short-lived *project token*. The whole service is
//! that one sentence, and [`exchange`] says it:
//!
//! ```text
//! POST /oauth/token ─ http/oauth/token.rs ─ exchange.rs ─┬─ directory/      which project is meant, and what is its policy?
//!                                                        ├─ discovery/      whose keys are these?
//!                                                        ├─ subject/        is the token genuine, and what does it say?
//!                                                        ├─ trust/          does the project trust what it says, and why?
//!                                                        ├─ ledger          spent and on record, on disk, before it is answered
//!                                                        └─ project_token/  prepared before the record, signed after it
//! ```
//!
//! Who reads `http/oauth/token.rs`, then `exchange.rs`, then the workers in that order, has read the program. What a caller
//! holds changes its type at each step, and each type has one maker: [`subject::SubjectToken`] (read, and believed by
//! nobody), [`subject::SignedClaims`], [`subject::VerifiedClaims`], [`trust::Grant`], [`project_token::UnsignedToken`],
//! [`project_token::ProjectToken`].
//!
//! # The map of rooms
//!
//! A room imports only rooms above it in this table; `tests/architecture.rs` says exactly which.
//!
//! | room | what lives there |
//! |---|---|
//! | [`clock`] | the one source of time |
//! | [`metrics`] | what is counted, and how it is told to who watches |
//! | [`telemetry`] | the steps of exchanges as traces, sent to a collector |
//! | [`issuer`] | issuers: their addresses and public keys as data, and profiles, what we know of each CI system |
//! | [`subject`] | the subject token, from text to claims that were verified |
//! | [`trust`] | the policy language: read a file, decide and say why, warn of what is too wide |
//! | [`audit`] | the log: records of decisions and of what else changed who is let in, their form, and the tree over them |
//! | [`ledger`] | the promise: a subject token spent and a decision recorded, in one durable commit |
//! | [`notary`] | signs checkpoints of the log, and never two that contradict each other |
//! | [`discovery`] | the only room that asks issuers for their keys |
//! | [`project_token`] | a grant becomes a signed token; our signing keys, how they are kept and renewed |
//! | [`directory`] | projects: the folder of policy files, followed, and the ids of projects |
//! | [`reading`] | what a reviewer asks of the log: entries by filter, exports, who, use, alarms, which policy |
//! | [`exchange`] | the story: verify, decide, spend and record, answer |
//! | [`store`] | the embedded store, which keeps the promises of the rooms above; the only one that knows a database |
//! | [`fake_ci`] | an issuer on loopback that stands in for the CI systems, for tests and trials |
//! | [`http`] | the only room that knows actix-web: what the outside sees |
//! | [`verifier`] | checks the audit log without trusting who wrote it |
//! | [`client`] | what asks a service from outside: for an exchange, or beside it for administration |
//! | [`config`] | `countersign.toml` and the environment, read once into checked types |
//! | [`cli`] | the command line, one file a verb; it puts the parts together |
//!
//! [`clock`], [`issuer`], [`subject`] and [`trust`] only think: nothing in them waits, reads a disk or asks anybody.
//! `digest`, `excerpt`, `seal` and `text` are tools that every room may use.

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
pub mod metrics;
pub mod notary;
pub mod project_token;
pub mod reading;
mod seal;
pub mod store;
pub mod subject;
pub mod telemetry;
mod text;
pub mod trust;
pub mod verifier;
