use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;

const DAY: Seconds = Seconds(24 * 60 * 60);
const START: UnixTime = UnixTime::EPOCH;

#[derive(Default)]
struct InMemory {
    keys: Mutex<BTreeMap<String, Vec<u8>>>,
    log: Mutex<Vec<Happening>>,
    is_down: Mutex<bool>,
    /// What happens just before keys are replaced the next time.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl SigningKeyStore for InMemory {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreUnavailable>> {
        let keys = self.keys.lock().unwrap();
        let keys = keys.iter().map(|(id, sealed)| StoredKey {
            id: id.clone(),
            sealed: sealed.clone(),
        });
        let keys = keys.collect();
        async move { Ok(keys) }.boxed()
    }

    fn replace_signing_keys(
        &self,
        known: Vec<String>,
        added: Vec<StoredKey>,
        removed: Vec<String>,
        events: Vec<Happening>,
        _now: UnixTime,
    ) -> BoxFuture<'_, Result<bool, StoreUnavailable>> {
        if *self.is_down.lock().unwrap() {
            return async { Err(StoreUnavailable("the disk is full".into())) }.boxed();
        }
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut keys = self.keys.lock().unwrap();
        let known: BTreeSet<&String> = known.iter().collect();
        if known != keys.keys().collect() {
            return async { Ok(false) }.boxed();
        }
        keys.retain(|id, _| !removed.contains(id));
        keys.extend(added.into_iter().map(|key| (key.id, key.sealed)));
        self.log.lock().unwrap().extend(events);
        async move { Ok(true) }.boxed()
    }
}

fn open_ring(
    store: &Arc<InMemory>,
    secret: Option<&[u8]>,
    algorithm: TokenAlgorithm,
    now: UnixTime,
) -> Result<KeyRing, RingError> {
    let encryption = secret.map(|secret| KeyEncryptionKey::derive(secret).unwrap());
    let ring = KeyRing::open(store.clone(), encryption, algorithm, DAY, now);
    ring.now_or_never().unwrap()
}

fn kids(ring: &KeyRing) -> Vec<String> {
    let set = ring.public_set();
    set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

fn signer(ring: &KeyRing, now: UnixTime) -> String {
    signing(&ring.keys.load(), now).unwrap().key.id().to_owned()
}

#[test]
fn the_first_start_makes_a_key_that_signs_and_publishes_the_one_that_follows() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    assert_eq!(kids(&ring).len(), 2);
    assert_eq!(kids(&ring)[0], signer(&ring, START));
}

#[test]
fn a_restart_signs_with_the_same_key() {
    let store = Arc::new(InMemory::default());
    let first = open_ring(&store, Some(&[1; 32]), TokenAlgorithm::ES256, START).unwrap();
    let second = open_ring(
        &store,
        Some(&[1; 32]),
        TokenAlgorithm::ES256,
        START.plus(DAY),
    )
    .unwrap();
    assert_eq!(kids(&first), kids(&second));
}

#[test]
fn a_key_is_published_before_it_signs_and_stays_until_its_last_token_is_over() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let (first, second) = (kids(&ring)[0].clone(), kids(&ring)[1].clone());

    let taken_over = START.plus(KEY_SIGNS_FOR);
    ring.renew(taken_over).now_or_never().unwrap().unwrap();
    assert_eq!(signer(&ring, taken_over), second);
    assert!(kids(&ring).contains(&first), "its tokens are still about");
    assert_eq!(kids(&ring).len(), 3);

    ring.renew(taken_over.plus(DAY).plus(DAY))
        .now_or_never()
        .unwrap()
        .unwrap();
    assert!(!kids(&ring).contains(&first));
}

#[test]
fn another_algorithm_is_published_before_it_signs() {
    let store = Arc::new(InMemory::default());
    let old = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let old_signer = signer(&old, START);
    let ring = open_ring(&store, None, TokenAlgorithm::EdDSA, START.plus(DAY)).unwrap();
    assert_eq!(signer(&ring, START.plus(DAY)), old_signer);
    assert_eq!(ring.algorithms(), ["ES256", "EdDSA"]);
    let later = START.plus(DAY).plus(PUBLISHED_BEFORE);
    assert_ne!(signer(&ring, later), old_signer);
}

#[test]
fn a_wrong_encryption_key_is_refused_and_changes_nothing() {
    let store = Arc::new(InMemory::default());
    open_ring(&store, Some(&[1; 32]), TokenAlgorithm::ES256, START).unwrap();
    let before = store.keys.lock().unwrap().clone();
    let refused = open_ring(&store, Some(&[2; 32]), TokenAlgorithm::ES256, START);
    assert!(matches!(refused, Err(RingError::Seal(SealError::WrongKey))));
    assert_eq!(*store.keys.lock().unwrap(), before);
}

#[test]
fn keys_in_the_clear_are_encrypted_once_there_is_a_key_for_it() {
    let store = Arc::new(InMemory::default());
    open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    open_ring(&store, Some(&[1; 32]), TokenAlgorithm::ES256, START).unwrap();
    assert!(
        store
            .keys
            .lock()
            .unwrap()
            .values()
            .all(|sealed| is_encrypted(sealed))
    );
}

/// What went on record since it was last asked.
fn on_record(store: &InMemory) -> Vec<Happening> {
    std::mem::take(&mut *store.log.lock().unwrap())
}

fn made(ring: &KeyRing, at: usize, signs_from: UnixTime) -> Happening {
    let public_key = ring.public_set()["keys"][at].clone();
    Happening::SigningKeyMade {
        key_id: public_key["kid"].as_str().unwrap().to_owned(),
        algorithm: public_key["alg"].as_str().unwrap().to_owned(),
        signs_from_millis: signs_from.millis(),
        public_key,
    }
}

#[test]
fn a_key_is_on_record_with_its_public_half_when_it_is_made_and_when_it_is_gone() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let taken_over = START.plus(KEY_SIGNS_FOR);
    let expected = [made(&ring, 0, START), made(&ring, 1, taken_over)];
    assert_eq!(on_record(&store), expected);

    let first = kids(&ring)[0].clone();
    ring.renew(taken_over).now_or_never().unwrap().unwrap();
    let next = made(&ring, 2, taken_over.plus(KEY_SIGNS_FOR));
    assert_eq!(on_record(&store), [next]);
    let over = taken_over.plus(DAY).plus(DAY);
    ring.renew(over).now_or_never().unwrap().unwrap();
    let retired = Happening::SigningKeyRetired { key_id: first };
    assert_eq!(on_record(&store), [retired]);
}

#[test]
fn a_key_that_never_signed_is_retired_on_record_when_another_algorithm_takes_its_place() {
    let store = Arc::new(InMemory::default());
    let old = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let unused = kids(&old)[1].clone();
    on_record(&store);
    let later = START.plus(DAY);
    let ring = open_ring(&store, None, TokenAlgorithm::EdDSA, later).unwrap();
    let retired = Happening::SigningKeyRetired { key_id: unused };
    let expected = [made(&ring, 1, later.plus(PUBLISHED_BEFORE)), retired];
    assert_eq!(on_record(&store), expected);
}

#[test]
fn a_restart_and_a_key_that_is_sealed_anew_leave_nothing_on_record() {
    let store = Arc::new(InMemory::default());
    open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    on_record(&store);
    open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    open_ring(&store, Some(&[1; 32]), TokenAlgorithm::ES256, START).unwrap();
    assert_eq!(on_record(&store), []);
}

#[test]
fn a_key_that_cannot_be_put_on_record_is_not_used_until_it_can() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let before = kids(&ring);
    on_record(&store);
    *store.is_down.lock().unwrap() = true;
    let taken_over = START.plus(KEY_SIGNS_FOR);
    assert!(ring.renew(taken_over).now_or_never().unwrap().is_err());
    assert_eq!(kids(&ring), before);
    *store.is_down.lock().unwrap() = false;
    ring.renew(taken_over).now_or_never().unwrap().unwrap();
    assert_eq!(kids(&ring).len(), 3);
    assert_eq!(on_record(&store).len(), 1);
}

fn renew(ring: &KeyRing, now: UnixTime) {
    ring.renew(now).now_or_never().unwrap().unwrap();
}

fn follow(ring: &KeyRing) {
    ring.follow().now_or_never().unwrap().unwrap();
}

#[test]
fn of_two_first_starts_at_once_one_makes_the_keys_and_both_have_them() {
    let store = Arc::new(InMemory::default());
    let other = Arc::new(Mutex::new(None));
    let (place, shared) = (other.clone(), store.clone());
    *store.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let ring = open_ring(&shared, None, TokenAlgorithm::ES256, START).unwrap();
        *place.lock().unwrap() = Some(ring);
    }));
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let other = other.lock().unwrap().take().unwrap();
    assert_eq!(kids(&ring).len(), 2);
    assert_eq!(kids(&ring), kids(&other));
    assert_eq!(on_record(&store).len(), 2, "each was made once");
}

#[test]
fn of_two_that_renew_at_once_one_makes_the_next_key_and_both_have_it() {
    let store = Arc::new(InMemory::default());
    let open = || open_ring(&store, Some(&[1; 32]), TokenAlgorithm::ES256, START).unwrap();
    let (ring, other) = (open(), Arc::new(open()));
    on_record(&store);
    let taken_over = START.plus(KEY_SIGNS_FOR);
    let renewing = other.clone();
    *store.meanwhile.lock().unwrap() = Some(Box::new(move || renew(&renewing, taken_over)));
    renew(&ring, taken_over);
    assert_eq!(kids(&ring).len(), 3);
    assert_eq!(kids(&ring), kids(&other));
    assert_eq!(on_record(&store).len(), 1);
}

#[test]
fn a_key_that_another_instance_made_is_published_long_before_it_signs() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let other = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let taken_over = START.plus(KEY_SIGNS_FOR);
    renew(&ring, taken_over);
    let made = kids(&ring)[2].clone();
    assert!(!kids(&other).contains(&made), "it has not looked yet");
    follow(&other);
    assert_eq!(kids(&other), kids(&ring));
    assert_ne!(signer(&other, taken_over), made);
    let later = taken_over.plus(KEY_SIGNS_FOR);
    assert_eq!(signer(&other, later), made);
    assert_eq!(signer(&ring, later), made);
}

#[test]
fn keys_that_another_instance_retired_are_gone() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let other = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let first = kids(&ring)[0].clone();
    renew(&ring, START.plus(KEY_SIGNS_FOR).plus(DAY).plus(DAY));
    assert!(kids(&other).contains(&first));
    follow(&other);
    assert!(!kids(&other).contains(&first));
}

#[test]
fn a_key_that_cannot_be_opened_leaves_the_keys_as_they_are() {
    let store = Arc::new(InMemory::default());
    let ring = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let before = kids(&ring);
    let strange = ("strange".to_owned(), b"strange".to_vec());
    store.keys.lock().unwrap().extend([strange]);
    assert!(ring.follow().now_or_never().unwrap().is_err());
    assert_eq!(kids(&ring), before);
}

#[test]
fn a_clock_behind_the_one_that_made_the_first_key_makes_no_other() {
    let store = Arc::new(InMemory::default());
    let ahead = open_ring(&store, None, TokenAlgorithm::ES256, START.plus(Seconds(9))).unwrap();
    let behind = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    assert_eq!(kids(&behind), kids(&ahead));
    assert_eq!(signer(&behind, START), kids(&ahead)[0]);
}

#[test]
fn a_key_that_signs_soon_is_not_taken_away_from_who_would_sign_with_it() {
    let store = Arc::new(InMemory::default());
    let old = open_ring(&store, None, TokenAlgorithm::ES256, START).unwrap();
    let soon = START.plus(KEY_SIGNS_FOR).minus(PUBLISHED_BEFORE);
    let other = open_ring(&store, None, TokenAlgorithm::EdDSA, soon).unwrap();
    assert_eq!(kids(&other), kids(&old));
    let taken_over = START.plus(KEY_SIGNS_FOR);
    renew(&other, taken_over);
    assert_eq!(other.algorithms(), ["ES256", "EdDSA"]);
}
