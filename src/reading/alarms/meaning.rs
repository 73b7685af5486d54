//! What an alarm may mean, and what to look at.

use super::AlarmKind;

/// What it may mean, in one sentence.
pub(super) fn meaning(kind: AlarmKind, reason: Option<&str>) -> String {
    match kind {
        AlarmKind::IdentityChanged => {
            "a name that a policy gives without its id came with another id: it may have been given up and registered by \
             somebody else"
                .to_owned()
        }
        AlarmKind::TokenFromOtherAddress => {
            "one identity token was exchanged from several addresses: it may have been copied out of its job".to_owned()
        }
        AlarmKind::TokenSpent => {
            "an identity token was shown again after it was spent: it may have been copied, or a job tried again with the \
             token that it had"
                .to_owned()
        }
        AlarmKind::RunFromOtherAddress => {
            "jobs of one run were given tokens at several addresses: a run with several machines looks so too".to_owned()
        }
        AlarmKind::ManySubjects => format!(
            "many subjects were denied within a short time: {}",
            of_many(reason.unwrap_or_default())
        ),
        AlarmKind::DenialsCounted => {
            "there were so many denials of callers who proved nothing that they were counted and not recorded one by one: \
             somebody floods or probes the service, or a CI system is set up wrong"
                .to_owned()
        }
    }
}

/// What it means if many are denied for this reason.
fn of_many(reason: &str) -> &'static str {
    match reason {
        "not-trusted" | "denied-by-rule" => {
            "somebody may try which projects trust whom, or a policy was tightened"
        }
        "signature-invalid" | "key-unknown" | "algorithm-refused" | "token-malformed"
        | "claim-type" | "issuer-unknown" => {
            "somebody may try forged tokens, or an issuer changed its keys"
        }
        "token-expired" | "token-not-yet-valid" | "token-too-old" => {
            "somebody may try tokens that were found later, or a clock is wrong"
        }
        "audience-mismatch" => "tokens that were made for others are tried here",
        "relationship-expired" => "a policy gives names that nobody used in time",
        _ => "somebody may try what the service takes",
    }
}

/// What to look at, in one sentence.
pub(super) fn look_at(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::IdentityChanged => {
            "ask the owner of the name; if the change is theirs, give the ids in the policy or reset the pin, else keep it"
        }
        AlarmKind::TokenFromOtherAddress => {
            "see whether each address is one of the job's machines; if not, revoke what its project tokens reached, and look \
             at who can read the job's environment and logs"
        }
        AlarmKind::TokenSpent => {
            "compare the address with that of the exchange that spent the token; `countersign audit list` with its subject \
             shows it"
        }
        AlarmKind::RunFromOtherAddress => {
            "see whether the addresses are those of your runners; hosted runners have many"
        }
        AlarmKind::ManySubjects => {
            "see whether the subjects belong together and what changed before: the policy, the issuer's keys, a workflow \
             that many share"
        }
        AlarmKind::DenialsCounted => {
            "look at the service's own log for the addresses, and at `countersign audit list --outcome denied` for those that \
             were recorded"
        }
    }
}
