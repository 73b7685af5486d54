//! What is known of one concrete issuer's keys, and who may ask it for more.
//!
//! A known key is read from an immutable snapshot. Who asks for an unknown one begins a try or joins the one that is
//! under way ([`super::flight`]); the mutex below is held for a few instructions and never while anybody waits.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::KeyArchive;
use super::archived::{Archived, Prints, prints};
use super::fault::KeyError;
use super::fetch::{FetchSettings, Fetcher};
use super::flight::{self, Phase};
use super::source::{Fetched, KeySource};
use super::status::{Failure, IssuerStatus};
use crate::clock::{Clock, Seconds, UnixTime};
use crate::issuer::{Issuer, KeySet, PublicKey, TrustedIssuer, UnusableKey};
use crate::text::printable;

/// How long keys are used after the last try that brought any.
pub(super) const STALE_AFTER: Seconds = Seconds(24 * 60 * 60);

/// How much time lies between the starts of two tries that unknown keys cause, whatever came of the first.
const BETWEEN_TRIES: Seconds = Seconds(60);

/// How many exchanges wait for one issuer at the same time.
const MOST_WAITING: usize = 256;

/// What all entries of one directory share.
pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    pub archive: Arc<dyn KeyArchive>,
    pub settings: FetchSettings,
}

/// One concrete issuer.
pub(super) struct Entry {
    name: Arc<str>,
    issuer: Issuer,
    /// Whether it stands in the configuration, rather than being one organization of an issuer that does.
    configured: bool,
    pub(super) source: KeySource,
    pub(super) fetcher: Fetcher,
    pub(super) shared: Arc<Shared>,
    snapshot: ArcSwapOption<Snapshot>,
    /// When a key was last asked for, in milliseconds since the epoch.
    used: AtomicI64,
    waiting: AtomicUsize,
    /// Whether there is a set that could not be put on record, see [`Tries::unrecorded`].
    is_behind: AtomicBool,
    tries: Mutex<Tries>,
}

/// The keys of one moment.
pub(super) struct Snapshot {
    pub keys: KeySet,
    pub unusable: Vec<UnusableKey>,
    /// When the try began that brought them.
    pub fetched: UnixTime,
}

/// What came of asking.
#[derive(Default)]
pub(super) struct Tries {
    /// The try that began last; it is over once its sender is gone.
    flight: Option<watch::Receiver<Phase>>,
    /// When that try began.
    began: Option<UnixTime>,
    /// Whether it brought keys. Not so while it is under way, or was cut off.
    succeeded: bool,
    /// Whether it brought none.
    failed: bool,
    count: u64,
    last_failure: Option<Failure>,
    /// What the archive holds; none if that is not known.
    pub archived: Option<Archived>,
    /// In what the discovery document disagrees.
    pub disagreements: Vec<String>,
    /// Why the archive could not be read or written.
    pub archive_fault: Option<String>,
    /// The set that was fetched last and could not be put on record, and when its try began.
    unrecorded: Option<(Fetched, UnixTime)>,
    /// When the use of a known key last caused a try to put that set on record.
    caught_up: Option<UnixTime>,
}

/// What a try is for.
pub(super) enum Errand {
    /// To ask the issuer.
    Ask,
    /// To put on record what an earlier one brought. The issuer is not asked again.
    Record(Fetched, UnixTime),
}

/// What one who needs an unknown key may do.
enum Asked {
    /// Wait for the try that is under way.
    Wait(watch::Receiver<Phase>),
    /// Nothing: the last try is less than a minute old.
    TooSoon,
}

impl Entry {
    /// An entry that knows nothing yet. It belongs to `trusted`, and is `configured` if it is no single organization.
    pub fn new(
        trusted: &TrustedIssuer,
        issuer: Issuer,
        configured: bool,
        fetcher: Fetcher,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: trusted.name.clone(),
            configured,
            source: KeySource::of(trusted, &issuer),
            issuer,
            fetcher,
            shared,
            snapshot: ArcSwapOption::empty(),
            used: AtomicI64::new(i64::MIN),
            waiting: AtomicUsize::new(0),
            is_behind: AtomicBool::new(false),
            tries: Mutex::default(),
        })
    }

    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The keys called `kid`, if they are known and fresh enough. Never waits.
    pub fn known(&self, kid: &str, now: UnixTime) -> Option<Arc<[PublicKey]>> {
        let snapshot = self.snapshot.load();
        let fresh = snapshot.as_ref().filter(|keys| keys.is_fresh(now))?;
        let found = fresh.keys.with_id(kid).cloned()?;
        self.mark_used(now);
        Some(found)
    }

    /// The keys called `kid`, for which the issuer is asked if need be and permitted.
    pub async fn keys(self: &Arc<Self>, kid: &str) -> Result<Arc<[PublicKey]>, KeyError> {
        let now = self.shared.clock.now();
        if let Some(keys) = self.known(kid, now) {
            if self.is_behind.load(Ordering::Relaxed) {
                self.catch_up(now);
            }
            return Ok(keys);
        }
        self.mark_used(now);
        let flight = match self.ask(now) {
            Asked::Wait(flight) => flight,
            // A try may have ended between the two looks.
            Asked::TooSoon => return self.known(kid, now).ok_or_else(|| self.verdict(kid, now)),
        };
        let Some(_place) = Place::take(&self.waiting) else {
            return Err(self.unreachable(self.try_ends()));
        };
        let found = self.wait(flight, kid, now);
        tokio::time::timeout(self.shared.settings.longest_wait, found)
            .await
            .unwrap_or_else(|_| Err(self.unreachable(self.try_ends())))
    }

    async fn wait(
        &self,
        mut flight: watch::Receiver<Phase>,
        kid: &str,
        now: UnixTime,
    ) -> Result<Arc<[PublicKey]>, KeyError> {
        loop {
            let phase = *flight.borrow_and_update();
            if let Some(keys) = self.known(kid, now) {
                return Ok(keys);
            }
            if phase == Phase::Answered || flight.changed().await.is_err() {
                return self.known(kid, now).ok_or_else(|| self.verdict(kid, now));
            }
        }
    }

    /// Joins the try that is under way, or begins one if the last is a minute old.
    fn ask(self: &Arc<Self>, now: UnixTime) -> Asked {
        let mut tries = self.tries();
        match tries.unanswered() {
            Some(flight) => Asked::Wait(flight),
            None if tries.unrecorded.is_some() => Asked::Wait(self.begin(&mut tries, now)),
            None if tries.rests(now) > Seconds(0) => Asked::TooSoon,
            None => Asked::Wait(self.begin(&mut tries, now)),
        }
    }

    /// Joins the try that is under way or begins one, however old the last is.
    pub fn refresh(self: &Arc<Self>) -> watch::Receiver<Phase> {
        let now = self.shared.clock.now();
        let mut tries = self.tries();
        match tries.unanswered() {
            Some(flight) => flight,
            None => self.send(&mut tries, Errand::Ask, now),
        }
    }

    /// Tries again to put a set on record, unless that was tried within the second. Nobody waits for it.
    fn catch_up(self: &Arc<Self>, now: UnixTime) {
        let mut tries = self.tries();
        // A clock that was put back is believed.
        let last = tries.caught_up.filter(|at| *at <= now);
        let rests = last.is_some_and(|at| now < at.plus(Seconds(1)));
        if tries.unanswered().is_none() && tries.unrecorded.is_some() && !rests {
            tries.caught_up = Some(now);
            self.begin(&mut tries, now);
        }
    }

    /// Begins a try: with a set that is not on record yet if there is one, else with a question to the issuer.
    fn begin(self: &Arc<Self>, tries: &mut Tries, now: UnixTime) -> watch::Receiver<Phase> {
        let errand = match tries.unrecorded.take() {
            Some((fetched, at)) => Errand::Record(fetched, at),
            None => Errand::Ask,
        };
        self.send(tries, errand, now)
    }

    /// Sends somebody off, in a task of its own: it ends whoever goes away meanwhile.
    fn send(
        self: &Arc<Self>,
        tries: &mut Tries,
        errand: Errand,
        now: UnixTime,
    ) -> watch::Receiver<Phase> {
        let (phase, flight) = watch::channel(Phase::Begun);
        let before = tries.flight.replace(flight.clone());
        if matches!(errand, Errand::Ask) {
            tries.began = Some(now);
            tries.count += 1;
        }
        tries.succeeded = false;
        tries.failed = false;
        tokio::spawn(flight::run(self.clone(), phase, before, errand, now));
        flight
    }

    /// Notes that the set which a try brought at `at` could not be put on record, or that there is no such set any more.
    pub fn set_unrecorded(&self, unrecorded: Option<(Fetched, UnixTime)>) {
        let mut tries = self.tries();
        self.is_behind
            .store(unrecorded.is_some(), Ordering::Relaxed);
        tries.unrecorded = unrecorded;
    }

    /// Whether the background asks this issuer: it is configured, or was used within a day.
    pub fn is_in_use(&self, now: UnixTime) -> bool {
        let used = UnixTime::from_millis(self.used.load(Ordering::Relaxed));
        self.configured || used >= now.minus(STALE_AFTER)
    }

    fn mark_used(&self, now: UnixTime) {
        // Written once a second at most, so that the machine's cores do not fight for the line.
        if now.millis() - self.used.load(Ordering::Relaxed).max(0) > 1000 {
            self.used.store(now.millis(), Ordering::Relaxed);
        }
    }

    /// The keys of the moment, stale ones too.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Whether it changes anything to believe these keys: they are not those in use, nor those that the log says are
    /// believed.
    pub fn changes(&self, believed: &Prints) -> bool {
        let in_use = self.snapshot();
        let in_use = in_use.is_some_and(|snapshot| prints(&snapshot.keys) == *believed);
        let tries = self.tries();
        let on_record = tries.archived.as_ref();
        !in_use && on_record.is_none_or(|archived| archived.on_record != *believed)
    }

    /// Puts `snapshot` in place of the one before.
    pub fn publish(&self, snapshot: Snapshot) -> Option<Arc<Snapshot>> {
        self.snapshot.swap(Some(Arc::new(snapshot)))
    }

    /// Notes that the try under way brought keys.
    pub fn note_success(&self) {
        self.tries().succeeded = true;
    }

    /// Notes that the try that began at `at` brought none. Answers whether that was not said of the same try before.
    pub fn note_failure(&self, at: UnixTime, text: &str) -> bool {
        let text = text.to_owned();
        let mut tries = self.tries();
        tries.failed = true;
        let failure = Some(Failure { at, text });
        let is_news = tries.last_failure != failure;
        tries.last_failure = failure;
        is_news
    }

    /// Notes why the archive could not be read or written. Answers whether that is news.
    pub fn note_archive_fault(&self, text: &str) -> bool {
        let mut tries = self.tries();
        let is_news = tries.archive_fault.as_deref() != Some(text);
        tries.archive_fault = Some(text.to_owned());
        is_news
    }

    pub fn tries(&self) -> MutexGuard<'_, Tries> {
        // Every change to it is whole by itself, so a panic elsewhere left nothing half done.
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of a key that the last try did not bring.
    fn verdict(&self, kid: &str, now: UnixTime) -> KeyError {
        let (succeeded, is_behind, rests) = {
            let tries = self.tries();
            let is_behind = tries.unrecorded.is_some();
            (tries.succeeded, is_behind, tries.rests(now))
        };
        if is_behind {
            let issuer = self.issuer.clone();
            return KeyError::NotOnRecord { issuer };
        }
        if !succeeded {
            return self.unreachable(rests);
        }
        let snapshot = self.snapshot.load();
        let unusable = snapshot.iter().flat_map(|snapshot| &snapshot.unusable);
        let kid = printable(kid, 64);
        KeyError::Unknown {
            issuer: self.issuer.clone(),
            why: unusable
                .filter(|key| key.kid == kid)
                .map(|key| key.why)
                .next(),
            kid,
        }
    }

    /// What a caller is told to wait who does not see the end of a try: by then it has ended.
    fn try_ends(&self) -> Seconds {
        let limit = self.shared.settings.limit.as_secs();
        Seconds(u32::try_from(limit).unwrap_or(u32::MAX))
    }

    fn unreachable(&self, retry_after: Seconds) -> KeyError {
        KeyError::Unreachable {
            issuer: self.issuer.clone(),
            retry_after: retry_after.max(Seconds(1)),
        }
    }

    /// How it stands.
    pub fn status(&self, now: UnixTime) -> IssuerStatus {
        let snapshot = self.snapshot();
        let tries = self.tries();
        let fresh = snapshot.as_ref().filter(|keys| keys.is_fresh(now));
        let unusable = snapshot.iter().flat_map(|snapshot| &snapshot.unusable);
        let unusable = unusable.map(|key| format!("the key `{}` {}", key.kid, key.why));
        let warnings = tries.disagreements.iter().chain(&tries.archive_fault);
        IssuerStatus {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            keys: fresh.map_or(0, |snapshot| snapshot.keys.ids().len()),
            last_success: snapshot.as_ref().map(|snapshot| snapshot.fetched),
            last_failure: tries.last_failure.clone(),
            failing: tries.failed,
            warnings: warnings.cloned().chain(unusable).collect(),
            fetches: tries.count,
        }
    }
}

impl Snapshot {
    fn is_fresh(&self, now: UnixTime) -> bool {
        now <= self.fetched.plus(STALE_AFTER)
    }
}

impl Tries {
    /// The try that is under way and can still bring keys. One that only compares the discovery document is none; the
    /// next waits for its end.
    fn unanswered(&self) -> Option<watch::Receiver<Phase>> {
        let flight = self.flight.as_ref()?;
        let waits = flight.has_changed().is_ok() && *flight.borrow() != Phase::Answered;
        waits.then(|| flight.clone())
    }

    /// How long unknown keys cause no other try. Nothing if the clock was put back since the last one.
    fn rests(&self, now: UnixTime) -> Seconds {
        let Some(began) = self.began.filter(|began| *began <= now) else {
            return Seconds(0);
        };
        let left = (began.plus(BETWEEN_TRIES).millis() - now.millis()).max(0);
        // Rounded up: who comes back after whole seconds comes late enough.
        Seconds(u32::try_from((left + 999) / 1000).unwrap_or(0))
    }
}

/// A place among those who wait for one issuer, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        // Counted first and looked at then, so that no two take the last place.
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
