//! The texts of policy files that are to be put on record.

use std::collections::HashMap;

/// How many octets of text are held at most.
const MOST_OCTETS: usize = 8 * 1024 * 1024;

/// Texts of files that were just read, so that what is put on record is what was read, also if the file was changed
/// since. When very many files change at once not all are held; the others are read again.
#[derive(Default)]
pub(super) struct Held {
    texts: HashMap<String, String>,
    octets: usize,
}

impl Held {
    /// Holds the text of `file`, if there is room.
    pub fn keep(&mut self, file: &str, text: String) {
        if self.octets + text.len() <= MOST_OCTETS {
            self.octets += text.len();
            self.texts.insert(file.to_owned(), text);
        }
    }

    /// The text of `file`, if it is held.
    pub fn take(&mut self, file: &str) -> Option<String> {
        let text = self.texts.remove(file)?;
        self.octets = self.octets.saturating_sub(text.len());
        Some(text)
    }
}
