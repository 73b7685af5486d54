//! The stores: they keep the promises of `ledger`, `discovery`, `project_token` and `directory`, and are the only files
//! that know a database.

mod embedded;

#[doc(hidden)]
pub use self::embedded::Step;
pub use self::embedded::{EmbeddedStore, OpenError, Options};
