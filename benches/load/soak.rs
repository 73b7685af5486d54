//! Three instances, a database with a standby, and something that fails every twenty seconds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::drive::fleet::{Berth, Fleet, until};
use crate::drive::hammer::{Findings, Hammer, Seen, judge};
use crate::drive::proxy::{Proxy, Weather};
use crate::drive::standby::Pair;
use crate::drive::wires::Apart;
use crate::house::folder;

/// How long from one fault to the next.
const FAULT_EVERY: Duration = Duration::from_secs(20);

/// How long a fault lasts that is mended by hand.
const FAULT: Duration = Duration::from_secs(4);

const CLIENTS: usize = 12;

const SETTINGS: &str = "shared_buffers = 128MB\nmax_connections = 100";

/// What is run.
struct Soak {
    pair: Pair,
    apart: Apart,
    /// The networks to the first and to the second server: of the instances here, and of the one that is apart.
    here: [Proxy; 2],
    there: [Proxy; 2],
    /// Which of the two places the primary has.
    primary: usize,
    fleet: Fleet,
    database: String,
}

/// Something that fails, and what it is called.
type Fault = (&'static str, fn(&mut Soak));

/// In this order, again and again.
const FAULTS: [Fault; 9] = [
    ("connections cut", Soak::cut),
    ("an instance killed", Soak::kill),
    ("answers lost after the commit", Soak::deaf),
    ("the primary stopped and started", Soak::restart),
    ("the network to the server silent", Soak::silent),
    ("an instance without network", Soak::unplug),
    ("connections ended by the server", Soak::terminate),
    ("the primary lost, the standby takes over", Soak::fail_over),
    ("the server slow", Soak::slow),
];

/// Soaks for so many minutes, and prints what was found.
pub fn run(minutes: u64) -> ExitCode {
    let mut soak = Soak::begin();
    let (began, mut failed) = (Instant::now(), Vec::new());
    let hammer = Hammer::start(&soak.fleet, CLIENTS);
    let mut recoveries = Vec::new();
    for (what, fault) in FAULTS.iter().cycle() {
        if began.elapsed() >= Duration::from_secs(minutes * 60) {
            break;
        }
        let due = Instant::now() + FAULT_EVERY;
        hammer.until_more(100);
        eprintln!("{:>4} s: {what}", began.elapsed().as_secs());
        fault(&mut soak);
        let mended = Instant::now();
        soak.fleet.until_all_exchange();
        recoveries.push((*what, mended.elapsed()));
        failed.push(*what);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let seen: Vec<Seen> = hammer.stop();
    let took = began.elapsed();
    let findings = judge(&soak.fleet, seen);
    assert!(soak.fleet.stop());
    report(&findings, &failed, &recoveries, took);
    if findings.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(findings: &Findings, failed: &[&str], recoveries: &[(&str, Duration)], took: Duration) {
    println!("| what | count |\n|---|--:|");
    let counts = [
        ("seconds", usize::try_from(took.as_secs()).unwrap()),
        ("faults", failed.len()),
        ("exchanges acknowledged", findings.acknowledged),
        ("exchanges refused with 503", findings.refused),
        ("exchanges left without an answer", findings.unanswered),
        (
            "entries of the log",
            usize::try_from(findings.size).unwrap(),
        ),
        ("acknowledged and not in the log", findings.lost),
        ("tokens let in twice", findings.spent_twice),
        ("refusals after more than 2 s", findings.slow.len()),
        ("anything else", findings.unexpected.len()),
    ];
    for (what, count) in counts {
        println!("| {what} | {count} |");
    }
    println!("\n| fault | seconds until every instance exchanged again, at most |\n|---|--:|");
    for (what, _) in FAULTS {
        let of_it = recoveries.iter().filter(|(fault, _)| *fault == what);
        if let Some(longest) = of_it.map(|(_, took)| *took).max() {
            println!("| {what} | {:.1} |", longest.as_secs_f64());
        }
    }
    for what in findings.unexpected.iter().take(10) {
        eprintln!("{what}");
    }
}

impl Soak {
    fn begin() -> Self {
        let pair = Pair::synchronous(SETTINGS);
        let url = pair.primary.database();
        let database = url.rsplit('/').next().unwrap().to_owned();
        let ports = [pair.primary.port(), pair.standby.port()];
        let apart = Apart::make();
        let far = apart.database_side();
        let here = ports.map(Proxy::to);
        let there = ports.map(|port| Proxy::on(&far, port));
        let url = |host: &str, proxies: &[Proxy; 2]| {
            let [one, two] = proxies.each_ref().map(Proxy::port);
            format!("postgres://countersign@{host}:{one},{host}:{two}/{database}?sslmode=disable")
        };
        let berths = [
            Berth::at(url("127.0.0.1", &here)),
            Berth::at(url("127.0.0.1", &here)),
            Berth {
                url: url(&far, &there),
                store: "",
                apart: Some(&apart),
            },
        ];
        let fleet = Fleet::start_in(folder(), &berths);
        Self {
            pair,
            apart,
            here,
            there,
            primary: 0,
            fleet,
            database,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Proxy> {
        self.here.iter().chain(&self.there)
    }

    fn weather(&self, weather: Weather) {
        self.all().for_each(|proxy| proxy.set(weather));
        std::thread::sleep(FAULT);
        self.all().for_each(|proxy| proxy.set(Weather::Fair));
    }

    fn cut(&mut self) {
        for proxy in self.all() {
            proxy.cut();
        }
    }

    fn kill(&mut self) {
        self.fleet.kill(0);
        std::thread::sleep(FAULT);
        self.fleet.start_again(0);
    }

    fn deaf(&mut self) {
        let proxy = &self.here[self.primary];
        let before = proxy.lost();
        proxy.set(Weather::Deaf);
        until("an answer is lost", || proxy.lost() > before);
        proxy.set(Weather::Fair);
        proxy.cut();
    }

    fn restart(&mut self) {
        self.pair.running.0.take().unwrap().stop();
        std::thread::sleep(FAULT);
        self.pair.running.0 = Some(self.pair.primary.start());
    }

    fn silent(&mut self) {
        self.weather(Weather::Silent);
    }

    fn unplug(&mut self) {
        self.apart.cut();
        std::thread::sleep(FAULT);
        self.apart.mend();
    }

    fn terminate(&mut self) {
        self.pair.primary.sql(
            &self.database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'countersign%'",
        );
    }

    fn fail_over(&mut self) {
        self.pair.fail_over();
        let lost = self.primary;
        self.primary = 1 - lost;
        self.fleet.until_all_exchange();
        self.pair.rebuild();
        let port = self.pair.standby.port();
        for proxy in [&self.here[lost], &self.there[lost]] {
            proxy.aim(port);
        }
    }

    fn slow(&mut self) {
        self.weather(Weather::Slow(Duration::from_millis(150)));
    }
}
