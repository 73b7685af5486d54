//! The store on a PostgreSQL server, for several instances at once.
//!
//! Exchanges are committed in batches: one statement, one round trip and one transaction for all that wait at a moment
//! (`countersign.commit_batch` in `migrations`). What it decides, it decides in the database, where all instances meet:
//! whether a token was used, which ids belong to names, and which number an entry of the log has. What entries are found
//! by, and the hashes of whole subtrees, are packed behind, by whichever instance comes first: both follow from the entries
//! alone.

mod copy;
mod migrate;
mod settings;

pub(super) use copy::{Original, Unfinished};
pub use migrate::PostgresError;
pub use settings::{InvalidSettings, PostgresSettings};
