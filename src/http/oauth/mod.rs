//! OAuth 2.0: the token endpoint and what describes it.

mod form;
mod metadata;
mod token;

pub use form::read_form;
pub(super) use metadata::{discovery, keys, metadata};
pub(super) use token::token;
