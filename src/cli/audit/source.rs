//! Where the log is read, and which entries of it: what the verbs have in common.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::ledger_access::{AccessError, LedgerAccess};
use super::super::{UNAVAILABLE, USAGE, environment};
use crate::client::{AuditClient, AuditClientError};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::issuer::Registry;
use crate::reading::{Answer, Listed, NumberedEntry, Question, Wish};
use crate::text::without_controls;

/// Where the log is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the log is")]
pub(super) struct SourceArgs {
    /// The configuration of the service on this machine. It may run or be stopped.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The public address of a service elsewhere, in place of a configuration.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// A file with an audit token of that service.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(super) token_file: Option<PathBuf>,
}

/// Which entries.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which entries")]
pub(super) struct FilterArgs {
    /// Of this project, as organization/project.
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Of this organization.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Of this issuer, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Whose token has this `sub`.
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// Of this repository, as the CI system names it.
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// By this relationship: it held, or came nearest; or by this deny.
    #[arg(long, value_name = "NAME")]
    relationship: Option<String>,
    /// `allowed` or `denied`.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Denied for this reason, such as `not-trusted`.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// The decision or event of this id.
    #[arg(long, value_name = "ID", visible_alias = "decision")]
    id: Option<String>,
    /// The decision that issued the project token with this `jti`.
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// `decision`, or the kind of an event, such as `policy-loaded`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    period: PeriodArgs,
}

/// In which time.
#[derive(Debug, Default, Args)]
pub(super) struct PeriodArgs {
    /// From this moment on: RFC 3339, or a span such as `30d`, which is so long ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until before this moment.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// For whom an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// Parameters as they were given.
pub(super) type Given<'a> = Vec<(&'static str, Option<&'a String>)>;

impl FilterArgs {
    pub(super) fn given(&self) -> Given<'_> {
        let mut given = vec![
            ("project", self.project.as_ref()),
            ("organization", self.organization.as_ref()),
            ("issuer", self.issuer.as_ref()),
            ("subject", self.subject.as_ref()),
            ("repository", self.repository.as_ref()),
            ("relationship", self.relationship.as_ref()),
            ("outcome", self.outcome.as_ref()),
            ("reason", self.reason.as_ref()),
            ("id", self.id.as_ref()),
            ("token", self.token.as_ref()),
            ("kind", self.kind.as_ref()),
        ];
        given.extend(self.period.given());
        given
    }
}

impl PeriodArgs {
    pub(super) fn given(&self) -> Given<'_> {
        vec![
            ("since", self.since.as_ref()),
            ("until", self.until.as_ref()),
        ]
    }
}

/// What is asked, or on standard error why that cannot be.
pub(super) fn wish(question: Question, given: &Given<'_>) -> Result<Wish, u8> {
    let given = given.iter();
    let given = given.filter_map(|(name, value)| Some((*name, value.as_ref()?.as_str())));
    Wish::read(question, given, SystemClock.now()).map_err(|invalid| {
        eprintln!("{invalid}");
        USAGE
    })
}

/// Who answers.
pub(super) enum Reader {
    /// The store of this machine, or the service that has it open.
    Here(Box<LedgerAccess>, Arc<Registry>),
    /// A service elsewhere.
    There(AuditClient),
}

/// No answer could be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
    /// Of this machine.
    #[error(transparent)]
    Here(#[from] AccessError),
    /// Of a service elsewhere.
    #[error(transparent)]
    There(#[from] AuditClientError),
    /// It is none that we understand.
    #[error("the service answers in another way than this program asks; is it another version?")]
    Odd,
}

impl ReadFault {
    /// Says it on standard error.
    pub(super) fn report(&self) -> u8 {
        eprintln!("{self}");
        match self {
            Self::Here(AccessError::NoLedger(_)) => USAGE,
            Self::There(fault) if !fault.passes => USAGE,
            _ => UNAVAILABLE,
        }
    }

    /// Whether the same question may be answered later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Here(AccessError::NoLedger(_)) | Self::Odd => false,
            Self::Here(_) => true,
            Self::There(fault) => fault.passes,
        }
    }
}

/// Reads the configuration, or says on standard error what is wrong with it.
pub(super) fn configuration(source: &SourceArgs) -> Result<(Config, Arc<Registry>), u8> {
    let environment = environment();
    let config = Config::load(source.config.as_deref(), &environment).map_err(|fault| {
        eprintln!("{}", fault.render(std::io::stderr().is_terminal()));
        USAGE
    })?;
    let registry = Arc::new(Registry::new(config.issuers.iter().cloned()));
    Ok((config, registry))
}

impl Reader {
    /// Opens the log, or says on standard error why it cannot be had.
    pub(super) async fn open(source: &SourceArgs) -> Result<Self, u8> {
        if let Some(url) = &source.url {
            let token = token(source)?;
            let client = AuditClient::new(url, token);
            return client
                .map(Self::There)
                .map_err(|fault| ReadFault::from(fault).report());
        }
        let (config, registry) = configuration(source)?;
        let opened = LedgerAccess::open(&config).await;
        let access = opened.map_err(|fault| ReadFault::from(fault).report())?;
        Ok(Self::Here(Box::new(access), registry))
    }

    /// Answers `wish`.
    pub(super) async fn ask(&self, wish: &Wish) -> Result<Answer, ReadFault> {
        match self {
            Self::Here(access, registry) => Ok(access.ask(registry, wish).await?),
            Self::There(client) => {
                let path = match wish.question {
                    Question::List => "/api/v1/audit".to_owned(),
                    question => format!("/api/v1/audit/{}", question.name()),
                };
                let json = client.octets(&path, &wish.parameters()).await?;
                Answer::read(wish.question, &json).map_err(|_| ReadFault::Odd)
            }
        }
    }

    /// A page of entries.
    pub(super) async fn list(&self, wish: &Wish) -> Result<Listed, ReadFault> {
        match self.ask(wish).await? {
            Answer::List(listed) => Ok(listed),
            _ => Err(ReadFault::Odd),
        }
    }

    /// As many entries as `wish` asks for, of several pages if need be.
    pub(super) async fn gather(&self, mut wish: Wish, most: usize) -> Result<Listed, ReadFault> {
        let mut entries: Vec<NumberedEntry> = Vec::new();
        loop {
            wish.limit = most.saturating_sub(entries.len());
            let page = self.list(&wish).await?;
            entries.extend(page.entries);
            if page.next.is_none() || entries.len() >= most {
                let next = page.next;
                return Ok(Listed { entries, next });
            }
            wish.before = page.next;
        }
    }

    /// Lets go of the log, so that the service can start.
    pub(super) async fn close(self) {
        if let Self::Here(access, _) = self {
            access.close().await;
        }
    }
}

fn token(source: &SourceArgs) -> Result<Option<String>, u8> {
    let Some(file) = &source.token_file else {
        return Ok(None);
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(fault) => {
            eprintln!("`{}` cannot be read: {fault}", file.display());
            Err(USAGE)
        }
    }
}

/// Asks one question, and lets go of the log.
pub(super) async fn ask_once(source: &SourceArgs, wish: &Wish) -> Result<Answer, u8> {
    let reader = Reader::open(source).await?;
    let answer = reader.ask(wish).await;
    reader.close().await;
    answer.map_err(|fault| fault.report())
}

/// Says that an answer is none that was asked for.
pub(super) fn odd() -> u8 {
    ReadFault::Odd.report()
}

/// Writes an answer, in which nothing that others chose steers the terminal. Answers whether somebody still reads.
pub(super) fn say(text: &str) -> bool {
    write(without_controls(text).as_bytes())
}

/// Writes octets. Answers whether somebody still reads.
pub(super) fn write(octets: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(octets).and_then(|()| out.flush()).is_ok()
}

/// Writes the answer for programs.
pub(super) fn say_json(value: &impl Serialize) -> bool {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    say(&format!("{text}\n"))
}
