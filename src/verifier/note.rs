//! Signed notes, verifier keys, checkpoints and cosignatures, as C2SP signed-note, tlog-checkpoint and tlog-cosignature
//! define them.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tree::Hash;
use crate::digest::{hex, sha256};

/// How long a note may be: 16 signatures of the longest kind fit many times.
const LONGEST: usize = 1 << 20;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes: a log's own key (signature type 0x01).
    Note,
    /// Timestamped cosignatures of checkpoints: a witness's key (signature type 0x04).
    Cosignature,
}

/// A public Ed25519 key with its name: `<name>+<id>+<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    kind: KeyKind,
    public: [u8; 32],
}

/// A text that is no verifier key we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has not the three parts.
    #[error("a verifier key is `<name>+<8 hexadecimal digits>+<base64>`")]
    Form,
    /// It is of another kind of signature.
    #[error("its signature type is 0x{0:02x}; 0x01 and 0x04 (Ed25519) can be checked")]
    Type(u8),
    /// The id in it belongs to another name or key.
    #[error("its id is not that of its name and key: somebody changed one of them")]
    Id,
}

impl VerifierKey {
    /// Reads the text form, with or without space around it.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey::Form);
        };
        let key = STANDARD.decode(key).map_err(|_| InvalidKey::Form)?;
        let (Some((kind, public)), true) = (key.split_first(), is_name(name)) else {
            return Err(InvalidKey::Form);
        };
        let kind = match kind {
            1 => KeyKind::Note,
            4 => KeyKind::Cosignature,
            other => return Err(InvalidKey::Type(*other)),
        };
        let public = public.try_into().map_err(|_| InvalidKey::Form)?;
        let key = Self {
            id: key_id(name, &key),
            name: name.to_owned(),
            kind,
            public,
        };
        if id.len() != 8 || !id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidKey::Form);
        }
        if hex(&key.id) != id {
            return Err(InvalidKey::Id);
        }
        Ok(key)
    }

    /// The name, which a log's checkpoints have as their origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            KeyKind::Note => 1,
            KeyKind::Cosignature => 4,
        };
        let key: Vec<u8> = std::iter::once(kind).chain(self.public).collect();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex(&self.id),
            STANDARD.encode(key)
        )
    }
}

fn key_id(name: &str, key: &[u8]) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), b"\n", key].concat());
    digest.first_chunk().copied().unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// What is wrong with a note or with what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// It is no signed note.
    #[error("it is no signed note: {0}")]
    Form(&'static str),
    /// Its text is no checkpoint.
    #[error("its text is no checkpoint: {0}")]
    Checkpoint(&'static str),
    /// It is of another log.
    #[error("its origin is `{found}`, the key is that of `{expected}`")]
    Origin {
        /// The key's name.
        expected: String,
        /// The first line.
        found: String,
    },
    /// The key has not signed it.
    #[error("it has no signature of the key `{0}`")]
    Unsigned(String),
    /// The signature is wrong.
    #[error(
        "the signature of the key `{0}` does not verify: the text or the signature was changed"
    )]
    Signature(String),
}

/// A signed note, of which nothing was verified.
#[derive(Debug, Clone)]
pub struct Note {
    text: String,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Note {
    /// Reads a note.
    pub fn parse(octets: &[u8]) -> Result<Self, NoteFault> {
        use NoteFault::Form;
        if octets.len() > LONGEST {
            return Err(Form("it is longer than 1 MiB"));
        }
        let note = std::str::from_utf8(octets).map_err(|_| Form("it is not UTF-8"))?;
        if note.bytes().any(|c| c < 0x20 && c != b'\n') {
            return Err(Form("it has control characters"));
        }
        let (text, lines) = note
            .rsplit_once("\n\n")
            .ok_or(Form("no empty line stands before the signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(Form("the last line does not end"))?;
        let signature = |line: &str| {
            let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
            let signature = STANDARD.decode(signature).ok()?;
            (is_name(name) && signature.len() > 4).then(|| (name.to_owned(), signature))
        };
        let signatures: Option<Vec<_>> = lines.split('\n').map(signature).collect();
        Ok(Self {
            text: format!("{text}\n"),
            signatures: signatures.ok_or(Form("a signature line is none"))?,
        })
    }

    /// Whether `key` signed it. Every signature under its name and id must verify.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteFault> {
        self.verify_with(key, |signature| {
            key.verifies(self.text.as_bytes(), signature).then_some(())
        })
    }

    /// When `witness` cosigned it, in seconds since the epoch.
    pub fn verify_cosignature(&self, witness: &VerifierKey) -> Result<u64, NoteFault> {
        self.verify_with(witness, |signature| {
            let (time, signature) = signature.split_first_chunk()?;
            let time = u64::from_be_bytes(*time);
            let message = format!("cosignature/v1\ntime {time}\n{}", self.text);
            let holds = witness.verifies(message.as_bytes(), signature);
            (holds && i64::try_from(time).is_ok()).then_some(time)
        })
    }

    fn verify_with<T>(
        &self,
        key: &VerifierKey,
        check: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, NoteFault> {
        let mut verified = Err(NoteFault::Unsigned(key.name.clone()));
        for (name, signature) in &self.signatures {
            if let (true, Some(signature)) = (*name == key.name, signature.strip_prefix(&key.id)) {
                let checked = check(signature);
                verified = Ok(checked.ok_or_else(|| NoteFault::Signature(key.name.clone()))?);
            }
        }
        verified
    }
}

/// What a log says of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a note.
    pub fn read(note: &Note) -> Result<Self, NoteFault> {
        use NoteFault::Checkpoint as Wrong;
        let mut lines = note.text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(Wrong("it has fewer than three lines"));
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(Wrong("a line is empty"));
        }
        let number: u64 = size.parse().map_err(|_| Wrong("the size is no number"))?;
        if number.to_string() != size || i64::try_from(number).is_err() {
            return Err(Wrong("the size is no number"));
        }
        let root = STANDARD.decode(root).unwrap_or_default();
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root: root
                .try_into()
                .map_err(|_| Wrong("the root is no base64 of 32 octets"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\
        — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies() {
        let key = VerifierKey::parse(VKEY).unwrap();
        assert_eq!(key.to_string(), VKEY);
        assert_eq!(Note::parse(NOTE.as_bytes()).unwrap().verify(&key), Ok(()));
    }

    #[test]
    fn a_note_that_was_changed_does_not() {
        let key = VerifierKey::parse(VKEY).unwrap();
        let changed = NOTE.replace("example message", "example massage");
        let fault = Note::parse(changed.as_bytes()).unwrap().verify(&key);
        assert_eq!(fault, Err(NoteFault::Signature("example.com/foo".into())));
        let other = NOTE.replace("— example.com/foo", "— example.com/fop");
        let fault = Note::parse(other.as_bytes()).unwrap().verify(&key);
        assert_eq!(fault, Err(NoteFault::Unsigned("example.com/foo".into())));
    }

    #[test]
    fn a_key_whose_parts_do_not_belong_together_is_none() {
        for (changed, expected) in [
            (VKEY.replace("530d903a", "530d903b"), InvalidKey::Id),
            (VKEY.replace("foo", "fop"), InvalidKey::Id),
            (VKEY.replace("530d903a", "530D903A"), InvalidKey::Form),
            (VKEY.replace("+A", "+B"), InvalidKey::Type(5)),
            ("example.com/foo".to_owned(), InvalidKey::Form),
        ] {
            assert_eq!(VerifierKey::parse(&changed), Err(expected), "{changed}");
        }
    }

    #[test]
    fn what_is_no_note_is_said_to_be_none() {
        for octets in [
            NOTE.replace("\n\n", "\n"),
            NOTE.replace('—', "-"),
            NOTE.replace("=\n", "=\r\n"),
            NOTE.replace("=\n", "="),
            NOTE.replace("aQM=", "aQN="),
            String::new(),
        ] {
            assert!(matches!(
                Note::parse(octets.as_bytes()),
                Err(NoteFault::Form(_))
            ));
        }
    }

    #[test]
    fn a_size_is_written_in_one_way() {
        let root = STANDARD.encode([7; 32]);
        let read = |text: String| {
            Checkpoint::read(&Note {
                text,
                signatures: Vec::new(),
            })
        };
        assert_eq!(read(format!("log\n12\n{root}\n")).unwrap().size, 12);
        assert_eq!(read(format!("log\n12\n{root}\nmore\n")).unwrap().size, 12);
        for wrong in ["012", "+12", "-1", "", "18446744073709551615"] {
            assert!(read(format!("log\n{wrong}\n{root}\n")).is_err(), "{wrong}");
        }
        assert!(read(format!("\n12\n{root}\n")).is_err());
        assert!(read(format!("log\n12\n{}\n", STANDARD.encode([7; 31]))).is_err());
    }
}
