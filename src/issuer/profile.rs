//! What we know of one kind of issuer, as data.
//!
//! A profile says which claims a CI system sends, which fields of a trust relationship identify its customer and
//! project, and what must hold of every token of it. The rooms that verify, decide and explain read these tables; none
//! of them knows a CI system by name.

/// One kind of issuer.
#[derive(Debug)]
pub struct Profile {
    /// The word in `countersign.toml`.
    pub name: &'static str,
    /// The name a person uses.
    pub title: &'static str,
    /// Where its public service stands; `None` if every installation has an address of its own.
    pub default_url: Option<&'static str>,
    /// The path of the key set below the issuer; `None` if only the discovery document tells.
    pub keys_path: Option<&'static str>,
    /// Whether `iss` names the customer, so that the address is a template with `{organization}`.
    pub organization_in_issuer: bool,
    /// The default for `max-token-age`, in seconds from `iat`; `None` leaves the token's own `exp` as the only bound.
    pub max_token_age: Option<u32>,
    /// The default for `max-uses`: 1 where a job can ask for a fresh token at any time.
    pub max_uses: u32,
    /// A claim whose value counts as our audience beside the configured ones (`CircleCI` puts the organization there).
    pub audience_claim: Option<&'static str>,
    /// The claims it sends.
    pub claims: &'static [Claim],
    /// Further claims about a person that it may send, of which nothing else is known.
    pub also_personal: &'static [&'static str],
    /// The identity fields of a trust relationship.
    pub fields: &'static [IdentityField],
    /// What must hold of every token.
    pub requirements: &'static [Requirement],
    /// The identity field with the id of whoever owns a project: it stays the same if a project of that owner is made
    /// anew.
    pub owner_id: Option<&'static str>,
    /// The claim that tells one customer of a shared issuer from another, for limits per customer.
    pub tenant_claim: Option<&'static str>,
    /// Whether the configuration names the claims that separate customers (`tenant-claims`), because nothing is known
    /// beyond `sub`.
    pub tenant_claims_configured: bool,
    /// Where the facts stand that a project token carries on in `ci`.
    pub facts: CiFacts,
    /// How a token says that its job is of a pull request.
    pub pull_requests: PullRequests,
    /// Kinds of jobs that a policy is asked about, and the claims of each.
    pub situations: &'static [Situation],
    /// Which claims go together.
    pub consequences: &'static [Consequence],
    /// How a relationship is said in plain words.
    pub wording: Wording,
    /// Two globs, if `sub` comes in two forms: the first matches both, the second only the newer one.
    pub subject_forms: Option<(&'static str, &'static str)>,
    /// How the names of claims begin that an administrator or a job makes up.
    pub made_up_claims: &'static [&'static str],
}

/// How a token says that its job is of a pull request (GitLab: merge request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullRequests {
    /// Its claims are those of [`SituationKind::PullRequest`]; the text says what becomes of those of forks.
    Marked(&'static str),
    /// This claim names the repository that the change came from, which for a fork is the fork; nothing else tells.
    ByOrigin(&'static str),
    /// Not at all: it looks like any other job.
    Unmarked,
    /// Not at all, and who gets a token is settled where the token is made.
    SettledElsewhere,
    /// We do not know.
    Unknown,
}

/// What a relationship is about, in plain words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wording {
    /// What runs jobs, `GitHub repository`; empty if we do not know.
    pub place: &'static str,
    /// The field with its id.
    pub place_id: Option<&'static str>,
    /// The field with its name.
    pub place_name: Option<&'static str>,
    /// To whom it belongs, `owner`.
    pub owner: &'static str,
    /// The field with the owner's id.
    pub owner_id: Option<&'static str>,
    /// The field with the owner's name, unless the name of the place begins with it.
    pub owner_name: Option<&'static str>,
    /// The claim that says what started a job.
    pub started_by: Option<&'static str>,
    /// What a job is called that was started so.
    pub starts: &'static [(&'static str, &'static str)],
}

/// A kind of job, by its claims.
#[derive(Debug)]
pub struct Situation {
    /// Which one.
    pub kind: SituationKind,
    /// What a token of such a job has: each claim, and globs of which its value matches one.
    pub claims: &'static [(&'static str, &'static [&'static str])],
}

/// The kinds of jobs that a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SituationKind {
    /// An open pull request.
    PullRequest,
    /// A branch.
    Branch,
    /// A tag.
    Tag,
}

/// Claims that go together: if one has one of these values, the other one matches one of those globs.
#[derive(Debug)]
pub struct Consequence {
    /// A claim and its values.
    pub when: (&'static str, &'static [&'static str]),
    /// Another claim, and the globs of which it then matches one.
    pub then: (&'static str, &'static [&'static str]),
}

/// One claim of a profile.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, a column in the table of claims"
)]
pub struct Claim {
    /// Its name, a whole member name.
    pub name: &'static str,
    /// Its JSON type.
    pub kind: ClaimType,
    /// What it says, in one line of a table.
    pub meaning: &'static str,
    /// Who decides its value.
    pub trust: TrustClass,
    /// Whether every token of a CI job has it, so that asking for its absence is a mistake.
    pub always: bool,
    /// Whether the job itself decides if its token has it.
    pub on_request: bool,
    /// Whether it compares without ASCII case.
    pub fold: bool,
    /// Whether it is about a person, so that whoever keeps it has to have a reason.
    pub personal: bool,
    /// What its values look like, as far as that is certain.
    pub form: Form,
    /// For a name that can be registered again: the claim with the id of what it names.
    pub id: Option<&'static str>,
    /// The values that whoever may push a branch can bring about; empty if that is not known or every value.
    pub by_pushing: &'static [&'static str],
    /// The values that strangers can bring about, by opening a pull request or writing a comment, while the job runs with
    /// the project's own rights.
    pub by_strangers: &'static [&'static str],
}

/// Who decides the value of a claim: what a condition on it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustClass {
    /// Given once by the CI system, and never to anything else.
    ImmutableId,
    /// A name that can be given up, and registered by somebody else.
    ReusableName,
    /// A setting that takes an administrator's rights.
    Administrator,
    /// Set by the CI system, about how the job came to run.
    System,
    /// Chosen by whoever pushes or triggers.
    Chosen,
    /// Made anew for each run: good for a record, useless in a policy.
    OfRun,
}

impl TrustClass {
    /// Every class, from the firmest.
    pub const ALL: [Self; 6] = [
        Self::ImmutableId,
        Self::ReusableName,
        Self::Administrator,
        Self::System,
        Self::Chosen,
        Self::OfRun,
    ];

    /// The class in words, for a table.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ImmutableId => "immutable id",
            Self::ReusableName => "reusable name",
            Self::Administrator => "set by an administrator",
            Self::System => "set by the CI system",
            Self::Chosen => "chosen by whoever pushes or triggers",
            Self::OfRun => "made for one run",
        }
    }

    /// What a condition on such a claim is worth.
    pub fn explained(self) -> &'static str {
        match self {
            Self::ImmutableId => {
                "The CI system gave it once and gives it to nobody else. It survives a rename. Rest a relationship on these."
            }
            Self::ReusableName => {
                "It can be renamed, given up and registered by somebody else. Give the id beside it."
            }
            Self::Administrator => {
                "Changing it takes the rights of an administrator of the repository, project or organization."
            }
            Self::System => {
                "The CI system says how the job came to run. It is true, but whoever may push can often bring about the value."
            }
            Self::Chosen => {
                "Whoever may push, edit a workflow or start a job writes what they like. Alone it keeps nobody out who may push."
            }
            Self::OfRun => "It differs from run to run: good for a record, useless in a policy.",
        }
    }
}

/// What the values of a claim look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Any,
    /// One of these words, and no other.
    Words(&'static [&'static str]),
    /// One of these words, or one that we do not know of yet.
    KnownWords(&'static [&'static str]),
    /// A full ref, `refs/heads/main`; empty where a job has none.
    FullRef,
    /// The name of a branch or tag, `main`.
    BareRef,
    /// Decimal digits.
    Digits,
    /// A UUID in lower case.
    Uuid,
    /// A commit's digest, 40 or 64 hexadecimal digits in lower case.
    Digest,
    /// A text without upper-case letters.
    LowerCase,
    /// A path whose beginning names an owner: so many `/` stand before the owner's name.
    OwnedPath(usize),
}

/// The JSON type of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimType {
    /// A text.
    Text,
    /// A text that holds an identifier; a policy may write it as a number.
    Id,
    /// A text that says `true` or `false`.
    BooleanText,
    /// A number.
    Number,
    /// A boolean.
    Boolean,
    /// A list of texts.
    TextList,
    /// An object, or a list of objects: its members are named by a JSON Pointer (RFC 6901).
    Object,
}

impl ClaimType {
    /// The type in words, for an error message.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Text | Self::Id => "a text",
            Self::BooleanText => "a text, `\"true\"` or `\"false\"`",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::TextList => "a list of texts",
            Self::Object => "an object",
        }
    }
}

/// One identity field of a trust relationship.
#[derive(Debug)]
pub struct IdentityField {
    /// The key in the policy file.
    pub name: &'static str,
    /// Whether a relationship must give it.
    pub required: Required,
    /// What a policy may write.
    pub kind: FieldKind,
    /// How many values a policy may give.
    pub many: Many,
    /// The value of the token that it is compared with.
    pub source: Source,
    /// Whether it compares without ASCII case.
    pub fold: bool,
    /// For an id: the field whose name becomes a label once this id is given.
    pub id_of: Option<&'static str>,
    /// Whether every token of a CI job carries it; the caller of some CI systems chooses which ids a token has.
    pub always: bool,
    /// Where a person finds the value, for an id; empty for what a person knows by heart.
    pub found_at: &'static str,
    /// For an id that a job may leave out: the option of the CI system's command that asks for its claim.
    pub ask_for: Option<&'static str>,
}

/// When a field must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Never.
    No,
    /// Always.
    Yes,
    /// Unless all of these ids are given.
    UnlessIds(&'static [&'static str]),
}

/// What may be written for a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A text without `/`: the name of an owner, a repository, a slug.
    Name,
    /// A path of at least two segments.
    Path,
    /// Any non-empty text, compared whole.
    Opaque,
    /// An identifier, written as text or number.
    Id,
    /// A UUID; the text says where a person finds it.
    Uuid(&'static str),
    /// A full ref: `refs/heads/…`, `refs/tags/…`.
    FullRef,
    /// The file name of a workflow, `release.yml`.
    WorkflowFile,
    /// A reusable workflow, `owner/repository/path[@ref]`.
    ReusableWorkflow,
}

/// How many values a field may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// One exact value.
    One,
    /// One, or a list of exact values.
    List,
    /// One, a list, or a glob.
    ListOrGlob,
    /// One, a list, or a glob if the id field named here is given.
    GlobWith(&'static str),
}

/// Where the value of the token stands that a field is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A claim.
    Claim(&'static str),
    /// The rest of a claim after the value of another claim and a `/`: the name of a repository within its owner.
    Within {
        /// The claim that holds the whole path.
        claim: &'static str,
        /// The claim that holds the path's beginning.
        parent: &'static str,
    },
    /// The file in `<repository>/.github/workflows/<file>@<ref>`.
    WorkflowFile {
        /// The claim that holds the workflow's ref.
        claim: &'static str,
        /// The claim that holds the repository's path.
        repository: &'static str,
    },
    /// A workflow's path, with its ref if the policy gives one.
    WorkflowPath(&'static str),
    /// A full ref: a claim, or else built from the bare name and its type.
    FullRef {
        /// The claim with the full ref.
        claim: &'static str,
        /// The claim with the bare name.
        name: &'static str,
        /// The claim that says `branch` or `tag`.
        kind: &'static str,
    },
}

impl Source {
    /// The claim that a person would look at.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Claim(claim)
            | Self::Within { claim, .. }
            | Self::WorkflowFile { claim, .. }
            | Self::WorkflowPath(claim)
            | Self::FullRef { claim, .. } => claim,
        }
    }
}

/// What must hold of every token of a profile before a relationship can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// The claim is there and not null.
    Present(&'static str),
    /// The claim is one of these texts, or one that the relationship names literally.
    OneOfUnlessNamed {
        /// The claim.
        claim: &'static str,
        /// The texts that are let in unasked.
        values: &'static [&'static str],
    },
    /// The claim is `false`, or the relationship names `true` literally.
    FalseUnlessNamed(&'static str),
    /// The organization in `iss`, if there is one, is the value of this claim.
    OrganizationOfIssuer(&'static str),
    /// The claim, when it is there, equals another; without it, `source` must not be `value`. A key of the relationship
    /// lifts both.
    SameProject {
        /// The claim that names where the job runs.
        claim: &'static str,
        /// The claim it must equal.
        equals: &'static str,
        /// The claim that says why the job runs.
        source: &'static str,
        /// The reason for which the first claim must be there.
        value: &'static str,
        /// The key of a relationship that lifts this.
        lifted_by: &'static str,
    },
}

impl Requirement {
    /// The claim that a person would look at.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Present(claim)
            | Self::OneOfUnlessNamed { claim, .. }
            | Self::FalseUnlessNamed(claim)
            | Self::OrganizationOfIssuer(claim)
            | Self::SameProject { claim, .. } => claim,
        }
    }
}

/// The claims that hold what a project token carries on about its job. Each may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct CiFacts {
    /// The repository, as the CI system names it.
    pub repository: Option<&'static str>,
    /// The ref.
    pub reference: Option<&'static str>,
    /// The commit.
    pub sha: Option<&'static str>,
    /// The run, pipeline or build.
    pub run_id: Option<&'static str>,
    /// Who started it.
    pub actor: Option<&'static str>,
}

impl Profile {
    /// The claim called `name`, if this profile knows it.
    pub fn claim(&self, name: &str) -> Option<&'static Claim> {
        self.claims.iter().find(|claim| claim.name == name)
    }

    /// The jobs of one kind, if tokens tell them from others.
    pub fn situation(&self, kind: SituationKind) -> Option<&'static Situation> {
        self.situations
            .iter()
            .find(|situation| situation.kind == kind)
    }

    /// The identity field called `name`.
    pub fn field(&self, name: &str) -> Option<&'static IdentityField> {
        self.fields.iter().find(|field| field.name == name)
    }
}
