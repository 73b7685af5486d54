//! `countersign audit key`.

use clap::Args;

use super::super::{DONE, REFUSED};
use super::source::{Reader, SourceArgs, say, wish};
use crate::reading::Question;

/// Print the verifier key of the log, which its checkpoints are signed with (C2SP signed-note).
///
/// Keep a copy where the operator of the service cannot change it. Exit code 1 says that the log has no key yet.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    source: SourceArgs,
}

/// Prints the key.
pub(super) async fn run(arguments: &KeyArgs) -> Result<u8, u8> {
    let reader = Reader::open(&arguments.source).await?;
    let key = key(&reader).await;
    reader.close().await;
    let Some(key) = key? else {
        eprintln!("the log has no key yet: no service has signed it");
        return Ok(REFUSED);
    };
    say(&format!("{}\n", key.trim_end()));
    Ok(DONE)
}

async fn key(reader: &Reader) -> Result<Option<String>, u8> {
    if let Reader::There(client) = reader {
        let octets = client.octets("/audit/key", &[]).await;
        let octets = octets.map_err(|fault| super::source::ReadFault::from(fault).report())?;
        return Ok(Some(String::from_utf8_lossy(&octets).into_owned()));
    }
    // What names the log stands in the log.
    let named = "log-named".to_owned();
    let wish = wish(Question::List, &vec![("kind", Some(&named))])?;
    let listed = reader.gather(wish, 1).await;
    let listed = listed.map_err(|fault| fault.report())?;
    let last = listed.entries.first();
    let key = last.and_then(|numbered| numbered.entry.get("key")?.as_str());
    Ok(key.map(str::to_owned))
}
