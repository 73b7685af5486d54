//! Witnesses: others who remember how far they saw the log, and cosign that it only grew (C2SP tlog-witness).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use super::note::{Checkpoint, Note, SignatureLine, SignatureType, VerifierKey, read_signatures};
use super::{Notary, NotaryFault, locked};
use crate::audit::tree;
use crate::ledger::{Kept, LogFault, size_of_checkpoint};

/// Somebody who cosigns.
pub struct Witness {
    /// Its key, of the type for cosignatures.
    pub key: VerifierKey,
    /// What asks it.
    pub asks: Box<dyn AskWitness>,
}

/// Sends a request to a witness.
pub trait AskWitness: Send + Sync {
    /// Submits the body of an `add-checkpoint` request. An error is a sentence for the log.
    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<AnswerOfWitness, String>>;
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerOfWitness {
    /// 200: signature lines.
    Cosigned(String),
    /// 409: it has seen so many entries already.
    HasSeen(u64),
    /// 422: what we say does not follow from what it has seen.
    Inconsistent,
}

/// How many answers one submission takes: how far the witness saw is asked for once, and may change once meanwhile.
const MOST_ANSWERS: usize = 3;

/// Whether a witness is asked again that has cosigned a checkpoint already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    OnceOnly,
    Always,
}

/// How long a start waits for the witnesses.
const AT_START: Duration = Duration::from_secs(10);

impl Notary {
    /// Asks every witness whether it saw more of this log than there is, before anything new is signed: a store
    /// that was rolled back together with its copies is found out here. A witness that does not answer keeps nobody.
    pub async fn ask_witnesses_first(&self) {
        if self.witnesses.is_empty() {
            return;
        }
        if timeout(AT_START, self.ask_again()).await.is_err() {
            tracing::warn!("not every witness has answered in time");
        }
    }

    /// Submits what was signed last, or if nothing was, what could be signed now: it is shown to nobody else.
    async fn ask_again(&self) {
        let mut note = self.last.lock().await.note.clone();
        if note.is_empty() {
            match self.log.tree().await {
                Ok(head) => note = self.sign(head),
                Err(fault) => tracing::warn!(%fault, "there is nothing to show to a witness"),
            }
        }
        self.submit(&note, Asks::Always).await;
    }

    /// Lets every witness cosign the present checkpoint, unless it was cosigned already. To be called now and then: of several
    /// instances that do, one goes on, and the others wait until it has stopped. What a witness has against the log is
    /// forgotten when it has nothing against it any more.
    pub async fn have_cosigned(self: &Arc<Self>) {
        if self.witnesses.is_empty() {
            return;
        }
        if !locked(&self.accused).is_empty() {
            self.ask_again().await;
        } else if self.another_has_them_cosign().await {
            return;
        }
        if let Ok(note) = self.checkpoint().await {
            self.submit(&note, Asks::OnceOnly).await;
        }
    }

    /// Whether more has been cosigned since this was last looked at, by all of our witnesses, and not through us.
    async fn another_has_them_cosign(&self) -> bool {
        let kept = self.cosigned().await.ok().flatten().unwrap_or_default();
        let size = size_of_checkpoint(&kept);
        let grew = self.cosigned_over.swap(size, Ordering::SeqCst) < size;
        grew && Note::parse(&kept).is_ok_and(|kept| {
            let mut witnesses = self.witnesses.iter();
            witnesses.all(|witness| witness.line_in(&kept).is_some())
        })
    }

    /// Submits a checkpoint of ours to all at once, and keeps it with the cosignatures that it gets.
    async fn submit(&self, signed: &str, asks: Asks) {
        let Ok(mut note) = Note::parse(signed) else {
            return;
        };
        let Ok(checkpoint) = Checkpoint::parse(&note.text) else {
            return;
        };
        let kept = self.cosigned().await.ok().flatten();
        let kept = kept.and_then(|kept| Note::parse(&kept).ok());
        let kept = kept.filter(|kept| kept.text == note.text && asks == Asks::OnceOnly);
        let (text, checkpoint) = (note.text.clone(), &checkpoint);
        let asked = self.witnesses.iter().map(async |witness| {
            if let Some(line) = kept.as_ref().and_then(|kept| witness.line_in(kept)) {
                return Some((line, false));
            }
            match self.ask(witness, &text, signed, checkpoint).await {
                Ok(line) => {
                    locked(&self.accused).remove(witness.key.name());
                    Some((line, true))
                }
                Err(why) => {
                    let witness = witness.key.name();
                    tracing::warn!(witness, why, "the checkpoint was not cosigned");
                    None
                }
            }
        });
        let lines: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if !lines.iter().any(|(_, is_new)| *is_new) {
            return;
        }
        note.signatures
            .extend(lines.into_iter().map(|(line, _)| line));
        let note = note.to_string();
        match self.log.keep_checkpoint(Kept::Cosigned, note).await {
            Ok(()) => self.cosigned_over.store(checkpoint.size, Ordering::SeqCst),
            Err(fault) => tracing::warn!(%fault, "the cosigned checkpoint could not be kept"),
        }
    }

    /// Notes what a witness has against the log. Nothing is signed as long as it has.
    fn accuse(&self, witness: &Witness, what: String) {
        let mend = format!(
            "{}; if you trust the {} more than this witness, take it out of the configuration",
            self.kept_in.restore(),
            self.kept_in
        );
        let name = witness.key.name().to_owned();
        locked(&self.accused).insert(name, LogFault { what, mend });
    }

    /// The cosignature of one witness.
    async fn ask(
        &self,
        witness: &Witness,
        text: &str,
        signed: &str,
        checkpoint: &Checkpoint,
    ) -> Result<SignatureLine, String> {
        let mut old = 0;
        for _ in 0..MOST_ANSWERS {
            let proof = self.proof(old, checkpoint.size).await;
            let proof = proof.map_err(|fault| fault.to_string())?;
            let body = format!("old {old}\n{proof}\n{signed}");
            match witness.asks.add_checkpoint(body).await? {
                AnswerOfWitness::Cosigned(lines) => {
                    return witness
                        .cosignature(text, &lines)
                        .ok_or_else(|| "its answer has no genuine cosignature".to_owned());
                }
                AnswerOfWitness::HasSeen(size) if size > checkpoint.size => {
                    // It may have seen what was signed while this was on its way.
                    if self.log.tree().await.is_ok_and(|head| head.size < size) {
                        self.accuse(witness, format!(
                            "the witness `{}` has seen {size} entries of this log, and there are only {}: the {} was rolled back",
                            witness.key.name(), checkpoint.size, self.kept_in
                        ));
                    }
                    return Err(format!("it has already seen {size} entries"));
                }
                AnswerOfWitness::HasSeen(size) => old = size,
                AnswerOfWitness::Inconsistent => {
                    self.accuse(witness, format!(
                        "the witness `{}` has seen {old} entries of this log, and they are not its first",
                        witness.key.name()
                    ));
                    return Err("it says that the log does not follow from what it saw".to_owned());
                }
            }
        }
        Err("it changes its mind about how much it has seen".to_owned())
    }

    /// The lines of a consistency proof.
    async fn proof(&self, from: u64, to: u64) -> Result<String, NotaryFault> {
        let ranges = tree::consistency(from, to).unwrap_or_default();
        let hashes = self.log.hashes(ranges).await?;
        let lines = hashes.iter().map(|hash| STANDARD.encode(hash) + "\n");
        Ok(lines.collect())
    }
}

impl Witness {
    /// The line of `note` that this witness signed.
    fn line_in(&self, note: &Note) -> Option<SignatureLine> {
        let mut lines = note.signatures.iter();
        let genuine = lines.find(|line| self.is_genuine(&note.text, line));
        genuine.cloned()
    }

    /// The genuine cosignature of `text` among the lines of an answer.
    fn cosignature(&self, text: &str, lines: &str) -> Option<SignatureLine> {
        let lines = read_signatures(lines)?;
        lines.into_iter().find(|line| self.is_genuine(text, line))
    }

    fn is_genuine(&self, text: &str, line: &SignatureLine) -> bool {
        self.key.kind() == SignatureType::Cosignature
            && line.name == self.key.name()
            && line.id == self.key.id()
            && self.key.verifies(text, line)
    }
}
