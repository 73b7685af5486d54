//! Conditions that no token satisfies, or not the tokens that were meant.

use super::super::asks::{About, Ask, Lens, ask_about};
use super::super::entry::{Question, Relationship, Test};
use super::super::fault::{Problem, Severity};
use super::super::identity::Named;
use super::super::language::{Found, Member};
use super::super::read::nearest;
use super::super::who::form;
use super::Seen;
use crate::issuer::Profile;
use crate::issuer::profile::{FieldKind, Form, Requirement, SituationKind};

/// Claims that a token of any issuer may have, whatever the profile lists (RFC 7519, section 4.1).
const REGISTERED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

/// What is wrong with one value.
pub(super) struct WrongValue {
    code: &'static str,
    what: String,
    mend: Option<String>,
}

pub(super) fn check(seen: &Seen<'_>, lens: &mut Lens) -> Vec<Problem> {
    let relationship = seen.relationship;
    let mut found = Vec::new();
    for question in &relationship.questions {
        let Some(unknown) = unknown(question, &[relationship.profile]) else {
            continue;
        };
        found.push(unknown.because("the condition never holds, and with it the relationship"));
    }
    for ask in &seen.asks {
        let form = form(relationship, ask);
        found.extend(values(
            ask,
            form,
            lens,
            "no token has it, so nothing matches",
        ));
        found.extend(empty(ask, lens));
        found.extend(subject_form(relationship.profile, ask, lens));
    }
    found.extend(together(seen, lens));
    found.extend(events(seen, lens));
    found.extend(bare_ref(seen));
    found.extend(reusable_workflow(relationship));
    found
}

/// A claim that none of these profiles knows; nothing is said of issuers whose claims are not known.
pub(super) fn unknown(question: &Question, profiles: &[&'static Profile]) -> Option<Problem> {
    if !matches!(question.test, Test::Claim(_)) {
        return None;
    }
    let name: &str = &question.claim;
    let first = match name.strip_prefix('/') {
        Some(path) => path.split('/').next().unwrap_or_default(),
        None => name,
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    let mut known_to = profiles.iter().copied();
    let known = REGISTERED.contains(&first.as_str())
        || known_to.any(|profile| {
            profile.tenant_claims_configured
                || profile.claim(&first).is_some()
                || profile
                    .made_up_claims
                    .iter()
                    .any(|prefix| first.starts_with(prefix))
        });
    if known || profiles.is_empty() {
        return None;
    }
    let titles: Vec<&str> = profiles.iter().map(|profile| profile.title).collect();
    let names = profiles
        .iter()
        .flat_map(|profile| profile.claims)
        .map(|claim| claim.name);
    // The prefix of CircleCI's claims is easily left out.
    let short = |name: &'static str| name.rsplit('/').next().unwrap_or(name);
    let meant = nearest(&first, names.clone()).or_else(|| {
        names
            .clone()
            .find(|name| short(name) == first || short(name).replace('-', "_") == first)
    });
    let problem = Problem::new(
        "claim-unknown",
        question.at.key.into(),
        format!("tokens of {} have no claim `{first}`", titles.join(", ")),
        "unknown claim",
    )
    .of(Severity::Warning);
    Some(match meant {
        Some(meant) => problem.mend(format!("did you mean `{meant}`?")),
        None => problem.mend(
            "`docs/claims.md` lists the claims of each CI system; is it a new one, silence this",
        ),
    })
}

/// Values that do not look like what the CI system sends.
pub(super) fn values(ask: &Ask<'_>, form: Form, lens: &mut Lens, why: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let excluded = ask.none_of.iter().filter_map(|member| match member {
        Member::Text(text, _) => Some(*text),
        Member::Glob(..) => None,
    });
    let folds = ask
        .one_of
        .iter()
        .flatten()
        .chain(&ask.none_of)
        .any(|member| matches!(member, Member::Text(_, true) | Member::Glob(_, true)));
    for text in ask.texts().chain(excluded) {
        found.extend(wrong_value(form, text, folds));
    }
    let globs: &[&str] = match form {
        Form::FullRef => &["refs/**"],
        Form::Words(words) => words,
        _ => &[],
    };
    for glob in ask.globs().filter(|_| !globs.is_empty()) {
        if !lens.some_match_any(glob, globs) {
            let mend = (form == Form::FullRef).then(|| {
                format!(
                    "write `refs/heads/{glob}` or `refs/tags/{glob}`: the claim is the full ref"
                )
            });
            found.push(WrongValue {
                code: "never-matches",
                what: format!(
                    "`{glob}` matches nothing that `{}` can be",
                    ask.question.claim
                ),
                mend,
            });
        }
    }
    let of_bare = ask
        .globs()
        .filter(|glob| form == Form::BareRef && glob.starts_with("refs/"));
    found.extend(of_bare.filter_map(|glob| wrong_value(form, glob, false)));
    found
        .into_iter()
        .map(|wrong| {
            let problem = Problem::new(
                wrong.code,
                ask.question.at.value.into(),
                wrong.what,
                "never matches",
            )
            .of(Severity::Warning)
            .because(why);
            match wrong.mend {
                Some(mend) => problem.mend(mend),
                None => problem,
            }
        })
        .collect()
}

fn wrong_value(form: Form, text: &str, folds: bool) -> Option<WrongValue> {
    let case = |right: &str| WrongValue {
        code: "wrong-case",
        what: format!("`{text}` is compared exactly, and the CI system writes `{right}`"),
        mend: Some(format!("write `{right}`")),
    };
    let never = |what: &str, mend: Option<String>| WrongValue {
        code: "never-matches",
        what: format!("`{text}` {what}"),
        mend,
    };
    let lower = text.to_ascii_lowercase();
    match form {
        Form::Words(words) | Form::KnownWords(words) => {
            if words.contains(&text) {
                return None;
            }
            if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                return (!folds).then(|| case(word));
            }
            let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            match (nearest(text, words.iter().copied()), form) {
                (Some(meant), _) if text.len() > 2 => Some(never(
                    "is none of the values that the CI system sends",
                    Some(format!("did you mean `{meant}`?")),
                )),
                (_, Form::Words(_)) => Some(never(
                    "is none of the values that the CI system sends",
                    Some(format!("it sends {}", listed.join(", "))),
                )),
                _ => None,
            }
        }
        Form::FullRef if text.is_empty() || text.starts_with("refs/") => None,
        Form::FullRef if lower.starts_with("refs/") => {
            Some(case(&format!("refs/{}", text.get(5..)?)))
        }
        Form::FullRef => Some(never(
            "is no full ref, and the claim is one",
            Some(format!(
                "write `refs/heads/{text}` for the branch or `refs/tags/{text}` for the tag"
            )),
        )),
        Form::BareRef => {
            let name = ["refs/heads/", "refs/tags/"]
                .iter()
                .find_map(|prefix| text.strip_prefix(prefix))?;
            Some(never(
                "is a full ref, and the claim is a bare name",
                Some(format!("write `{name}`")),
            ))
        }
        Form::Digits => (!text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| never("is no id: it has to be a number", None)),
        Form::Uuid => match uuid::Uuid::try_parse(text) {
            Ok(uuid) if uuid.as_hyphenated().to_string() == text => None,
            Ok(uuid) => Some(case(&uuid.as_hyphenated().to_string())),
            Err(_) => Some(never("is no UUID", None)),
        },
        Form::Digest => {
            let is_digest =
                matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            match (is_digest, lower == text) {
                (true, true) => None,
                (true, false) => Some(case(&lower)),
                (false, _) => Some(never("is no whole digest of a commit", None)),
            }
        }
        Form::LowerCase => (lower != text).then(|| case(&lower)),
        Form::OwnedPath(before) => {
            if let Some((_, path)) = text.split_once("://") {
                return Some(never(
                    "has a scheme, and the claim has none",
                    Some(format!("write `{path}`")),
                ));
            }
            (text.split('/').count() < before + 2).then(|| {
                never(
                    "is no path with its owner",
                    Some(format!("write the whole path, such as `acme/{text}`")),
                )
            })
        }
        Form::Any => None,
    }
}

/// What is asked for is excluded again.
fn empty(ask: &Ask<'_>, lens: &mut Lens) -> Option<Problem> {
    lens.is_empty(ask).then(|| {
        Problem::new(
            "never-matches",
            ask.question.at.value.into(),
            format!(
                "`{}` is asked to be {}: that is nothing",
                ask.question.claim, ask.question.wanted
            ),
            "takes away all that it asks for",
        )
        .of(Severity::Warning)
        .because("the condition never holds, and with it the relationship")
        .mend("take out the `not`, or name something that it leaves")
    })
}

/// Conditions of which each could hold, and not both.
fn together(seen: &Seen<'_>, lens: &mut Lens) -> Vec<Problem> {
    let find = |name: &str| ask_about(&seen.asks, name);
    let mut found = Vec::new();
    for consequence in seen.relationship.profile.consequences {
        let ((when, values), (then, globs)) = (consequence.when, consequence.then);
        let (Some(cause), Some(effect)) = (find(when), find(then)) else {
            continue;
        };
        let certain = cause.is_positive() && lens.escapes(cause, values) == Found::No;
        if !certain || effect.absent || lens.meets(effect, globs) != Found::No {
            continue;
        }
        let shown: Vec<String> = globs
            .iter()
            .map(|glob| match *glob {
                "" => "empty".to_owned(),
                "?**" => "not empty".to_owned(),
                glob => format!("like `{glob}`"),
            })
            .collect();
        found.push(
            Problem::new(
                "never-matches",
                effect.question.at.value.into(),
                format!("`{when}` and `{then}` contradict each other"),
                format!("with that, `{then}` is {}", shown.join(" or ")),
            )
            .of(Severity::Warning)
            .earlier(
                cause.question.at.value.into(),
                format!("`{when}` is asked to be this"),
            )
            .because("no token has both, so the relationship never holds")
            .mend("take out one of the two, or write a relationship for each"),
        );
    }
    found
}

/// Events that have to be named literally, and are only matched.
fn events(seen: &Seen<'_>, lens: &mut Lens) -> Option<Problem> {
    let requirement =
        seen.relationship
            .questions
            .iter()
            .find_map(|question| match &question.test {
                Test::Requirement(Requirement::OneOfUnlessNamed { claim, values }, _) => {
                    Some((*claim, *values))
                }
                _ => None,
            });
    let (claim, values) = requirement?;
    let ask = ask_about(&seen.asks, claim)?;
    let named: Vec<&str> = ask.texts().collect();
    let mut let_in = values.iter().chain(&named);
    if ask.absent || let_in.any(|value| lens.lets_in(ask, value)) || lens.is_empty(ask) {
        return None;
    }
    Some(
        Problem::new(
            "never-matches",
            ask.question.at.value.into(),
            format!("`{claim}` matches nothing that is let in"),
            "only matched, not named",
        )
        .of(Severity::Warning)
        .because(format!(
            "beside {}, an event holds only if the relationship names it literally",
            values.join(", ")
        ))
        .mend("name the event as a value, not by a glob or a `not`"),
    )
}

/// A condition on `sub` that matches one of its forms alone.
pub(super) fn subject_form(profile: &Profile, ask: &Ask<'_>, lens: &mut Lens) -> Option<Problem> {
    let (both, newer) = profile.subject_forms?;
    if ask.about != About::Claim("sub") {
        return None;
    }
    let mut one_form = |members: &[Member<'_>]| {
        lens.between(members, both, newer) != lens.some_match(members, newer)
    };
    let broken = ask.one_of.as_deref().is_some_and(&mut one_form)
        || (!ask.none_of.is_empty() && one_form(&ask.none_of));
    broken.then(|| {
        Problem::new(
            "sub-one-form",
            ask.question.at.value.into(),
            format!("{} writes `sub` in two forms, and this matches one of them", profile.title),
            "`repo:o/r:…` or `repo:o@65/r@74:…`",
        )
        .of(Severity::Warning)
        .because("a repository that is renamed, transferred or opts in changes from the one form to the other")
        .mend("leave out `sub`: `owner-id`, `repository-id`, `environment`, `ref` and `event_name` say the same, and stay")
    })
}

/// A bare ref without its type: a tag called like the branch passes.
fn bare_ref(seen: &Seen<'_>) -> Option<Problem> {
    let relationship = seen.relationship;
    relationship.profile.claim("ref_type")?;
    let ask = seen
        .asks
        .iter()
        .find(|ask| ask.is_positive() && form(relationship, ask) == Form::BareRef)?;
    let told = seen.asks.iter().any(|other| {
        other.about == About::Claim("ref_type") || form(relationship, other) == Form::FullRef
    });
    if told {
        return None;
    }
    relationship.profile.situation(SituationKind::Tag)?;
    Some(
        Problem::new(
            "bare-ref",
            ask.question.at.value.into(),
            format!("`{}` is a bare name: a tag and a branch of that name both match", ask.question.claim),
            "branch or tag",
        )
        .of(Severity::Warning)
        .because("who may not push to a protected branch may often make a tag that is called like it")
        .mend("add `ref_type = \"branch\"` under `[trust.claims]`, or write `ref = \"refs/heads/…\"` beside the issuer"),
    )
}

/// A reusable workflow at any ref: whoever may push to its repository changes what is trusted.
fn reusable_workflow(relationship: &Relationship) -> Option<Problem> {
    let mut fields = relationship.profile.fields.iter();
    let field = fields.find(|field| field.kind == FieldKind::ReusableWorkflow)?;
    let claim = field.source.claim();
    let at_any_ref = |glob: &str| match glob.rsplit_once('@') {
        Some((_, reference)) => !reference.is_empty() && reference.bytes().all(|byte| byte == b'*'),
        None => glob.ends_with('*'),
    };
    let question = relationship
        .questions
        .iter()
        .find(|question| match &question.test {
            Test::Field(test) => {
                matches!(&test.named, Named::Workflow(path) if path.reference.is_none())
            }
            Test::Claim(_) if &*question.claim == claim => {
                Ask::of(question).is_some_and(|ask| ask.globs().any(at_any_ref))
            }
            _ => false,
        })?;
    Some(
        Problem::new(
            "reusable-workflow-unpinned",
            question.at.value.into(),
            "the reusable workflow is trusted at any ref",
            "no ref",
        )
        .of(Severity::Warning)
        .because(
            "a branch of its repository may hold another version of it, which a caller then picks",
        )
        .mend("add `@refs/heads/main`, a tag, or best the digest of a commit"),
    )
}
