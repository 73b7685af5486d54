//! Globs: `*` any run without `/`, `?` one character but `/`, `**` any run; everything else is literal, the whole value
//! is compared, and nothing can be escaped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition,
};

/// The longest glob, in characters.
const LONGEST: usize = 1024;

/// The most memory that the automaton of one glob may take, in bytes.
const LARGEST: usize = 1 << 20;

/// The most memory that the automata of all globs of one policy may take, in bytes.
const LARGEST_TOGETHER: usize = 64 << 20;

/// One glob, compiled. Equal globs of one policy share it.
#[derive(Clone)]
pub(super) struct Glob {
    text: Arc<str>,
    fold: bool,
    regex: Arc<Regex>,
}

/// Why a text is no glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidGlob {
    /// Nothing at all: only the empty text would match.
    #[error("an empty glob matches only an empty text")]
    Empty,
    /// Over 1024 characters, or an automaton beyond all bounds.
    #[error("a glob has at most 1024 characters")]
    TooLong,
    /// Together with the globs before it, automata beyond all bounds.
    #[error(
        "the globs of one policy file take at most 64 MiB of memory, which is thousands of plain ones"
    )]
    TooMany,
}

impl Glob {
    /// Whether the whole of `value` matches.
    pub(super) fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// The glob as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it compares without ASCII case.
    pub(super) fn folds(&self) -> bool {
        self.fold
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.fold == other.fold
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", &self.text)
    }
}

/// Compiles globs, each text once, as far as their memory goes.
#[derive(Debug, Default)]
pub(super) struct Globs {
    compiled: HashMap<(Arc<str>, bool), Glob>,
    /// What those take that were compiled for the policy at hand, in bytes.
    taken: usize,
}

impl Globs {
    /// Lets go of the globs that nobody holds any more.
    pub(super) fn forget_unused(&mut self) {
        self.compiled
            .retain(|_, glob| Arc::strong_count(&glob.regex) > 1);
    }

    /// Begins another policy, which may take as much memory as the one before.
    pub(super) fn begin(&mut self) {
        self.taken = 0;
    }

    /// The glob `text`, compared without ASCII case if `fold` says so.
    pub(super) fn compile(&mut self, text: &str, fold: bool) -> Result<Glob, InvalidGlob> {
        if text.is_empty() {
            return Err(InvalidGlob::Empty);
        }
        if text.chars().count() > LONGEST {
            return Err(InvalidGlob::TooLong);
        }
        let text: Arc<str> = text.into();
        if let Some(glob) = self.compiled.get(&(text.clone(), fold)) {
            return Ok(glob.clone());
        }
        if self.taken > LARGEST_TOGETHER {
            return Err(InvalidGlob::TooMany);
        }
        let regex = compile(&text, fold).ok_or(InvalidGlob::TooLong)?;
        self.taken += regex.memory_usage();
        let glob = Glob {
            text: text.clone(),
            fold,
            regex: Arc::new(regex),
        };
        self.compiled.insert((text, fold), glob.clone());
        Ok(glob)
    }
}

/// The automaton of one glob, for whole values.
fn compile(text: &str, fold: bool) -> Option<Regex> {
    let whole = Hir::concat(vec![
        Hir::look(Look::Start),
        language(text, fold),
        Hir::look(Look::End),
    ]);
    // One matcher is enough: the others would cost memory for each glob of a large policy.
    let settings = Regex::config()
        .utf8_empty(false)
        .which_captures(WhichCaptures::None)
        .onepass(false)
        .backtrack(false)
        .nfa_size_limit(Some(LARGEST))
        .hybrid_cache_capacity(LARGEST);
    Regex::builder()
        .configure(settings)
        .build_from_hir(&whole)
        .ok()
}

/// The set of texts that a glob matches. Built node by node: no character of a policy is ever read as a pattern.
pub(super) fn language(text: &str, fold: bool) -> Hir {
    let mut nodes = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        nodes.push(match character {
            '*' if rest.next_if_eq(&'*').is_some() => any_run(&[(0x00, 0xFF)]),
            // In UTF-8 the byte of `/` is never a part of another character.
            '*' => any_run(&[(0x00, b'/' - 1), (b'/' + 1, 0xFF)]),
            '?' => Hir::class(Class::Unicode(ClassUnicode::new([
                ClassUnicodeRange::new('\0', '.'),
                ClassUnicodeRange::new('0', char::MAX),
            ]))),
            letter => one_letter(letter, fold),
        });
    }
    Hir::concat(nodes)
}

/// The set that holds one text.
pub(super) fn one_text(text: &str, fold: bool) -> Hir {
    Hir::concat(
        text.chars()
            .map(|letter| one_letter(letter, fold))
            .collect(),
    )
}

fn one_letter(letter: char, fold: bool) -> Hir {
    if fold && letter.is_ascii_alphabetic() {
        let cases = [letter.to_ascii_lowercase(), letter.to_ascii_uppercase()];
        Hir::class(Class::Unicode(ClassUnicode::new(
            cases.map(|case| ClassUnicodeRange::new(case, case)),
        )))
    } else {
        Hir::literal(letter.to_string().into_bytes())
    }
}

/// Any run, also an empty one, of these bytes.
fn any_run(bytes: &[(u8, u8)]) -> Hir {
    let ranges = bytes
        .iter()
        .map(|&(from, to)| ClassBytesRange::new(from, to));
    Hir::repetition(Repetition {
        min: 0,
        max: None,
        greedy: true,
        sub: Box::new(Hir::class(Class::Bytes(ClassBytes::new(ranges)))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, value: &str, fold: bool) -> bool {
        Globs::default().compile(glob, fold).unwrap().matches(value)
    }

    #[test]
    fn a_glob_matches_whole_values_and_nothing_in_it_is_a_pattern_but_star_and_question_mark() {
        let cases: &[(&str, &str, bool)] = &[
            ("refs/tags/v*", "refs/tags/v1.2.3", true),
            ("refs/tags/v*", "refs/tags/v", true),
            ("refs/tags/v*", "refs/tags/v1/x", false),
            ("refs/tags/v*", "xrefs/tags/v1", false),
            ("refs/tags/v*", "refs/tags/v1\nx", true),
            ("refs/tags/v*", "refs/tags/v1\nrefs/heads/x", false),
            ("refs/heads/main", "refs/heads/main\n", false),
            ("refs/heads/**", "refs/heads/a/b", true),
            ("refs/heads/**", "refs/heads/", true),
            ("refs/heads/**", "refs/tags/a", false),
            ("**", "", true),
            ("**", "a/b\nc", true),
            ("*", "", true),
            ("*", "/", false),
            ("***", "a/b", true),
            ("a/**/b", "a//b", true),
            ("a/**/b", "a/b", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "a🦀c", true),
            ("a?c", "ac", false),
            ("a?c", "a/c", false),
            ("*é", "aé", true),
            ("*é", "a\u{e8}", false),
            ("*?", "é", true),
            ("*??", "é", false),
            ("a.c", "abc", false),
            ("a+", "aa", false),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("(a|b)", "a", false),
            ("\\*", "\\x", true),
            ("\\*", "*", false),
            ("{a,b}", "a", false),
            ("!a", "b", false),
            ("^a$", "a", false),
            ("Main", "main", false),
        ];
        for &(glob, value, expected) in cases {
            assert_eq!(matches(glob, value, false), expected, "{glob} on {value:?}");
        }
    }

    #[test]
    fn folding_is_for_ascii_letters_only() {
        assert!(matches("Acme-*", "aCME-X", true));
        assert!(!matches("É*", "éa", true));
        // U+212A, the Kelvin sign, folds to `k` in Unicode.
        assert!(!matches("k*", "\u{212a}x", true));
        assert!(!matches("s", "\u{17f}", true));
    }

    #[test]
    fn a_glob_is_neither_empty_nor_without_bound() {
        let mut globs = Globs::default();
        assert_eq!(globs.compile("", false).unwrap_err(), InvalidGlob::Empty);
        let long = "?".repeat(1025);
        assert_eq!(
            globs.compile(&long, false).unwrap_err(),
            InvalidGlob::TooLong
        );
        for worst in ["?", "*a", "**a", "?*"] {
            let text: String = worst.chars().cycle().take(1024).collect();
            let glob = globs.compile(&text, true).unwrap();
            assert!(!glob.matches(&"/".repeat(16 * 1024)), "{worst}");
        }
    }

    #[test]
    fn equal_globs_are_compiled_once() {
        let mut globs = Globs::default();
        let first = globs.compile("v*", false).unwrap();
        let second = globs.compile("v*", false).unwrap();
        assert!(Arc::ptr_eq(&first.regex, &second.regex));
        assert!(!Arc::ptr_eq(
            &first.regex,
            &globs.compile("v*", true).unwrap().regex
        ));
    }
}
