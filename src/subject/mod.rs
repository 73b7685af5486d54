//! The subject token: from text that nobody believes to claims that were verified, the one way.
//!
//! [`SubjectToken::read`] looks at the form, [`SubjectToken::check_signature`] makes [`SignedClaims`] of it, and
//! [`SignedClaims::accept`] makes [`VerifiedClaims`], which nothing else can make. A step that was left out does not
//! compile.

mod claims;
mod fault;
mod json;
mod token;
mod verify;

pub use claims::{SpentKey, VerifiedClaims, at_path};
pub use fault::InvalidToken;
pub use json::parse_strictly;
pub use token::{LONGEST_TOKEN, SubjectToken};
pub use verify::{LEEWAY, LONGEST_LIFETIME, Refused, SignedClaims, faults_of};
