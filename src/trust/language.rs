//! Sets of texts as automata: whether what one condition lets in meets, or is all within, what another one does.
//!
//! A question is a list of sets of which a text has to be a member or none. The answer is exact, and comes with a text
//! to show; only where an automaton would grow beyond bounds is there none.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Repetition};

use super::glob::{language, one_text};

/// The most memory that one automaton, or the making of it, may take, in bytes.
const LARGEST: usize = 1 << 20;

/// The most states that are looked at for one question.
const MOST_STATES: usize = 20_000;

/// A set of texts.
#[derive(Clone)]
pub(super) struct Language(Arc<dense::DFA<Vec<u32>>>);

/// Whether a text of the kind that was asked for exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    No,
    /// This one, among the shortest.
    Yes(String),
    /// It would take too long to tell.
    Unknown,
}

/// Every text.
static TEXTS: LazyLock<Option<Language>> = LazyLock::new(|| {
    let any = ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]);
    build(&Hir::repetition(Repetition {
        min: 0,
        max: None,
        greedy: true,
        sub: Box::new(Hir::class(Class::Unicode(any))),
    }))
});

/// The bytes to try first, so that a text to show reads well.
const READABLE: &[u8] = b"xabcdefghijklmnopqrstuvwyz0123456789-_.";

/// One member of a set, as a policy or a profile writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Member<'a> {
    /// This text.
    Text(&'a str, bool),
    /// Whatever matches this glob.
    Glob(&'a str, bool),
}

/// Makes automata, each once.
#[derive(Default)]
pub(super) struct Languages(HashMap<Vec<(String, bool, bool)>, Option<Language>>);

impl Languages {
    /// The set of all texts that one of `members` is or matches; `None` if its automaton would be too large.
    pub(super) fn of(&mut self, members: &[Member<'_>]) -> Option<Language> {
        let key = members.iter().map(|member| match *member {
            Member::Text(text, fold) => (text.to_owned(), fold, false),
            Member::Glob(text, fold) => (text.to_owned(), fold, true),
        });
        self.0
            .entry(key.collect())
            .or_insert_with(|| {
                let all = members.iter().map(|member| match *member {
                    Member::Text(text, fold) => one_text(text, fold),
                    Member::Glob(text, fold) => language(text, fold),
                });
                build(&Hir::alternation(all.collect()))
            })
            .clone()
    }
}

fn build(texts: &Hir) -> Option<Language> {
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(LARGEST)),
        )
        .build_from_hir(texts)
        .ok()?;
    let settings = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(LARGEST))
        .determinize_size_limit(Some(LARGEST));
    let dfa = dense::Builder::new()
        .configure(settings)
        .build_from_nfa(&nfa)
        .ok()?;
    Some(Language(Arc::new(dfa)))
}

impl Language {
    fn start(&self) -> Option<StateID> {
        let settings = start::Config::new().anchored(Anchored::Yes);
        self.0.start_state(&settings).ok()
    }

    /// Whether the texts that lead to `state` are members.
    fn accepts(&self, state: StateID) -> bool {
        self.0.is_match_state(self.0.next_eoi_state(state))
    }
}

/// Looks for a text that is in every set of `within` and in none of `without`.
pub(super) fn find(within: &[&Language], without: &[&Language]) -> Found {
    let Some(texts) = &*TEXTS else {
        return Found::Unknown;
    };
    let mut within: Vec<&Language> = within.to_vec();
    within.push(texts);
    let wanted = within.len();
    let all: Vec<&Language> = within.into_iter().chain(without.iter().copied()).collect();
    let Some(start) = all
        .iter()
        .map(|set| set.start())
        .collect::<Option<Vec<_>>>()
    else {
        return Found::Unknown;
    };
    let hit = |states: &[StateID]| {
        let mut members = all.iter().zip(states).enumerate();
        members.all(|(at, (set, state))| set.accepts(*state) == (at < wanted))
    };
    let hopeless = |states: &[StateID]| {
        let mut members = all.iter().zip(states).take(wanted);
        members.any(|(set, state)| set.0.is_dead_state(*state))
    };
    let letters = letters(&all);
    let mut seen: HashSet<Vec<StateID>> = HashSet::from([start.clone()]);
    // Each state with the place of the one before it and the byte between the two.
    let mut reached: Vec<(Vec<StateID>, usize, u8)> = vec![(start.clone(), 0, 0)];
    if hit(&start) {
        return Found::Yes(String::new());
    }
    let mut queue = VecDeque::from([0]);
    while let Some(at) = queue.pop_front() {
        let Some(states) = reached.get(at).map(|(states, ..)| states.clone()) else {
            break;
        };
        for &letter in &letters {
            let next: Vec<StateID> = all
                .iter()
                .zip(&states)
                .map(|(set, state)| set.0.next_state(*state, letter))
                .collect();
            if hopeless(&next) || !seen.insert(next.clone()) {
                continue;
            }
            let found = hit(&next);
            reached.push((next, at, letter));
            if found {
                return spelled(&reached);
            }
            if reached.len() > MOST_STATES {
                return Found::Unknown;
            }
            queue.push_back(reached.len() - 1);
        }
    }
    Found::No
}

/// One byte for each set of bytes that no automaton tells apart, the readable ones first.
fn letters(all: &[&Language]) -> Vec<u8> {
    let mut seen = HashSet::new();
    let readable = READABLE.iter().copied();
    readable
        .chain(0x20..=0x7E)
        .chain(0x80..=0xFF)
        .chain(0x00..=0x1F)
        .chain([0x7F])
        .filter(|&byte| {
            let classes = all.iter().map(|set| set.0.byte_classes().get(byte));
            seen.insert(classes.collect::<Vec<u8>>())
        })
        .collect()
}

/// The text that leads to the last state reached.
fn spelled(reached: &[(Vec<StateID>, usize, u8)]) -> Found {
    let mut bytes = Vec::new();
    let mut at = reached.len() - 1;
    while let Some((_, before, byte)) = reached.get(at).filter(|_| at > 0) {
        bytes.push(*byte);
        at = *before;
    }
    bytes.reverse();
    String::from_utf8(bytes).map_or(Found::Unknown, Found::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::glob::Globs;

    fn glob(text: &str) -> Language {
        Languages::default()
            .of(&[Member::Glob(text, false)])
            .unwrap()
    }

    fn meet(one: &str, other: &str) -> Found {
        find(&[&glob(one), &glob(other)], &[])
    }

    fn within(one: &str, other: &str) -> bool {
        find(&[&glob(one)], &[&glob(other)]) == Found::No
    }

    #[test]
    fn two_globs_meet_in_a_text_that_both_match() {
        for (one, other, text) in [
            (
                "refs/heads/*",
                "refs/heads/release",
                Some("refs/heads/release"),
            ),
            ("refs/**", "refs/pull/*/merge", Some("refs/pull//merge")),
            ("refs/*/main", "refs/pull/*/merge", None),
            ("refs/tags/v*", "refs/heads/**", None),
            ("a*", "*b", Some("ab")),
            ("a?", "?é", Some("aé")),
            ("*", "a/b", None),
            ("**", "a/b", Some("a/b")),
        ] {
            let expected = text.map_or(Found::No, |text| Found::Yes(text.to_owned()));
            assert_eq!(meet(one, other), expected, "{one} and {other}");
        }
    }

    #[test]
    fn one_glob_is_within_another_if_nothing_escapes() {
        for (one, other, is) in [
            ("refs/heads/*", "refs/heads/**", true),
            ("refs/heads/**", "refs/heads/*", false),
            ("v1.*", "v*", true),
            ("v*", "v1.*", false),
            ("a?", "a*", true),
            ("a*", "a?*", false),
            ("x**y", "x*y", false),
            ("x*y", "x**y", true),
        ] {
            assert_eq!(within(one, other), is, "{one} within {other}");
        }
    }

    #[test]
    fn a_set_of_several_holds_what_any_of_them_holds_and_folds_where_told() {
        let mut languages = Languages::default();
        let set = languages
            .of(&[Member::Text("Main", true), Member::Glob("v*", false)])
            .unwrap();
        let holds = |text: &str| {
            let text = Languages::default()
                .of(&[Member::Text(text, false)])
                .unwrap();
            find(&[&text], &[&set]) == Found::No
        };
        for (text, expected) in [
            ("main", true),
            ("MAIN", true),
            ("v1", true),
            ("V1", false),
            ("mai", false),
            ("main2", false),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn the_automaton_agrees_with_matching_on_texts_of_all_sorts() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1_000_003).unwrap() % below
        };
        let mut word = |alphabet: &[&str], longest: usize| -> String {
            (0..random(longest))
                .map(|_| alphabet[random(alphabet.len())])
                .collect()
        };
        for _ in 0..120 {
            let pattern = format!("a{}", word(&["a", "B", "/", "*", "**", "?", "é"], 7));
            let fold = pattern.len() % 2 == 0;
            let matcher = Globs::default().compile(&pattern, fold).unwrap();
            let set = Languages::default()
                .of(&[Member::Glob(&pattern, fold)])
                .unwrap();
            for _ in 0..8 {
                let text = format!("a{}", word(&["a", "b", "B", "/", "é", "x"], 7));
                let one = Languages::default()
                    .of(&[Member::Text(&text, false)])
                    .unwrap();
                let inside = find(&[&one, &set], &[]) != Found::No;
                assert_eq!(inside, matcher.matches(&text), "{pattern} on {text}");
            }
        }
    }

    #[test]
    fn a_glob_whose_automaton_is_beyond_bounds_gets_no_answer() {
        let hard = format!("*a{}", "?".repeat(200));
        let mut languages = Languages::default();
        assert!(languages.of(&[Member::Glob(&hard, false)]).is_none());
    }
}
