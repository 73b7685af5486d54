//! Why a question about the log is not answered.

use crate::audit::InvalidEntry;
use crate::ledger::{LogFault, StoreUnavailable};
use crate::notary::NotaryFault;
use crate::reading::ReadingError;

/// A question about the log that is not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// It cannot be understood.
    #[error("{0}")]
    QueryMalformed(String),
    /// Who asks has not shown that they may read this.
    #[error("{}", .0.mend())]
    TokenRequired(TokenFault),
    /// There is no such entry or tree yet.
    #[error("{0}")]
    NotThere(String),
    /// Too much is read at the same time.
    #[error("too much of the log is read at this moment; try again in a few seconds")]
    Busy,
    /// The store does not answer.
    #[error("the log cannot be read at this moment; try again in a few seconds")]
    Unavailable(StoreUnavailable),
    /// Something in the log is not what was written, or contradicts what was signed.
    #[error(
        "no checkpoint is signed, because the log is not as it was written: {0}; whoever operates this service finds in its log how to restore it"
    )]
    Damaged(String),
}

/// Why the audit token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// There is none that could be shown.
    NoneConfigured,
    /// None was shown.
    NoneShown,
    /// Another one was shown.
    Wrong,
}

impl TokenFault {
    fn mend(self) -> &'static str {
        match self {
            Self::NoneConfigured => {
                "nobody may read this, because no audit token is configured: whoever operates this service sets `token-file` or `token-sha256` under `[audit]`"
            }
            Self::NoneShown => {
                "this is for who has the audit token: send it as `Authorization: Bearer <token>`"
            }
            Self::Wrong => {
                "this is not the audit token: whoever operates this service has the right one in the file that `token-file` under `[audit]` names"
            }
        }
    }
}

impl AuditError {
    /// A name for dashboards, tests and the docs. Codes are never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueryMalformed(_) => "audit-query-malformed",
            Self::TokenRequired(_) => "audit-token-required",
            Self::NotThere(_) => "audit-not-found",
            Self::Busy => "audit-busy",
            Self::Unavailable(_) => "store-unavailable",
            Self::Damaged(_) => "audit-log-damaged",
        }
    }
}

impl From<StoreUnavailable> for AuditError {
    fn from(fault: StoreUnavailable) -> Self {
        Self::Unavailable(fault)
    }
}

impl From<LogFault> for AuditError {
    fn from(fault: LogFault) -> Self {
        // How to mend it is for the operator: it names files.
        Self::Damaged(fault.what)
    }
}

impl From<NotaryFault> for AuditError {
    fn from(fault: NotaryFault) -> Self {
        match fault {
            NotaryFault::Unavailable(fault) => fault.into(),
            NotaryFault::Refused(fault) => fault.into(),
        }
    }
}

impl From<InvalidEntry> for AuditError {
    fn from(fault: InvalidEntry) -> Self {
        Self::Damaged(format!("entry {} cannot be read", fault.index))
    }
}

impl From<ReadingError> for AuditError {
    fn from(fault: ReadingError) -> Self {
        match fault {
            ReadingError::Unavailable(fault) => fault.into(),
            ReadingError::Entry(fault) => fault.into(),
        }
    }
}
