//! The stores: they keep the promises of `ledger`, `discovery`, `project_token` and `directory`, and are the only files
//! that know a database.

mod sled;

#[doc(hidden)]
pub use self::sled::Step;
pub use self::sled::{EmbeddedStore, OpenError, Options};
