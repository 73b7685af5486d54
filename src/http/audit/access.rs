//! Who may read what of the log.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use url::Url;

use super::fault::{AuditError, TokenFault};
use crate::digest::sha256;
use crate::issuer::is_loopback;

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Part {
    /// Checkpoints, proofs, the key: hashes and signatures, which say nothing about anybody.
    Hashes,
    /// Tiles and entry bundles: every leaf, without the values that are withheld from it.
    Leaves,
    /// Entries with their withheld values.
    Entries,
}

/// Who may read the log.
#[derive(Debug, Clone)]
pub struct AuditAccess {
    /// Whether tiles and entry bundles are for everybody.
    tiles_are_public: bool,
    /// SHA-256 of each token that is good.
    tokens: Vec<[u8; 32]>,
    /// Whether only who is on this machine reaches the service.
    is_on_loopback: bool,
}

impl AuditAccess {
    /// Access for who shows a token with one of the digests `tokens` (SHA-256). Without any, a service whose `public_url`
    /// is a loopback address shows everybody everything, and any other one nobody.
    pub fn new(public_url: &str, tiles_are_public: bool, tokens: Vec<[u8; 32]>) -> Self {
        Self {
            tiles_are_public,
            tokens,
            is_on_loopback: Url::parse(public_url).is_ok_and(|url| is_loopback(&url)),
        }
    }

    /// Whether tiles and entry bundles are for everybody, and so for every cache.
    pub(super) fn tiles_are_public(&self) -> bool {
        self.tiles_are_public
    }

    /// Whether `request` may have `part`.
    pub(in crate::http) fn check(
        &self,
        request: &HttpRequest,
        part: Part,
    ) -> Result<(), AuditError> {
        let shown = shown(request.headers());
        self.may_read(part, shown)
            .map_err(AuditError::TokenRequired)
    }

    /// The whole rule: who shows the token `shown` may read `part`, or why not.
    fn may_read(&self, part: Part, shown: Option<&[u8]>) -> Result<(), TokenFault> {
        let is_for_everybody = match part {
            Part::Hashes => true,
            Part::Leaves => self.tiles_are_public,
            Part::Entries => false,
        };
        match (shown, self.tokens.is_empty()) {
            _ if is_for_everybody => Ok(()),
            (_, true) if self.is_on_loopback => Ok(()),
            (_, true) => Err(TokenFault::NoneConfigured),
            (None, false) => Err(TokenFault::NoneShown),
            (Some(shown), false) if self.is_good(shown) => Ok(()),
            (Some(_), false) => Err(TokenFault::Wrong),
        }
    }

    /// Whether `token` is one of ours. How long this takes says nothing about how near a wrong one comes.
    fn is_good(&self, token: &[u8]) -> bool {
        let digest = sha256(token);
        let is_same = |good: &[u8; 32]| verify_slices_are_equal(good, &digest).is_ok();
        self.tokens.iter().filter(|good| is_same(good)).count() > 0
    }
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1). Two are none.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(AUTHORIZATION);
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let (scheme, token) = line.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn who_may_read_what() {
        use Part::{Entries, Hashes, Leaves};
        use TokenFault::{NoneConfigured, NoneShown, Wrong};

        const GOOD: Option<&[u8]> = Some(b"right");
        const WRONG: Option<&[u8]> = Some(b"wrong");
        let token = || vec![sha256(b"right")];
        let (near, far) = ("http://127.0.0.1:8080", "https://sts.example.com");
        let (open, closed) = (true, false);
        let refused = |why| Err(why);
        for (public_url, tiles, tokens, part, shown, expected) in [
            // Hashes are for everybody.
            (far, closed, vec![], Hashes, None, Ok(())),
            (far, closed, token(), Hashes, WRONG, Ok(())),
            // Leaves, where the operator says so.
            (far, open, vec![], Leaves, None, Ok(())),
            (far, open, token(), Leaves, WRONG, Ok(())),
            (far, closed, vec![], Leaves, None, refused(NoneConfigured)),
            (far, closed, vec![], Leaves, GOOD, refused(NoneConfigured)),
            (far, closed, token(), Leaves, None, refused(NoneShown)),
            (far, closed, token(), Leaves, WRONG, refused(Wrong)),
            (far, closed, token(), Leaves, GOOD, Ok(())),
            // Entries are for nobody else, whoever may read tiles.
            (far, open, vec![], Entries, None, refused(NoneConfigured)),
            (far, open, vec![], Entries, GOOD, refused(NoneConfigured)),
            (far, open, token(), Entries, None, refused(NoneShown)),
            (far, open, token(), Entries, WRONG, refused(Wrong)),
            (far, open, token(), Entries, GOOD, Ok(())),
            // On this machine nobody needs a token, unless there is one.
            (near, closed, vec![], Entries, None, Ok(())),
            (near, closed, vec![], Leaves, WRONG, Ok(())),
            (near, open, token(), Entries, None, refused(NoneShown)),
            (near, open, token(), Entries, GOOD, Ok(())),
            (near, closed, token(), Leaves, WRONG, refused(Wrong)),
        ] {
            let access = AuditAccess::new(public_url, tiles, tokens);
            let said = format!("{access:?} {part:?} {shown:?}");
            assert_eq!(access.may_read(part, shown), expected, "{said}");
        }
    }

    #[test]
    fn either_of_two_tokens_is_good_and_nothing_else() {
        let tokens = vec![sha256(b"old"), sha256(b"new")];
        let access = AuditAccess::new("https://sts.example.com", false, tokens);
        assert!(access.is_good(b"old") && access.is_good(b"new"));
        for wrong in ["", "ol", "oldnew", "old "] {
            assert!(!access.is_good(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_read_from_one_bearer_header_and_from_nowhere_else() {
        let shown_in = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
            }
            shown(&headers).map(|token| String::from_utf8(token.to_vec()).unwrap())
        };
        assert_eq!(shown_in(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(shown_in(&["bEARER  abc "]).as_deref(), Some("abc"));
        for lines in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Basic abc"],
            &["abc"],
            &["Bearerabc"],
            &["Bearer abc", "Bearer abc"],
        ] {
            assert_eq!(shown_in(lines), None, "{lines:?}");
        }
    }
}
