//! What is wrong with a file, shown the way a compiler shows it: what, where, an excerpt, and what to write instead.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// How loud a complaint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// Probably not what was meant.
    Warning,
    /// Wrong.
    Error,
}

/// One thing that is wrong. Its places are ranges of bytes, within the text and between its characters.
pub struct Complaint<'a> {
    /// How loud it is.
    pub weight: Weight,
    /// What is wrong, in one sentence.
    pub message: Cow<'a, str>,
    /// Its stable code, if it has one.
    pub code: Option<&'a str>,
    /// Where, and what is said of that place, perhaps nothing; `None` where the whole file is meant.
    pub place: Option<(Range<usize>, &'a str)>,
    /// A second place that has to do with it, and what is said of that.
    pub earlier: Option<(Range<usize>, &'a str)>,
    /// A place in another file that has to do with it: the file's name, its text, where, and what is said of that.
    pub elsewhere: Option<(&'a str, &'a str, Range<usize>, &'a str)>,
    /// Why it matters, where that is not plain.
    pub why: Option<&'a str>,
    /// What to write instead, where that is known.
    pub mend: Option<&'a str>,
}

/// Shows all of `complaints` about `file`, whose text is `text`, with colours if `colour` says so.
pub fn render<'a>(
    file: &str,
    text: &str,
    complaints: impl IntoIterator<Item = Complaint<'a>>,
    colour: bool,
) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let shown: Vec<String> = complaints
        .into_iter()
        .map(|complaint| renderer.render(&[group(file, text, &complaint)]))
        .collect();
    shown.join("\n\n")
}

fn group<'a>(file: &'a str, text: &'a str, complaint: &'a Complaint<'_>) -> Group<'a> {
    let level = match complaint.weight {
        Weight::Note => Level::NOTE,
        Weight::Warning => Level::WARNING,
        Weight::Error => Level::ERROR,
    };
    let mut title = level.primary_title(complaint.message.as_ref());
    if let Some(code) = complaint.code {
        title = title.id(code);
    }
    let mut group = match &complaint.place {
        None => Group::with_title(title).element(Origin::path(file)),
        Some((span, label)) => {
            let mut primary = AnnotationKind::Primary.span(span.clone());
            if !label.is_empty() {
                primary = primary.label(*label);
            }
            let mut excerpt = Snippet::source(text).path(file).annotation(primary);
            if let Some((span, label)) = &complaint.earlier {
                let earlier = AnnotationKind::Context.span(span.clone());
                excerpt = excerpt.annotation(earlier.label(*label));
            }
            Group::with_title(title).element(excerpt)
        }
    };
    if let Some((file, text, span, label)) = &complaint.elsewhere {
        let context = AnnotationKind::Context.span(span.clone()).label(*label);
        group = group.element(Snippet::source(*text).path(*file).annotation(context));
    }
    if let Some(why) = complaint.why {
        group = group.element(Level::NOTE.message(why));
    }
    if let Some(mend) = complaint.mend {
        group = group.element(Level::HELP.message(mend));
    }
    group
}
