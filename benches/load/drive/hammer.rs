//! Load on several instances while something fails, and the check of everything that was promised meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::audited::{get, leaf, mirror, ours, python};
use super::fleet::{Bases, Fleet, somebody, until};
use super::tokens::{PROJECT, Signer};
use super::wire::{Answer, Connection};

/// How long a client waits after it was refused or hung up on, as one that means well does.
const BACK_OFF: Duration = Duration::from_millis(20);

/// How long an instance may take to say that there is no database.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// Every so many tokens one is sent to two instances at once.
const TWICE_EVERY: usize = 4;

/// How many present tokens again at once, and how many they present at most, if there are more: some of all times.
const AGAIN_AT_ONCE: usize = 32;
const AGAIN_AT_MOST: usize = 100_000;

/// Clients that exchange until they are told to stop.
pub struct Hammer {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<Vec<Seen>>>,
}

#[derive(Default)]
struct Counts {
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
}

/// What a client saw of one exchange.
pub struct Seen {
    token: String,
    what: What,
    took: Duration,
}

enum What {
    /// The number of its entry, and the decision.
    Acknowledged(u64, String),
    /// 503, and when to come again.
    Refused(Option<u64>, String),
    /// The token was used by the other request with it, or by this one before.
    Spent,
    Unanswered,
    Unexpected(String),
}

/// What was found in the end.
#[derive(Debug, Default)]
pub struct Findings {
    pub acknowledged: usize,
    pub refused: usize,
    pub unanswered: usize,
    /// Acknowledged exchanges that are not in the log in the place that was answered.
    pub lost: usize,
    /// Tokens that were exchanged twice.
    pub spent_twice: usize,
    /// Refusals that took longer than they may.
    pub slow: Vec<Duration>,
    /// What should not be.
    pub unexpected: Vec<String>,
    /// How many entries the log had.
    pub size: u64,
}

impl Findings {
    /// Whether every promise was kept.
    pub fn is_well(&self) -> bool {
        let broken = self.lost + self.spent_twice + self.slow.len() + self.unexpected.len();
        broken == 0
    }

    /// Fails with what is wrong.
    pub fn assert_well(&self) {
        assert!(self.is_well(), "{self:#?}");
    }
}

impl Hammer {
    /// Begins: so many clients at all instances.
    pub fn start(fleet: &Fleet, clients: usize) -> Self {
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let clients = (0..clients).map(|number| {
            let client = Client {
                number,
                signer: fleet.issuer.signer.clone(),
                bases: fleet.bases(),
                counts: counts.clone(),
                connections: HashMap::new(),
            };
            let stop = stop.clone();
            std::thread::spawn(move || client.run(&stop))
        });
        Self {
            clients: clients.collect(),
            stop,
            counts,
        }
    }

    /// How many exchanges were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.counts.acknowledged.load(Ordering::SeqCst)
    }

    /// How many were refused.
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }

    /// Waits for so many more acknowledged exchanges.
    pub fn until_more(&self, count: usize) {
        let enough = self.acknowledged() + count;
        until("more exchanges succeed", || self.acknowledged() >= enough);
    }

    /// Waits for so many more refusals.
    pub fn until_more_refused(&self, count: usize) {
        let enough = self.refused() + count;
        until("exchanges are refused", || self.refused() >= enough);
    }

    /// Ends it.
    pub fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        let clients = self.clients.into_iter();
        clients.flat_map(|client| client.join().unwrap()).collect()
    }
}

/// One who exchanges.
struct Client {
    number: usize,
    signer: Arc<Signer>,
    bases: Bases,
    counts: Arc<Counts>,
    connections: HashMap<String, Connection>,
}

impl Client {
    fn run(mut self, stop: &AtomicBool) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut turn = self.number;
        while !stop.load(Ordering::SeqCst) {
            turn += 1;
            let bases = self.bases.read().unwrap().clone();
            let base = &bases[turn % bases.len()];
            let token = self.signer.token();
            let before = seen.len();
            if turn.is_multiple_of(TWICE_EVERY) {
                let other = bases[(turn + 1) % bases.len()].clone();
                let same = token.clone();
                let with = std::thread::spawn(move || once(&other, &same));
                seen.push(self.exchange(base, token));
                seen.push(with.join().unwrap());
            } else {
                seen.push(self.exchange(base, token));
            }
            for seen in &seen[before..] {
                self.count(seen);
            }
        }
        seen
    }

    fn count(&self, seen: &Seen) {
        let counted = match seen.what {
            What::Acknowledged(..) => &self.counts.acknowledged,
            What::Refused(..) => &self.counts.refused,
            What::Unanswered => {
                std::thread::sleep(BACK_OFF);
                return;
            }
            _ => return,
        };
        counted.fetch_add(1, Ordering::SeqCst);
        if matches!(seen.what, What::Refused(..)) {
            std::thread::sleep(BACK_OFF);
        }
    }

    /// Exchanges on a connection that is kept.
    fn exchange(&mut self, base: &str, token: String) -> Seen {
        let began = Instant::now();
        let connection = match self.connections.remove(base) {
            Some(connection) => Ok(connection),
            None => Connection::open(base),
        };
        let answered = connection.and_then(|mut connection| {
            let answer = connection.exchange(&token, PROJECT, &somebody())?;
            self.connections.insert(base.to_owned(), connection);
            Ok(answer)
        });
        Seen::of(token, began, answered)
    }
}

/// Exchanges on a connection of its own.
fn once(base: &str, token: &str) -> Seen {
    let began = Instant::now();
    let answered = Connection::open(base)
        .and_then(|mut connection| connection.exchange(token, PROJECT, &somebody()));
    Seen::of(token.to_owned(), began, answered)
}

impl Seen {
    fn of(token: String, began: Instant, answered: std::io::Result<Answer>) -> Self {
        let what = match answered {
            Err(_) => What::Unanswered,
            Ok(answer) => what(answer),
        };
        Self {
            token,
            what,
            took: began.elapsed(),
        }
    }
}

fn what(answer: Answer) -> What {
    let reason = answer.member("reason");
    match (answer.status, reason.as_deref()) {
        (200, _) => {
            let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            match (json["audit_index"].as_u64(), answer.member("decision_id")) {
                (Some(index), Some(decision)) => What::Acknowledged(index, decision),
                _ => What::Unexpected(answer.text),
            }
        }
        (503, Some("store-unavailable")) => What::Refused(answer.retry_after, answer.text),
        (400, Some("token-spent")) => What::Spent,
        _ => What::Unexpected(format!("{}: {}", answer.status, answer.text)),
    }
}

/// Waits until every instance exchanges again, and looks at everything that was seen: every acknowledged exchange is in the
/// log, in the place that was answered, and no other is; no token succeeded twice, nor succeeds now; two verifiers accept
/// the log; and whoever was refused was refused in time and told when to come again.
pub fn judge(fleet: &Fleet, seen: Vec<Seen>) -> Findings {
    fleet.until_all_exchange();
    let mut findings = Findings::default();
    let mut successes: HashMap<String, usize> = HashMap::new();
    let mut acknowledged = BTreeMap::new();
    for Seen { token, what, took } in seen {
        let successes = successes.entry(token).or_default();
        match what {
            What::Acknowledged(index, decision) => {
                *successes += 1;
                findings.acknowledged += 1;
                if let Some(other) = acknowledged.insert(index, decision.clone()) {
                    let what = format!("{decision} and {other} are both entry {index}");
                    findings.unexpected.push(what);
                }
            }
            What::Refused(retry_after, text) => {
                findings.refused += 1;
                if took > REFUSED_WITHIN {
                    findings.slow.push(took);
                }
                if retry_after.is_none() {
                    findings.unexpected.push(format!("no Retry-After: {text}"));
                }
            }
            What::Spent => {}
            What::Unanswered => findings.unanswered += 1,
            What::Unexpected(text) => findings.unexpected.push(text),
        }
    }
    present_again(fleet, &successes, &mut findings);
    look_up(fleet, &acknowledged, &mut findings);
    findings
}

/// Presents tokens again: one that succeeded never does again, and one that did not does so once at most.
fn present_again(fleet: &Fleet, successes: &HashMap<String, usize>, findings: &mut Findings) {
    // In no order, as the map has none.
    let doubtful = |(_, count): &(&String, &usize)| **count != 1;
    let (doubtful, plain): (Vec<_>, Vec<_>) = successes.iter().partition(doubtful);
    let tokens: Vec<(&String, usize)> = doubtful
        .into_iter()
        .chain(plain)
        .take(AGAIN_AT_MOST)
        .map(|(token, count)| (token, *count))
        .collect();
    let share = tokens.len().div_ceil(AGAIN_AT_ONCE).max(1);
    let bases = fleet.bases().read().unwrap().clone();
    let presented = std::thread::scope(|scope| {
        let clients = tokens.chunks(share).map(|tokens| {
            let bases = &bases;
            scope.spawn(move || {
                let mut connections: Vec<_> = bases
                    .iter()
                    .map(|base| Connection::open(base).unwrap())
                    .collect();
                let mut found = Vec::new();
                for (number, (token, before)) in tokens.iter().enumerate() {
                    let mut let_in = *before;
                    let times = if let_in > 0 { 1 } else { 2 };
                    for time in 0..times {
                        let place = (number + time) % connections.len();
                        let answer = connections[place].exchange(token, PROJECT, &somebody());
                        match what(answer.unwrap()) {
                            What::Acknowledged(..) => let_in += 1,
                            What::Spent | What::Unanswered => {}
                            What::Refused(_, text) | What::Unexpected(text) => {
                                found.push(Err(text));
                            }
                        }
                    }
                    found.push(Ok(let_in));
                }
                found
            })
        });
        let clients: Vec<_> = clients.collect();
        let clients = clients.into_iter();
        clients
            .flat_map(|client| client.join().unwrap())
            .collect::<Vec<_>>()
    });
    for found in presented {
        match found {
            Ok(let_in) => findings.spent_twice += usize::from(let_in > 1),
            Err(text) => findings.unexpected.push(text),
        }
    }
}

/// Looks for every acknowledged exchange in a copy of the log that two verifiers accept.
fn look_up(fleet: &Fleet, acknowledged: &BTreeMap<u64, String>, findings: &mut Findings) {
    let copy = fleet.place(&format!("copy-{}", uuid::Uuid::new_v4()));
    let base = fleet.base(fleet.len() - 1);
    let key = String::from_utf8(get(&base, "/audit/key").unwrap()).unwrap();
    findings.size = mirror(&base, &copy);
    for (who, output) in [
        ("ours", ours(&copy, key.trim(), None)),
        ("in Python", python(&copy, key.trim(), None)),
    ] {
        if !output.status.success() {
            findings
                .unexpected
                .push(format!("{who}: {}", said(&output)));
        }
    }
    for (index, decision) in acknowledged {
        let is_there = *index < findings.size && {
            let leaf = leaf(&copy, findings.size, *index);
            let leaf: Value = serde_json::from_slice(&leaf).unwrap_or_default();
            leaf["decision_id"] == **decision
        };
        findings.lost += usize::from(!is_there);
    }
}

fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}
