//! Kills the service under load, again and again, and then looks for everything that it ever acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use countersign::audit::DecisionId;
use countersign::clock::{FrozenClock, UnixTime};
use countersign::ledger::Ledger as _;
use countersign::store::{EmbeddedStore, Options};
use uuid::Uuid;

use super::issuer::Issuer;
use super::running::{Running, lay_out};
use super::tokens::{PROJECT, Signer};
use super::wire::Connection;

/// How often, and under which load.
pub struct Plan {
    pub kills: usize,
    pub connections: usize,
    /// The most exchanges that are waited for before a kill.
    pub exchanges: u64,
}

/// What was found at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub kills: usize,
    /// Exchanges that were answered with a token.
    pub acknowledged: usize,
    /// Exchanges that a kill left without an answer.
    pub unanswered: usize,
    /// Acknowledged exchanges that are not on record.
    pub lost: usize,
    /// Tokens that were let in twice.
    pub spent_twice: usize,
    /// Acknowledged decisions whose name was given to another exchange too.
    pub answered_twice: usize,
    /// Answers that should not have been given, such as a failure of a service that was not killed.
    pub unexpected: Vec<String>,
}

impl Findings {
    /// Whether every promise was kept.
    pub fn all_well(&self) -> bool {
        let broken = self.lost + self.spent_twice + self.answered_twice;
        broken == 0 && self.unexpected.is_empty()
    }
}

/// What a client saw of one exchange.
enum Seen {
    Acknowledged(String, String),
    Unanswered(String),
    Unexpected(String),
}

/// Does all of it in `folder`.
pub fn run(folder: &Path, plan: &Plan) -> Findings {
    let issuer = Issuer::start();
    lay_out(folder, &issuer.url);
    let mut findings = Findings::default();
    let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
    for _ in 0..plan.kills {
        for seen in load_and_kill(folder, &issuer.signer, plan) {
            match seen {
                Seen::Acknowledged(token, decision) => acknowledged.push((token, decision)),
                Seen::Unanswered(token) => unanswered.push(token),
                Seen::Unexpected(what) => findings.unexpected.push(what),
            }
        }
        findings.kills += 1;
    }
    findings.acknowledged = acknowledged.len();
    findings.unanswered = unanswered.len();
    present_again(folder, plan, &acknowledged, &unanswered, &mut findings);
    look_up(folder, &acknowledged, &mut findings);
    findings
}

/// One life of the service, ended at a random moment under load.
fn load_and_kill(folder: &Path, signer: &Arc<Signer>, plan: &Plan) -> Vec<Seen> {
    let mut running = Running::service(folder);
    let (sender, receiver) = channel();
    let clients: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (signer, sender, base) = (signer.clone(), sender.clone(), running.base.clone());
            std::thread::spawn(move || exchange_until_gone(&base, &signer, &sender))
        })
        .collect();
    drop(sender);
    let mut seen = wait_for_the_moment(&receiver, plan.exchanges);
    running.kill();
    seen.extend(receiver);
    for client in clients {
        client.join().unwrap();
    }
    seen
}

/// Waits for a random number of exchanges, and then for a part of the next one.
fn wait_for_the_moment(receiver: &Receiver<Seen>, most: u64) -> Vec<Seen> {
    let (chance, _) = Uuid::new_v4().as_u64_pair();
    let exchanges = usize::try_from(1 + chance % most).unwrap();
    let mut seen: Vec<Seen> = receiver.iter().take(exchanges).collect();
    let part = Duration::from_micros(chance / most % 2000);
    seen.extend(receiver.recv_timeout(part).ok());
    seen
}

fn exchange_until_gone(base: &str, signer: &Signer, seen: &Sender<Seen>) {
    let Ok(mut connection) = Connection::open(base) else {
        return;
    };
    loop {
        let token = signer.token();
        let now = match connection.exchange(&token, PROJECT, "192.0.2.1") {
            Err(_) => Seen::Unanswered(token),
            Ok(answer) => match answer.member("decision_id") {
                Some(decision) if answer.status == 200 => Seen::Acknowledged(token, decision),
                _ => Seen::Unexpected(answer.text),
            },
        };
        let gone = matches!(now, Seen::Unanswered(_));
        if seen.send(now).is_err() || gone {
            return;
        }
    }
}

/// Presents every token again, each as a caller of a network of its own: nothing here is to be taken for a flood.
fn present_again(
    folder: &Path,
    plan: &Plan,
    acknowledged: &[(String, String)],
    unanswered: &[String],
    findings: &mut Findings,
) {
    let running = Running::service(folder);
    let again = |number: usize, connection: &mut Connection, token: &str| {
        let address = format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff);
        let answer = connection.exchange(token, PROJECT, &address).unwrap();
        let spent = answer.member("reason").as_deref() == Some("token-spent");
        (answer.status == 200, spent, answer.text)
    };
    let tokens: Vec<(usize, &String)> = acknowledged
        .iter()
        .map(|pair| &pair.0)
        .enumerate()
        .collect();
    let share = tokens.len().div_ceil(plan.connections).max(1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = tokens
            .chunks(share)
            .map(|tokens| {
                let base = &running.base;
                scope.spawn(move || {
                    let mut connection = Connection::open(base).unwrap();
                    let answers = tokens
                        .iter()
                        .map(|(number, token)| again(*number, &mut connection, token));
                    answers.collect::<Vec<_>>()
                })
            })
            .collect();
        for (let_in, spent, text) in clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
        {
            findings.spent_twice += usize::from(let_in);
            if !let_in && !spent {
                findings.unexpected.push(text);
            }
        }
    });
    // The answer may have been lost before or after the commit; but whichever it was, one use is all there is.
    let mut connection = Connection::open(&running.base).unwrap();
    for (number, token) in unanswered.iter().enumerate() {
        let number = tokens.len() + number;
        again(number, &mut connection, token);
        let (let_in, spent, text) = again(number, &mut connection, token);
        findings.spent_twice += usize::from(let_in);
        if !let_in && !spent {
            findings.unexpected.push(text);
        }
    }
    assert!(running.stop().success());
}

/// Looks for the record of every acknowledged exchange.
fn look_up(folder: &Path, acknowledged: &[(String, String)], findings: &mut Findings) {
    let mut names: Vec<&str> = acknowledged.iter().map(|pair| pair.1.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    findings.answered_twice = acknowledged.len() - names.len();
    // For who only looks, no time passes: nothing is forgotten meanwhile.
    let clock = Arc::new(FrozenClock::at(UnixTime::EPOCH));
    let store = EmbeddedStore::open(&folder.join("data"), clock, Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        for name in names {
            let record = store.decision(DecisionId::parse(name).unwrap()).await;
            let there = record
                .unwrap()
                .is_some_and(|record| record.trust == ["release"]);
            findings.lost += usize::from(!there);
        }
    });
    store.close();
}
