//! Any text as a subject token: it is read or refused, and never anything else.
#![no_main]

use countersign::subject::SubjectToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = SubjectToken::read(text.to_owned()) {
        let _ = token.unverified_issuer();
        let _ = token.algorithm();
        let _ = token.key_id();
    }
});
