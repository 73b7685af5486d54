//! Which members an entry of each kind has: `docs/audit-entry.schema.json`, as a table.

use super::shape::Shape;

/// A member of an entry.
pub struct Member {
    pub name: &'static str,
    pub shape: Shape,
    /// Whether an entry of the kind must have it, or withhold it.
    pub required: bool,
}

/// One kind of entry.
pub struct Kind {
    pub name: &'static str,
    pub members: &'static [Member],
}

const fn must(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        required: true,
    }
}

const fn may(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        required: false,
    }
}

/// What every entry has, but for its id, which each kind names.
pub const COMMON: [Member; 3] = [
    must("version", Shape::Integer),
    must("kind", Shape::Text),
    must("at_millis", Shape::Integer),
];

/// The kind of decisions, which have rules of their own.
pub const DECISION: &str = "decision";
/// The kind of entry that announces an earlier time.
pub const CLOCK_PUT_BACK: &str = "clock-put-back";

/// What an allowed decision has beside [`KINDS`].
pub const ALLOWED: [&str; 6] = [
    "issuer",
    "subject",
    "project",
    "project_id",
    "token_id",
    "token_expires",
];

const ID: Member = must("event_id", Shape::Id);

/// The kinds that are known.
pub const KINDS: [Kind; 14] = [
    Kind {
        name: DECISION,
        members: &[
            must("decision_id", Shape::Id),
            must("outcome", Shape::Outcome),
            must("verified", Shape::Boolean),
            must("audience", Shape::Text),
            may("issuer", Shape::Text),
            may("unverified_issuer", Shape::Text),
            may("subject", Shape::Text),
            may("claims", Shape::Object),
            may("project", Shape::Text),
            may("project_id", Shape::Text),
            may("policy_digest", Shape::Text),
            may("guard_rails_digest", Shape::Text),
            may("trust", Shape::Texts),
            may("reason", Shape::Text),
            may("nearest", Shape::Text),
            may("shadow_trust", Shape::Texts),
            may("shadow_denies", Shape::Texts),
            may("renamed", Shape::Texts),
            may("scopes", Shape::Texts),
            may("resource", Shape::Text),
            may("token_id", Shape::Id),
            may("token_expires", Shape::Integer),
            may("use_number", Shape::Integer),
            may("repository", Shape::Text),
            may("run_id", Shape::Text),
            may("client_address", Shape::Text),
            may("user_agent", Shape::Text),
        ],
    },
    Kind {
        name: "pin-made",
        members: &[
            ID,
            must("names", Shape::Object),
            must("ids", Shape::TextMap),
            must("decision_id", Shape::Id),
        ],
    },
    Kind {
        name: "pin-reset",
        members: &[
            ID,
            must("names", Shape::Object),
            must("ids", Shape::TextMap),
            must("by", Shape::Text),
        ],
    },
    Kind {
        name: CLOCK_PUT_BACK,
        members: &[ID, must("before_millis", Shape::Integer)],
    },
    event("log-named"),
    event("denials-counted"),
    event("policy-loaded"),
    event("policy-refused"),
    event("policy-removed"),
    event("configuration-loaded"),
    event("signing-key-made"),
    event("signing-key-retired"),
    event("issuer-keys-changed"),
    event("personal-values-removed"),
];

/// A kind of which only what all events have is checked.
const fn event(name: &'static str) -> Kind {
    Kind {
        name,
        members: &[ID],
    }
}

/// A kind that this program does not know: a newer one wrote it.
pub const UNKNOWN: Kind = event("");

/// The kind of this name, or [`UNKNOWN`].
pub fn kind(name: &str) -> &'static Kind {
    static UNKNOWN_KIND: Kind = UNKNOWN;
    static KNOWN: [Kind; 14] = KINDS;
    let mut known = KNOWN.iter();
    known
        .find(|kind| kind.name == name)
        .unwrap_or(&UNKNOWN_KIND)
}
