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
/// The kind of entry that says whose log it is.
pub const LOG_NAMED: &str = "log-named";
/// The kind of entry that says which withheld values were deleted.
pub const PERSONAL_VALUES_REMOVED: &str = "personal-values-removed";
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
            may("reason", Shape::Text),
            may("nearest", Shape::Text),
            may("denied_by", Shape::Text),
            may("issuer", Shape::Text),
            must("verified", Shape::Boolean),
            may("unverified_issuer", Shape::Text),
            may("subject", Shape::Text),
            may("claims", Shape::Object),
            may("repository", Shape::Text),
            may("run_id", Shape::Text),
            must("audience", Shape::Text),
            may("project", Shape::Text),
            may("project_id", Shape::Text),
            may("policy_digest", Shape::Text),
            may("guard_rails_digest", Shape::Text),
            may("trust", Shape::Texts),
            may("shadow_trust", Shape::Texts),
            may("shadow_denies", Shape::Texts),
            may("renamed", Shape::Texts),
            may("scopes", Shape::Texts),
            may("resource", Shape::Text),
            may("token_id", Shape::Id),
            may("token_expires", Shape::Integer),
            may("use_number", Shape::Integer),
            may("client_address", Shape::Text),
            may("user_agent", Shape::Text),
        ],
    },
    Kind {
        name: LOG_NAMED,
        members: &[ID, must("origin", Shape::Text), must("key", Shape::Text)],
    },
    Kind {
        name: "pin-made",
        members: &[
            ID,
            must("names", Shape::Names),
            must("ids", Shape::TextMap),
            must("decision_id", Shape::Id),
        ],
    },
    Kind {
        name: "pin-reset",
        members: &[
            ID,
            must("names", Shape::Names),
            must("ids", Shape::TextMap),
            must("by", Shape::Text),
        ],
    },
    Kind {
        name: "denials-counted",
        members: &[
            ID,
            must("issuer", Shape::Text),
            must("reason", Shape::Text),
            must("hour_millis", Shape::Integer),
            must("count", Shape::Count),
        ],
    },
    Kind {
        name: "policy-loaded",
        members: &[
            ID,
            must("file", Shape::Text),
            must("organization", Shape::Text),
            may("project", Shape::Text),
            may("project_id", Shape::Text),
            must("digest", Shape::Text),
            may("before", Shape::Text),
            may("added", Shape::Texts),
            may("removed", Shape::Texts),
            may("changed", Shape::Texts),
        ],
    },
    Kind {
        name: "policy-refused",
        members: &[
            ID,
            must("file", Shape::Text),
            may("digest", Shape::Text),
            must("message", Shape::Text),
            may("in_force", Shape::Text),
        ],
    },
    Kind {
        name: "policy-removed",
        members: &[ID, must("file", Shape::Text), may("before", Shape::Text)],
    },
    Kind {
        name: "configuration-loaded",
        members: &[
            ID,
            must("program", Shape::Text),
            must("digest", Shape::Text),
            may("before", Shape::Text),
            must("settings", Shape::Object),
        ],
    },
    Kind {
        name: "signing-key-made",
        members: &[
            ID,
            must("key_id", Shape::Text),
            must("algorithm", Shape::Text),
            must("signs_from_millis", Shape::Integer),
            must("public_key", Shape::Object),
        ],
    },
    Kind {
        name: "signing-key-retired",
        members: &[ID, must("key_id", Shape::Text)],
    },
    Kind {
        name: "issuer-keys-changed",
        members: &[
            ID,
            must("issuer", Shape::Text),
            must("added", Shape::Keys),
            must("removed", Shape::Keys),
        ],
    },
    Kind {
        name: PERSONAL_VALUES_REMOVED,
        members: &[ID, must("until", Shape::Count)],
    },
    Kind {
        name: CLOCK_PUT_BACK,
        members: &[ID, must("before_millis", Shape::Integer)],
    },
];

/// A kind that this program does not know: a newer one wrote it. Only what all events have is checked.
const UNKNOWN: Kind = Kind {
    name: "",
    members: &[ID],
};

/// The kind of this name, or [`UNKNOWN`].
pub fn kind(name: &str) -> &'static Kind {
    static UNKNOWN_KIND: Kind = UNKNOWN;
    static KNOWN: [Kind; 14] = KINDS;
    let mut known = KNOWN.iter();
    known
        .find(|kind| kind.name == name)
        .unwrap_or(&UNKNOWN_KIND)
}
