//! Several instances on one PostgreSQL, of which something fails: nothing that was acknowledged is lost, no token is let in
//! twice, and everybody goes on by themselves.
//!
//! Each test has servers of its own. What is asked in the end is the same everywhere: [`judge`].

use std::sync::Barrier;
use std::time::Duration;

use crate::kills::drive::fleet::{Berth, Fleet, until};
use crate::kills::drive::hammer::{Hammer, judge};
use crate::kills::drive::proxy::{Proxy, Weather};
use crate::kills::drive::standby::{Pair, either};
use crate::kills::drive::wire::Connection;
use crate::kills::drive::wires::Apart;
use crate::support::postgres::{Cluster, Server};

/// Settings of a server that may be ended in any way: it syncs what it acknowledges.
const DURABLE: &str = "shared_buffers = 32MB\nmax_connections = 60";

/// How many clients ask at once.
const CLIENTS: usize = 6;

/// How many exchanges are waited for before and after something fails.
const SOME: usize = 40;

fn server() -> (Cluster, Server) {
    let cluster = Cluster::new(DURABLE);
    let server = cluster.start();
    (cluster, server)
}

/// The address of `url` at another port.
fn by(url: &str, server: u16, proxy: &Proxy) -> String {
    url.replace(&format!(":{server}/"), &format!(":{}/", proxy.port()))
}

/// So many instances on one database, each with a network of its own between.
fn behind_proxies(cluster: &Cluster, count: usize) -> (Fleet, Vec<Proxy>) {
    let url = cluster.database();
    let proxies: Vec<Proxy> = (0..count).map(|_| Proxy::to(cluster.port())).collect();
    let berths = proxies.iter();
    let berths = berths.map(|proxy| Berth::at(by(&url, cluster.port(), proxy)));
    (Fleet::start(&berths.collect::<Vec<_>>()), proxies)
}

/// So many instances on one database.
fn on(cluster: &Cluster, count: usize) -> (Fleet, String) {
    let url = cluster.database();
    let berths: Vec<_> = (0..count).map(|_| Berth::at(&*url)).collect();
    (Fleet::start(&berths), url)
}

fn name_of(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

#[test]
fn of_many_simultaneous_exchanges_of_one_token_at_three_instances_exactly_one_succeeds() {
    let (cluster, _server) = server();
    let (fleet, _) = on(&cluster, 3);
    for _ in 0..5 {
        let token = fleet.issuer.signer.token();
        let together = Barrier::new(24);
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let one = |number: usize| {
                let (fleet, together, token) = (&fleet, &together, &token);
                scope.spawn(move || {
                    together.wait();
                    let answer = fleet.exchange(number % 3, token).unwrap();
                    assert!(
                        answer.status == 200 || answer.member("reason").unwrap() == "token-spent",
                        "{}",
                        answer.text
                    );
                    answer.status
                })
            };
            let all: Vec<_> = (0..24).map(one).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let let_in = answers.iter().filter(|status| **status == 200).count();
        assert_eq!(let_in, 1, "{answers:?}");
    }
    assert!(fleet.stop());
}

#[test]
fn a_server_that_is_stopped_and_started_under_load_costs_nothing_that_was_acknowledged() {
    let (cluster, mut server) = server();
    let (fleet, _) = on(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    for crashes in [false, true] {
        hammer.until_more(SOME);
        if crashes {
            server.kill();
        } else {
            server.stop();
        }
        hammer.until_more_refused(SOME);
        server = cluster.start();
        hammer.until_more(SOME);
    }
    let findings = judge(&fleet, hammer.stop());
    findings.assert_well();
    assert!(findings.acknowledged >= 4 * SOME, "{findings:?}");
    assert!(fleet.stop());
    server.stop();
}

#[test]
fn connections_that_are_cut_again_and_again_cost_nothing_that_was_acknowledged() {
    let (cluster, _server) = server();
    let (fleet, proxies) = behind_proxies(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    for turn in 0..8 {
        hammer.until_more(SOME / 2);
        assert!(proxies[turn % 2].cut() > 0, "there were connections");
    }
    judge(&fleet, hammer.stop()).assert_well();
}

#[test]
fn a_commit_whose_answer_is_lost_lets_no_token_in_twice_and_is_answered_once_it_is_known() {
    let (cluster, _server) = server();
    let (fleet, proxies) = behind_proxies(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    for turn in 0..6 {
        hammer.until_more(SOME / 2);
        let proxy = &proxies[turn % 2];
        let before = proxy.lost();
        proxy.set(Weather::Deaf);
        until("an answer of the server is lost", || proxy.lost() > before);
        proxy.set(Weather::Fair);
        proxy.cut();
    }
    let findings = judge(&fleet, hammer.stop());
    findings.assert_well();
    assert!(findings.acknowledged >= 6 * SOME / 2, "{findings:?}");
}

#[test]
fn a_server_that_falls_silent_is_given_up_within_two_seconds_and_taken_up_again() {
    let (cluster, _server) = server();
    let (fleet, proxies) = behind_proxies(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    hammer.until_more(SOME);
    for proxy in &proxies {
        proxy.set(Weather::Silent);
    }
    hammer.until_more_refused(SOME);
    let answer = fleet.tries(0);
    assert_eq!(answer.status, 503, "{}", answer.text);
    for proxy in &proxies {
        proxy.set(Weather::Fair);
    }
    hammer.until_more(SOME);
    judge(&fleet, hammer.stop()).assert_well();
}

#[test]
fn a_slow_server_makes_exchanges_slow_and_none_of_them_wrong() {
    let (cluster, _server) = server();
    let (fleet, proxies) = behind_proxies(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    hammer.until_more(SOME);
    for proxy in &proxies {
        proxy.set(Weather::Slow(Duration::from_millis(40)));
    }
    hammer.until_more(SOME);
    // Each way takes longer than anybody waits for both.
    proxies[0].set(Weather::Slow(Duration::from_millis(900)));
    hammer.until_more_refused(3);
    for proxy in &proxies {
        proxy.set(Weather::Fair);
    }
    hammer.until_more(SOME);
    judge(&fleet, hammer.stop()).assert_well();
}

#[test]
fn a_fail_over_to_a_synchronous_standby_costs_nothing_that_was_acknowledged() {
    let mut pair = Pair::synchronous(DURABLE);
    let database = pair.primary.database();
    let url = either(
        name_of(&database),
        (pair.primary.port(), pair.standby.port()),
    );
    let fleet = Fleet::start(&[Berth::at(&*url), Berth::at(&*url)]);
    let hammer = Hammer::start(&fleet, CLIENTS);
    hammer.until_more(SOME);
    pair.fail_over();
    hammer.until_more(SOME);
    let findings = judge(&fleet, hammer.stop());
    findings.assert_well();
    assert!(findings.acknowledged >= 2 * SOME, "{findings:?}");
}

#[test]
fn a_primary_that_was_fenced_off_acknowledges_nothing_that_the_new_one_has_not() {
    let pair = Pair::synchronous(DURABLE);
    let database = pair.primary.database();
    let (old, new) = (
        Proxy::to(pair.primary.port()),
        Proxy::to(pair.standby.port()),
    );
    new.set(Weather::Refusing);
    let url = either(name_of(&database), (old.port(), new.port()));
    let fleet = Fleet::start(&[Berth::at(&*url), Berth::at(&*url)]);
    let hammer = Hammer::start(&fleet, CLIENTS);
    hammer.until_more(SOME);
    // It cannot be heard any more in the midst of commits, lives on, and the standby takes over.
    old.set(Weather::Silent);
    hammer.until_more_refused(SOME);
    old.set(Weather::Refusing);
    old.cut();
    pair.promote();
    new.set(Weather::Fair);
    hammer.until_more(SOME);
    let ours = |cluster: &Cluster| {
        let size = cluster.sql(name_of(&database), "SELECT size FROM countersign.log_head");
        size.parse::<u64>().unwrap()
    };
    assert!(
        ours(&pair.primary) < ours(&pair.standby),
        "it went on alone"
    );
    judge(&fleet, hammer.stop()).assert_well();
}

#[test]
fn a_standby_that_lacks_what_was_acknowledged_serves_nobody_until_somebody_says_so() {
    let mut pair = Pair::asynchronous(DURABLE);
    let database = pair.primary.database();
    let url = either(
        name_of(&database),
        (pair.primary.port(), pair.standby.port()),
    );
    let mut fleet = Fleet::start(&[Berth::at(&*url)]);
    fleet.until_all_exchange();
    until("the standby has everything", || {
        let size = "SELECT size FROM countersign.log_head";
        let name = name_of(&database);
        pair.primary.sql(name, size) == pair.standby.sql(name, size)
    });
    // From here on the standby hears of nothing.
    pair.standby
        .sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
    pair.standby.sql("postgres", "SELECT pg_reload_conf()");
    until("the standby follows nobody", || {
        let following = "SELECT count(*) FROM pg_stat_replication";
        pair.primary.sql("postgres", following) == "0"
    });
    let spent = fleet.issuer.signer.token();
    assert_eq!(fleet.exchange(0, &spent).unwrap().status, 200);
    pair.fail_over();
    until("the instance knows the new server", || {
        fleet.log(0).contains("has lost what was acknowledged")
    });
    let answer = fleet.exchange(0, &spent).unwrap();
    assert_eq!(
        answer.status, 503,
        "it would be let in twice: {}",
        answer.text
    );
    let metrics = metrics(&fleet);
    let damaged = metrics
        .lines()
        .find_map(|line| line.strip_prefix("countersign_store_errors_total{kind=\"damaged\"} "));
    assert!(damaged.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    let log = fleet.log(0);
    assert!(!log.contains("answer: the database `"), "{log}");
    // An operator who restarts it goes on with what there is.
    fleet.start_again(0);
    fleet.until_all_exchange();
}

/// What an instance tells whoever looks after it, from behind the proxy.
fn metrics(fleet: &Fleet) -> String {
    use std::io::{Read as _, Write as _};
    let base = fleet.base(0);
    let mut stream = std::net::TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    let asked = "GET /metrics HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 10.1.2.3\r\nConnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn slow_questions_that_fill_the_pool_keep_no_exchange_waiting() {
    let (cluster, _server) = server();
    let url = cluster.database();
    let berth = Berth {
        store: "connections = 4",
        ..Berth::at(&*url)
    };
    let fleet = Fleet::start(&[berth]);
    fleet.until_all_exchange();
    // Whoever packs the log, says that the instance is there or looks for changes waits for these, on the one connection
    // that whoever reads the log needs too.
    let tables = "log_chunks, countersign.changes, countersign.instances";
    let (holding, done) = hold(&cluster, name_of(&url), tables);
    let held = || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND application_name LIKE 'countersign%'";
        cluster.sql("postgres", waiting) != "0"
    };
    let asked = std::thread::scope(|scope| {
        let ask = |_| {
            let base = fleet.base(0);
            scope.spawn(move || {
                let mut connection = Connection::open(&base).unwrap();
                connection
                    .get("/audit/tile/0/000.p/1")
                    .map(|answer| answer.status)
            })
        };
        let asking: Vec<_> = (0..12).map(ask).collect();
        until("a question is held", held);
        let hammer = Hammer::start(&fleet, 2);
        hammer.until_more(SOME);
        let seen = hammer.stop();
        drop(holding);
        done.join().unwrap();
        for asked in asking {
            // What they are told in the end depends on when they were let go.
            drop(asked.join().unwrap());
        }
        seen
    });
    let findings = judge(&fleet, asked);
    findings.assert_well();
    assert!(findings.acknowledged >= SOME, "{findings:?}");
}

/// Locks tables until what is answered first is dropped.
fn hold(
    cluster: &Cluster,
    database: &str,
    tables: &str,
) -> (std::process::ChildStdin, std::thread::JoinHandle<()>) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut psql = std::process::Command::new(crate::support::postgres::binaries().join("psql"));
    psql.args(["-X", "-q", "-t", "-A"])
        .arg(cluster.url(database));
    psql.stdin(std::process::Stdio::piped());
    psql.stdout(std::process::Stdio::piped());
    let mut psql = psql.spawn().unwrap();
    let (mut says, hears) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
    let lock = format!(
        "BEGIN; LOCK TABLE countersign.{tables} IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n"
    );
    says.write_all(lock.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(hears).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "held");
    let ended = std::thread::spawn(move || drop(psql.wait()));
    (says, ended)
}

#[test]
fn a_server_that_has_no_connection_left_is_waited_for() {
    let cluster = Cluster::new(
        "shared_buffers = 32MB\nmax_connections = 16\nsuperuser_reserved_connections = 0",
    );
    let server = cluster.start();
    let (fleet, proxies) = behind_proxies(&cluster, 1);
    fleet.until_all_exchange();
    let hammer = Hammer::start(&fleet, 4);
    hammer.until_more(SOME);
    proxies[0].set(Weather::Refusing);
    proxies[0].cut();
    let taken = take_all(&cluster);
    proxies[0].set(Weather::Fair);
    hammer.until_more_refused(SOME);
    drop(taken);
    hammer.until_more(SOME);
    judge(&fleet, hammer.stop()).assert_well();
    assert!(fleet.stop());
    server.stop();
}

/// Takes every connection that a server has.
fn take_all(cluster: &Cluster) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = cluster.url("postgres");
    runtime.block_on(async {
        let mut taken = 0;
        while let Ok((client, connection)) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await
        {
            tokio::spawn(async move {
                let _client = client;
                drop(connection.await);
            });
            taken += 1;
        }
        assert!(taken > 5, "there were some");
    });
    runtime
}

#[test]
fn transactions_that_the_server_aborts_are_done_again_or_refused_and_never_half_done() {
    let (cluster, _server) = server();
    let (fleet, url) = on(&cluster, 2);
    let hammer = Hammer::start(&fleet, CLIENTS);
    for state in ["40001", "40P01", "57014", "53100", "XX000", "23514"] {
        hammer.until_more(SOME / 2);
        let fails = format!(
            "BEGIN; LOCK TABLE countersign.log_batches; CREATE FUNCTION countersign.fails() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF random() < 0.5 THEN RAISE 'on purpose' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER fails BEFORE INSERT ON countersign.log_batches
             FOR EACH ROW EXECUTE FUNCTION countersign.fails(); COMMIT"
        );
        cluster.sql(name_of(&url), &fails);
        hammer.until_more(SOME / 2);
        // In the order in which commits lock: the whole table before its parts.
        let works = "BEGIN; LOCK TABLE countersign.log_batches; DROP FUNCTION countersign.fails CASCADE; COMMIT";
        cluster.sql(name_of(&url), works);
    }
    // And every connection that commits is ended from outside.
    for _ in 0..5 {
        hammer.until_more(SOME / 4);
        cluster.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'countersign%'",
        );
    }
    hammer.until_more(SOME);
    judge(&fleet, hammer.stop()).assert_well();
}

#[test]
fn one_of_three_instances_that_is_killed_under_load_takes_nothing_with_it() {
    let (cluster, _server) = server();
    let (mut fleet, _) = on(&cluster, 3);
    let hammer = Hammer::start(&fleet, CLIENTS);
    for victim in [0, 1, 2, 0] {
        hammer.until_more(SOME);
        fleet.kill(victim);
        hammer.until_more(SOME);
        fleet.start_again(victim);
    }
    judge(&fleet, hammer.stop()).assert_well();
    assert!(fleet.stop());
}

#[test]
fn an_instance_whose_network_is_cut_refuses_and_comes_back_while_the_others_go_on() {
    let (cluster, _server) = server();
    let apart = Apart::make();
    let here = apart.database_side();
    let wire = Proxy::on(&here, cluster.port());
    let url = cluster.database();
    let there = by(&url, cluster.port(), &wire).replace("127.0.0.1", &here);
    let far = Berth {
        url: format!("{there}?sslmode=disable"),
        store: "",
        apart: Some(&apart),
    };
    let fleet = Fleet::start(&[Berth::at(&*url), Berth::at(&*url), far]);
    let hammer = Hammer::start(&fleet, CLIENTS);
    hammer.until_more(SOME);
    apart.cut();
    hammer.until_more_refused(SOME / 4);
    hammer.until_more(SOME);
    assert_eq!(fleet.tries(2).status, 503);
    assert_eq!(fleet.tries(0).status, 200);
    apart.mend();
    judge(&fleet, hammer.stop()).assert_well();
    assert!(fleet.stop());
}
