//! One `[[trust]]` or `[[deny]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Reader;
use super::claims::{Claims, Language};
use super::keys::{Key, Keys};
use super::suggest::nearest;
use super::words::{missing, shown};
use crate::issuer::profile::{Profile, Requirement};
use crate::issuer::{PROFILES, TrustedIssuer};
use crate::trust::FindingKind;
use crate::trust::condition::Scalar;
use crate::trust::entry::{
    Asks, Deny, DenyAsks, EntryPlaces, Mode, Question, QuestionPlaces, Relationship, Test,
    requirement_in_words,
};
use crate::trust::fault::Problem;
use crate::trust::names::ids_to_pin;
use crate::trust::place::Place;

/// The names that are taken, with their places.
pub(super) type Taken<'t> = BTreeMap<&'t str, Place>;

const TRUST_KEYS: &[&str] = &[
    "name",
    "issuer",
    "scopes",
    "lifetime",
    "resources",
    "mode",
    "claims",
    "silence",
];
const DENY_KEYS: &[&str] = &["name", "issuer", "mode", "claims", "silence"];

impl<'t> Reader<'_, 't> {
    /// A trust relationship. `None`, or a part of one, if something is wrong with it: then the file does not load.
    pub(super) fn trust(
        &mut self,
        mut keys: Keys<'t>,
        taken: &mut Taken<'t>,
    ) -> Option<Relationship> {
        let header = keys.at;
        let at = places(&keys);
        let name = self.name(keys.take("name"), "trust relationship", header, taken);
        let scopes = self.scopes(keys.take("scopes"), header);
        let lifetime = keys.take("lifetime").and_then(|key| self.lifetime(&key));
        let resources = keys.take("resources").map(|key| self.resources(&key));
        let mode = self.mode(keys.take("mode"));
        let silence = self.silence(keys.take("silence"));
        let claims = self.claims_table(keys.take("claims"));
        let Some(key) = keys.take("issuer") else {
            let known = self.issuer_names();
            self.report(
                missing("issuer", "trust relationship", header)
                    .mend(format!("add `issuer = \"…\"`; there are {known}")),
            );
            return None;
        };
        let issuer = self.issuer(&key)?;
        let profile = issuer.profile;
        let asked_at = key.places();

        let lifts = self.lifts(&mut keys, profile);
        let subject = if profile.tenant_claims_configured {
            keys.take("sub")
        } else {
            None
        };
        let fields = self.fields(&mut keys, profile, Some(header));
        self.unknown(&keys, TRUST_KEYS, "trust relationship", Some(profile));
        let claims = self.claims(
            claims.as_ref(),
            subject,
            Language {
                profile: Some(profile),
                issuer: Some(&issuer),
            },
            &fields,
        );
        self.identified(&issuer, &claims, header);

        let mut questions = vec![self.of_issuer(&issuer, asked_at)];
        questions.extend(fields);
        questions.extend(self.requirements(profile, &claims, &lifts, asked_at));
        questions.extend(claims.questions);
        Some(Relationship {
            name: self.shared.text(name?),
            issuer: issuer.name.clone(),
            profile,
            ids_to_pin: ids_to_pin(profile, &questions),
            questions: questions.into(),
            scopes: scopes?,
            lifetime,
            resources: resources.unwrap_or_default().into(),
            mode,
            silence: silence.into(),
            at,
        })
    }

    /// A deny. Without `issuer` it is for every issuer, and knows no profile.
    pub(super) fn deny(&mut self, mut keys: Keys<'t>, taken: &mut Taken<'t>) -> Option<Deny> {
        let header = keys.at;
        let at = places(&keys);
        let name = self.name(keys.take("name"), "deny", header, taken);
        let mode = self.mode(keys.take("mode"));
        let silence = self.silence(keys.take("silence"));
        let claims = self.claims_table(keys.take("claims"));
        let asks = match keys.take("issuer") {
            Some(key) => {
                let issuer = self.issuer(&key)?;
                let profile = issuer.profile;
                let subject = if profile.tenant_claims_configured {
                    keys.take("sub")
                } else {
                    None
                };
                let fields = self.fields(&mut keys, profile, None);
                self.unknown(&keys, DENY_KEYS, "deny", Some(profile));
                let language = Language {
                    profile: Some(profile),
                    issuer: Some(&issuer),
                };
                let claims = self.claims(claims.as_ref(), subject, language, &fields);
                let mut questions = vec![self.of_issuer(&issuer, key.places())];
                questions.extend(fields);
                questions.extend(claims.questions);
                DenyAsks::OneIssuer {
                    issuer: issuer.name.clone(),
                    questions,
                }
            }
            None => self.deny_of_every_issuer(&keys, claims.as_ref(), header),
        };
        Some(Deny {
            name: name?.into(),
            asks,
            mode,
            silence,
            at,
        })
    }

    fn deny_of_every_issuer(
        &mut self,
        keys: &Keys<'t>,
        claims: Option<&Keys<'t>>,
        header: Place,
    ) -> DenyAsks {
        self.unknown(keys, DENY_KEYS, "deny", None);
        let asks_nothing = claims.is_none_or(|claims| claims.rest().is_empty());
        if asks_nothing && keys.rest().is_empty() {
            self.report(
                Problem::new(
                    "deny-everybody",
                    header.into(),
                    "a deny that asks nothing keeps everybody out",
                    "neither `issuer` nor `claims`",
                )
                .mend("say whom it is for; a project that trusts nobody has no `[[trust]]`"),
            );
        }
        let mut profiles: Vec<&'static Profile> =
            self.registry.all().map(|issuer| issuer.profile).collect();
        profiles.sort_by_key(|profile| profile.name);
        profiles.dedup_by_key(|profile| profile.name);
        let mut read = vec![("", None)];
        read.extend(
            profiles
                .into_iter()
                .map(|profile| (profile.name, Some(profile))),
        );
        let before = self.problems.len();
        let mut asks = Vec::new();
        for (name, profile) in read {
            let language = Language {
                profile,
                issuer: None,
            };
            let claims = self.claims(claims, None, language, &[]);
            asks.push((name, claims.questions));
            if self.problems.len() > before {
                // The next profile would say the same again.
                break;
            }
        }
        DenyAsks::EveryIssuer(asks)
    }

    /// The issuer that the configuration calls so.
    pub(super) fn issuer(&mut self, key: &Key<'t>) -> Option<Arc<TrustedIssuer>> {
        let name = self.text(key)?;
        let issuer = self.registry.named(name).cloned();
        if issuer.is_none() {
            let names = self.registry.all().map(|issuer| &*issuer.name);
            let mend = match nearest(name, names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", self.issuer_names()),
            };
            self.report(
                Problem::new(
                    "issuer-unknown",
                    key.value_at(),
                    format!("the configuration lists no issuer called `{}`", shown(name)),
                    "unknown issuer",
                )
                .mend(mend),
            );
        }
        issuer
    }

    fn issuer_names(&self) -> String {
        let mut names: Vec<String> = self
            .registry
            .all()
            .map(|issuer| format!("`{}`", issuer.name))
            .collect();
        names.sort();
        names.join(", ")
    }

    fn mode(&mut self, key: Option<Key<'t>>) -> Mode {
        let Some(key) = key else {
            return Mode::Enforce;
        };
        match self.text(&key) {
            None | Some("enforce") => Mode::Enforce,
            Some("shadow") => Mode::Shadow,
            Some(other) => {
                self.report(
                    Problem::new(
                        "mode-unknown",
                        key.value_at(),
                        format!("`{}` is no mode", shown(other)),
                        "unknown mode",
                    )
                    .mend(
                        "write `\"enforce\"`, or `\"shadow\"` to judge and record it without effect",
                    ),
                );
                Mode::Enforce
            }
        }
    }

    /// The requirements that this relationship lifts with a key of its own.
    fn lifts(&mut self, keys: &mut Keys<'t>, profile: &Profile) -> Vec<&'static str> {
        let mut lifted = Vec::new();
        for requirement in profile.requirements {
            if let Requirement::SameProject { lifted_by, .. } = *requirement
                && let Some(key) = keys.take(lifted_by)
                && self.boolean(&key) == Some(true)
            {
                lifted.push(lifted_by);
            }
        }
        lifted
    }

    /// What the profile requires of every token, less what the relationship lifts.
    fn requirements(
        &mut self,
        profile: &'static Profile,
        claims: &Claims,
        lifts: &[&str],
        at: QuestionPlaces,
    ) -> Vec<Question> {
        let mut questions = Vec::new();
        for requirement in profile.requirements {
            if let Requirement::SameProject { lifted_by, .. } = requirement
                && lifts.contains(lifted_by)
            {
                continue;
            }
            let named: Vec<Scalar> = claims.named_literally(requirement.claim());
            let claim = self.shared.text(requirement.claim());
            let asks = Asks {
                asked: claim.clone(),
                claim,
                kind: FindingKind::Profile,
                wanted: requirement_in_words(*requirement).into(),
                test: Test::Requirement(requirement, named),
            };
            questions.push(Question {
                asks: self.shared.asks(asks),
                at,
            });
        }
        questions
    }

    fn of_issuer(&mut self, issuer: &TrustedIssuer, at: QuestionPlaces) -> Question {
        let asks = Asks {
            asked: self.shared.text("issuer"),
            claim: self.shared.text("iss"),
            kind: FindingKind::Issuer,
            wanted: format!("`{}`, {}", issuer.name, issuer.form.as_configured()).into(),
            test: Test::Issuer(issuer.name.clone()),
        };
        Question {
            asks: self.shared.asks(asks),
            at,
        }
    }

    /// Where nothing is known of an issuer, some exact value must say which of its customers is meant.
    fn identified(&mut self, issuer: &TrustedIssuer, claims: &Claims, header: Place) {
        if !issuer.profile.tenant_claims_configured || claims.identifies {
            return;
        }
        let tenants: Vec<String> = issuer
            .tenant_claims
            .iter()
            .map(|claim| format!("`{claim}`"))
            .collect();
        let mend = if tenants.is_empty() {
            "add an exact `sub = \"…\"`, or list the claims that separate its \
            customers under `tenant-claims` of the issuer"
                .to_owned()
        } else {
            format!(
                "add an exact `sub = \"…\"`, or an exact value of {} under `[trust.claims]`",
                tenants.join(" or ")
            )
        };
        self.report(
            Problem::new(
                "identity-missing",
                header.into(),
                format!(
                    "any customer of the issuer `{}` could satisfy this relationship",
                    issuer.name
                ),
                "nothing here says whose jobs are meant",
            )
            .mend(mend),
        );
    }

    /// Reports the keys that are left over.
    pub(super) fn unknown(
        &mut self,
        keys: &Keys<'t>,
        known: &[&'static str],
        what: &str,
        profile: Option<&'static Profile>,
    ) {
        for key in keys.rest() {
            let problem = Problem::new(
                "unknown-key",
                key.at.into(),
                format!("`{}` is no key of a {what}", shown(key.name)),
                "unknown key",
            );
            let mend = mend_unknown(key.name, known, what, profile);
            self.report(match mend {
                Some(mend) => problem.mend(mend),
                None => problem,
            });
        }
    }
}

/// Where the entry and its plain keys stand.
fn places(keys: &Keys<'_>) -> EntryPlaces {
    let of = |name| keys.get(name).map(|key| key.value_at().into());
    EntryPlaces {
        header: keys.at,
        name: of("name").unwrap_or(keys.at),
        issuer: of("issuer"),
        scopes: of("scopes"),
        lifetime: of("lifetime"),
    }
}

fn mend_unknown(
    name: &str,
    known: &[&'static str],
    what: &str,
    profile: Option<&'static Profile>,
) -> Option<String> {
    let table = if what == "deny" {
        "[deny.claims]"
    } else {
        "[trust.claims]"
    };
    if let Some(profile) = profile
        && profile.claim(name).is_some()
    {
        return Some(format!(
            "`{name}` is a claim of {}: write it under `{table}`",
            profile.title
        ));
    }
    let lifted = profile
        .into_iter()
        .filter(|_| what != "deny")
        .flat_map(|profile| {
            profile
                .requirements
                .iter()
                .filter_map(|requirement| match *requirement {
                    Requirement::SameProject { lifted_by, .. } => Some(lifted_by),
                    _ => None,
                })
        });
    let fields = profile
        .into_iter()
        .flat_map(|profile| profile.fields.iter().map(|field| field.name));
    if let Some(meant) = nearest(name, known.iter().copied().chain(fields).chain(lifted)) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let owner = PROFILES
        .into_iter()
        .find(|profile| profile.field(name).is_some())?;
    Some(match profile {
        Some(profile) => format!(
            "`{name}` is an identity field of the profile `{}`; the issuer here has the profile `{}`",
            owner.name, profile.name
        ),
        None => format!(
            "`{name}` is an identity field of the profile `{}`: give the `issuer` too",
            owner.name
        ),
    })
}
