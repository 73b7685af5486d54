//! Policies come into force: first what changes is on record, and then it has an effect.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::changes::FileChange;
use super::folder::{Folder, Scan};
use super::{Directory, DirectoryError, FileProblem, PolicyChange, Snapshot, SwitchedOff, locked};
use crate::ledger::StoreUnavailable;
use crate::trust::{Names, ProjectPath};

/// How many changes one commit puts on record, so that exchanges do not wait long for a large reload.
const RECORDED_AT_ONCE: usize = 500;

/// How many octets of text one commit keeps, or one file if that is larger.
const OCTETS_AT_ONCE: usize = 4 * 1024 * 1024;

/// How many names one commit notes.
const NOTED_AT_ONCE: usize = 1000;

/// How often the folder is read for one reload, if files change between being read and being put on record. Those that
/// did are held in memory the next time, so that a second reading does unless very many change at once.
const MOST_READINGS: usize = 4;

/// What one reload leaves to the next.
#[derive(Default)]
pub(super) struct Unfinished {
    /// Names of policies in force that are not noted yet.
    unnoted: Vec<Names>,
    /// Whether the log says what the folder last brought into force, and nothing else.
    log_is_in_step: bool,
}

/// What a scan found, and what of it is not on record.
struct Found {
    scan: Scan,
    changes: Vec<FileChange>,
}

/// Some changes, with the texts that are to be kept.
type Batch = Vec<(FileChange, Option<Vec<u8>>)>;

impl Directory {
    /// Reads the files that changed since the last time. A broken file keeps its own last good version; a deleted one
    /// takes its project with it at once. Guard rails that were tightened, or deleted, act at once too.
    ///
    /// Nothing has an effect before it is on record. If it cannot be put there nothing changes, and until it can the
    /// directory is not [settled](Self::settled): a policy that was tightened or deleted meanwhile lets nobody in.
    pub async fn reload(&self) -> Result<(), DirectoryError> {
        let mut unfinished = self.reloading.lock().await;
        let outcome = self.read_again(&mut unfinished).await;
        match &outcome {
            Ok(()) => self.settled.store(true, Ordering::Release),
            // Whether anything changed is not known.
            Err(DirectoryError::Unreadable { .. }) => {}
            Err(_) => self.settled.store(false, Ordering::Release),
        }
        outcome
    }

    /// Fails while the folder holds something that could not be put on record. What is in force is then not what an
    /// operator wrote, so no exchange may succeed by it.
    pub fn settled(&self) -> Result<(), StoreUnavailable> {
        if self.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = "a change of the trust policies could not be put on record";
        Err(StoreUnavailable(why.to_owned()))
    }

    async fn read_again(&self, unfinished: &mut Unfinished) -> Result<(), DirectoryError> {
        for _ in 0..MOST_READINGS {
            let Found { scan, changes } = self.scan(unfinished).await?;
            if self.put_on_record(changes).await? {
                return self.bring_into_force(scan, unfinished).await;
            }
        }
        Err(DirectoryError::Restless)
    }

    async fn scan(&self, unfinished: &mut Unfinished) -> Result<Found, DirectoryError> {
        let on_record = if unfinished.log_is_in_step {
            None
        } else {
            Some(self.history.policies_on_record().await?)
        };
        // Whatever cuts this reload off: the next one asks the log.
        unfinished.log_is_in_step = false;
        self.in_folder(move |folder| {
            if let Some(on_record) = on_record {
                folder.compare_with(on_record);
            }
            let scan = folder.scan()?;
            let changes = folder.changes();
            Ok(Found { scan, changes })
        })
        .await?
    }

    /// Puts changes on record. Answers whether all are there: a file that was changed again meanwhile is left out.
    async fn put_on_record(&self, changes: Vec<FileChange>) -> Result<bool, DirectoryError> {
        let (mut left, mut all) = (changes.into_iter(), true);
        while left.len() > 0 {
            let texts = move |folder: &mut Folder| {
                let taken = with_texts(folder, &mut left);
                (taken, left)
            };
            let ((mut batch, gone), rest) = self.in_folder(texts).await?;
            left = rest;
            for change in gone {
                // The log may know the version from earlier.
                let digest = change.after.digest().unwrap_or_default().to_owned();
                match self.history.policy_text(digest).await? {
                    Some(text) => batch.push((change, Some(text))),
                    None => all = false,
                }
            }
            if !batch.is_empty() {
                self.put_batch_on_record(batch).await?;
            }
        }
        Ok(all)
    }

    async fn put_batch_on_record(&self, batch: Batch) -> Result<(), DirectoryError> {
        let loaded = batch
            .iter()
            .filter_map(|(change, _)| change.loaded_project());
        let loaded: Vec<ProjectPath> = loaded.cloned().collect();
        let ids = if loaded.is_empty() {
            Vec::new()
        } else {
            self.ids.ids_of(loaded.clone()).await?
        };
        let mut ids: HashMap<ProjectPath, String> = loaded.into_iter().zip(ids).collect();
        let mut complete = Vec::new();
        for (change, text) in batch {
            let before = match change.compared_with() {
                Some(digest) => self.history.policy_text(digest.to_owned()).await?,
                None => None,
            };
            let id = change.loaded_project().and_then(|path| ids.remove(path));
            complete.push((change, text, before, id));
        }
        let changes = tokio::task::spawn_blocking(move || {
            let each = complete.into_iter();
            each.map(|(change, text, before, id)| change.into_record(text, before.as_deref(), id))
                .collect::<Vec<PolicyChange>>()
        });
        let changes = changes.await.map_err(|_| DirectoryError::Interrupted)?;
        let now = self.clock.now();
        // One line tells of all policies at the start: a hundred thousand are no hundred thousand lines.
        let said = (!self.is_empty()).then(|| changes.iter().map(in_words).collect::<Vec<_>>());
        self.history.record_policies(changes, now).await?;
        for (file, kind) in said.into_iter().flatten() {
            tracing::info!(file, kind, "the policies change");
        }
        Ok(())
    }

    async fn bring_into_force(
        &self,
        scan: Scan,
        unfinished: &mut Unfinished,
    ) -> Result<(), DirectoryError> {
        if scan.changed {
            let paths = scan.policies.iter().map(|policy| policy.path().clone());
            let ids = self.ids.ids_of(paths.collect()).await?;
            let before = self.snapshot.swap(Arc::new(Snapshot::of(scan, ids)));
            self.tell_of_problems_since(&before);
            unfinished.unnoted.extend(self.names_new_since(&before));
        }
        locked(&self.folder).accept();
        unfinished.log_is_in_step = true;
        self.note(&mut unfinished.unnoted).await;
        Ok(())
    }

    /// Says what is wrong now and was not `before`.
    fn tell_of_problems_since(&self, before: &Snapshot) {
        let now = self.snapshot.load();
        for problem in &now.problems {
            if before.problems.contains(problem) {
                continue;
            }
            let FileProblem { file, message, .. } = problem;
            if let Some(fault) = &problem.fault {
                tracing::error!(file, "refused\n{}", fault.render(false));
            } else {
                tracing::error!(file, "{message}");
            }
        }
        let known: HashSet<&SwitchedOff> = before.switched_off.iter().collect();
        for off in now.switched_off.iter().filter(|off| !known.contains(off)) {
            let SwitchedOff {
                file,
                relationship,
                by,
            } = off;
            tracing::warn!(file, relationship, by, "switched off by a guard rail");
        }
    }

    /// The names without ids of policies that were not in force `before`.
    fn names_new_since(&self, before: &Snapshot) -> Vec<Names> {
        let now = self.snapshot.load();
        let changed = now.by_path.values().filter(|project| {
            let earlier = before.by_path.get(&project.path);
            earlier.is_none_or(|earlier| !Arc::ptr_eq(&earlier.policy, &project.policy))
        });
        changed
            .flat_map(|project| project.policy.names_without_ids())
            .collect()
    }

    /// Notes the first load of names, whose policies are in force already. What fails is tried again with the next
    /// reload: until then their time to be used begins later, and nobody is let in who would not be.
    async fn note(&self, unnoted: &mut Vec<Names>) {
        let now = self.clock.now();
        while !unnoted.is_empty() {
            let rest = unnoted.len().saturating_sub(NOTED_AT_ONCE);
            let some = unnoted.get(rest..).unwrap_or_default().to_vec();
            if let Err(fault) = self.first_loads.note_names(some, now).await {
                tracing::warn!(%fault, names = unnoted.len(), "the first load of names was not noted");
                return;
            }
            unnoted.truncate(rest);
        }
    }

    /// Does `work` where it may wait for the disk.
    async fn in_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Folder) -> T + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut locked(&folder)));
        done.await.map_err(|_| DirectoryError::Interrupted)
    }
}

fn in_words(change: &PolicyChange) -> (String, &'static str) {
    (change.file.clone(), change.event.kind())
}

/// Takes changes for one commit with their texts, and beside them those whose text is not there any more.
fn with_texts(
    folder: &mut Folder,
    left: &mut impl Iterator<Item = FileChange>,
) -> (Batch, Vec<FileChange>) {
    let (mut batch, mut gone, mut octets) = (Batch::new(), Vec::new(), 0);
    while batch.len() < RECORDED_AT_ONCE && octets < OCTETS_AT_ONCE {
        let Some(change) = left.next() else { break };
        let Some(digest) = change.after.digest() else {
            batch.push((change, None));
            continue;
        };
        match folder.text_of(&change.file, digest) {
            Some(text) => {
                octets += text.len();
                batch.push((change, Some(text.into_bytes())));
            }
            None => gone.push(change),
        }
    }
    (batch, gone)
}
