//! The embedded store as a copy in the making: a folder that says so, and that no service opens.

use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::copy::{CopyError, Counted, Original as Copied, Part, State, Unfinished as InTheMaking};
use super::draft::{Draft, Fault};
use super::folder::Folder;
use super::keys::{self, Denied, Uses};
use super::log::{LONGEST_WITHHELD, WITHHELD_FILE};
use super::original::{Original, blocking, no_time};
use super::promises::write_signing_key;
use super::queue::Share;
use super::{EmbeddedStore, Options, names};
use crate::audit::Sealed;
use crate::ledger::{AuditLog as _, Kept, StoreUnavailable};

/// A store that is made in a folder.
pub(in super::super) struct Unfinished {
    store: EmbeddedStore,
    path: PathBuf,
    state: State,
}

impl Unfinished {
    /// Makes the folder `path`, in which there must be nothing, and what `state` says.
    pub(in super::super) async fn create(path: &Path, state: &State) -> Result<Self, CopyError> {
        let not_empty = CopyError::NotEmpty(path.display().to_string());
        let place = path.to_owned();
        let is_empty = blocking(move || {
            let listed = std::fs::read_dir(place);
            listed.map_or(true, |mut listed| listed.next().is_none())
        });
        if !is_empty.await? {
            // It may be the beginning of a copy, which says so itself.
            if Folder::is_unfinished(path) {
                return Err(super::OpenError::Unfinished(path.to_owned()).into());
            }
            return Err(not_empty);
        }
        let place = path.to_owned();
        let opening = move || {
            Folder::begin(&place)?;
            EmbeddedStore::open_unfinished(&place, no_time(), Options::default())
        };
        Ok(Self {
            store: blocking(opening).await??,
            path: path.to_owned(),
            state: state.clone(),
        })
    }

    async fn put(&self, part: Part) -> Result<(), CopyError> {
        let state = self.state.clone();
        let put = self
            .store
            .ask(Share::Whole, move |draft| put(draft, part, &state));
        Ok(put.await?)
    }

    /// What there is once comes last.
    async fn put_state(&self) -> Result<(), StoreUnavailable> {
        let state = self.state.clone();
        let put = self.store.ask(Share::Whole, move |draft| {
            if let Some(until) = state.forgotten {
                draft.put(keys::FORGOTTEN_KEY.to_vec(), keys::time(until).to_vec());
            }
            if let Some(sealed) = &state.checkpoint_key {
                draft.replace_text(keys::CHECKPOINT_KEY, sealed)?;
            }
            Ok(())
        });
        put.await?;
        for (which, note) in [
            (Kept::Signed, &self.state.signed),
            (Kept::Cosigned, &self.state.cosigned),
        ] {
            if let Some(note) = note {
                self.store.keep_checkpoint(which, note.clone()).await?;
            }
        }
        Ok(())
    }

    /// Closes it, and opens it as the next one will find it.
    async fn reopened(&mut self) -> Result<Original, CopyError> {
        self.put_state().await?;
        let (store, path) = (self.store.clone(), self.path.clone());
        let reopening = move || {
            store.close();
            EmbeddedStore::open_unfinished(&path, no_time(), Options::default())
        };
        self.store = blocking(reopening).await??;
        Ok(Original::over(self.store.clone()))
    }

    async fn close_and_open_for_all(self) -> Result<(), CopyError> {
        let ending = move || {
            self.store.close();
            Folder::finish(&self.path)
        };
        Ok(blocking(ending).await??)
    }
}

impl InTheMaking for Unfinished {
    fn add(&mut self, part: Part) -> BoxFuture<'_, Result<(), CopyError>> {
        self.put(part).boxed()
    }

    fn as_original(&mut self) -> BoxFuture<'_, Result<Box<dyn Copied + '_>, CopyError>> {
        async {
            let original = self.reopened().await?;
            Ok(Box::new(original) as Box<dyn Copied>)
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), CopyError>> {
        self.close_and_open_for_all().boxed()
    }
}

fn put(draft: &mut Draft<'_>, part: Part, state: &State) -> Result<(), Fault> {
    match part {
        Part::Entries(first, entries) => {
            for (index, entry) in (first..).zip(entries) {
                if index == 0 && state.withheld_from > 0 {
                    // The values that were deleted there lay in a file that is gone here.
                    draft.remove_withheld(WITHHELD_FILE);
                }
                let length = entry.withheld.len();
                if length > LONGEST_WITHHELD {
                    let why =
                        format!("entry {index} withholds {length} octets, too many for this store");
                    return Err(Fault::Refused(why));
                }
                let sealed = Sealed {
                    leaf: entry.leaf,
                    leaf_hash: entry.hash,
                    withheld: entry.withheld,
                    marks: entry.marks,
                };
                let is_put_back = index > 0 && index == state.put_back;
                if index < state.withheld_from {
                    draft.place_without_values(sealed, is_put_back);
                } else {
                    draft.place(sealed, is_put_back);
                }
            }
        }
        Part::Spent(all) => {
            for spent in all {
                let key = keys::join(&[b"s", &spent.key]);
                let (number, until) = (spent.uses, spent.until);
                draft.put_until(until, key, Uses { number, until }.write());
            }
        }
        Part::Denials(all) => {
            for denial in all {
                let key = keys::join(&[b"n", &denial.key]);
                let (id, until) = (denial.id, denial.until);
                draft.put_until(until, key, Denied { id, until }.write());
            }
        }
        Part::Counted(all) => {
            for counted in all {
                let Counted { issuer, reason, .. } = &counted;
                let key = keys::aggregate(counted.hour, issuer, reason);
                draft.put(key, counted.count.to_be_bytes().to_vec());
            }
        }
        Part::Names(all) => {
            for kept in all {
                names::put(draft, &kept)?;
            }
        }
        Part::Projects(all) => {
            for (path, id) in all {
                draft.put(keys::project_id(&id), path.clone().into());
                draft.put(keys::project(&path), id.into());
            }
        }
        Part::IssuerKeys(all) => {
            for kept in all {
                let text = keys::join(&[&keys::time(kept.fetched), &kept.body]);
                draft.put_text(&keys::join(&[b"k", &kept.issuer]), &text)?;
            }
        }
        Part::SigningKeys(all) => {
            for key in all {
                draft.put_text(&keys::signing_key(&key.id), &write_signing_key(&key))?;
            }
        }
        Part::Policies(all) => {
            for kept in all {
                draft.put_text(&keys::policy(&kept.file), &names::json(&kept)?)?;
            }
        }
        Part::PolicyTexts(all) => {
            for (digest, text) in all {
                let marked = [&[1], text.as_slice()].concat();
                draft.put_text(&keys::policy_text(&digest), &marked)?;
            }
        }
    }
    Ok(())
}
