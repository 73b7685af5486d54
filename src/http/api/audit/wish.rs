//! A question to the log, from the parameters of an address.

use super::super::super::audit::AuditError;
use super::parameters::{Parameters, SHOWN, malformed};
use crate::clock::UnixTime;
use crate::reading::{InvalidWish, Question, Wish};
use crate::text::printable;

/// Parameters that may also be called as the members of an entry are.
const ALSO: [(&str, &str); 2] = [("decision_id", "decision"), ("token_id", "token")];

/// Parameters that are a moment.
const MOMENTS: [&str; 3] = ["since", "until", "at"];

/// The names of the parameters of `question`.
pub(super) fn names(question: Question) -> Vec<&'static str> {
    let mut names = question.parameters();
    let also = ALSO.iter().filter(|(_, name)| names.contains(name));
    let also: Vec<&str> = also.map(|(also, _)| *also).collect();
    names.extend(also);
    names
}

/// What `parameters` ask for at `now`. Those that `reading` does not know are left to the caller.
pub(super) fn wish(
    question: Question,
    parameters: &Parameters,
    now: UnixTime,
) -> Result<Wish, AuditError> {
    let known = names(question);
    let asked = || parameters.iter().filter(|(name, _)| known.contains(name));
    let in_millis = |(name, value): (&str, &str)| {
        let millis = value.parse::<i64>().ok()?;
        MOMENTS.contains(&name).then_some(millis)
    };
    let read = asked().filter(|asked| in_millis(*asked).is_none());
    let read = read.map(|(name, value)| (called_there(name), value));
    let mut wish = Wish::read(question, read, now).map_err(|fault| told(&fault, parameters))?;
    for (name, value) in asked() {
        match (name, in_millis((name, value))) {
            ("since", Some(millis)) => wish.filter.since_millis = Some(millis),
            ("until", Some(millis)) => wish.filter.until_millis = Some(millis),
            ("at", Some(millis)) => wish.at = UnixTime::from_millis(millis),
            _ => {}
        }
    }
    Ok(wish)
}

/// What `reading` calls a parameter.
fn called_there(name: &str) -> &str {
    let called = ALSO.iter().find(|(also, _)| *also == name);
    called.map_or(name, |(_, name)| name)
}

/// The fault with the names that the caller used, and no more of what they wrote than must be.
fn told(fault: &InvalidWish, parameters: &Parameters) -> AuditError {
    let used = |name: &str| {
        let mut also = ALSO.iter().filter(|(_, called)| *called == name);
        let also = also.find(|(also, _)| parameters.text(also).is_some());
        also.map_or(name, |(also, _)| also).to_owned()
    };
    malformed(match fault {
        InvalidWish::Value { name, value, why } => format!(
            "the parameter `{}` cannot be `{}`: {why}",
            used(name),
            printable(value, SHOWN)
        ),
        InvalidWish::Repeated(name) => format!("the parameter `{}` is given twice", used(name)),
        fault => fault.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Outcome;

    fn asked(question: Question, query: &str) -> Result<Wish, AuditError> {
        let parameters = Parameters::read(query, &names(question))?;
        wish(question, &parameters, UnixTime::from_seconds(1_000_000))
    }

    #[test]
    fn every_fact_of_an_entry_can_be_asked_for_under_its_name() {
        let id = "019aa2f3-1c5e-7b1f-8c8e-0123456789ab";
        let query = format!(
            "kind=decision&project=acme/api&organization=acme&issuer=github&subject=s&repository=r&relationship=build\
            &outcome=denied&reason=not-trusted&decision_id={id}&token_id={id}&since=1970-01-12T00:00:00Z&until=1h&limit=7"
        );
        let wish = asked(Question::List, &query).unwrap();
        let filter = wish.filter;
        assert_eq!(filter.outcome, Some(Outcome::Denied));
        assert_eq!(filter.id, filter.token_id);
        assert_eq!(filter.id.as_deref(), Some(id));
        assert_eq!(filter.since_millis, Some(11 * 24 * 3_600_000));
        assert_eq!(filter.until_millis, Some(1_000_000_000 - 3_600_000));
        assert_eq!(
            (filter.kind.unwrap(), wish.limit),
            ("decision".to_owned(), 7)
        );
    }

    #[test]
    fn a_moment_may_be_milliseconds() {
        let wish = asked(Question::List, "since=-1&until=9223372036854775807").unwrap();
        let filter = (wish.filter.since_millis, wish.filter.until_millis);
        assert_eq!(filter, (Some(-1), Some(i64::MAX)));
        let wish = asked(Question::Policy, "project=acme/api&at=5").unwrap();
        assert_eq!(wish.at, UnixTime::from_millis(5));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_under_the_name_that_it_has_here() {
        for (question, query, said) in [
            (
                Question::List,
                "token=x",
                "`token` cannot be `x`: it is a UUID",
            ),
            (
                Question::List,
                "token_id=x",
                "`token_id` cannot be `x`: it is a UUID",
            ),
            (
                Question::List,
                "before=1&from=1",
                "`before` and `from` exclude each other",
            ),
            (Question::Use, "token_id=x", "no parameter `token_id` here"),
            (Question::List, "id=x&decision_id=x", "cannot be `x`"),
            (Question::List, "limit=0", "`limit` cannot be `0`"),
            (
                Question::List,
                "limit=18446744073709551616",
                "`limit` cannot be",
            ),
            (
                Question::List,
                "since=9223372036854775808",
                "a time is RFC 3339",
            ),
            (
                Question::List,
                "outcome=%0aallowed",
                "`outcome` cannot be `allowed`",
            ),
            (Question::Policy, "", "`project` is missing"),
        ] {
            let fault = asked(question, query).unwrap_err().to_string();
            assert!(fault.contains(said), "{query}: {fault}");
        }
    }
}
