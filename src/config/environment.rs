//! Every key may be set by environment: `COUNTERSIGN_LISTEN`, `COUNTERSIGN_STORE__URL`, `COUNTERSIGN_ISSUER__0__URL`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::ConfigProblem;
use super::raw::problem;

/// What the name of a variable begins with.
const PREFIX: &str = "COUNTERSIGN_";

/// The first words of the keys that exist. Other variables with our prefix are somebody else's: Kubernetes, for one,
/// sets `COUNTERSIGN_SERVICE_HOST` for a service that is called so.
const SECTIONS: [&str; 15] = [
    "listen",
    "public-url",
    "trust-policies",
    "allow-loopback-http",
    "trusted-proxies",
    "pin-window",
    "max-connections",
    "store",
    "token",
    "audit",
    "rate-limit",
    "metrics",
    "telemetry",
    "tls",
    "issuer",
];

/// Those of them that hold keys of their own.
const TABLES: [&str; 8] = [
    "store",
    "token",
    "audit",
    "rate-limit",
    "metrics",
    "telemetry",
    "tls",
    "issuer",
];

/// Problems, with the names of the variables that were laid over the file.
type Faults = (Vec<ConfigProblem>, Vec<String>);

/// Parses the file and lays the variables over it. A value from a variable has as its place the end of the text, one
/// further for each variable, and the names are given back in that order.
pub(super) fn merge<'a>(
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
) -> Result<(Spanned<DeTable<'a>>, Vec<String>), Faults> {
    let mut table = DeTable::parse(text).map_err(|fault| (vec![problem(&fault)], Vec::new()))?;
    let mut names = Vec::new();
    for (name, value) in environment {
        let Some(key) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path: Vec<String> = key
            .split("__")
            .map(|word| word.to_ascii_lowercase().replace('_', "-"))
            .collect();
        let first = path.first().map(String::as_str).unwrap_or_default();
        let section = TABLES.iter().find_map(|table| {
            let key = first.strip_prefix(table)?.strip_prefix('-')?;
            Some((table, key))
        });
        if !SECTIONS.contains(&first) && section.is_none() {
            continue;
        }
        let at = text.len() + 1 + names.len();
        names.push(name.clone());
        if let Some((table, key)) = section {
            let (table, key) = (table.to_uppercase(), key.to_uppercase().replace('-', "_"));
            let problem = ConfigProblem {
                message: "a key of a table is set with one underscore".to_owned(),
                mend: Some(format!("write `{PREFIX}{table}__{key}`, with two")),
                span: Some(at..at),
            };
            return Err((vec![problem], names));
        }
        if let Err(message) = set(table.get_mut(), &path, value, at) {
            let span = Some(at..at);
            return Err((
                vec![ConfigProblem {
                    message,
                    mend: None,
                    span,
                }],
                names,
            ));
        }
    }
    Ok((table, names))
}

fn set<'a>(
    table: &mut DeTable<'a>,
    path: &[String],
    value: &'a str,
    at: usize,
) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    let key = Spanned::new(at..at, Cow::Owned(first.clone()));
    let Some((second, after)) = rest.split_first() else {
        table.insert(key, Spanned::new(at..at, placed(parsed(value), at)));
        return Ok(());
    };
    if let Ok(index) = second.parse::<usize>() {
        let empty = || Spanned::new(at..at, DeValue::Array(DeArray::new()));
        let list = table.entry(key).or_insert_with(empty);
        return match list.get_mut() {
            DeValue::Array(list) => set_in_list(list, index, after, value, at),
            _ => Err(format!("`{first}` is not a list")),
        };
    }
    let empty = || Spanned::new(at..at, DeValue::Table(DeTable::new()));
    match table.entry(key).or_insert_with(empty).get_mut() {
        DeValue::Table(inner) => set(inner, rest, value, at),
        _ => Err(format!("`{first}` is not a table")),
    }
}

fn set_in_list<'a>(
    list: &mut DeArray<'a>,
    index: usize,
    path: &[String],
    value: &'a str,
    at: usize,
) -> Result<(), String> {
    if index > list.len() {
        return Err(format!(
            "the list has {} entries: the next one is {}",
            list.len(),
            list.len()
        ));
    }
    if index == list.len() {
        list.push(Spanned::new(at..at, DeValue::Table(DeTable::new())));
    }
    match list.get_mut(index).map(Spanned::get_mut) {
        Some(DeValue::Table(entry)) if !path.is_empty() => set(entry, path, value, at),
        _ => Err("name a key of the entry, as in `COUNTERSIGN_ISSUER__0__URL`".to_owned()),
    }
}

/// A value as TOML where it can only be meant so (a list, a boolean, a number), else as the text that it is.
fn parsed(value: &str) -> DeValue<'_> {
    let meant_as_toml = match DeValue::parse(value) {
        Ok(parsed) => Some(parsed.into_inner()),
        Err(_) => None,
    };
    match meant_as_toml {
        Some(value @ (DeValue::Array(_) | DeValue::Boolean(_) | DeValue::Integer(_))) => value,
        _ => DeValue::String(Cow::Borrowed(value)),
    }
}

/// The value, with `at` as the place of everything in it: its own places are within the variable, and would be taken for
/// places in the file.
fn placed<'a>(value: DeValue<'a>, at: usize) -> DeValue<'a> {
    let moved = |value: Spanned<DeValue<'a>>| Spanned::new(at..at, placed(value.into_inner(), at));
    match value {
        DeValue::Array(members) => DeValue::Array(members.into_iter().map(moved).collect()),
        DeValue::Table(members) => {
            let members = members.into_iter();
            let member = |(key, value): (Spanned<Cow<'a, str>>, _)| {
                (Spanned::new(at..at, key.into_inner()), moved(value))
            };
            DeValue::Table(members.map(member).collect())
        }
        plain => plain,
    }
}
