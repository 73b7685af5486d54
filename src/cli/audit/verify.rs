//! `countersign audit verify`: is the log whole and unchanged?

mod report;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Handle;

use super::super::{DONE, REFUSED, UNAVAILABLE, USAGE};
use crate::client::AuditLogClient;
use crate::text::for_terminal;
use crate::verifier::{
    Copy, DataFolder, Fetch, KeyKind, Question, Report, Source, Tiles, Unavailable, VerifierKey,
    verify,
};

/// How many entries a log has that is worth a progress bar.
const LONG: u64 = 50_000;

/// How many requests are under way at once.
const REQUESTS: usize = 8;

/// Check that the audit log is whole and unchanged, without trusting whoever wrote it.
///
/// Exit code 0 if it is, 1 if anything is wrong, 2 if the question is, 3 if the log cannot be read.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The service (`https://sts.example.com`), a folder with a copy of its tiles, or the data folder of the embedded store. A
    /// log in a database is verified as its service serves it.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The log's key (`<name>+<id>+<key>`) or a file that holds it. Without it the key is taken from the source, which then
    /// proves only that the source agrees with itself.
    #[arg(long, value_name = "VKEY_OR_FILE")]
    key: Option<String>,
    /// A checkpoint that you kept from an earlier time. The log must begin with what it says.
    #[arg(long, value_name = "CHECKPOINT_FILE")]
    since: Option<PathBuf>,
    /// The key of a witness, or a file that holds it. It must have cosigned a checkpoint of this log. May be given several times.
    #[arg(long, value_name = "VKEY_OR_FILE")]
    witness: Vec<String>,
    /// A file with the audit token that the service asks for.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// In sentences.
    Text,
    /// As JSON.
    Json,
}

/// The exit code, with what is said of it.
struct Failed(u8, String);

impl From<Unavailable> for Failed {
    fn from(fault: Unavailable) -> Self {
        Self(UNAVAILABLE, fault.to_string())
    }
}

/// Verifies the log.
pub(super) async fn run(arguments: VerifyArgs) -> u8 {
    let handle = Handle::current();
    let done = tokio::task::spawn_blocking(move || verified(&arguments, handle)).await;
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(Failed(code, message))) => {
            eprintln!("{}", for_terminal(&message));
            code
        }
        Err(fault) => {
            eprintln!("the verification broke off: {fault}");
            UNAVAILABLE
        }
    }
}

fn verified(arguments: &VerifyArgs, handle: Handle) -> Result<u8, Failed> {
    let source = source(arguments, handle)?;
    let given = arguments.key.as_deref();
    let log_key = match given {
        Some(text) => key(text, KeyKind::Note)?,
        None => key_of(&*source, &arguments.source)?,
    };
    let witnesses = arguments
        .witness
        .iter()
        .map(|text| key(text, KeyKind::Cosignature));
    let question = Question {
        witnesses: witnesses.collect::<Result<_, _>>()?,
        since: arguments.since.as_deref().map(file).transpose()?,
        key: log_key,
    };
    if given.is_none() && arguments.format == Format::Text {
        eprintln!(
            "warning: the key was taken from the log itself. This proves that the log agrees with itself, not that it is the \
             log of whom you think: whoever can replace the log can replace the key. Keep the key elsewhere, and give it \
             with --key."
        );
    }
    let told = told(&*source, &question)?;
    let key = report::Key {
        text: question.key.to_string(),
        given: given.is_some(),
    };
    match arguments.format {
        Format::Text => report::text(&told, &key),
        Format::Json => report::json(&told, &key),
    }
    Ok(if told.is_whole() { DONE } else { REFUSED })
}

/// Verifies with a bar that shows how far it is, if there is a terminal and the log is long.
fn told(source: &dyn Source, question: &Question) -> Result<Report, Unavailable> {
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let style = "{bar:40} {human_pos} of {human_len} entries, {eta} left";
    let report = verify(source, question, &|done, total| {
        if total >= LONG {
            let shown = bar.get_or_init(|| {
                let style = ProgressStyle::with_template(style);
                ProgressBar::new(total)
                    .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            shown.set_position(done);
        }
    });
    if let Some(bar) = bar.into_inner() {
        bar.finish_and_clear();
    }
    report
}

fn source(arguments: &VerifyArgs, handle: Handle) -> Result<Box<dyn Source>, Failed> {
    let name = &arguments.source;
    if name.starts_with("https://") || name.starts_with("http://") {
        let token = arguments.token_file.as_deref().map(text).transpose()?;
        let client = AuditLogClient::new(name, token.as_deref().map(str::trim));
        let client = client.map_err(|fault| Failed(USAGE, fault.to_string()))?;
        return Ok(Box::new(Tiles::new(Service { client, handle }, false)));
    }
    if name.starts_with("postgres://") || name.starts_with("postgresql://") {
        // What was given may hold a password, and is not repeated.
        return Err(Failed(
            USAGE,
            "a log in a database is verified as its service serves it: give the URL of the service \
             (`https://sts.example.com`), or a folder with a copy of its tiles"
                .to_owned(),
        ));
    }
    if arguments.token_file.is_some() {
        return Err(Failed(
            USAGE,
            "--token-file is for a service; a folder asks for no token".to_owned(),
        ));
    }
    let folder = Path::new(name);
    if DataFolder::is_at(folder) {
        return Ok(Box::new(DataFolder::new(folder)));
    }
    if folder.join("checkpoint").exists() || folder.join("tile").exists() {
        let has_withheld = folder.join("withheld").is_dir();
        return Ok(Box::new(Tiles::new(Copy::new(folder), has_withheld)));
    }
    let fault = format!(
        "`{name}` is no log: neither a URL, nor a folder with `checkpoint` and `tile`, nor a data folder"
    );
    Err(Failed(UNAVAILABLE, fault))
}

/// The log as the service serves it.
struct Service {
    client: AuditLogClient,
    handle: Handle,
}

impl Fetch for Service {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let resource = self.handle.block_on(self.client.get(name));
        resource.map_err(|fault| Unavailable(fault.to_string()))
    }

    fn threads(&self) -> Option<usize> {
        Some(REQUESTS)
    }
}

fn key(text_or_file: &str, kind: KeyKind) -> Result<VerifierKey, Failed> {
    let text = if text_or_file.contains('+') && !Path::new(text_or_file).exists() {
        text_or_file.to_owned()
    } else {
        text(Path::new(text_or_file))?
    };
    let key = VerifierKey::parse(&text);
    let key = key.map_err(|fault| Failed(USAGE, format!("`{text_or_file}` is no key: {fault}")))?;
    if key.kind() != kind {
        let wanted = match kind {
            KeyKind::Note => "of a log (signature type 0x01)",
            KeyKind::Cosignature => "of a witness (signature type 0x04)",
        };
        return Err(Failed(
            USAGE,
            format!("`{text_or_file}` is not the key {wanted}"),
        ));
    }
    Ok(key)
}

fn key_of(source: &dyn Source, name: &str) -> Result<VerifierKey, Failed> {
    let lacks = || {
        Failed(
            USAGE,
            format!("`{name}` holds no key of the log: give it with --key"),
        )
    };
    let key = source.key()?.ok_or_else(lacks)?;
    let key = VerifierKey::parse(&String::from_utf8_lossy(&key));
    key.map_err(|fault| {
        Failed(
            REFUSED,
            format!("the key that `{name}` holds is none: {fault}"),
        )
    })
}

fn file(path: &Path) -> Result<Vec<u8>, Failed> {
    let read = std::fs::read(path);
    read.map_err(|fault| {
        Failed(
            USAGE,
            format!("`{}` cannot be read: {fault}", path.display()),
        )
    })
}

fn text(path: &Path) -> Result<String, Failed> {
    let not_text = |_| Failed(USAGE, format!("`{}` is not a text", path.display()));
    String::from_utf8(file(path)?).map_err(not_text)
}
