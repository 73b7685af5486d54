//! Who could get in: each relationship as a plain sentence, and whether pull requests, other branches and other owners are
//! inside.

use serde::Serialize;

use super::asks::{About, Ask, Inside, Lens, ask_about, asks_of};
use super::entry::{Mode, Question, Relationship, Test};
use super::identity::Named;
use super::language::{Found, Member};
use super::{Limits, ProjectPolicy, Scopes};
use crate::clock::Seconds;
use crate::issuer::profile::{
    FieldKind, Form, PullRequests, Requirement, Situation, SituationKind,
};

/// Who could get in by one relationship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhoGetsIn {
    /// The relationship's name.
    pub name: String,
    /// The line of the file on which it begins, from 1.
    pub line: usize,
    /// Whether it is only watched, and gives nothing.
    pub shadow: bool,
    /// What it says, in one sentence.
    pub sentence: String,
    /// Pull requests, also called merge requests.
    pub pull_requests: Inclusion,
    /// Branches beyond those that are named.
    pub other_branches: Inclusion,
    /// Jobs of somebody else.
    pub other_owners: Inclusion,
}

/// Whether somebody is inside, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inclusion {
    /// Yes or no; `None` if the token does not tell.
    pub inside: Option<bool>,
    /// Why.
    pub because: String,
}

impl Inclusion {
    fn yes(because: impl Into<String>) -> Self {
        Self::new(Some(true), because)
    }

    fn no(because: impl Into<String>) -> Self {
        Self::new(Some(false), because)
    }

    fn untold(because: impl Into<String>) -> Self {
        Self::new(None, because)
    }

    fn new(inside: Option<bool>, because: impl Into<String>) -> Self {
        let because = because.into();
        Self { inside, because }
    }
}

/// Who could get in by each relationship of `policy`, in the order of the file. `limits` says how long a token lives where
/// the relationship does not.
pub fn who(policy: &ProjectPolicy, limits: &Limits) -> Vec<WhoGetsIn> {
    let mut lens = Lens::default();
    let relationships = policy.relationships.iter();
    relationships
        .map(|relationship| {
            let asks = asks_of(relationship);
            WhoGetsIn {
                name: relationship.name.to_string(),
                line: policy
                    .file()
                    .position(std::ops::Range::from(relationship.at.header).start)
                    .0,
                shadow: relationship.mode == Mode::Shadow,
                sentence: sentence(policy, relationship, &asks, *limits),
                pull_requests: pull_requests(relationship, &asks, &mut lens),
                other_branches: other_branches(relationship, &asks, &mut lens),
                other_owners: other_owners(relationship, &asks, &mut lens),
            }
        })
        .collect()
}

/// Before a glob.
const MATCHING: &str = "matching ";

/// "any push of a tag matching v* in GitHub repository 74 of owner 65 (acme/api) that runs in environment production may
/// read and write the registry for 30 minutes".
fn sentence(
    policy: &ProjectPolicy,
    relationship: &Relationship,
    asks: &[Ask<'_>],
    limits: Limits,
) -> String {
    let mut said = Said {
        relationship,
        asks,
        used: Vec::new(),
    };
    let job = said.job();
    let reference = said.reference();
    let place = said.place();
    let rest = said.rest();
    let lifetime = relationship.lifetime.unwrap_or(limits.default_lifetime);
    let above = policy.guard_rails();
    let most = above.and_then(|above| above.longest_for(&relationship.issuer));
    let lifetime = lifetime
        .min(limits.maximum_lifetime)
        .min(most.unwrap_or(lifetime));
    let may = scopes_in_words(&relationship.scopes);
    let shadow = match relationship.mode {
        Mode::Enforce => "",
        Mode::Shadow => " (in shadow mode: it is recorded, and gives nothing)",
    };
    let off = if policy.breaches_of(relationship).is_empty() {
        ""
    } else {
        " (off: it breaks a guard rail, and gives nothing)"
    };
    format!(
        "any {job}{reference}{place}{rest} may {may} for {}{shadow}{off}",
        duration_in_words(lifetime)
    )
}

/// The parts of a sentence, and which questions they have used up.
struct Said<'r, 'a> {
    relationship: &'r Relationship,
    asks: &'r [Ask<'a>],
    used: Vec<&'r str>,
}

impl Said<'_, '_> {
    /// "push or release".
    fn job(&mut self) -> String {
        let wording = self.relationship.profile.wording;
        let Some(claim) = wording.started_by else {
            return "job".to_owned();
        };
        let asks = self.asks;
        let ask = ask_about(asks, claim);
        let Some(values) = ask
            .filter(|ask| ask.none_of.is_empty())
            .and_then(Ask::exact)
        else {
            return "job".to_owned();
        };
        let words: Vec<String> = values
            .iter()
            .map(|value| {
                let known = wording.starts.iter().find(|(word, _)| word == value);
                known.map_or_else(|| format!("`{value}`"), |(_, noun)| (*noun).to_owned())
            })
            .collect();
        self.used.push(claim);
        listed(&words, "or")
    }

    /// " of a tag matching v*".
    fn reference(&mut self) -> String {
        let asks = self.asks;
        let of_type = ask_about(asks, "ref_type");
        let only = of_type
            .and_then(Ask::exact)
            .filter(|values| values.len() == 1);
        let only = only.and_then(|values| values.first().copied());
        let refs = asks.iter().find(|ask| {
            ask.none_of.is_empty()
                && ask.is_positive()
                && matches!(form(self.relationship, ask), Form::FullRef | Form::BareRef)
        });
        let Some(ask) = refs else {
            return match only {
                Some(kind @ ("branch" | "tag")) => {
                    self.used.push("ref_type");
                    format!(" of a {kind}")
                }
                _ => String::new(),
            };
        };
        let bare = match (form(self.relationship, ask), only, of_type) {
            (Form::FullRef, ..) => "ref",
            (_, Some("tag"), _) => "tag",
            (_, Some("branch"), _) => "branch",
            _ if self.relationship.profile.claim("ref_type").is_some() => "branch or tag",
            _ => "branch",
        };
        if only.is_some() {
            self.used.push("ref_type");
        }
        self.used.push(&ask.question.claim);
        let words: Vec<String> = ask
            .one_of
            .iter()
            .flatten()
            .map(|member| reference_in_words(member, bare))
            .collect();
        format!(" of {}", listed(&words, "or"))
    }

    /// " in GitHub repository 74 of owner 65 (acme/api)".
    fn place(&mut self) -> String {
        let wording = self.relationship.profile.wording;
        if wording.place.is_empty() {
            return format!(" of the issuer `{}`", self.relationship.issuer);
        }
        let place_id = wording.place_id.and_then(|field| self.field(field));
        let place_name = wording.place_name.and_then(|field| self.field(field));
        let owner_id = wording.owner_id.and_then(|field| self.field(field));
        let owner_name = wording.owner_name.and_then(|field| self.field(field));
        let names = |one: Option<String>, other: Option<String>| {
            let matching = |name: &String| name.starts_with(MATCHING);
            let prefix = if one.iter().chain(&other).any(matching) {
                MATCHING
            } else {
                ""
            };
            let both = one.into_iter().chain(other);
            let both: Vec<String> = both.map(|name| name.replacen(MATCHING, "", 1)).collect();
            format!("{prefix}{}", both.join("/"))
        };
        let place = wording.place;
        let (ids, names) = match (place_id, owner_id) {
            (Some(id), Some(owner)) => (
                format!("{place} {id} of {} {owner}", wording.owner),
                names(owner_name, place_name),
            ),
            (Some(id), None) => (format!("{place} {id}"), names(owner_name, place_name)),
            (None, Some(owner)) => (
                format!(
                    "{place} {} of {} {owner}",
                    place_name.unwrap_or_default(),
                    wording.owner
                ),
                names(owner_name, None),
            ),
            (None, None) => (
                format!("{place} {}", names(owner_name, place_name)),
                String::new(),
            ),
        };
        if names.is_empty() {
            format!(" in {ids}")
        } else {
            format!(" in {ids} ({names})")
        }
    }

    /// What a field names, in words.
    fn field(&mut self, name: &'static str) -> Option<String> {
        let questions = &self.relationship.questions;
        let question = questions.iter().find(|question| &*question.asked == name)?;
        let Test::Field(test) = &question.test else {
            return None;
        };
        self.used.push(name);
        Some(match &test.named {
            Named::Exact(values) => match &**values {
                [single] => single.to_string(),
                several => {
                    let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                    listed(&several, "or")
                }
            },
            Named::Like(globs) => {
                let globs: Vec<String> =
                    globs.iter().map(|glob| glob.as_str().to_owned()).collect();
                format!("{MATCHING}{}", listed(&globs, "or"))
            }
            Named::Workflow(_) => question.wanted.to_string(),
        })
    }

    /// Everything else that is asked.
    fn rest(&mut self) -> String {
        let mut said = Vec::new();
        for question in &self.relationship.questions {
            let known = [&*question.asked, &*question.claim];
            if known.iter().any(|name| self.used.contains(name)) {
                continue;
            }
            said.extend(in_words(question));
        }
        match said.as_slice() {
            [] => String::new(),
            _ => format!(" {}", said.join(" and ")),
        }
    }
}

fn in_words(question: &Question) -> Option<String> {
    let wanted = &question.wanted;
    let plain = wanted.trim_matches('"');
    match &question.test {
        Test::Issuer(_) | Test::Requirement(..) => None,
        Test::Field(test) => Some(match test.field.kind {
            FieldKind::WorkflowFile => format!("that the workflow {plain} runs"),
            FieldKind::ReusableWorkflow => format!("that the reusable workflow {plain} runs"),
            _ if test.field.name == "environment" => format!("that runs in environment {plain}"),
            _ => format!("whose {} is {plain}", test.field.name),
        }),
        Test::Claim(_)
            if &*question.claim == "environment" && Ask::of(question)?.exact()?.len() == 1 =>
        {
            Some(format!("that runs in environment {plain}"))
        }
        Test::Claim(_) => Some(format!("whose `{}` is {wanted}", question.claim)),
    }
}

/// `tag v1`, `a branch matching release/*`.
fn reference_in_words(member: &Member<'_>, bare: &str) -> String {
    let (text, is_glob) = match member {
        Member::Text(text, _) => (*text, false),
        Member::Glob(text, _) => (*text, true),
    };
    let (noun, name) = match (
        text.strip_prefix("refs/heads/"),
        text.strip_prefix("refs/tags/"),
    ) {
        (Some(name), _) => ("branch", name),
        (_, Some(name)) => ("tag", name),
        _ => (bare, text),
    };
    match (is_glob, name) {
        (true, "*" | "**") => format!("any {noun}"),
        (true, _) => format!("a {noun} matching {name}"),
        (false, "") => "no ref".to_owned(),
        (false, _) => format!("{noun} {name}"),
    }
}

/// "read and write the registry, and use the scope `deploy`".
pub(super) fn scopes_in_words(scopes: &Scopes) -> String {
    const THINGS: [(&str, &str); 4] = [
        ("repository", "the repository"),
        ("registry", "the registry"),
        ("package_registry", "packages"),
        ("virtual_registry", "the virtual registry"),
    ];
    let mut words: Vec<&str> = scopes.iter().map(super::Scope::as_str).collect();
    let mut parts = Vec::new();
    for (thing, noun) in THINGS {
        let mut take = |verb: &str| {
            let scope = format!("{verb}_{thing}");
            let before = words.len();
            words.retain(|word| *word != scope);
            words.len() < before
        };
        match (take("read"), take("write")) {
            (true, true) => parts.push(format!("read and write {noun}")),
            (true, false) => parts.push(format!("read {noun}")),
            (false, true) => parts.push(format!("write {noun}")),
            (false, false) => {}
        }
    }
    if !words.is_empty() {
        let named: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let noun = if named.len() == 1 { "scope" } else { "scopes" };
        parts.push(format!("use the {noun} {}", listed(&named, "and")));
    }
    parts.join(", and ")
}

/// "30 minutes".
pub(super) fn duration_in_words(lifetime: Seconds) -> String {
    let seconds = lifetime.0;
    let units = [(3600, "hour"), (60, "minute"), (1, "second")];
    let unit = units
        .into_iter()
        .find(|(size, _)| seconds.is_multiple_of(*size));
    let (size, unit) = unit.unwrap_or((1, "second"));
    let count = seconds / size;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// `a, b or c`.
fn listed(words: &[String], between: &str) -> String {
    match words {
        [] => String::new(),
        [single] => single.clone(),
        [most @ .., last] => format!("{} {between} {last}", most.join(", ")),
    }
}

/// What the values of the claim that is asked look like.
pub(super) fn form(relationship: &Relationship, ask: &Ask<'_>) -> Form {
    match ask.about {
        About::Claim(name) => relationship
            .profile
            .claim(name)
            .map_or(Form::Any, |claim| claim.form),
        About::Field(_) => Form::Any,
    }
}

fn pull_requests(relationship: &Relationship, asks: &[Ask<'_>], lens: &mut Lens) -> Inclusion {
    match relationship.profile.pull_requests {
        PullRequests::Marked(of_forks) => {
            if let Some(event) = stranger_event(relationship, asks, lens) {
                return Inclusion::yes(format!(
                    "`{event}` is let in, which strangers can bring about"
                ));
            }
            let of_forks = if lifts_forks(relationship) {
                "those of forks too"
            } else {
                of_forks
            };
            let situation = relationship.profile.situation(SituationKind::PullRequest);
            let named = situation
                .and_then(|situation| from_named_ref(relationship, asks, situation))
                .map(|refs| refs.join(", "));
            match lens.situation(relationship, asks, SituationKind::PullRequest) {
                Some(Inside::Yes(_)) if named.is_some() => Inclusion::yes(format!(
                    "only those that come from `{}` itself; {of_forks}",
                    named.unwrap_or_default()
                )),
                Some(Inside::No(claim)) => Inclusion::no(format!("`{claim}` keeps them out")),
                Some(Inside::Yes(_)) => {
                    Inclusion::yes(format!("nothing keeps them out; {of_forks}"))
                }
                Some(Inside::Unknown) | None => Inclusion::untold("the globs are too intricate"),
            }
        }
        PullRequests::ByOrigin(claim) => {
            let origin = asks
                .iter()
                .find(|ask| ask.about == About::Claim(claim) && ask.is_positive());
            match origin {
                None => Inclusion::yes(format!(
                    "`{claim}` is not asked: builds of forks pass, where they are given secrets"
                )),
                Some(ask) => match other_owner(relationship, ask, lens) {
                    Some(example) => Inclusion::yes(format!("`{claim}` may be {example}")),
                    None => Inclusion::untold(format!(
                        "those of forks are kept out by `{claim}`; those of the repository itself are not marked"
                    )),
                },
            }
        }
        PullRequests::Unmarked => Inclusion::untold(format!(
            "no claim of {} marks them: one passes for a push to its branch",
            relationship.profile.title
        )),
        PullRequests::SettledElsewhere => Inclusion::untold(format!(
            "the token does not say; {} settles which runs get one",
            relationship.profile.title
        )),
        PullRequests::Unknown => Inclusion::untold("nothing is known of this issuer's claims"),
    }
}

/// The refs that a relationship names whole, where the claims of a pull request do not say what its ref is: then it is
/// that of the branch which it comes from.
pub(super) fn from_named_ref<'a>(
    relationship: &Relationship,
    asks: &[Ask<'a>],
    situation: &Situation,
) -> Option<Vec<&'a str>> {
    let said = |ask: &Ask<'_>| {
        let mut claims = situation.claims.iter();
        claims.any(|(claim, _)| ask.about == About::Claim(claim))
    };
    let refs = asks
        .iter()
        .find(|ask| form(relationship, ask) == Form::FullRef && !said(ask))?;
    refs.exact().filter(|_| !lifts_forks(relationship))
}

/// Whether the relationship takes merge requests of forks, by the key that lifts the requirement.
pub(super) fn lifts_forks(relationship: &Relationship) -> bool {
    let of_profile = relationship.profile.requirements.iter();
    let mut of_profile =
        of_profile.filter(|requirement| matches!(requirement, Requirement::SameProject { .. }));
    of_profile.any(|requirement| {
        !relationship.questions.iter().any(
            |question| matches!(&question.test, Test::Requirement(own, _) if *own == requirement),
        )
    })
}

/// An event that strangers can bring about and that the relationship lets in.
pub(super) fn stranger_event(
    relationship: &Relationship,
    asks: &[Ask<'_>],
    lens: &mut Lens,
) -> Option<&'static str> {
    let claim = relationship.profile.wording.started_by?;
    let known = relationship.profile.claim(claim)?;
    let ask = ask_about(asks, claim)?;
    let mut named = known.by_strangers.iter().copied();
    named.find(|event| ask.texts().any(|text| text == *event) && lens.lets_in(ask, event))
}

/// A value of a claim that names an owner, with an owner that the policy does not name literally.
pub(super) fn other_owner(
    relationship: &Relationship,
    ask: &Ask<'_>,
    lens: &mut Lens,
) -> Option<String> {
    let Form::OwnedPath(before) = form(relationship, ask) else {
        return None;
    };
    let mut owned = Vec::new();
    for glob in ask.globs() {
        let segments: Vec<&str> = glob.split('/').take(before + 1).collect();
        let literal = segments.len() == before + 1
            && glob.split('/').count() > before + 1
            && !segments.concat().contains(['*', '?']);
        if literal {
            owned.push(format!("{}/**", segments.join("/")));
        }
    }
    let exact: Vec<String> = ask.texts().map(str::to_owned).collect();
    let known: Vec<&str> = owned.iter().chain(&exact).map(String::as_str).collect();
    ask.globs().next()?;
    match lens.escapes(ask, &known) {
        Found::Yes(_) => {}
        Found::No | Found::Unknown => return None,
    }
    let path = "x-".to_owned();
    let example = vec![format!("{path}*"); before + 1].join("/") + "/?**";
    let others = [example.as_str(), "?*/?*/?**", "**"];
    others
        .iter()
        .find_map(|glob| match lens.meets(ask, &[glob]) {
            Found::Yes(value)
                if !known
                    .iter()
                    .any(|known| value.starts_with(known.trim_end_matches("**"))) =>
            {
                Some(format!("`{value}`"))
            }
            _ => None,
        })
}

fn other_branches(relationship: &Relationship, asks: &[Ask<'_>], lens: &mut Lens) -> Inclusion {
    match lens.situation(relationship, asks, SituationKind::Branch) {
        None => return Inclusion::untold("the token does not tell of branches"),
        Some(Inside::No(claim)) => return Inclusion::no(format!("`{claim}` lets in no branch")),
        Some(Inside::Yes(_) | Inside::Unknown) => {}
    }
    let mut why = None;
    for ask in asks {
        let globs: &[&str] = match form(relationship, ask) {
            Form::FullRef => &["refs/heads/?**"],
            Form::BareRef => &["?**"],
            _ => continue,
        };
        if ask.absent || !ask.is_positive() {
            continue;
        }
        let claim = &ask.question.claim;
        if let Some(values) = ask.exact() {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            return Inclusion::no(format!("`{claim}` is {}", listed(&values, "or")));
        }
        let globs: Vec<&str> = globs.to_vec();
        let mut unnamed = ask.clone();
        let named = ask.texts().map(|text| Member::Text(text, false));
        unnamed.none_of.extend(named);
        if let Found::Yes(example) = lens.meets(&unnamed, &globs) {
            why = Some(format!(
                "`{claim}` may be any that matches, such as `{example}`"
            ));
        }
    }
    Inclusion::yes(why.unwrap_or_else(|| "no condition names a branch".to_owned()))
}

fn other_owners(relationship: &Relationship, asks: &[Ask<'_>], lens: &mut Lens) -> Inclusion {
    let profile = relationship.profile;
    for ask in asks {
        let name = &ask.question.claim;
        let own = profile
            .wording
            .place_name
            .and_then(|field| profile.field(field));
        let is_place = own.is_some_and(|field| field.source.claim() == &**name);
        if is_place {
            continue;
        }
        if let Some(example) = other_owner(relationship, ask, lens) {
            return Inclusion::yes(format!("`{name}` may be {example}"));
        }
    }
    let given = |field: Option<&'static str>| {
        let field = field?;
        let mut questions = relationship.questions.iter();
        questions.find(|question| &*question.asked == field)
    };
    let ids = [
        given(profile.wording.owner_id),
        given(profile.wording.place_id),
    ];
    if let Some(id) = ids.into_iter().flatten().next() {
        return Inclusion::no(format!("`{}` is {}", id.asked, id.wanted));
    }
    if profile.wording.place.is_empty() {
        return Inclusion::no("an exact value tells the issuer's customers apart");
    }
    let name = [
        given(profile.wording.owner_name),
        given(profile.wording.place_name),
    ];
    let name = name.into_iter().flatten().next();
    Inclusion::no(match name {
        Some(name) => format!(
            "as long as nobody else registers the `{}` {}: no id is given",
            name.asked, name.wanted
        ),
        None => "the identity fields name one owner".to_owned(),
    })
}
