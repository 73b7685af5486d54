//! What is wrong with a policy file, shown the way a compiler shows it: place, excerpt, mend.

use std::fmt;
use std::ops::Range;

use crate::excerpt::{self, Complaint};

/// Everything that is wrong with one policy file, in the order of the file. Such a file does not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: &'static str,
    message: String,
    label: String,
    help: Option<String>,
    earlier: Option<(Range<usize>, &'static str)>,
    span: Range<usize>,
    line: usize,
    column: usize,
}

impl Problem {
    pub(super) fn new(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            label: label.into(),
            help: None,
            earlier: None,
            span,
            line: 1,
            column: 1,
        }
    }

    /// Says how it is mended.
    pub(super) fn mend(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows a second place that has to do with it.
    pub(super) fn earlier(mut self, span: Range<usize>, label: &'static str) -> Self {
        self.earlier = Some((span, label));
        self
    }

    /// Where it is, in bytes.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A name for tools and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What to write instead, where that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl PolicyFault {
    /// The fault of `file`, whose text is `text`. Spans are cut to the text, so that none can miss it.
    pub(super) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        for problem in &mut problems {
            problem.span = within(text, &problem.span);
            if let Some((span, _)) = &mut problem.earlier {
                *span = within(text, span);
            }
            let before = text.get(..problem.span.start).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            problem.line = before.matches('\n').count() + 1;
            problem.column = line.chars().count() + 1;
        }
        problems.sort_by_key(|problem| problem.span.start);
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    /// The problems, at least one, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file, as it was given to [`super::read_policy`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Every problem with its place, an excerpt of the file and its mend, with colours if `colour` says so.
    pub fn render(&self, colour: bool) -> String {
        let complaints = self.problems.iter().map(|problem| Complaint {
            message: problem.message.as_str().into(),
            code: Some(problem.code),
            place: Some((problem.span.clone(), &problem.label)),
            earlier: problem.earlier.clone(),
            mend: problem.help.as_deref(),
        });
        excerpt::render(&self.file, &self.text, complaints, colour)
    }
}

/// `span`, cut to the text and to whole characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

impl fmt::Display for PolicyFault {
    /// Writes one line for each problem: `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            let (line, column) = (problem.line, problem.column);
            write!(f, "{end}{}:{line}:{column}: {}", self.file, problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyFault {}
