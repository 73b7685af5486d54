//! Signed notes (C2SP signed-note) and the checkpoints in them (C2SP tlog-checkpoint).

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::tree::Hash;
use crate::digest::{hex, sha256_of};

/// What stands before the name in a signature line.
const DASH: &str = "\u{2014} ";

/// The longest note that is read, in octets: room for a log's key and many witnesses.
const LONGEST_NOTE: usize = 64 * 1024;

/// What a signature is made of (C2SP signed-note, "Signature types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureType {
    /// Ed25519 over the text of the note.
    Ed25519,
    /// A witness's Ed25519 over the text and the time (C2SP tlog-cosignature).
    Cosignature,
}

impl SignatureType {
    fn octet(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn of(octet: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature]
            .into_iter()
            .find(|kind| kind.octet() == octet)
    }
}

/// A public key with its name: a vkey.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: SignatureType,
    public: [u8; 32],
}

/// A text that is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a verifier key is `<name>+<key id>+<key>` as in C2SP signed-note, with an Ed25519 key whose id fits name and key"
)]
pub struct InvalidVerifierKey;

impl VerifierKey {
    /// The key `public`, under a name without spaces and `+`.
    pub fn new(
        name: &str,
        kind: SignatureType,
        public: [u8; 32],
    ) -> Result<Self, InvalidVerifierKey> {
        let is_fit = |character: char| !character.is_whitespace() && character != '+';
        if name.is_empty() || !name.chars().all(is_fit) || name.chars().any(char::is_control) {
            return Err(InvalidVerifierKey);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            public,
        })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidVerifierKey> {
        let parts = text.splitn(3, '+').collect::<Vec<_>>();
        let [name, id, key] = parts.as_slice() else {
            return Err(InvalidVerifierKey);
        };
        let key = STANDARD.decode(key).map_err(|_| InvalidVerifierKey)?;
        let (kind, public) = key.split_first().ok_or(InvalidVerifierKey)?;
        let kind = SignatureType::of(*kind).ok_or(InvalidVerifierKey)?;
        let public = public.try_into().map_err(|_| InvalidVerifierKey)?;
        let key = Self::new(name, kind, public)?;
        if hex(&key.id()) == *id {
            Ok(key)
        } else {
            Err(InvalidVerifierKey)
        }
    }

    /// The same key under another name.
    pub fn renamed(&self, name: &str) -> Result<Self, InvalidVerifierKey> {
        Self::new(name, self.kind, self.public)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The four octets by which its signatures are found.
    pub fn id(&self) -> [u8; 4] {
        let kind = [self.kind.octet()];
        let digest = sha256_of(&[self.name.as_bytes(), b"\n", &kind, &self.public]);
        digest.first_chunk().copied().unwrap_or_default()
    }

    /// Whether one of the signatures of `note` is by this key, and genuine.
    pub fn has_signed(&self, note: &Note) -> bool {
        let of_mine = |line: &&SignatureLine| line.name == self.name && line.id == self.id();
        let mut signatures = note.signatures.iter().filter(of_mine).peekable();
        // One that is not genuine spoils the note, whatever else there is.
        signatures.peek().is_some() && signatures.all(|line| self.verifies(&note.text, line))
    }

    /// Whether `line` is a signature of `text` by this key.
    pub fn verifies(&self, text: &str, line: &SignatureLine) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        match self.kind {
            SignatureType::Ed25519 => key.verify(text.as_bytes(), &line.signature).is_ok(),
            SignatureType::Cosignature => {
                let Some((time, signature)) = line.signature.split_first_chunk::<8>() else {
                    return false;
                };
                let time = u64::from_be_bytes(*time);
                let signed = format!("cosignature/v1\ntime {time}\n{text}");
                time != 0 && key.verify(signed.as_bytes(), signature).is_ok()
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.octet()][..], &self.public].concat();
        let (name, id) = (&self.name, hex(&self.id()));
        write!(f, "{name}+{id}+{}", STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// One signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name of the key.
    pub name: String,
    /// Its id.
    pub id: [u8; 4],
    /// What it made, without the id.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
        let octets = STANDARD.decode(signature).ok()?;
        let (id, signature) = octets.split_first_chunk::<4>()?;
        Some(Self {
            name: name.to_owned(),
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = [&self.id[..], &self.signature].concat();
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode(octets))
    }
}

/// A text with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is signed; ends with a newline.
    pub text: String,
    /// By whom.
    pub signatures: Vec<SignatureLine>,
}

/// A text that is no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a signed note as in C2SP signed-note")]
pub struct InvalidNote;

impl Note {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidNote> {
        let odd = |character: char| character < ' ' && character != '\n';
        if text.len() > LONGEST_NOTE || text.contains(odd) {
            return Err(InvalidNote);
        }
        let (signed, lines) = text.rsplit_once("\n\n").ok_or(InvalidNote)?;
        let signatures = read_signatures(lines).ok_or(InvalidNote)?;
        Ok(Self {
            text: format!("{signed}\n"),
            signatures,
        })
    }
}

/// Reads signature lines, at least one, each with its newline.
pub fn read_signatures(lines: &str) -> Option<Vec<SignatureLine>> {
    let lines = lines.strip_suffix('\n')?;
    lines.split('\n').map(SignatureLine::parse).collect()
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|line| write!(f, "{line}"))
    }
}

/// What a log says of itself: how many entries it has, and the root of their tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a note. Lines after the third are not looked at.
    pub fn parse(text: &str) -> Result<Self, InvalidNote> {
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty());
        let size = lines.next().ok_or(InvalidNote)?;
        let read: u64 = size.parse().map_err(|_| InvalidNote)?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        let root = root.and_then(|root| root.try_into().ok());
        if read.to_string() != size {
            return Err(InvalidNote);
        }
        Ok(Self {
            origin: origin.ok_or(InvalidNote)?.to_owned(),
            size: read,
            root: root.ok_or(InvalidNote)?,
        })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root);
        writeln!(f, "{}\n{}\n{root}", self.origin, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP signed-note, section "Example".
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies_and_is_written_as_it_was_read() {
        let key = VerifierKey::parse(KEY).unwrap();
        let note = Note::parse(NOTE).unwrap();
        assert!(key.has_signed(&note));
        assert_eq!(
            (key.to_string(), note.to_string()),
            (KEY.into(), NOTE.into())
        );
    }

    #[test]
    fn a_changed_note_is_not_signed_by_the_key() {
        let key = VerifierKey::parse(KEY).unwrap();
        let changed = Note::parse(&NOTE.replace("example message", "other message")).unwrap();
        assert!(!key.has_signed(&changed));
        let mut unsigned = Note::parse(NOTE).unwrap();
        unsigned.signatures.clear();
        assert!(!key.has_signed(&unsigned), "no signature");
        let mut renamed = Note::parse(NOTE).unwrap();
        renamed.signatures[0].name = "example.com/bar".into();
        assert!(!key.has_signed(&renamed), "another name");
        let mut twice = Note::parse(NOTE).unwrap();
        let mut wrong = twice.signatures[0].clone();
        wrong.signature[7] ^= 1;
        twice.signatures.push(wrong);
        assert!(
            !key.has_signed(&twice),
            "a wrong signature beside the right one"
        );
    }

    #[test]
    fn a_key_whose_id_does_not_fit_is_refused() {
        for text in [
            "",
            "example.com/foo",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert_eq!(VerifierKey::parse(text), Err(InvalidVerifierKey), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_notes_are_refused() {
        for text in [
            "",
            "text\n",
            "text\n\n",
            "text\n\nno signature\n",
            "text\n\n\u{2014} name notbase64!\n",
            "text\r\n\n\u{2014} name AAAAAAAA\n",
            "text\n\n\u{2014} name AAAAAAAA",
        ] {
            assert_eq!(Note::parse(text), Err(InvalidNote), "{text:?}");
        }
    }

    #[test]
    fn a_checkpoint_is_three_lines_with_a_number_without_zeros_in_front() {
        let checkpoint = Checkpoint {
            origin: "sts.example.com/audit".into(),
            size: 20_852_163,
            root: [7; 32],
        };
        let text = checkpoint.to_string();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
        let leading = text.replace("20852163", "020852163");
        assert_eq!(Checkpoint::parse(&leading), Err(InvalidNote));
        assert_eq!(Checkpoint::parse("a\n1\n"), Err(InvalidNote));
        assert_eq!(Checkpoint::parse("\n1\nAAAA\n"), Err(InvalidNote));
    }
}
