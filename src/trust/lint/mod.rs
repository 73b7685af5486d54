//! Lint: what loads, and is probably not what was meant, or lets in more than it looks.
//!
//! Each finding has a code that is never renamed, says why it matters and what to write instead, and can be silenced where
//! it stands. A false alarm costs more than a nicety that is missed: what is not certain is not said.

mod claims;
mod denies;
mod globs;
mod ids;
mod issuers;
mod labels;
mod overlap;
mod pull_requests;
mod pushers;
mod silenced;

use self::labels::Labels;
use super::asks::{Ask, Lens, asks_of};
use super::entry::{Deny, DenyAsks, Relationship, Silence};
use super::fault::{Problem, Report};
use super::{Breach, Case, CaseStart, GuardRails, Limits, PolicyFile, ProjectPolicy, Scopes};
use crate::issuer::{Profile, Registry};

/// Every code that lint can report, with what it is about in one line, in the order in which the documentation shows them.
pub const LINTS: &[(&str, &str)] = &[
    (
        "pusher-chooses",
        "write scopes rest only on claims that whoever pushes chooses",
    ),
    (
        "write-for-pull-requests",
        "write scopes are open to pull requests",
    ),
    ("pull-request-target", "`pull_request_target` is let in"),
    (
        "stranger-event",
        "an event is let in that strangers can bring about",
    ),
    (
        "pull-requests-unmarked",
        "no claim of this CI system marks pull requests",
    ),
    (
        "vcs-origin-missing",
        "builds of forks are not told from the project's own",
    ),
    (
        "ssh-rerun",
        "jobs are let in that somebody started again with SSH",
    ),
    ("id-missing", "a name stands without its id"),
    ("label-differs", "one id has two names"),
    (
        "glob-crosses-segments",
        "a `**` matches across `/` where that is easily missed",
    ),
    (
        "glob-other-owners",
        "a glob matches what belongs to other owners",
    ),
    (
        "glob-pull-requests",
        "a glob of refs matches those of pull requests",
    ),
    (
        "shadowed",
        "another relationship gives all that this one gives",
    ),
    (
        "always-denied",
        "a deny holds whenever the relationship does",
    ),
    ("never-matches", "no token can satisfy the relationship"),
    ("claim-unknown", "the CI system sends no such claim"),
    (
        "wrong-case",
        "the case of a value is wrong where compare is exact",
    ),
    (
        "sub-one-form",
        "a condition on `sub` breaks under one of GitHub's two forms",
    ),
    ("bare-ref", "a bare ref does not tell a branch from a tag"),
    (
        "reusable-workflow-unpinned",
        "a reusable workflow is trusted at any ref",
    ),
    (
        "lifetime-long",
        "a token with write scopes lives over an hour",
    ),
    (
        "deny-optional-claim",
        "a deny is escaped by leaving out the claim",
    ),
    (
        "issuer-trailing-slash",
        "an issuer's address ends with a `/`",
    ),
    (
        "issuer-name-misleads",
        "an issuer is named like another one",
    ),
    ("case-not-found", "a case names claims that are not there"),
    ("silence-unused", "what is silenced does not occur"),
];

pub use labels::Renamed;

/// Reads the policies of a folder once, and then reports what is to be said of each.
pub struct Linter<'r> {
    registry: &'r Registry,
    limits: Limits,
    lens: Lens,
    labels: Labels<'r>,
}

/// A relationship with what it asks.
struct Seen<'a> {
    relationship: &'a Relationship,
    asks: Vec<Ask<'a>>,
}

impl<'r> Linter<'r> {
    /// A linter for these policies, which are looked at together where one name has to agree with another. `limits` says
    /// how long tokens live where a relationship does not.
    pub fn new(
        policies: impl IntoIterator<Item = &'r ProjectPolicy>,
        registry: &'r Registry,
        limits: Limits,
    ) -> Self {
        Self {
            registry,
            limits,
            lens: Lens::default(),
            labels: Labels::of(policies),
        }
    }

    /// Takes the names that jobs had of late: those that differ are reported as `label-differs` too.
    pub fn compare_with(&mut self, renamed: Vec<Renamed>) {
        self.labels.compare_with(renamed);
    }

    /// What is to be said of one policy, without what it silences, and in what it breaks a guard rail.
    ///
    /// `missing` says what is wrong with the claims that a case starts from, if they cannot be had.
    pub fn check(
        &mut self,
        policy: &ProjectPolicy,
        missing: &dyn Fn(&CaseStart) -> Option<String>,
    ) -> Report {
        let mut kept = silenced::Kept::new(&policy.silence);
        let seen: Vec<Seen<'_>> = policy
            .relationships
            .iter()
            .map(|relationship| Seen {
                relationship,
                asks: asks_of(relationship),
            })
            .collect();
        let mut overlap =
            overlap::find(&seen, policy, &mut self.lens, self.limits.default_lifetime);
        for (at, one) in seen.iter().enumerate() {
            let mut found = self.of_trust(one, policy);
            found.extend(overlap.remove(&at));
            kept.of_entry(&one.relationship.silence, found);
        }
        for deny in policy.denies.iter() {
            let profiles = self.profiles(deny);
            let found = denies::check(deny, &profiles, &mut self.lens);
            kept.of_entry(&deny.silence, found);
        }
        for case in policy.cases() {
            let found = missing(&case.start).map(|fault| not_found(case, fault));
            kept.of_entry(&case.silence, found.into_iter().collect());
        }
        let mut problems = kept.finish();
        problems.extend(policy.breaches().iter().map(Breach::problem));
        Report::new(policy.file().clone(), problems)
    }

    /// What is to be said of an organization's guard rails, without what they silence.
    pub fn check_guard_rails(&mut self, guard_rails: &GuardRails) -> Report {
        let mut kept = silenced::Kept::new(&guard_rails.silence);
        for deny in &guard_rails.denies {
            let profiles = self.profiles(deny);
            let found = denies::check(deny, &profiles, &mut self.lens);
            kept.of_entry(&deny.silence, found);
        }
        for require in &guard_rails.requires {
            kept.of_entry(&require.silence, Vec::new());
        }
        Report::new(guard_rails.file().clone(), kept.finish())
    }

    /// What is to be said of the configured issuers, in `file`, the configuration.
    pub fn check_issuers(&self, file: PolicyFile) -> Report {
        let found = issuers::check(self.registry, &file);
        Report::new(file, found)
    }

    /// The profiles of the issuers that a deny is for.
    fn profiles(&self, deny: &Deny) -> Vec<&'static Profile> {
        let mut profiles: Vec<&'static Profile> = match &deny.asks {
            DenyAsks::OneIssuer { issuer, .. } => {
                let issuer = self.registry.named(issuer);
                issuer.map(|issuer| issuer.profile).into_iter().collect()
            }
            DenyAsks::EveryIssuer(_) => {
                let all = self.registry.all();
                all.map(|issuer| issuer.profile).collect()
            }
        };
        profiles.sort_by_key(|profile| profile.name);
        profiles.dedup_by_key(|profile| profile.name);
        profiles
    }

    fn of_trust(&mut self, seen: &Seen<'_>, policy: &ProjectPolicy) -> Vec<Problem> {
        let lens = &mut self.lens;
        let mut found = Vec::new();
        found.extend(pushers::check(seen, lens));
        found.extend(pull_requests::check(seen, lens));
        found.extend(ids::check(seen));
        found.extend(self.labels.check(seen.relationship, policy));
        found.extend(globs::check(seen, lens));
        found.extend(claims::check(seen, lens));
        found.extend(pushers::lifetime(seen.relationship, self.limits));
        found
    }
}

fn not_found(case: &Case, fault: String) -> Problem {
    Problem::new("case-not-found", case.start_place(), fault, "not to be had").because(
        "the case cannot be run, so nobody learns when the policy stops doing what it says",
    )
}

/// The scopes that surely let a job change something, as words of it: what other words mean is the project's own business.
fn writing(scopes: &Scopes) -> Vec<String> {
    const VERBS: [&str; 13] = [
        "admin", "create", "delete", "deploy", "destroy", "manage", "publish", "push", "release",
        "sign", "update", "upload", "write",
    ];
    let words = scopes.to_vec().into_iter();
    words
        .filter(|scope| {
            let mut parts = scope.split(|c: char| !c.is_ascii_alphanumeric());
            parts.any(|part| VERBS.contains(&part.to_ascii_lowercase().as_str()))
        })
        .map(|scope| format!("`{scope}`"))
        .collect()
}

/// Whether a silence is for a code.
fn silences(silence: &[Silence], code: &str) -> Option<usize> {
    silence.iter().position(|silence| &*silence.code == code)
}

/// The names of all lints, for a did-you-mean.
fn codes() -> impl Iterator<Item = &'static str> {
    LINTS.iter().map(|(code, _)| *code)
}

#[cfg(test)]
mod tests;
