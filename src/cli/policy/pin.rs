//! `countersign policy pin`: the ids that belong to names without ids; listed, forgotten, or written into the policies.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::ledger_access::{AccessError, LedgerAccess};
use super::super::{DONE, REFUSED, UNAVAILABLE, USAGE};
use super::pin_write::{Fixed, fix};
use super::say;
use super::setting::{ConfigArgs, Setting, project, report_problems};
use crate::clock::{Clock as _, Seconds, SystemClock, UnixTime};
use crate::ledger::RememberedNames;
use crate::trust::{Names, ProjectPath};

/// List the ids that are pinned to names without ids, forget them, or write them into the policies.
///
/// A name can be given up and registered by somebody else. Where a relationship gives a name without its id, the first
/// job that is let in pins the id, and a job of the same name with another id is refused as `identity-changed`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The folder of the policies. Without it, that of the configuration.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// One project alone, as organization/project.
    #[arg(long, value_name = "PROJECT", value_parser = project)]
    project: Option<ProjectPath>,
    /// Write the pinned ids into the policy files, where they no longer depend on the ledger. Comments and layout stay.
    #[arg(long, conflicts_with = "reset")]
    write: bool,
    /// Forget the ids of the names given with `--name`: the next job of these names pins its own. This is recorded.
    #[arg(long, requires_all = ["project", "name"])]
    reset: bool,
    /// A name whose ids are to be forgotten, as FIELD=NAME; once for each field.
    #[arg(long, value_name = "FIELD=NAME", value_parser = field_and_name, requires = "reset")]
    name: Vec<(String, String)>,
    /// The issuer of these names, where several know them.
    #[arg(long, value_name = "ISSUER", requires = "reset")]
    issuer: Option<String>,
}

fn field_and_name(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(field, name)| (field.trim().to_owned(), name.trim().to_owned()))
        .ok_or_else(|| "write it as in `owner=octo-org`".to_owned())
}

/// Lists, forgets or writes.
pub(super) async fn run(arguments: &PinArgs) -> u8 {
    let setting = match Setting::load(&arguments.config) {
        Ok(setting) => setting,
        Err(code) => return code,
    };
    let ledger = match LedgerAccess::open(&setting.config).await {
        Ok(ledger) => ledger,
        Err(fault) => return unavailable(&fault),
    };
    let done = with_ledger(arguments, &setting, &ledger).await;
    ledger.close().await;
    done.unwrap_or_else(|fault| unavailable(&fault))
}

fn unavailable(fault: &AccessError) -> u8 {
    eprintln!("{fault}");
    UNAVAILABLE
}

async fn with_ledger(
    arguments: &PinArgs,
    setting: &Setting,
    ledger: &LedgerAccess,
) -> Result<u8, AccessError> {
    let project = arguments.project.as_ref().map(ProjectPath::as_str);
    let pins = ledger.pins(project).await?;
    if arguments.reset {
        return reset(arguments, ledger, &pins).await;
    }
    if arguments.write {
        let folder = setting.folder(arguments.dir.as_deref());
        return Ok(write(arguments, setting, folder, &pins));
    }
    say(&listed(&pins, setting.config.pin_window, SystemClock.now()));
    Ok(DONE)
}

/// Every name with what is pinned to it, by project.
fn listed(pins: &[RememberedNames], window: Seconds, now: UnixTime) -> String {
    let mut text = String::new();
    let mut project = None;
    for RememberedNames { names, state } in pins {
        if project != Some(&names.project) {
            let _ = writeln!(text, "{}", names.project);
            project = Some(&names.project);
        }
        let _ = writeln!(text, "  {}: {}", names.issuer, in_words(&names.names));
        let _ = match &state.pin {
            Some(pin) if pin.ids.is_empty() => writeln!(
                text,
                "    used since {}, but its tokens carry no ids",
                UnixTime::from_millis(pin.since_millis)
            ),
            Some(pin) => writeln!(
                text,
                "    {}, since {} (decision {})",
                in_words(&pin.ids),
                UnixTime::from_millis(pin.since_millis),
                pin.decision_id
            ),
            None => {
                let end = UnixTime::from_millis(state.first_loaded_millis).plus(window);
                let verb = if end < now { "expired" } else { "expires" };
                writeln!(text, "    not used yet; {verb} {end}")
            }
        };
    }
    if text.is_empty() {
        text.push_str("no names without ids are known\n");
    }
    text
}

fn in_words(pairs: &BTreeMap<String, String>) -> String {
    let pairs = pairs
        .iter()
        .map(|(field, value)| format!("{field} = \"{value}\""));
    pairs.collect::<Vec<_>>().join(", ")
}

async fn reset(
    arguments: &PinArgs,
    ledger: &LedgerAccess,
    pins: &[RememberedNames],
) -> Result<u8, AccessError> {
    let meant: Vec<&Names> = pins
        .iter()
        .map(|pin| &pin.names)
        .filter(|names| is_meant(arguments, names))
        .collect();
    let [names] = meant.as_slice() else {
        if meant.is_empty() {
            eprintln!("no such names are known; `countersign policy pin` lists those that are");
        } else {
            eprintln!("more than one set of names is meant; give every field, and `--issuer`:");
            for names in meant {
                eprintln!("  {}: {}", names.issuer, in_words(&names.names));
            }
        }
        return Ok(USAGE);
    };
    let Some(event) = ledger.reset_pin((*names).clone()).await? else {
        eprintln!("nothing is known of these names any more");
        return Ok(REFUSED);
    };
    say(&format!(
        "{}: {}: {} may be pinned anew by the next job (event {})\n",
        names.project,
        names.issuer,
        in_words(&names.names),
        event.event_id
    ));
    Ok(DONE)
}

/// Whether the names have every field that was given, with that name in any case.
fn is_meant(arguments: &PinArgs, names: &Names) -> bool {
    let issuer = arguments.issuer.as_ref();
    issuer.is_none_or(|issuer| *issuer == names.issuer)
        && arguments.name.iter().all(|(field, name)| {
            let known = names.names.get(field);
            known.is_some_and(|known| known.eq_ignore_ascii_case(name))
        })
}

fn write(arguments: &PinArgs, setting: &Setting, folder: &Path, pins: &[RememberedNames]) -> u8 {
    let read = match setting.policies(folder) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let mut code = if report_problems(&read) {
        REFUSED
    } else {
        DONE
    };
    let mut written = 0;
    for policy in &read.policies {
        let wanted = arguments.project.as_ref();
        if wanted.is_some_and(|wanted| wanted != policy.path()) {
            continue;
        }
        let path = policy.path();
        let ours: Vec<&RememberedNames> = pins
            .iter()
            .filter(|pin| pin.names.project == path.as_str())
            .collect();
        let file = folder.join(format!("{path}.toml"));
        match fix(&file, path, &ours, &setting.registry) {
            Ok(Fixed { changed, left }) => {
                if !changed.is_empty() {
                    written += 1;
                    say(&format!("{}\n{changed}", file.display()));
                }
                for names in left {
                    say(&format!(
                        "{}: the ids of {} stay in the ledger: give each name a relationship of its own to write them\n",
                        file.display(),
                        in_words(&names.names)
                    ));
                }
            }
            Err(fault) => {
                eprintln!("{}: not changed: {fault}", file.display());
                code = REFUSED;
            }
        }
    }
    if written == 0 {
        say("no file was changed\n");
    }
    code
}
