//! The values of a policy's plain keys: texts, lists of texts, names, scopes, lifetimes, resources.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeValue;

use super::Reader;
use super::keys::{Key, Keys, Placed, kind_in_words};
use crate::clock::Seconds;
use crate::trust::entry::Silence;
use crate::trust::fault::Problem;
use crate::trust::place::Place;
use crate::trust::{Scope, Scopes};

/// The longest name of an entry, in characters.
const LONGEST_NAME: usize = 100;

/// How a finding is silenced.
const SILENCE: &str = "write `silence = [{ code = \"…\", because = \"…\" }]`";

/// The longest lifetime that a relationship may ask for.
const LONGEST_LIFETIME: Seconds = Seconds(24 * 60 * 60);

impl<'t> Reader<'_, 't> {
    /// A text.
    pub(super) fn text(&mut self, key: &Key<'t>) -> Option<&'t str> {
        let text = key.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, "a text");
        }
        text
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &Key<'t>) -> Option<bool> {
        let boolean = key.value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(key, "`true` or `false`");
        }
        boolean
    }

    /// A list of texts, each with its place. What is no text is reported and left out.
    pub(super) fn texts(&mut self, key: &Key<'t>) -> Option<Vec<(&'t str, Range<usize>)>> {
        let Some(members) = key.value.get_ref().as_array() else {
            let mend = match key.value.get_ref().as_str() {
                Some(text) => format!("write `{} = [\"{}\"]` instead", key.name, shown(text)),
                None => format!("write `{} = [\"…\"]`", key.name),
            };
            self.report(wrong_type(key.name, key.value, "a list of texts").mend(mend));
            return None;
        };
        let mut texts = Vec::new();
        for member in members {
            match member.get_ref().as_str() {
                Some(text) => texts.push((text, member.span())),
                None => self.report(wrong_type(key.name, member, "a list of texts")),
            }
        }
        Some(texts)
    }

    pub(super) fn wrong_type(&mut self, key: &Key<'t>, wanted: &str) {
        self.report(wrong_type(key.name, key.value, wanted));
    }

    /// The name of an entry: unique in its kind, printable, and without what an OAuth error text may not hold.
    pub(super) fn name(
        &mut self,
        key: Option<Key<'t>>,
        what: &str,
        header: Place,
        taken: &mut BTreeMap<&'t str, Place>,
    ) -> Option<&'t str> {
        let Some(key) = key else {
            self.report(
                missing("name", what, header)
                    .mend("add `name = \"…\"`: it is shown in the audit log and in denials"),
            );
            return None;
        };
        let name = self.text(&key)?;
        if let Some(why) = bad_name(name) {
            self.report(Problem::new(
                "name-invalid",
                key.value_at(),
                format!("`{}` cannot be a name: {why}", shown(name)),
                why,
            ));
            return None;
        }
        if let Some(earlier) = taken.insert(name, key.value_at().into()) {
            self.report(
                Problem::new(
                    "name-taken",
                    key.value_at(),
                    format!("two entries are called `{name}`"),
                    "the name must be unique in the file",
                )
                .earlier(earlier.into(), "the first one"),
            );
        }
        Some(name)
    }

    /// `scopes`, at least one.
    pub(super) fn scopes(&mut self, key: Option<Key<'t>>, header: Place) -> Option<Scopes> {
        let Some(key) = key else {
            self.report(missing("scopes", "trust relationship", header).mend(
                "say what it gives, such as `scopes = [\"read_registry\", \"write_registry\"]`",
            ));
            return None;
        };
        let words = self.texts(&key)?;
        if words.is_empty()
            && key
                .value
                .get_ref()
                .as_array()
                .is_some_and(|list| list.is_empty())
        {
            self.report(Problem::new(
                "scopes-empty",
                key.value_at(),
                "a relationship without scopes gives nothing",
                "at least one scope",
            ));
        }
        Some(self.scope_set(words))
    }

    /// The scopes of a list, each once.
    pub(super) fn scope_set(&mut self, words: Vec<(&'t str, Range<usize>)>) -> Scopes {
        let mut scopes = Vec::new();
        for (word, at) in words {
            let shared = self.shared.text(word);
            match Scope::of(shared) {
                Ok(scope) if scopes.contains(&scope) => self.report(Problem::new(
                    "scope-twice",
                    at,
                    format!("the scope `{word}` stands twice"),
                    "leave one out",
                )),
                Ok(scope) => scopes.push(scope),
                Err(fault) => self.report(Problem::new(
                    "scope-invalid",
                    at,
                    format!("`{}` is no scope", shown(word)),
                    fault.to_string(),
                )),
            }
        }
        self.shared.scopes(scopes.into_iter().collect())
    }

    /// `lifetime`, 1s to 24h.
    pub(super) fn lifetime(&mut self, key: &Key<'t>) -> Option<Seconds> {
        let Some(text) = key.value.get_ref().as_str() else {
            self.report(
                wrong_type(key.name, key.value, "a text with a unit").mend("write `\"30m\"`"),
            );
            return None;
        };
        let span = humantime::parse_duration(text).ok();
        let whole = span.filter(|span| span.subsec_nanos() == 0);
        let seconds = whole.and_then(|span| u32::try_from(span.as_secs()).ok());
        let seconds = seconds.filter(|seconds| (1..=LONGEST_LIFETIME.0).contains(seconds));
        if seconds.is_none() {
            let problem = Problem::new(
                "lifetime-invalid",
                key.value_at(),
                format!("`{}` is no lifetime", shown(text)),
                "a lifetime is 1s to 24h",
            );
            self.report(
                problem.mend("write a number and a unit, such as `\"30m\"` or `\"1h 30m\"`"),
            );
        }
        seconds.map(Seconds)
    }

    /// `silence`: findings of lint that are accepted, each with its reason.
    pub(super) fn silence(&mut self, key: Option<Key<'t>>) -> Vec<Silence> {
        let Some(key) = key else {
            return Vec::new();
        };
        let Some(members) = key.value.get_ref().as_array() else {
            self.report(no_silence(&key, key.value));
            return Vec::new();
        };
        let mut silence = Vec::new();
        for member in members {
            match member.get_ref() {
                DeValue::Table(table) => {
                    silence.extend(self.silenced(Keys::of(table, member.span())));
                }
                _ => self.report(no_silence(&key, member)),
            }
        }
        silence
    }

    fn silenced(&mut self, mut table: Keys<'t>) -> Option<Silence> {
        let (code, because) = (table.take("code"), table.take("because"));
        for other in table.rest() {
            self.report(
                Problem::new(
                    "unknown-key",
                    other.at.into(),
                    format!("`{}` is no key of a silenced finding", shown(other.name)),
                    "unknown here",
                )
                .mend(SILENCE),
            );
        }
        let code = self.said(code, "code", table.at);
        let because = self.said(because, "because", table.at);
        Some(Silence {
            code: code?.into(),
            because: because?.into(),
            at: table.at,
        })
    }

    /// A text that says something.
    fn said(&mut self, key: Option<Key<'t>>, name: &str, at: Place) -> Option<&'t str> {
        let Some(key) = key else {
            self.report(missing(name, "silenced finding", at).mend(SILENCE));
            return None;
        };
        let text = self.text(&key)?;
        if text.trim().is_empty() {
            self.report(Problem::new(
                "silence-empty",
                key.value_at(),
                format!("a silenced finding has a `{name}`"),
                "empty",
            ));
        }
        Some(text)
    }

    /// `resources`: absolute URIs without a fragment (RFC 8707, section 2).
    pub(super) fn resources(&mut self, key: &Key<'t>) -> Vec<String> {
        let mut resources: Vec<String> = Vec::new();
        for (text, at) in self.texts(key).unwrap_or_default() {
            let absolute = url::Url::parse(text).is_ok() && !text.contains('#');
            let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
            if !absolute || !graphic {
                self.report(
                    Problem::new(
                        "resource-invalid",
                        at,
                        format!("`{}` is no resource", shown(text)),
                        "a resource is an absolute URI without a fragment",
                    )
                    .mend("write the whole address, such as `\"https://api.example\"`"),
                );
            } else if resources.iter().any(|known| known == text) {
                self.report(Problem::new(
                    "resource-twice",
                    at,
                    format!("the resource `{text}` stands twice"),
                    "leave one out",
                ));
            } else {
                resources.push(text.to_owned());
            }
        }
        resources
    }
}

fn no_silence(key: &Key<'_>, value: &Placed<'_>) -> Problem {
    wrong_type(key.name, value, "a list of codes with their reasons").mend(SILENCE)
}

fn bad_name(name: &str) -> Option<&'static str> {
    let count = name.chars().count();
    if name.trim().is_empty() {
        Some("it is empty")
    } else if name.trim() != name {
        Some("it begins or ends with a space")
    } else if count > LONGEST_NAME {
        Some("it is longer than 100 characters")
    } else if name.contains(['"', '\\']) {
        Some("it holds a quotation mark or a backslash, which OAuth error texts cannot show")
    } else if name.chars().any(crate::text::is_unprintable) {
        Some("it holds a character that does not print")
    } else {
        None
    }
}

/// A value of the wrong TOML type.
pub(super) fn wrong_type(name: &str, value: &Placed<'_>, wanted: &str) -> Problem {
    Problem::new(
        "wrong-type",
        value.span(),
        format!("`{}` takes {wanted}", shown(name)),
        format!("this is {}", kind_in_words(value.get_ref())),
    )
}

/// A key that must be there and is not.
pub(super) fn missing(name: &str, what: &str, header: Place) -> Problem {
    Problem::new(
        "missing-key",
        header.into(),
        format!("a {what} has no `{name}`"),
        format!("`{name}` is missing here"),
    )
}

/// What a user wrote, as it is safe and short enough to show in a message.
pub(super) fn shown(text: &str) -> String {
    let printable = text.chars().map(|c| {
        if crate::text::is_unprintable(c) {
            '\u{FFFD}'
        } else {
            c
        }
    });
    let mut short: String = printable.take(80).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    short
}

/// The text of a number that is written without sign, fraction and base: an id.
pub(super) fn id_number(value: &DeValue<'_>) -> Option<String> {
    let integer = value.as_integer().filter(|integer| integer.radix() == 10)?;
    let number: u64 = integer.as_str().parse().ok()?;
    Some(number.to_string())
}
