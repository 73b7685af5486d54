//! Every rule about a key of `[audit]`.

use std::collections::HashSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use url::Url;
use zeroize::Zeroizing;

use super::check::{Problems, span_between};
use super::raw::{RawAudit, RawWitness};
use crate::clock::Seconds;
use crate::digest::sha256;
use crate::issuer::{is_loopback, is_secure};
use crate::notary::{SignatureType, VerifierKey};

/// How many denials of unproven callers are recorded per issuer and tenant in an hour.
const RECORDED_DENIALS: u32 = 60;

const DAY: Seconds = Seconds(24 * 60 * 60);

/// How long withheld values are kept.
const PERSONAL_VALUES: Seconds = Seconds(365 * DAY.0);

/// Fifty years: longer is for ever.
const LONGEST_PERSONAL_VALUES: Seconds = Seconds(50 * 365 * DAY.0);

/// What an audit token has at least, in characters: 160 bits of base32 or base64.
const SHORTEST_TOKEN: usize = 32;

/// The same of a token that consists of hexadecimal digits.
const SHORTEST_IN_HEX: usize = 40;

/// What an audit token has at most, in octets: a request with a longer one is not read.
const LONGEST_TOKEN: u64 = 4096;

/// How the log is kept and shown.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// Who may read tiles and entry bundles.
    pub tiles: Tiles,
    /// What an auditor shows to read. None, one, or two while one takes the place of the other.
    pub tokens: Vec<TokenSource>,
    /// A file outside the data folder that holds a copy of the last checkpoint.
    pub checkpoint_copy: Option<PathBuf>,
    /// How long withheld values are kept; `None` is for ever.
    pub personal_values: Option<Seconds>,
    /// Who is asked to cosign checkpoints.
    pub witnesses: Vec<Witness>,
    /// How many denials of callers who proved no identity are recorded, per issuer and tenant in an hour.
    pub recorded_denials_per_hour: u32,
}

/// Who may read tiles and entry bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiles {
    /// Everybody.
    Public,
    /// Who has the audit token.
    Auditors,
}

/// Where the digest of an audit token is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that holds the token.
    File(PathBuf),
    /// The configuration.
    Sha256(TokenDigest),
}

/// SHA-256 of an audit token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// An audit token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuditToken {
    /// Its file cannot be read.
    #[error("the file of the audit token `{file}` cannot be read: {fault}", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        fault: std::io::Error,
    },
    /// It would not keep anybody out, or could not be sent.
    #[error(
        "the audit token in `{file}` {what}: make one with `openssl rand -hex 32`",
        file = .file.display()
    )]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl TokenSource {
    /// The digest, read from the file if that is where it is from.
    pub fn digest(&self) -> Result<TokenDigest, InvalidAuditToken> {
        match self {
            Self::Sha256(digest) => Ok(*digest),
            Self::File(file) => {
                let content = read(file).map_err(|fault| InvalidAuditToken::Unreadable {
                    file: file.clone(),
                    fault,
                })?;
                let fitting = fitting(&content).map_err(|what| InvalidAuditToken::Unfit {
                    file: file.clone(),
                    what,
                })?;
                Ok(TokenDigest(sha256(fitting)))
            }
        }
    }
}

/// What the file holds, and one octet more than it should at most.
fn read(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::with_capacity(1024));
    let file = std::fs::File::open(file)?;
    file.take(LONGEST_TOKEN + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// The token in a file: what is left without white space at its end.
fn fitting(content: &[u8]) -> Result<&[u8], String> {
    let token = content.trim_ascii_end();
    if content.len() as u64 > LONGEST_TOKEN {
        return Err(format!("has more than {LONGEST_TOKEN} characters"));
    }
    if token.is_empty() {
        return Err("is empty".to_owned());
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("holds characters that no header can carry".to_owned());
    }
    let is_hex = token.iter().all(u8::is_ascii_hexdigit);
    let shortest = if is_hex {
        SHORTEST_IN_HEX
    } else {
        SHORTEST_TOKEN
    };
    if token.len() < shortest {
        let found = token.len();
        return Err(format!(
            "has {found} characters, and at least {shortest} random ones are needed"
        ));
    }
    Ok(token)
}

/// Somebody who cosigns checkpoints that grow as they should (C2SP tlog-witness).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its key, of the type for cosignatures.
    pub key: VerifierKey,
    /// Where it is asked: its submission prefix.
    pub url: Url,
}

/// What the rules of `[audit]` need to know of the rest.
pub(super) struct Around<'a> {
    /// Where relative paths begin.
    pub folder: &'a Path,
    /// The folder of the store, if it has one.
    pub data: Option<&'a Path>,
    /// Our issuer name.
    pub public_url: &'a str,
    /// Whether `http` is good enough on loopback addresses.
    pub loopback_http: bool,
}

/// Applies every rule of `[audit]`.
pub(super) fn audit(raw: &RawAudit, around: &Around, problems: &mut Problems) -> AuditSettings {
    AuditSettings {
        tiles: tiles(raw.tiles.as_ref(), around, problems),
        tokens: tokens(raw, around, problems),
        checkpoint_copy: raw
            .checkpoint_copy
            .as_ref()
            .map(|raw| checkpoint_copy(raw, around, problems)),
        personal_values: personal_values(raw.personal_values.as_ref(), problems),
        witnesses: witnesses(&raw.witness, around, problems),
        recorded_denials_per_hour: raw.recorded_denials_per_hour.unwrap_or(RECORDED_DENIALS),
    }
}

fn tiles(raw: Option<&Spanned<String>>, around: &Around, problems: &mut Problems) -> Tiles {
    let Some(raw) = raw else {
        let on_loopback = Url::parse(around.public_url).is_ok_and(|url| is_loopback(&url));
        return if on_loopback {
            Tiles::Public
        } else {
            Tiles::Auditors
        };
    };
    match raw.get_ref().as_str() {
        "public" => Tiles::Public,
        "auditors" => Tiles::Auditors,
        other => {
            problems.add(
                raw.span(),
                format!("`tiles` cannot be `{other}`"),
                "write `public` or `auditors`",
            );
            Tiles::Auditors
        }
    }
}

fn tokens(raw: &RawAudit, around: &Around, problems: &mut Problems) -> Vec<TokenSource> {
    let file = raw.token_file.as_ref().map(|file| {
        if file.get_ref().is_empty() {
            let mend = "write the path of a file, or leave the key out";
            problems.add(file.span(), "`token-file` is empty".to_owned(), mend);
        }
        TokenSource::File(around.folder.join(file.get_ref()))
    });
    let digest = raw.token_sha256.as_ref().and_then(|raw| {
        let digest = from_hex(raw.get_ref());
        if digest.is_none() {
            // Without its place: what stands there may be the token itself.
            problems.missing(
                "`audit.token-sha256` is not 64 hexadecimal digits",
                "write what `printf %s \"$TOKEN\" | sha256sum` prints, not the token",
            );
        }
        digest.map(|digest| TokenSource::Sha256(TokenDigest(digest)))
    });
    file.into_iter().chain(digest).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |octet: u8| u8::try_from(char::from(octet).to_digit(16)?).ok();
    let octets = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    let octets = octets.collect::<Option<Vec<u8>>>()?;
    octets.try_into().ok().filter(|_| rest.is_empty())
}

fn checkpoint_copy(raw: &Spanned<String>, around: &Around, problems: &mut Problems) -> PathBuf {
    let path = around.folder.join(raw.get_ref());
    let mend = "write the path of a file on another disk, or in a folder that is backed up apart";
    if raw.get_ref().is_empty() || path.file_name().is_none() || path.is_dir() {
        let message = "`checkpoint-copy` is not the path of a file".to_owned();
        problems.add(raw.span(), message, mend);
    } else if around
        .data
        .is_some_and(|data| resolved(&path).starts_with(resolved(data)))
    {
        problems.add(
            raw.span(),
            "`checkpoint-copy` is in the data folder, and would be rolled back with it".to_owned(),
            mend,
        );
    }
    path
}

/// The path without links and detours, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parts: Vec<Component> = absolute.components().collect();
    for there in (0..=parts.len()).rev() {
        let (begin, rest) = parts.split_at(there);
        let Ok(mut found) = begin.iter().collect::<PathBuf>().canonicalize() else {
            continue;
        };
        for part in rest {
            match part {
                Component::ParentDir => {
                    found.pop();
                }
                part => found.push(part),
            }
        }
        return found;
    }
    absolute
}

fn personal_values(raw: Option<&Spanned<String>>, problems: &mut Problems) -> Option<Seconds> {
    let Some(raw) = raw else {
        return Some(PERSONAL_VALUES);
    };
    if raw.get_ref() == "forever" {
        return None;
    }
    let span = DAY..=LONGEST_PERSONAL_VALUES;
    Some(span_between(raw, "personal-values", span, problems))
}

/// A verifier key for cosignatures (C2SP tlog-cosignature, "Format").
fn key_of_witness(text: &str) -> Result<VerifierKey, String> {
    let key = VerifierKey::parse(text).map_err(|fault| format!("cannot be read: {fault}"))?;
    match key.kind() {
        SignatureType::Cosignature => Ok(key),
        SignatureType::Ed25519 => {
            Err("is the key of a log or a note (type 1), not of a witness (type 4)".to_owned())
        }
    }
}

fn witnesses(
    raw: &[Spanned<RawWitness>],
    around: &Around,
    problems: &mut Problems,
) -> Vec<Witness> {
    let mut names = HashSet::new();
    let mut witnesses = Vec::new();
    for RawWitness { key, url } in raw.iter().map(Spanned::get_ref) {
        let address = prefix_of_witness(url, around.loopback_http, problems);
        match key_of_witness(key.get_ref()) {
            Err(fault) => problems.add(
                key.span(),
                format!("`key` of a witness {fault}"),
                "copy the verifier key that its operator publishes: `<name>+<key id>+<key>`",
            ),
            Ok(read) if !names.insert(read.to_string()) => problems.add(
                key.span(),
                format!("the witness `{}` stands twice", read.name()),
                "remove one of them",
            ),
            Ok(key) => witnesses.extend(address.map(|url| Witness { key, url })),
        }
    }
    witnesses
}

/// Where a witness is asked.
fn prefix_of_witness(
    raw: &Spanned<String>,
    loopback_http: bool,
    problems: &mut Problems,
) -> Option<Url> {
    let text = raw.get_ref();
    let is_bare =
        |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let address = Url::parse(text).ok().filter(is_bare);
    let address = address.filter(|_| is_secure(text, loopback_http));
    if address.is_none() {
        problems.add(
            raw.span(),
            format!("`url` of a witness is not an `https://` address: `{text}`"),
            "write what its operator calls the submission prefix, without a query",
        );
    }
    address
}

#[cfg(test)]
mod tests;
