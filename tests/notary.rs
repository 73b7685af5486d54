//! Checkpoints of the log: what they cover, and that no two contradict each other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::audit::Happening;
use countersign::audit::tree::Hash;
use countersign::client::WitnessClient;
use countersign::clock::{Clock as _, FrozenClock, Seconds, UnixTime};
use countersign::ledger::{AuditLog as _, Kept};
use countersign::notary::{
    AnswerOfWitness, AskWitness, Checkpoint, KeptIn, Notary, NotaryError, NotaryFault, Note,
    Settings, SignatureLine, SignatureType, VerifierKey, Witness,
};
use countersign::project_token::KeyEncryptionKey;
use countersign::store::{EmbeddedStore, Options};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use crate::support::log;
use crate::support::merkle::is_consistent;
use crate::support::service::{Settings as TestSettings, TestService};

const NOON: UnixTime = UnixTime::from_seconds(1_795_003_200);

/// A log and where its notary keeps what it keeps.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
        Self { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("elsewhere/checkpoint")
    }

    fn store(&self) -> EmbeddedStore {
        let clock = Arc::new(FrozenClock::at(NOON));
        EmbeddedStore::open(&self.data(), clock, Options::default()).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            kept_in: KeptIn::Folder,
            public_url: "https://sts.example.com".into(),
            encryption: None,
            copy: Some(self.copy()),
            witnesses: Vec::new(),
        }
    }

    async fn open(&self) -> (EmbeddedStore, Arc<Notary>) {
        let store = self.store();
        let notary = notary(&store, self.settings()).await.unwrap();
        (store, notary)
    }

    /// A copy of the data folder as it is now.
    fn back_up(&self) -> PathBuf {
        let backup = self.folder.path().join("backup");
        copy_folder(&self.data(), &backup);
        backup
    }

    fn roll_back(&self, backup: &Path) {
        std::fs::remove_dir_all(self.data()).unwrap();
        copy_folder(backup, &self.data());
    }
}

async fn notary(store: &EmbeddedStore, settings: Settings) -> Result<Arc<Notary>, NotaryError> {
    let clock = FrozenClock::at(NOON);
    Notary::open(Arc::new(store.clone()), &clock, settings).await
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Adds `count` entries, and answers how many there are then.
async fn grow(store: &EmbeddedStore, count: u64) -> u64 {
    let event = |number| Happening::SigningKeyRetired {
        key_id: format!("key {number}"),
    };
    let first = store.append((0..count).map(event).collect(), NOON).await;
    first.unwrap() + count
}

/// What a checkpoint says, once its signature is checked.
fn read(note: &str, key: &str) -> Checkpoint {
    let note = Note::parse(note).unwrap();
    assert!(VerifierKey::parse(key).unwrap().has_signed(&note));
    Checkpoint::parse(&note.text).unwrap()
}

fn refusal(fault: NotaryFault) -> String {
    match fault {
        NotaryFault::Refused(fault) => format!("{}; {}", fault.what, fault.mend),
        NotaryFault::Unavailable(fault) => panic!("unavailable: {fault}"),
    }
}

#[tokio::test]
async fn a_checkpoint_covers_every_entry_that_was_acknowledged_before_it_was_asked_for() {
    let stage = Stage::new();
    let (store, notary) = stage.open().await;
    assert_eq!(notary.origin(), "sts.example.com/audit");
    for count in [1, 5, 250, 300] {
        let size = grow(&store, count).await;
        let checkpoint = read(&notary.checkpoint().await.unwrap(), notary.key());
        assert_eq!(checkpoint.size, size);
        assert_eq!(checkpoint.origin, "sts.example.com/audit");
        let whole = std::iter::once(0..size).collect();
        assert_eq!(store.hashes(whole).await.unwrap(), [checkpoint.root]);
    }
    let note = notary.checkpoint().await.unwrap();
    assert_eq!(notary.checkpoint().await.unwrap(), note, "nothing is new");
    assert_eq!(std::fs::read_to_string(stage.copy()).unwrap(), note);
    store.close();
}

#[tokio::test]
async fn of_many_who_ask_at_once_each_gets_one_that_covers_what_was_before() {
    let stage = Stage::new();
    let (store, notary) = stage.open().await;
    let one = async || {
        let size = grow(&store, 1).await;
        let checkpoint = read(&notary.checkpoint().await.unwrap(), notary.key());
        assert!(checkpoint.size >= size);
    };
    join_all((0..50).map(|_| one())).await;
    store.close();
}

#[tokio::test]
async fn the_first_entry_names_the_log_and_its_key_and_a_restart_adds_none() {
    let stage = Stage::new();
    let (store, notary) = stage.open().await;
    let key = notary.key().to_owned();
    store.close();
    let (store, notary) = stage.open().await;
    assert_eq!(notary.key(), key);
    let named = Happening::LogNamed {
        origin: "sts.example.com/audit".into(),
        key,
    };
    let [event] = log::events(&store, "log-named").await.try_into().unwrap();
    assert_eq!(event.what, named);
    store.close();
}

#[tokio::test]
async fn under_a_new_address_the_log_has_a_new_name_and_the_tree_goes_on() {
    let stage = Stage::new();
    let (store, before) = stage.open().await;
    let size = grow(&store, 9).await;
    before.checkpoint().await.unwrap();
    let moved = Settings {
        public_url: "https://other.example:8443".into(),
        ..stage.settings()
    };
    let after = notary(&store, moved).await.unwrap();
    let checkpoint = read(&after.checkpoint().await.unwrap(), after.key());
    assert_eq!(checkpoint.origin, "other.example:8443/audit");
    assert_eq!(checkpoint.size, size + 1, "the new name is an entry");
    assert_eq!(log::events(&store, "log-named").await.len(), 2);
    store.close();
}

#[tokio::test]
async fn the_key_lies_encrypted_as_soon_as_there_is_something_to_encrypt_it_with() {
    let stage = Stage::new();
    let (store, before) = stage.open().await;
    let sealed = || Settings {
        encryption: Some(KeyEncryptionKey::derive(&[7; 32]).unwrap()),
        ..stage.settings()
    };
    let after = notary(&store, sealed()).await.unwrap();
    assert_eq!(after.key(), before.key());
    let kept = store.checkpoint_key().await.unwrap().unwrap();
    assert!(String::from_utf8(kept).unwrap().contains("A256GCM"));
    assert!(matches!(
        notary(&store, stage.settings()).await,
        Err(NotaryError::Seal(_))
    ));
    assert!(notary(&store, sealed()).await.is_ok());
    store.close();
}

#[tokio::test]
async fn a_data_folder_that_was_rolled_back_is_not_served_where_the_copy_knows_more() {
    let stage = Stage::new();
    let (store, notary_before) = stage.open().await;
    notary_before.checkpoint().await.unwrap();
    store.close();
    let backup = stage.back_up();
    let (store, notary_then) = stage.open().await;
    let size = grow(&store, 3).await;
    notary_then.checkpoint().await.unwrap();
    store.close();

    stage.roll_back(&backup);
    let store = stage.store();
    let Err(NotaryError::RolledBack(found)) = notary(&store, stage.settings()).await else {
        panic!("it serves");
    };
    let has = format!("has {}", size - 3);
    assert_eq!((found.lacks.as_str(), found.signed), (has.as_str(), size));
    let said = found.to_string();
    for part in ["elsewhere/checkpoint", "Restore", "rolled back"] {
        assert!(said.contains(part), "{said}");
    }
    store.close();
}

#[tokio::test]
async fn a_log_that_grew_otherwise_after_it_was_rolled_back_is_not_served() {
    let stage = Stage::new();
    let (store, _) = stage.open().await;
    store.close();
    let backup = stage.back_up();
    let (store, notary_then) = stage.open().await;
    grow(&store, 3).await;
    notary_then.checkpoint().await.unwrap();
    let signed = std::fs::read_to_string(stage.copy()).unwrap();
    store.close();

    stage.roll_back(&backup);
    std::fs::remove_file(stage.copy()).unwrap();
    let (store, forked) = stage.open().await;
    grow(&store, 40).await;
    forked.checkpoint().await.unwrap();
    std::fs::write(stage.copy(), &signed).unwrap();
    let Err(NotaryError::RolledBack(found)) = notary(&store, stage.settings()).await else {
        panic!("it serves");
    };
    assert_eq!(found.lacks, "does not begin with those");
    assert_eq!(std::fs::read_to_string(stage.copy()).unwrap(), signed);
    store.close();
}

#[tokio::test]
async fn an_empty_data_folder_beside_a_checkpoint_is_not_served_and_nothing_is_written() {
    let stage = Stage::new();
    let (store, before) = stage.open().await;
    let size = grow(&store, 3).await;
    before.checkpoint().await.unwrap();
    store.close();
    std::fs::remove_dir_all(stage.data()).unwrap();
    let store = stage.store();
    let Err(NotaryError::RolledBack(found)) = notary(&store, stage.settings()).await else {
        panic!("it serves");
    };
    assert_eq!(
        (found.lacks.as_str(), found.signed),
        ("has no key that signed it", size)
    );
    assert_eq!(store.tree().await.unwrap().size, 0);
    store.close();
    // The folder of another log is as little the one that belongs to it.
    let other = Stage::new();
    let (store, _) = other.open().await;
    grow(&store, 9).await;
    let Err(NotaryError::RolledBack(_)) = notary(&store, stage.settings()).await else {
        panic!("it serves");
    };
    store.close();
}

#[tokio::test]
async fn a_flipped_octet_in_a_kept_checkpoint_is_named_and_nothing_is_signed() {
    let stage = Stage::new();
    let (store, notary_before) = stage.open().await;
    grow(&store, 3).await;
    notary_before.checkpoint().await.unwrap();
    store.close();
    for (file, said) in [
        (stage.data().join("checkpoint"), "in the data folder"),
        (stage.copy(), "elsewhere/checkpoint"),
    ] {
        let whole = std::fs::read(&file).unwrap();
        for place in [3, 23, 40, whole.len() - 20] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&file, flipped).unwrap();
            let (store, notary) = stage.open().await;
            let refused = refusal(notary.checkpoint().await.unwrap_err());
            assert!(refused.contains(said), "octet {place}: {refused}");
            assert!(refused.contains("restore that file"), "{refused}");
            store.close();
        }
        std::fs::write(&file, whole).unwrap();
    }
    let (store, notary) = stage.open().await;
    assert!(notary.checkpoint().await.is_ok(), "restored");
    store.close();
}

#[tokio::test]
async fn no_checkpoint_leaves_the_house_before_its_copy_is_written() {
    let stage = Stage::new();
    let (store, notary) = stage.open().await;
    std::fs::remove_dir_all(stage.copy().parent().unwrap()).unwrap();
    let Err(NotaryFault::Unavailable(fault)) = notary.checkpoint().await else {
        panic!("it was signed");
    };
    assert!(
        fault.to_string().contains("elsewhere/checkpoint"),
        "{fault}"
    );
    std::fs::create_dir(stage.copy().parent().unwrap()).unwrap();
    assert!(notary.checkpoint().await.is_ok());
    store.close();
}

#[tokio::test]
async fn two_instances_may_have_one_copy_and_a_restart_is_held_against_what_both_signed() {
    let stage = Stage::new();
    let (store, one) = stage.open().await;
    let two = notary(&store, stage.settings()).await.unwrap();
    for turn in 0..6 {
        grow(&store, 3).await;
        let (first, second) = if turn % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let signed = first.checkpoint().await.unwrap();
        assert_eq!(std::fs::read_to_string(stage.copy()).unwrap(), signed);
        let again = second.checkpoint().await.unwrap();
        assert_eq!(std::fs::read_to_string(stage.copy()).unwrap(), again);
    }
    let (one, two) = futures_util::future::join(one.checkpoint(), two.checkpoint()).await;
    assert_eq!(one.unwrap(), two.unwrap());
    assert!(notary(&store, stage.settings()).await.is_ok());
    store.close();
}

/// A witness as C2SP tlog-witness wants it, with a memory of one log.
struct TestWitness {
    pair: Ed25519KeyPair,
    log: Mutex<Option<VerifierKey>>,
    seen: Mutex<(u64, Option<Hash>)>,
    /// Says that it has seen more than anybody has signed.
    lies: Mutex<bool>,
}

impl TestWitness {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pair: Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap(),
            log: Mutex::default(),
            seen: Mutex::default(),
            lies: Mutex::default(),
        })
    }

    fn key(&self) -> VerifierKey {
        let public = self.pair.public_key().as_ref().try_into().unwrap();
        VerifierKey::new("witness.example/w1", SignatureType::Cosignature, public).unwrap()
    }

    fn as_witness(self: &Arc<Self>) -> Witness {
        Witness {
            key: self.key(),
            asks: Box::new(InProcess(self.clone())),
        }
    }

    fn answer(&self, body: &str) -> AnswerOfWitness {
        if *self.lies.lock().unwrap() {
            return AnswerOfWitness::HasSeen(1 << 40);
        }
        let (head, note) = body.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let old: u64 = lines.next().unwrap()[4..].parse().unwrap();
        let proof: Vec<Hash> = lines
            .map(|line| STANDARD.decode(line).unwrap().try_into().unwrap())
            .collect();
        let note = Note::parse(note).unwrap();
        let log = self.log.lock().unwrap().clone();
        assert!(log.is_none_or(|key| key.has_signed(&note)));
        let checkpoint = Checkpoint::parse(&note.text).unwrap();
        let mut seen = self.seen.lock().unwrap();
        if old != seen.0 {
            return AnswerOfWitness::HasSeen(seen.0);
        }
        if !follows(*seen, &checkpoint, &proof) {
            return AnswerOfWitness::Inconsistent;
        }
        *seen = (checkpoint.size, Some(checkpoint.root));
        AnswerOfWitness::Cosigned(self.cosign(&note.text))
    }

    fn cosign(&self, text: &str) -> String {
        let time = 1_795_003_200_u64;
        let signed = format!("cosignature/v1\ntime {time}\n{text}");
        let signature = self.pair.sign(signed.as_bytes());
        let line = SignatureLine {
            name: self.key().name().into(),
            id: self.key().id(),
            signature: [&time.to_be_bytes()[..], signature.as_ref()].concat(),
        };
        line.to_string()
    }
}

struct InProcess(Arc<TestWitness>);

impl AskWitness for InProcess {
    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<AnswerOfWitness, String>> {
        async move { Ok(self.0.answer(&body)) }.boxed()
    }
}

/// Whether `proof` shows that the tree of `new` begins with what was seen.
fn follows(seen: (u64, Option<Hash>), new: &Checkpoint, proof: &[Hash]) -> bool {
    match seen {
        (from, Some(root)) => is_consistent(from, new.size, (root, new.root), proof),
        (_, None) => proof.is_empty(),
    }
}

async fn watched(stage: &Stage, store: &EmbeddedStore, witness: &Arc<TestWitness>) -> Arc<Notary> {
    let settings = Settings {
        copy: None,
        witnesses: vec![witness.as_witness()],
        ..stage.settings()
    };
    let notary = notary(store, settings).await.unwrap();
    *witness.log.lock().unwrap() = Some(VerifierKey::parse(notary.key()).unwrap());
    notary
}

#[tokio::test]
async fn a_witness_cosigns_what_grew_and_its_cosignature_stands_beside_ours() {
    let stage = Stage::new();
    let store = stage.store();
    let witness = TestWitness::new();
    let notary = watched(&stage, &store, &witness).await;
    assert_eq!(notary.cosigned().await.unwrap(), None);
    for count in [1, 6, 300] {
        let size = grow(&store, count).await;
        notary.have_cosigned().await;
        let cosigned = notary.cosigned().await.unwrap().unwrap();
        assert_eq!(read(&cosigned, notary.key()).size, size);
        assert!(witness.key().has_signed(&Note::parse(&cosigned).unwrap()));
        assert_eq!(witness.seen.lock().unwrap().0, size);
    }
    store.close();
    // After a restart nothing is known of how far the witness saw, and it says so.
    let store = stage.store();
    let notary = watched(&stage, &store, &witness).await;
    let size = grow(&store, 2).await;
    notary.have_cosigned().await;
    assert_eq!(witness.seen.lock().unwrap().0, size);
    store.close();
    // The file of it is as little to be changed as that of any other.
    let file = stage.data().join("checkpoint.cosigned");
    let mut flipped = std::fs::read(&file).unwrap();
    flipped[25] ^= 1;
    std::fs::write(&file, flipped).unwrap();
    let store = stage.store();
    let notary = watched(&stage, &store, &witness).await;
    let said = refusal(notary.checkpoint().await.unwrap_err());
    assert!(
        said.contains("the cosigned checkpoint in the data folder"),
        "{said}"
    );
    store.close();
}

#[tokio::test]
async fn a_data_folder_that_was_rolled_back_without_any_copy_is_found_out_by_a_witness() {
    let stage = Stage::new();
    let witness = TestWitness::new();
    let store = stage.store();
    let before = watched(&stage, &store, &witness).await;
    before.have_cosigned().await;
    store.close();
    let backup = stage.back_up();
    let store = stage.store();
    let then = watched(&stage, &store, &witness).await;
    grow(&store, 5).await;
    then.have_cosigned().await;
    store.close();

    stage.roll_back(&backup);
    let store = stage.store();
    let rolled_back = watched(&stage, &store, &witness).await;
    rolled_back.ask_witnesses_first().await;
    let said = refusal(rolled_back.checkpoint().await.unwrap_err());
    assert!(
        said.contains("witness.example/w1") && said.contains("rolled back"),
        "{said}"
    );
    // Also if it has grown beyond what the witness saw.
    let forked = watched(&stage, &store, &witness).await;
    grow(&store, 50).await;
    forked.have_cosigned().await;
    let said = refusal(forked.checkpoint().await.unwrap_err());
    assert!(said.contains("they are not its first"), "{said}");
    store.close();
}

#[tokio::test]
async fn what_a_witness_has_against_the_log_stops_signing_until_it_has_nothing_any_more() {
    let stage = Stage::new();
    let store = stage.store();
    let witness = TestWitness::new();
    let notary = watched(&stage, &store, &witness).await;
    *witness.lies.lock().unwrap() = true;
    notary.have_cosigned().await;
    let said = refusal(notary.checkpoint().await.unwrap_err());
    assert!(said.contains("witness.example/w1"), "{said}");
    assert!(said.contains("take it out of the configuration"), "{said}");
    *witness.lies.lock().unwrap() = false;
    notary.have_cosigned().await;
    assert!(notary.checkpoint().await.is_ok());
    assert!(notary.cosigned().await.unwrap().is_some());
    store.close();
}

#[tokio::test]
async fn a_cosignature_that_is_not_genuine_is_not_kept() {
    let stage = Stage::new();
    let store = stage.store();
    let (witness, other) = (TestWitness::new(), TestWitness::new());
    let impostor = Witness {
        key: VerifierKey::new("witness.example/w2", SignatureType::Cosignature, [3; 32]).unwrap(),
        asks: Box::new(InProcess(other)),
    };
    let settings = Settings {
        copy: None,
        witnesses: vec![witness.as_witness(), impostor],
        ..stage.settings()
    };
    let notary = notary(&store, settings).await.unwrap();
    notary.have_cosigned().await;
    let cosigned = Note::parse(&notary.cosigned().await.unwrap().unwrap()).unwrap();
    assert_eq!(cosigned.signatures.len(), 2, "ours, and that of the first");
    store.close();
}

/// Answers one request on loopback with `answer`, and gives back what was asked.
async fn asked_over_http(answer: &'static str) -> (Result<AnswerOfWitness, String>, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead as _, BufReader, Read as _, Write as _};
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let before = head.len();
            reader.read_line(&mut head).unwrap();
            let line = head[before..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        head + std::str::from_utf8(&body).unwrap()
    });
    let prefix = format!("http://{address}/w1/").parse().unwrap();
    let client = WitnessClient::new(&prefix).unwrap();
    let answered = client.add_checkpoint("old 0\n\nnote".into()).await;
    (answered, server.join().unwrap())
}

#[tokio::test]
async fn a_witness_is_asked_over_http_as_its_specification_says() {
    let (answered, asked) =
        asked_over_http("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlines\n").await;
    assert_eq!(answered, Ok(AnswerOfWitness::Cosigned("lines\n".into())));
    assert!(
        asked.starts_with("POST /w1/add-checkpoint HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.ends_with("old 0\n\nnote"), "{asked}");
    let conflict =
        "HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 3\r\n\r\n17\n";
    let (answered, _) = asked_over_http(conflict).await;
    assert_eq!(answered, Ok(AnswerOfWitness::HasSeen(17)));
    let refused = "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 0\r\n\r\n";
    let (answered, _) = asked_over_http(refused).await;
    assert_eq!(answered, Ok(AnswerOfWitness::Inconsistent));
    for odd in [
        "HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\n17\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (answered, _) = asked_over_http(odd).await;
        assert!(answered.is_err(), "{odd}");
    }
}

#[tokio::test]
async fn a_service_starts_and_signs_also_when_the_long_configuration_on_record_was_deleted() {
    let proxies = (0..5000).map(|number| format!("\"10.1.{}.{}/32\"", number / 250, number % 250));
    let proxies: Vec<String> = proxies.collect();
    let settings = || TestSettings {
        top: format!("trusted-proxies = [{}]", proxies.join(", ")),
        ..TestSettings::default()
    };
    let service = TestService::with(settings()).await;
    let loaded = log::events(&*service.parts.service.log, "configuration-loaded").await;
    assert!(loaded[0].withheld.contains_key("/settings"));
    let later = service.clock.now().plus(Seconds(100_000));
    let removed = service.parts.store.remove_personal_values(later, later);
    assert!(removed.await.unwrap());
    let folder = service.stop().await;

    let service = TestService::in_folder(folder, settings()).await;
    let the_log = &*service.parts.service.log;
    let loaded = log::events(the_log, "configuration-loaded").await;
    let [first, second] = [0, 1].map(|place| match &loaded[place].what {
        Happening::ConfigurationLoaded { digest, before, .. } => (digest, before),
        other => panic!("{other:?}"),
    });
    assert_eq!(second.1.as_ref(), Some(first.0), "the port is another one");
    service.parts.service.notary.checkpoint().await.unwrap();
    assert_eq!(service.parts.service.notary.fault(), None);
    service.stop().await;
}

#[tokio::test]
async fn two_that_sign_one_log_extend_each_other_and_none_goes_back() {
    let stage = Stage::new();
    let store = stage.store();
    let alone = || Settings {
        copy: None,
        ..stage.settings()
    };
    let one = notary(&store, alone()).await.unwrap();
    let other = notary(&store, alone()).await.unwrap();
    assert_eq!(one.key(), other.key());
    let mut before = 0;
    for turn in 0..6 {
        let size = grow(&store, 7).await;
        let signs = if turn % 2 == 0 { &one } else { &other };
        let checkpoint = read(&signs.checkpoint().await.unwrap(), one.key());
        assert_eq!(checkpoint.size, size);
        assert!(checkpoint.size > before);
        before = checkpoint.size;
        let whole = std::iter::once(0..size).collect();
        assert_eq!(store.hashes(whole).await.unwrap(), [checkpoint.root]);
    }
    // Both at once, while the log grows.
    let signing = async |notary: &Arc<Notary>| {
        let size = grow(&store, 1).await;
        let signed = read(&notary.checkpoint().await.unwrap(), notary.key());
        assert!(signed.size >= size);
    };
    join_all((0..20).map(|turn| signing(if turn % 2 == 0 { &one } else { &other }))).await;
    let kept = store.checkpoint(Kept::Signed).await.unwrap().unwrap();
    let last = one.checkpoint().await.unwrap();
    assert_eq!(read(&last, one.key()), read(&kept, one.key()));
    store.close();
}

#[tokio::test]
async fn of_two_notaries_that_begin_at_once_one_makes_the_key() {
    let stage = Stage::new();
    let store = stage.store();
    let settings = || Settings {
        copy: None,
        ..stage.settings()
    };
    let both = join_all([notary(&store, settings()), notary(&store, settings())]).await;
    let keys: Vec<String> = both
        .into_iter()
        .map(|one| one.unwrap().key().into())
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(log::events(&store, "log-named").await.len(), 1);
    store.close();
}

#[tokio::test]
async fn what_another_signed_over_something_else_stops_signing() {
    let stage = Stage::new();
    let (store, notary_here) = stage.open().await;
    let size = grow(&store, 5).await;
    let other = Stage::new();
    let (elsewhere, _) = other.open().await;
    let key = store.checkpoint_key().await.unwrap();
    let its = elsewhere.checkpoint_key().await.unwrap();
    let named = Happening::LogNamed {
        origin: "sts.example.com/audit".into(),
        key: notary_here.key().into(),
    };
    let keeping = elsewhere.keep_checkpoint_key(its, key.unwrap(), named, NOON);
    assert!(keeping.await.unwrap());
    let forked = notary(
        &elsewhere,
        Settings {
            copy: None,
            ..other.settings()
        },
    );
    grow(&elsewhere, 2).await;
    let note = forked.await.unwrap().checkpoint().await.unwrap();
    assert!(read(&note, notary_here.key()).size < size);
    store.keep_checkpoint(Kept::Signed, note).await.unwrap();
    let said = refusal(notary_here.checkpoint().await.unwrap_err());
    assert!(said.contains("does not begin with that of"), "{said}");
    elsewhere.close();
    store.close();
}

#[tokio::test]
async fn of_two_that_have_one_log_cosigned_one_goes_on_and_the_other_takes_over_when_it_stops() {
    let stage = Stage::new();
    let store = stage.store();
    let witness = TestWitness::new();
    let one = watched(&stage, &store, &witness).await;
    let other = watched(&stage, &store, &witness).await;
    let seen = || witness.seen.lock().unwrap().0;
    for _ in 0..3 {
        let size = grow(&store, 2).await;
        one.have_cosigned().await;
        assert_eq!(seen(), size);
        grow(&store, 2).await;
        other.have_cosigned().await;
        assert_eq!(seen(), size, "the first one is at it");
    }
    let size = grow(&store, 2).await;
    other.have_cosigned().await;
    assert_eq!(seen(), size, "the first one has stopped");
    let cosigned = one.cosigned().await.unwrap().unwrap();
    assert_eq!(read(&cosigned, one.key()).size, size);
    store.close();
}
