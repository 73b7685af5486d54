//! Where something stands in a policy file, and the file itself, so that what is said of a policy can show it.

use std::ops::Range;
use std::sync::Arc;

/// A stretch of a policy file, in bytes. Four gigabytes are more than any file that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    start: u32,
    end: u32,
}

impl From<Place> for Range<usize> {
    fn from(place: Place) -> Self {
        let position = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        position(place.start)..position(place.end)
    }
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: position(range.start),
            end: position(range.end),
        }
    }
}

/// A policy file as it was read: its name and its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    name: Arc<str>,
    text: Arc<str>,
}

impl PolicyFile {
    /// The file called `name`, with this text.
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// The same file, called as it is from outside `folder`.
    pub(super) fn below(&self, folder: &str) -> Self {
        let folder = folder.trim_end_matches('/');
        Self {
            name: format!("{folder}/{}", self.name).into(),
            text: self.text.clone(),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and the column in characters at which `offset` stands, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let start = self.within(&(offset..offset)).start;
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// `span`, cut to the text and to whole characters, so that none can miss it.
    pub(super) fn within(&self, span: &Range<usize>) -> Range<usize> {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }
}
