//! Pull requests: code that nobody reviewed yet.

use super::super::asks::{About, Ask, Inside, Lens, ask_about};
use super::super::condition::Scalar;
use super::super::entry::{Relationship, Test};
use super::super::fault::{Problem, Severity};
use super::super::place::Place;
use super::super::who::{from_named_ref, lifts_forks, stranger_event};
use super::{Seen, writing};
use crate::issuer::profile::{FieldKind, PullRequests, Requirement, SituationKind};

pub(super) fn check(seen: &Seen<'_>, lens: &mut Lens) -> Vec<Problem> {
    let mut found = Vec::new();
    found.extend(strangers(seen, lens));
    found.extend(ssh_rerun(seen.relationship));
    match seen.relationship.profile.pull_requests {
        PullRequests::Marked(of_forks) => found.extend(open(seen, lens, of_forks)),
        PullRequests::ByOrigin(claim) => found.extend(origin(seen, claim)),
        PullRequests::Unmarked => found.push(unmarked(seen)),
        PullRequests::SettledElsewhere | PullRequests::Unknown => {}
    }
    found
}

/// Where a claim is asked, or else where the entry begins.
fn place(seen: &Seen<'_>, claim: &str) -> Place {
    ask_about(&seen.asks, claim).map_or(seen.relationship.at.header, |ask| ask.question.at.value)
}

fn strangers(seen: &Seen<'_>, lens: &mut Lens) -> Option<Problem> {
    let relationship = seen.relationship;
    let event = stranger_event(relationship, &seen.asks, lens)?;
    let claim = relationship.profile.wording.started_by?;
    let at = place(seen, claim).into();
    let writes = !writing(&relationship.scopes).is_empty();
    if event == "pull_request_target" {
        let severity = if writes {
            Severity::Error
        } else {
            Severity::Warning
        };
        return Some(
            Problem::new(
                "pull-request-target",
                at,
                "`pull_request_target` lets in jobs that anyone starts by opening a pull request",
                "any fork starts these jobs",
            )
            .of(severity)
            .because(
                "such a job runs with the repository's own identity beside code, titles and caches that a stranger \
                controls; it has been the way into many release pipelines",
            )
            .mend("take it out; a job that needs no more than to test a pull request runs on `pull_request`"),
        );
    }
    Some(
        Problem::new(
            "stranger-event",
            at,
            format!("strangers can start jobs of the event `{event}`"),
            "not only those who may push",
        )
        .of(Severity::Warning)
        .because(
            "the job runs with the repository's own identity, at a moment and with content that somebody else chooses",
        )
        .mend(format!("take out `{event}`, or give this relationship read scopes alone")),
    )
}

fn ssh_rerun(relationship: &Relationship) -> Option<Problem> {
    let named = relationship
        .questions
        .iter()
        .find_map(|question| match &question.test {
            Test::Requirement(Requirement::FalseUnlessNamed(claim), named)
                if named.contains(&Scalar::Boolean(true)) =>
            {
                Some(*claim)
            }
            _ => None,
        })?;
    let mut questions = relationship.questions.iter();
    let at = questions
        .find(|question| matches!(question.test, Test::Claim(_)) && &*question.claim == named)?;
    Some(
        Problem::new(
            "ssh-rerun",
            at.at.value.into(),
            "a job that was started again with SSH gets a token",
            "somebody may sit in the job",
        )
        .because("whoever may start a job again has a shell in it, and takes the token along")
        .mend("take the line out: such jobs are then refused"),
    )
}

fn open(seen: &Seen<'_>, lens: &mut Lens, of_forks: &str) -> Option<Problem> {
    let relationship = seen.relationship;
    let scopes = writing(&relationship.scopes);
    if scopes.is_empty() {
        return None;
    }
    let Some(Inside::Yes(_)) = lens.situation(relationship, &seen.asks, SituationKind::PullRequest)
    else {
        return None;
    };
    let situation = relationship.profile.situation(SituationKind::PullRequest)?;
    // One that comes from a branch that is named whole comes from whoever may push there.
    if from_named_ref(relationship, &seen.asks, situation).is_some() {
        return None;
    }
    let (claim, values) = situation.claims.first()?;
    let value = values.first()?;
    let forks = lifts_forks(relationship);
    let guarded = relationship.questions.iter().any(|question| {
        question.claim.starts_with("environment")
            || matches!(&question.test, Test::Field(test)
                    if test.field.kind == FieldKind::ReusableWorkflow)
    });
    let severity = match (forks, guarded) {
        (true, _) => Severity::Error,
        (false, true) => Severity::Note,
        (false, false) => Severity::Warning,
    };
    let who = if forks {
        "of any fork"
    } else {
        "of the repository's own branches"
    };
    let asked = ask_about(&seen.asks, claim).filter(|ask| Ask::is_positive(ask));
    let mend = match asked {
        Some(_) => format!("take `{value}` out of `{claim}`, or split it off with read scopes"),
        None => format!("add `{claim} = \"push\"` under `[trust.claims]`, or ask for a ref"),
    };
    let at = asked.map_or(
        relationship.at.scopes.unwrap_or(relationship.at.header),
        |ask| ask.question.at.value,
    );
    let forks_note = if forks {
        String::new()
    } else {
        format!(" ({of_forks})")
    };
    Some(
        Problem::new(
            "write-for-pull-requests",
            at.into(),
            format!("pull requests {who} get {}", scopes.join(", ")),
            "pull requests are inside",
        )
        .of(severity)
        .because(format!(
            "what a pull request runs, nobody has reviewed yet{forks_note}"
        ))
        .mend(mend),
    )
}

fn origin(seen: &Seen<'_>, claim: &str) -> Option<Problem> {
    let asked = seen
        .asks
        .iter()
        .any(|ask| ask.about == About::Claim(claim) && ask.is_positive());
    if asked {
        return None;
    }
    let profile = seen.relationship.profile;
    let mut fields = profile.fields.iter();
    let field =
        fields.find(|field| field.source.claim() == claim && field.kind == FieldKind::Path)?;
    Some(
        Problem::new(
            "vcs-origin-missing",
            seen.relationship.at.header.into(),
            format!("builds of forks pass for builds of the project: `{}` is missing", field.name),
            "no repository is named here",
        )
        .of(Severity::Warning)
        .because(format!(
            "where {} passes secrets to forks, a fork's build has the project's own ids; only the origin tells",
            profile.title
        ))
        .mend(format!("add `{} = \"github.com/acme/api\"`, without a scheme", field.name)),
    )
}

/// Lint that no edit can satisfy is a note, once all is given that narrows it down.
fn unmarked(seen: &Seen<'_>) -> Problem {
    let relationship = seen.relationship;
    let profile = relationship.profile;
    let gives = |name: &str| relationship.questions.iter().any(|own| &*own.asked == name);
    let missing: Vec<String> = profile
        .fields
        .iter()
        .filter(|field| field.id_of.is_some() || field.name == "branch")
        .filter(|field| !(gives(field.name) || field.name == "branch" && asks_for_a_branch(seen)))
        .map(|field| format!("`{} = \"…\"`", field.name))
        .collect();
    let severity = if missing.is_empty() {
        Severity::Note
    } else {
        Severity::Warning
    };
    let mend = if missing.is_empty() {
        "build pull requests, above all those of forks, in a pipeline of their own".to_owned()
    } else {
        format!(
            "add {}, and build pull requests, above all those of forks, in a pipeline of their own",
            missing.join(" and ")
        )
    };
    Problem::new(
        "pull-requests-unmarked",
        relationship
            .at
            .issuer
            .unwrap_or(relationship.at.header)
            .into(),
        format!(
            "no claim of {} tells a pull request from a push",
            profile.title
        ),
        "pull requests may be inside",
    )
    .of(severity)
    .because("where forks are built, one whose branch is called `main` looks like `main`")
    .mend(mend)
}

fn asks_for_a_branch(seen: &Seen<'_>) -> bool {
    seen.asks
        .iter()
        .any(|ask| ask.is_positive() && ask.about == About::Claim("build_branch"))
}
