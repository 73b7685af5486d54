//! `_organization.toml`: the denies and requirements of an organization.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Reader;
use super::entry::Taken;
use super::fields::empty_list;
use super::keys::{Key, Keys};
use super::suggest::nearest;
use super::words::shown;
use crate::issuer::TrustedIssuer;
use crate::trust::Scopes;
use crate::trust::fault::Problem;
use crate::trust::guard_rails::{Rails, Require};
use crate::trust::place::Place;

const REQUIRE_KEYS: &[&str] = &[
    "name",
    "issuer",
    "pin",
    "scopes-at-most",
    "lifetime-at-most",
    "silence",
];

impl<'t> Reader<'_, 't> {
    /// The whole file.
    pub(super) fn guard_rails(&mut self, mut keys: Keys<'t>) -> Rails {
        let silence = self.silence(keys.take("silence"));
        let (mut denies, mut requires) = (Vec::new(), Vec::new());
        let mut taken = BTreeMap::new();
        for table in self.tables(keys.take("deny")) {
            denies.extend(self.deny(table, &mut taken));
        }
        let mut taken = BTreeMap::new();
        for table in self.tables(keys.take("require")) {
            requires.extend(self.require(table, &mut taken));
        }
        for key in keys.rest() {
            let mend = match (key.name, nearest(key.name, ["deny", "require"])) {
                ("trust" | "case", _) => format!(
                    "`[[{}]]` stands in the file of a project, beside this one",
                    key.name
                ),
                (_, Some(meant)) => format!("did you mean `[[{meant}]]`?"),
                (_, None) => "a file of guard rails holds `[[require]]` and `[[deny]]` entries, \
                    and keys stand below one"
                    .to_owned(),
            };
            self.report(
                Problem::new(
                    "unknown-key",
                    key.at.into(),
                    format!("`{}` is no key of a file of guard rails", shown(key.name)),
                    "unknown here",
                )
                .mend(mend),
            );
        }
        Rails {
            denies,
            requires,
            silence,
        }
    }

    fn require(&mut self, mut keys: Keys<'t>, taken: &mut Taken<'t>) -> Option<Require> {
        let header = keys.at;
        let name = keys
            .take("name")
            .map(|key| self.name(Some(key), "guard rail", header, taken));
        let silence = self.silence(keys.take("silence"));
        let issuer_key = keys.take("issuer");
        let (pin, scopes, lifetime) = (
            keys.take("pin"),
            keys.take("scopes-at-most"),
            keys.take("lifetime-at-most"),
        );
        self.unknown(&keys, REQUIRE_KEYS, "guard rail", None);
        if pin.is_none() && scopes.is_none() && lifetime.is_none() && keys.rest().is_empty() {
            self.report(
                Problem::new(
                    "require-empty",
                    header.into(),
                    "this guard rail requires nothing",
                    "nothing here",
                )
                .mend("add `pin`, `scopes-at-most` or `lifetime-at-most`"),
            );
        }
        let scopes_at_most = scopes.and_then(|key| self.scopes_at_most(&key));
        let lifetime_at_most =
            lifetime.and_then(|key| Some((self.lifetime(&key)?, key.value_at().into())));
        let issuer = match &issuer_key {
            Some(key) => Some(self.issuer(key)?),
            None => None,
        };
        let pin = match (pin, &issuer) {
            (None, _) => Vec::new(),
            (Some(key), Some(issuer)) => self.pin(&key, issuer),
            (Some(key), None) => {
                self.report(
                    Problem::new(
                        "pin-needs-issuer",
                        key.at.into(),
                        "`pin` needs `issuer`: each profile has identity fields of its own",
                        "for every issuer",
                    )
                    .mend("add `issuer = \"…\"`; write one `[[require]]` for each issuer"),
                );
                Vec::new()
            }
        };
        Some(Require {
            name: match name {
                Some(name) => Some(name?.into()),
                None => None,
            },
            issuer: issuer.map(|issuer| issuer.name.clone()),
            pin,
            scopes_at_most,
            lifetime_at_most,
            silence,
            header,
        })
    }

    /// `scopes-at-most`, at least one: an organization that allows none says so by a deny.
    fn scopes_at_most(&mut self, key: &Key<'t>) -> Option<(Scopes, Place)> {
        let words = self.texts(key)?;
        if words.is_empty()
            && key
                .value
                .get_ref()
                .as_array()
                .is_some_and(|list| list.is_empty())
        {
            self.report(empty_list(key));
            return None;
        }
        Some((self.scope_set(words), key.value_at().into()))
    }

    /// `pin`: identity fields of the issuer's profile.
    fn pin(&mut self, key: &Key<'t>, issuer: &TrustedIssuer) -> Vec<(Arc<str>, Place)> {
        let profile = issuer.profile;
        let mut known: Vec<&str> = profile.fields.iter().map(|field| field.name).collect();
        if profile.tenant_claims_configured {
            known.push("sub");
            known.extend(issuer.tenant_claims.iter().map(String::as_str));
        }
        let words = self.texts(key).unwrap_or_default();
        if key
            .value
            .get_ref()
            .as_array()
            .is_some_and(|list| list.is_empty())
        {
            self.report(empty_list(key));
        }
        let mut pin = Vec::new();
        for (word, at) in words {
            if known.contains(&word) {
                pin.push((self.shared.text(word), at.into()));
                continue;
            }
            let mend = if let Some(meant) = nearest(word, known.iter().copied()) {
                format!("did you mean `{meant}`?")
            } else {
                let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                format!("there are {}", names.join(", "))
            };
            self.report(
                Problem::new(
                    "pin-unknown",
                    at,
                    format!(
                        "`{}` is no identity field of {}",
                        shown(word),
                        profile.title
                    ),
                    "unknown identity field",
                )
                .mend(mend),
            );
        }
        pin
    }
}
