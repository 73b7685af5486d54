//! OAuth 2.0: the token endpoint and what describes it.

mod metadata;
mod token;

pub(super) use metadata::{discovery, keys, metadata};
pub(super) use token::token;
