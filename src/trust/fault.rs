//! What is to be said of a policy file, shown the way a compiler shows it: place, excerpt, mend.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::PolicyFile;
use super::place::Place;
use super::policy::digest;
use crate::excerpt::{self, Complaint, Weight};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing need be done.
    Note,
    /// It works, and is probably not what was meant, or wider than it looks.
    Warning,
    /// It does not load, or would let in who must not come in.
    Error,
}

impl Severity {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is to be said of a policy file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: &'static str,
    severity: Severity,
    message: String,
    label: String,
    why: Option<String>,
    help: Option<String>,
    earlier: Option<(Range<usize>, String)>,
    elsewhere: Option<(PolicyFile, Range<usize>, String)>,
    span: Range<usize>,
    line: usize,
    column: usize,
}

impl Problem {
    /// An error: what is wrong in one sentence, and a label for the place.
    pub(super) fn new(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            label: label.into(),
            why: None,
            help: None,
            earlier: None,
            elsewhere: None,
            span,
            line: 1,
            column: 1,
        }
    }

    /// Makes it matter so much.
    pub(super) fn of(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Says why it matters.
    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Says how it is mended.
    pub(super) fn mend(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows a second place of the file that has to do with it.
    pub(super) fn earlier(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.earlier = Some((span, label.into()));
        self
    }

    /// Shows a place in another file that has to do with it.
    pub(super) fn elsewhere(
        mut self,
        file: &PolicyFile,
        at: Place,
        label: impl Into<String>,
    ) -> Self {
        self.elsewhere = Some((file.clone(), file.within(&at.into()), label.into()));
        self
    }

    fn complaint(&self) -> Complaint<'_> {
        let earlier = self.earlier.as_ref();
        let elsewhere = self.elsewhere.as_ref();
        Complaint {
            weight: match self.severity {
                Severity::Error => Weight::Error,
                Severity::Warning => Weight::Warning,
                Severity::Note => Weight::Note,
            },
            message: self.message.as_str().into(),
            code: Some(self.code),
            place: Some((self.span.clone(), &self.label)),
            earlier: earlier.map(|(span, label)| (span.clone(), label.as_str())),
            elsewhere: elsewhere.map(|(file, span, label)| {
                (file.name(), file.text(), span.clone(), label.as_str())
            }),
            why: self.why.as_deref(),
            mend: self.help.as_deref(),
        }
    }

    /// A name for tools and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is said right at the place.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Where it stands, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Why it matters, where that is not plain from the message.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// What to write instead, where that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The place in another file that has to do with it: the file, the bytes, and what is said there.
    pub fn other_place(&self) -> Option<(&PolicyFile, Range<usize>, &str)> {
        let (file, span, label) = self.elsewhere.as_ref()?;
        Some((file, span.clone(), label))
    }
}

/// What is to be said of one policy file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    file: PolicyFile,
    problems: Vec<Problem>,
}

impl Report {
    /// The problems of `file`. Spans are cut to its text.
    pub(super) fn new(file: PolicyFile, mut problems: Vec<Problem>) -> Self {
        for problem in &mut problems {
            problem.span = file.within(&problem.span);
            if let Some((span, _)) = &mut problem.earlier {
                *span = file.within(span);
            }
            (problem.line, problem.column) = file.position(problem.span.start);
        }
        problems.sort_by_key(|problem| (problem.span.start, Reverse(problem.severity)));
        Self { file, problems }
    }

    /// The file.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// The same report with the names of files as they are from outside `folder`.
    #[must_use]
    pub fn below(mut self, folder: &str) -> Self {
        self.file = self.file.below(folder);
        for problem in &mut self.problems {
            if let Some((file, ..)) = &mut problem.elsewhere {
                *file = file.below(folder);
            }
        }
        self
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every problem with its place, an excerpt of the file, why it matters and its mend; with colours if `colour` says
    /// so.
    pub fn render(&self, colour: bool) -> String {
        let complaints = self.problems.iter().map(Problem::complaint);
        excerpt::render(self.file.name(), self.file.text(), complaints, colour)
    }
}

impl fmt::Display for Report {
    /// Writes one line for each problem: `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.name();
        for (at, problem) in self.problems.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            let (line, column) = (problem.line, problem.column);
            write!(f, "{end}{file}:{line}:{column}: {}", problem.message)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with one policy file. Such a file does not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault(Report);

impl PolicyFault {
    pub(super) fn new(file: PolicyFile, problems: Vec<Problem>) -> Self {
        Self(Report::new(file, problems))
    }

    /// The problems, at least one, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        self.0.problems()
    }

    /// The name of the file, as it was given to [`super::read_policy`].
    pub fn file(&self) -> &str {
        self.0.file().name()
    }

    /// `sha256:` and the digest of the file's text in hexadecimal: which version of a policy was refused.
    pub fn digest(&self) -> String {
        digest(self.0.file().text())
    }

    /// Every problem with its place, an excerpt of the file and its mend, with colours if `colour` says so.
    pub fn render(&self, colour: bool) -> String {
        self.0.render(colour)
    }

    /// The same as a report, to stand among others.
    pub fn into_report(self) -> Report {
        self.0
    }
}

impl fmt::Display for PolicyFault {
    /// Writes one line for each problem: `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for PolicyFault {}
