//! Pinned ids, written into a policy file beside their names. Everything else in the file stays as it is.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::issuer::Registry;
use crate::issuer::profile::Profile;
use crate::ledger::RememberedNames;
use crate::trust::{Names, ProjectPath, read_policy};

/// What became of a file.
pub(super) struct Fixed {
    /// The lines that are new or other than before, with their numbers; empty if there was nothing to write.
    pub(super) changed: String,
    /// Pinned names whose ids could not all be written: relationships that give several names at once.
    pub(super) left: Vec<Names>,
}

/// Why a file was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not TOML: {0}")]
    Toml(#[from] toml_edit::TomlError),
    #[error("with the ids it would not load:\n{0}")]
    WouldNotLoad(String),
}

/// Writes into `file` the ids of `pins` wherever a relationship gives their names alone. The file is replaced as a whole,
/// and only if it loads afterwards.
pub(super) fn fix(
    file: &Path,
    project: &ProjectPath,
    pins: &[&RememberedNames],
    registry: &Registry,
) -> Result<Fixed, WriteError> {
    // What stands behind a link is replaced, not the link.
    let file = file.canonicalize()?;
    let before = std::fs::read_to_string(&file)?;
    let after = with_ids(&before, pins, registry)?;
    let name = format!("{project}.toml");
    let policy = read_policy(project.clone(), &name, &after, registry)
        .map_err(|fault| WriteError::WouldNotLoad(fault.render(false)))?;
    if after != before {
        replace(&file, &after)?;
    }
    let mut left = policy.names_without_ids();
    left.retain(|names| {
        pins.iter()
            .any(|pin| pin.names == *names && ids(pin).next().is_some())
    });
    let changed = changes(&before, &after);
    Ok(Fixed { changed, left })
}

/// The text of a policy with the ids of `pins` in it.
fn with_ids(
    text: &str,
    pins: &[&RememberedNames],
    registry: &Registry,
) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    match document.get_mut("trust") {
        Some(Item::ArrayOfTables(entries)) => {
            for entry in entries.iter_mut() {
                pin_entry(entry, pins, registry);
            }
        }
        Some(Item::Value(Value::Array(entries))) => {
            for entry in entries.iter_mut().filter_map(Value::as_inline_table_mut) {
                pin_entry(entry, pins, registry);
            }
        }
        _ => {}
    }
    let edited = document.to_string();
    // The library ends every line in its own way.
    Ok(if text.contains("\r\n") {
        edited.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        edited
    })
}

fn pin_entry(entry: &mut impl Entry, pins: &[&RememberedNames], registry: &Registry) {
    let Some(trusted) = text(entry, "issuer").and_then(|issuer| registry.named(issuer)) else {
        return;
    };
    let applies = |pin: &&&RememberedNames| {
        let names = &pin.names;
        *names.issuer == *trusted.name
            && names.names.iter().all(|(field, name)| {
                let fold = trusted.profile.field(field).is_some_and(|known| known.fold);
                text(entry, field).is_some_and(|written| {
                    written == name || fold && written.eq_ignore_ascii_case(name)
                })
            })
            // Ids in the file win over a pin, and then its other ids are somebody else's too.
            && ids(pin).all(|(field, id)| entry.value(field).is_none_or(|given| is_id(given, id)))
    };
    // The names of a relationship with fewer of them are other names.
    let pin = pins.iter().filter(applies);
    let Some(pin) = pin.max_by_key(|pin| pin.names.names.len()) else {
        return;
    };
    for (field, id) in ids(pin) {
        if entry.value(field).is_none() {
            entry.insert_after(name_of(trusted.profile, field, pin), field, id);
        }
    }
}

fn text<'e>(entry: &'e impl Entry, key: &str) -> Option<&'e str> {
    entry.value(key)?.as_str()
}

/// Whether an id that a file gives, as text or number, alone or in a list, is this one.
fn is_id(given: &Value, id: &str) -> bool {
    match given {
        Value::String(given) => given.value() == id,
        Value::Integer(given) => given.value().to_string() == id,
        Value::Array(given) => given.iter().any(|given| is_id(given, id)),
        _ => false,
    }
}

fn ids(pin: &RememberedNames) -> impl Iterator<Item = (&str, &str)> {
    let ids = pin.state.pin.iter().flat_map(|pin| &pin.ids);
    ids.map(|(field, id)| (field.as_str(), id.as_str()))
}

/// The field of the name that the id `field` belongs to.
fn name_of<'p>(profile: &'p Profile, field: &str, pin: &'p RememberedNames) -> &'p str {
    let own = profile.field(field).and_then(|field| field.id_of);
    let last = pin.names.names.keys().last();
    own.or(last.map(String::as_str)).unwrap_or("issuer")
}

/// An entry of a policy in either of the two forms that TOML has for it.
trait Entry {
    fn value(&self, key: &str) -> Option<&Value>;

    /// Adds a text right after the key `after`.
    fn insert_after(&mut self, after: &str, key: &str, text: &str);
}

impl Entry for Table {
    fn value(&self, key: &str) -> Option<&Value> {
        self.get(key)?.as_value()
    }

    fn insert_after(&mut self, after: &str, key: &str, text: &str) {
        let indent = indent_of(self, after);
        self.insert(key, toml_edit::value(text));
        if let Some(mut added) = self.key_mut(key) {
            added.leaf_decor_mut().set_prefix(indent);
        }
        let order = order_with(self, after, key);
        self.sort_values_by(|one, _, other, _| place(&order, one).cmp(&place(&order, other)));
    }
}

impl Entry for InlineTable {
    fn value(&self, key: &str) -> Option<&Value> {
        self.get(key)
    }

    fn insert_after(&mut self, after: &str, key: &str, text: &str) {
        let indent = indent_of(self, after);
        self.insert(key, text.into());
        if let Some(mut added) = self.key_mut(key) {
            added.leaf_decor_mut().set_prefix(indent);
        }
        let order = order_with(self, after, key);
        self.sort_values_by(|one, _, other, _| place(&order, one).cmp(&place(&order, other)));
    }
}

/// The white space before a key on its own line.
fn indent_of(table: &dyn TableLike, key: &str) -> String {
    let prefix = table.key(key).and_then(|key| key.leaf_decor().prefix());
    let prefix = prefix
        .and_then(|prefix| prefix.as_str())
        .unwrap_or_default();
    let line = prefix.rsplit('\n').next().unwrap_or_default();
    line.chars().take_while(|c| c.is_whitespace()).collect()
}

/// The keys in their order, with `key` moved to right after `after`.
fn order_with(table: &dyn TableLike, after: &str, key: &str) -> Vec<String> {
    let keys = table
        .iter()
        .map(|(key, _)| key)
        .filter(|other| *other != key);
    let mut order: Vec<String> = keys.map(str::to_owned).collect();
    let place = order.iter().position(|other| other == after);
    order.insert(place.map_or(order.len(), |at| at + 1), key.to_owned());
    order
}

fn place(order: &[String], key: &str) -> usize {
    let place = order.iter().position(|other| other == key);
    place.unwrap_or(usize::MAX)
}

/// Puts `text` in place of the file in one step, with the permissions that it has.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new()
        .prefix(".pin-")
        .tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file()
        .set_permissions(file.metadata()?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// The lines of `after` that are not in `before`, with their numbers. Lines were only added, or changed in place.
fn changes(before: &str, after: &str) -> String {
    let mut old = before.lines().peekable();
    let in_place = before.lines().count() == after.lines().count();
    let mut text = String::new();
    for (number, line) in after.lines().enumerate() {
        let same = old.peek() == Some(&line);
        if same || in_place {
            old.next();
        }
        if !same {
            let _ = writeln!(text, "  {:>4} + {line}", number + 1);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::trust::{NameState, Pin};

    fn registry() -> Registry {
        let config = Config::load(None, &std::collections::BTreeMap::new()).unwrap();
        Registry::new(config.issuers)
    }

    fn pairs(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn pinned(issuer: &str, names: &[(&str, &str)], ids: &[(&str, &str)]) -> RememberedNames {
        RememberedNames {
            names: Names {
                project: "acme/api".into(),
                issuer: issuer.into(),
                names: pairs(names),
            },
            state: NameState {
                first_loaded_millis: 0,
                pin: Some(Pin {
                    ids: pairs(ids),
                    since_millis: 0,
                    decision_id: String::new(),
                }),
            },
        }
    }

    fn octo_repo() -> RememberedNames {
        pinned(
            "github",
            &[("owner", "octo-org"), ("repository", "octo-repo")],
            &[("owner-id", "65"), ("repository-id", "74")],
        )
    }

    fn written(text: &str, pins: &[RememberedNames]) -> String {
        let pins: Vec<&RememberedNames> = pins.iter().collect();
        with_ids(text, &pins, &registry()).unwrap()
    }

    const POLICY: &str = r#"# Who may act for acme/api.

  [[trust]]   # releases
  name   = "release"
  issuer = "github"      # ours
  # The organization that holds
  # our code.
  owner  = "Octo-Org"    # as at GitHub
  repository = "octo-repo"
  scopes = ["a",
            "b"]         # more to come

  [trust.claims]
  ref = "refs/heads/main"   # main alone

[[deny]]
name = "x"
issuer = "github"
owner = "octo-org"
"#;

    #[test]
    fn ids_stand_behind_their_names_and_nothing_else_moves() {
        let after = written(POLICY, &[octo_repo()]);
        let expected = POLICY
            .replace("# as at GitHub\n", "# as at GitHub\n  owner-id = \"65\"\n")
            .replace(
                "\"octo-repo\"\n",
                "\"octo-repo\"\n  repository-id = \"74\"\n",
            );
        assert_eq!(after, expected);
        let changed = changes(POLICY, &after);
        assert_eq!(
            changed,
            "     9 +   owner-id = \"65\"\n    11 +   repository-id = \"74\"\n"
        );
    }

    #[test]
    fn lines_keep_the_ends_that_they_have() {
        let policy = POLICY.replace('\n', "\r\n");
        let after = written(&policy, &[octo_repo()]);
        assert_eq!(after, written(POLICY, &[octo_repo()]).replace('\n', "\r\n"));
    }

    #[test]
    fn an_entry_on_one_line_stays_on_one_line() {
        let policy = "trust = [\n  { name = \"a\", issuer = \"github\", owner = \"octo-org\", repository = \"octo-repo\", scopes = [\"a\"] }, # one\n]\n";
        let after = written(policy, &[octo_repo()]);
        let expected = policy.replace("\"octo-org\",", "\"octo-org\", owner-id = \"65\",");
        let expected = expected.replace("\"octo-repo\",", "\"octo-repo\", repository-id = \"74\",");
        assert_eq!(after, expected);
        assert!(changes(policy, &after).starts_with("     2 +   { name"));
    }

    #[test]
    fn what_the_pin_is_not_for_stays_as_it_is() {
        let entry = |lines: &str| format!("[[trust]]\nname = \"a\"\nscopes = [\"a\"]\n{lines}");
        for lines in [
            "issuer = \"gitlab\"\nowner = \"octo-org\"\nrepository = \"octo-repo\"\n",
            "issuer = \"nobody\"\nowner = \"octo-org\"\nrepository = \"octo-repo\"\n",
            "issuer = \"github\"\nowner = \"octo-org\"\nrepository = \"other\"\n",
            "issuer = \"github\"\nowner = \"octo-org\"\nrepository = [\"octo-repo\", \"b\"]\n",
            "issuer = \"github\"\nowner = \"octo-org\"\nowner-id = [\"9\"]\nrepository = \"octo-repo\"\n",
        ] {
            let policy = entry(lines);
            assert_eq!(written(&policy, &[octo_repo()]), policy);
        }
    }

    #[test]
    fn an_id_that_the_file_gives_stays_and_the_others_are_added_if_it_agrees() {
        let with = |owner: &str| {
            POLICY.replace(
                "  repository =",
                &format!("  owner-id = {owner}\n  repository ="),
            )
        };
        for owner in ["65", "\"65\""] {
            let expected = with(owner).replace(
                "\"octo-repo\"\n",
                "\"octo-repo\"\n  repository-id = \"74\"\n",
            );
            assert_eq!(written(&with(owner), &[octo_repo()]), expected);
        }
        let other = with("66");
        assert_eq!(written(&other, &[octo_repo()]), other);
    }

    #[test]
    fn of_several_pins_the_one_of_all_names_is_written() {
        let owner_alone = pinned("github", &[("owner", "octo-org")], &[("owner-id", "66")]);
        for pins in [
            [octo_repo(), owner_alone.clone()],
            [owner_alone, octo_repo()],
        ] {
            assert_eq!(written(POLICY, &pins), written(POLICY, &[octo_repo()]));
        }
    }

    #[test]
    fn an_id_of_no_name_of_its_own_stands_behind_the_last_name() {
        let policy = "[[trust]]\nname = \"a\"\nissuer = \"gitlab\"\nproject = \"my-group/my-project\"\nscopes = [\"a\"]";
        let pin = pinned(
            "gitlab",
            &[("project", "my-group/my-project")],
            &[("namespace-id", "72"), ("project-id", "20")],
        );
        let after = written(policy, &[pin]);
        assert!(
            after.contains("my-project\"\nproject-id = \"20\"\nnamespace-id = \"72\"\nscopes"),
            "{after}"
        );
    }

    #[test]
    fn a_file_that_would_not_load_with_the_ids_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api.toml");
        let project = ProjectPath::parse("acme/api").unwrap();
        let pin = pinned(
            "github",
            &[("owner", "octo-org"), ("repository", "octo-repo")],
            &[("owner-id", "no number"), ("repository-id", "74")],
        );
        std::fs::write(&file, POLICY).unwrap();
        let refused = fix(&file, &project, &[&pin], &registry()).err().unwrap();
        assert!(matches!(refused, WriteError::WouldNotLoad(_)), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), POLICY);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_of_a_list_are_said_to_stay_in_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api.toml");
        let several = POLICY.replace("\"octo-repo\"", "[\"octo-repo\", \"other\"]");
        std::fs::write(&file, &several).unwrap();
        let project = ProjectPath::parse("acme/api").unwrap();
        let fixed = fix(&file, &project, &[&octo_repo()], &registry()).unwrap();
        assert_eq!(fixed.left, [octo_repo().names]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), several);
        std::fs::write(&file, POLICY).unwrap();
        let fixed = fix(&file, &project, &[&octo_repo()], &registry()).unwrap();
        assert_eq!(fixed.left, []);
    }

    #[test]
    fn a_link_stays_a_link_and_a_second_time_there_is_nothing_to_write() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("api.toml"));
        std::fs::write(&real, POLICY).unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let project = ProjectPath::parse("acme/api").unwrap();
        let write = || fix(&link, &project, &[&octo_repo()], &registry()).unwrap();
        assert!(!write().changed.is_empty());
        assert!(write().changed.is_empty());
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let mode = real.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let text = std::fs::read_to_string(&real).unwrap();
        assert_eq!(text, written(POLICY, &[octo_repo()]));
    }
}
