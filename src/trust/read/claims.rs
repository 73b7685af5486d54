//! The conditions under `claims`.

use std::collections::HashMap;
use std::ops::Range;

use toml::de::DeValue;

use super::Reader;
use super::keys::{Key, Keys};
use super::suggest::is_slip;
use super::words::shown;
use crate::issuer::TrustedIssuer;
use crate::issuer::profile::{Claim, ClaimType, Profile};
use crate::trust::FindingKind;
use crate::trust::condition::{Condition, Scalar};
use crate::trust::entry::{Asks, Question, Test};
use crate::trust::fault::Problem;

/// The most conditions of one entry: a denial records each of them, and nobody reads more.
const MOST_CONDITIONS: usize = 256;

/// What is known of the claims that an entry speaks of.
#[derive(Clone, Copy)]
pub(super) struct Language<'a> {
    /// The profile; none for a deny of every issuer, as far as its profile knows nothing.
    pub(super) profile: Option<&'static Profile>,
    /// The issuer, if the entry names one.
    pub(super) issuer: Option<&'a TrustedIssuer>,
}

impl Language<'_> {
    fn claim(self, name: &str) -> Option<&'static Claim> {
        self.profile?.claim(name)
    }

    /// Whose tokens they are, in words.
    pub(super) fn title(self) -> &'static str {
        self.profile.map_or("any issuer", |profile| profile.title)
    }

    /// Whether the value of a claim tells the issuer's customers apart.
    fn separates_customers(self, name: &str) -> bool {
        self.issuer.is_some_and(|issuer| {
            issuer.profile.tenant_claims_configured
                && (name == "sub" || issuer.tenant_claims.iter().any(|claim| claim == name))
        })
    }
}

/// The conditions of an entry.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) questions: Vec<Question>,
    /// Whether one of them is an exact value that tells the issuer's customers apart.
    pub(super) identifies: bool,
}

impl Claims {
    /// The values that the entry names literally for a claim.
    pub(super) fn named_literally(&self, claim: &str) -> Vec<Scalar> {
        let of_claim = self
            .questions
            .iter()
            .filter(|question| &*question.claim == claim);
        of_claim
            .flat_map(|question| match &question.test {
                Test::Claim(condition) => condition.named_literally(),
                _ => &[],
            })
            .cloned()
            .collect()
    }
}

impl<'t> Reader<'_, 't> {
    /// The table under `claims`.
    pub(super) fn claims_table(&mut self, key: Option<Key<'t>>) -> Option<Keys<'t>> {
        let key = key?;
        let DeValue::Table(table) = key.value.get_ref() else {
            self.wrong_type(&key, "a table of claims");
            return None;
        };
        Some(Keys::of(table, key.value_at()))
    }

    /// The conditions, in the order of the file; before them `subject`, the key `sub` of an entry whose issuer's claims are
    /// not known. `fields` are the identity fields that the entry gives.
    pub(super) fn claims(
        &mut self,
        table: Option<&Keys<'t>>,
        subject: Option<Key<'t>>,
        language: Language<'_>,
        fields: &[Question],
    ) -> Claims {
        let mut claims = Claims::default();
        let mut seen: HashMap<String, Range<usize>> = HashMap::new();
        if let Some(key) = subject {
            if matches!(key.value.get_ref(), DeValue::Table(_)) {
                self.report(
                    Problem::new(
                        "one-value",
                        key.value_at(),
                        "`sub` takes one exact value or a list of them",
                        "this is a table",
                    )
                    .mend(
                        "write the condition under `claims`, and an exact value of another claim \
                        that separates the issuer's customers",
                    ),
                );
            }
            self.claim(&key, "sub", language, &mut claims);
            seen.insert("sub".to_owned(), key.at.into());
        }
        for (at, key) in table.into_iter().flat_map(Keys::rest).enumerate() {
            if at == MOST_CONDITIONS {
                self.report(
                    Problem::new(
                        "conditions-too-many",
                        key.at.into(),
                        format!("an entry has at most {MOST_CONDITIONS} conditions"),
                        "one too many",
                    )
                    .mend("write several values of one claim as a list"),
                );
                break;
            }
            let Some(name) = self.claim_name(key) else {
                continue;
            };
            if let Some(earlier) = seen.insert(name.clone(), key.at.into()) {
                self.report(
                    Problem::new(
                        "claim-twice",
                        key.at.into(),
                        format!("the claim `{}` is given twice", shown(&name)),
                        "again here",
                    )
                    .earlier(earlier, "first here"),
                );
            } else if self.may_stand_here(key, &name, language, fields) {
                self.claim(key, &name, language, &mut claims);
            }
        }
        claims
    }

    fn claim(&mut self, key: &Key<'t>, name: &str, language: Language<'_>, claims: &mut Claims) {
        let known = language.claim(name);
        let Some(asked) = self.condition(key, name, known, language) else {
            return;
        };
        let condition = Condition::new(known, asked);
        let identifies = language.separates_customers(name)
            && condition
                .exact_texts()
                .is_some_and(|texts| !texts.iter().any(|text| text.is_empty()));
        claims.identifies |= identifies;
        let name = self.shared.text(name);
        let asks = Asks {
            asked: name.clone(),
            claim: name,
            kind: if identifies {
                FindingKind::Identity
            } else {
                FindingKind::Condition
            },
            wanted: condition.in_words().into(),
            test: Test::Claim(condition),
        };
        claims.questions.push(Question {
            asks: self.shared.asks(asks),
            at: key.places(),
        });
    }

    /// The claim's name. A JSON Pointer with one step is the claim itself: it compares the same way however it is named.
    fn claim_name(&mut self, key: &Key<'t>) -> Option<String> {
        let fault = match key.name.strip_prefix('/') {
            _ if key.name.is_empty() => "a claim has a name",
            None => return Some(key.name.to_owned()),
            Some(steps) => {
                let escapes = steps
                    .split('~')
                    .skip(1)
                    .all(|rest| rest.starts_with(['0', '1']));
                let name = steps.replace("~1", "/").replace("~0", "~");
                match (escapes, steps.contains('/') || name.starts_with('/')) {
                    (true, false) if !name.is_empty() => return Some(name),
                    (true, true) => return Some(key.name.to_owned()),
                    (true, false) => "a claim has a name",
                    (false, _) => "in a JSON Pointer `~` is written `~0`, and `/` in a name `~1`",
                }
            }
        };
        self.report(Problem::new(
            "claim-name",
            key.at.into(),
            format!("`{}` names no claim", shown(key.name)),
            fault,
        ));
        None
    }

    /// Whether the claim is not an identity field, misplaced or given twice.
    fn may_stand_here(
        &mut self,
        key: &Key<'t>,
        name: &str,
        language: Language<'_>,
        fields: &[Question],
    ) -> bool {
        let given = fields.iter().find(|field| &*field.claim == name);
        if let Some(field) = given {
            self.report(
                Problem::new(
                    "claim-twice",
                    key.at.into(),
                    format!(
                        "the claim `{name}` is given already, by the identity field `{}`",
                        field.asked
                    ),
                    "given both ways",
                )
                .mend("leave out one of the two"),
            );
            return false;
        }
        let known = language.claim(name).is_some();
        let fields = language
            .profile
            .map(|profile| profile.fields)
            .unwrap_or_default();
        let field = fields
            .iter()
            .find(|field| !known && is_slip(name, field.name));
        if let (Some(field), Some(_)) = (field, language.issuer) {
            self.report(
                Problem::new(
                    "identity-under-claims",
                    key.at.into(),
                    format!("`{}` is an identity field, not a claim", field.name),
                    "not under `claims`",
                )
                .mend(format!(
                    "move it up, above `claims`: `{} = …`; the claim itself is called `{}`",
                    field.name,
                    field.source.claim()
                )),
            );
            return false;
        }
        self.members_only(key, name, language)
    }

    /// A pointer into a claim that is known to have no members finds nothing, ever.
    fn members_only(&mut self, key: &Key<'t>, name: &str, language: Language<'_>) -> bool {
        let Some(first) = name
            .strip_prefix('/')
            .and_then(|steps| steps.split('/').next())
        else {
            return true;
        };
        let first = first.replace("~1", "/").replace("~0", "~");
        match language.claim(&first) {
            Some(claim) if !matches!(claim.kind, ClaimType::Object | ClaimType::TextList) => {
                self.report(
                    Problem::new(
                        "claim-type",
                        key.at.into(),
                        format!(
                            "in tokens of {} `{first}` is {}: it has no members",
                            language.title(),
                            claim.kind.in_words()
                        ),
                        "a pointer into it",
                    )
                    .mend(format!("write `{first}` alone")),
                );
                false
            }
            _ => true,
        }
    }
}
