//! What the demo shows, step by step.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::assemble::Parts;
use super::super::policy::record_in_words;
use super::DemoError;
use crate::audit::DecisionId;
use crate::client::{Answer, Client};
use crate::config::Config;
use crate::fake_ci::{FakeCi, Job};

pub(super) struct Tour<'a> {
    pub config: &'a Config,
    pub ci: &'a FakeCi,
    pub parts: &'a Parts,
    pub policies: &'a Path,
}

/// One job of the tour: its CI system, what it is like, and the project whose policy trusts it.
struct Stop {
    profile: &'static str,
    claim_set: &'static str,
    project: &'static str,
    what: &'static str,
}

const STOPS: [Stop; 5] = [
    Stop {
        profile: "github",
        claim_set: "github-push",
        project: "acme/api",
        what: "a push to main",
    },
    Stop {
        profile: "circleci",
        claim_set: "circleci-v2-push",
        project: "acme/web",
        what: "a push to main, in a context",
    },
    Stop {
        profile: "buildkite",
        claim_set: "buildkite-optional-claims",
        project: "acme/images",
        what: "a build of main that asked for its ids",
    },
    Stop {
        profile: "rwx",
        claim_set: "rwx-vault-subject-org-slug",
        project: "acme/site",
        what: "a task with the vault open",
    },
    Stop {
        profile: "gitlab",
        claim_set: "gitlab-push",
        project: "acme/mobile",
        what: "a pipeline of a push",
    },
];

impl Tour<'_> {
    /// Shows everything. Answers whether every exchange came out as it should.
    pub(super) async fn walk(&self) -> Result<bool, DemoError> {
        let (us, ci) = (&self.config.public_url, self.ci.signer().base());
        println!(
            "Countersign is at {us}, with the trust policies in {}.",
            self.policies.display()
        );
        println!("Five pretended CI systems are at {ci}; `curl {ci}` tells more.\n");
        println!(
            "1. One job of each CI system exchanges its identity token for a project token.\n"
        );

        let client = Client::new(us)?;
        let mut as_expected = true;
        for stop in &STOPS {
            let token = self.token(stop, Map::new())?;
            match client.exchange(&token, stop.project).await? {
                Answer::Issued(issued) => println!(
                    "   {:<10} {:<39} {:<12} may {} for {} s",
                    stop.profile, stop.what, stop.project, issued.scope, issued.expires_in
                ),
                Answer::Denied(denied) => {
                    as_expected = false;
                    println!(
                        "   {:<10} REFUSED: {}",
                        stop.profile, denied.error_description
                    );
                }
            }
        }
        as_expected &= self.show_denial(&client).await?;
        self.show_commands();
        Ok(as_expected)
    }

    /// The same GitHub job on a branch that no relationship trusts.
    async fn show_denial(&self, client: &Client) -> Result<bool, DemoError> {
        let Some(stop) = STOPS.first() else {
            return Ok(false);
        };
        println!(
            "\n2. The same GitHub workflow on another branch gets nothing, and is told why.\n"
        );
        let branch = Map::from_iter([("ref".to_owned(), json!("refs/heads/experiment"))]);
        let token = self.token(stop, branch)?;
        let Answer::Denied(denied) = client.exchange(&token, stop.project).await? else {
            println!("   It got a token, and should not have.");
            return Ok(false);
        };
        println!("   reason       {}", denied.reason);
        println!("   description  {}", denied.error_description);
        println!(
            "\n   The operator sees the whole decision, with what was wanted and what was found:\n"
        );
        let id = denied
            .decision_id
            .as_deref()
            .and_then(|id| DecisionId::parse(id).ok());
        let Some(id) = id else { return Ok(false) };
        let ledger = &self.parts.service.exchange.ledger;
        match ledger.decision(id).await {
            Ok(Some(record)) => {
                for line in record_in_words(&record).lines() {
                    println!("   {line}");
                }
                Ok(true)
            }
            Ok(None) | Err(_) => Ok(false),
        }
    }

    fn show_commands(&self) {
        let (us, ci) = (&self.config.public_url, self.ci.signer().base());
        println!("\n3. The same by hand, while this demo serves:\n");
        println!(
            "   token=$(curl -s '{ci}/token/github?claims=github-push&audience={us}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')"
        );
        println!("   curl -s {us}/oauth/token \\");
        println!("     -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\");
        println!("     -d subject_token_type=urn:ietf:params:oauth:token-type:id_token \\");
        println!("     -d audience=acme/api -d subject_token=\"$token\"\n");
        println!(
            "   A second try with the same token answers `token-spent`. Add `&ref=refs/heads/experiment` to the"
        );
        println!(
            "   first address for a denial, or edit {}/acme/api.toml: it is read again at once.",
            self.policies.display()
        );
    }

    fn token(&self, stop: &Stop, changes: Map<String, Value>) -> Result<String, DemoError> {
        let job = Job::new(stop.profile, Some(stop.claim_set), changes)?;
        // CircleCI puts its organization there, and a job need not ask for anything else.
        let audience = (stop.profile != "circleci").then_some(self.config.public_url.as_str());
        Ok(self.ci.token(&job, audience)?.token)
    }
}
