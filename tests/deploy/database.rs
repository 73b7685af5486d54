//! The database of several instances: made by the script, backed up and restored by the commands of the page.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::program::run;
use crate::docs::read;
use crate::support::postgres::{Cluster, binaries, unprivileged};

const TABLES: &str = include_str!("../../src/store/postgres/migrations/0001_store.sql");

/// The blocks of commands in the page, in their order.
fn commands() -> Vec<String> {
    let page = read("docs/several-instances.md");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.find("```bash") else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let block: Vec<&str> = inside
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// Runs commands where PostgreSQL's programs are found, as a user whom its server admits, on the day `$TODAY`.
fn shell(script: &str, cluster: &Cluster, variables: &BTreeMap<&str, String>) -> String {
    let path = format!(
        "{}:{}",
        binaries().display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = unprivileged("sh");
    command
        .args(["-euc", &format!("date() {{ echo \"$TODAY\"; }}\n{script}")])
        .current_dir(cluster.path())
        .env("PATH", path)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "countersign")
        .env("PGDATABASE", "log")
        .envs(variables);
    run(&mut command)
}

/// Adds entries to the log, each in a commit of its own.
fn add(cluster: &Cluster, entries: usize) {
    let one = "SELECT countersign.commit_batch(ARRAY[3]::smallint[], ARRAY['\\x01']::bytea[],
        ARRAY[gen_random_uuid()], ARRAY[0], ARRAY[0]::bigint[], '{}', '{}', '{}', '{}', ARRAY[1], ARRAY[4], ARRAY[0],
        ARRAY[countersign.now_millis()], repeat('h', 32)::bytea, repeat('m', 56)::bytea, 'leaf', '', NULL)";
    for _ in 0..entries {
        cluster.sql("log", one);
    }
}

/// Waits until a question is answered with `t`.
fn until(cluster: &Cluster, question: &str) {
    let began = Instant::now();
    while cluster.sql("log", question) != "t" {
        assert!(began.elapsed() < Duration::from_secs(60), "{question}");
        std::thread::yield_now();
    }
}

#[test]
fn the_user_of_the_database_may_do_what_the_service_does_and_nothing_else() {
    let cluster = Cluster::new("fsync = off");
    let _server = cluster.start();
    let password = cluster.path().join("password");
    std::fs::write(&password, "it's a \"password\"\nand a comment\n").unwrap();
    // The name is taken here by the superuser of the cluster.
    let script = read("deploy/database.sql");
    let script = script.replace("ROLE countersign", "ROLE exchanges");
    let script = script.replace("OWNER countersign", "OWNER exchanges");
    let file = cluster.path().join("database.sql");
    std::fs::write(&file, script).unwrap();
    let psql = || {
        let mut psql = Command::new(binaries().join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "--set", "ON_ERROR_STOP=1"]);
        psql
    };
    let given = format!("password_file={}", password.display());
    run(psql()
        .args(["--set", &given, "--file"])
        .arg(&file)
        .arg(cluster.url("postgres")));
    let kept =
        "SELECT left(rolpassword, 14), rolsuper OR rolcreatedb OR rolcreaterole FROM pg_authid
        WHERE rolname = 'exchanges'";
    assert_eq!(cluster.sql("postgres", kept), "SCRAM-SHA-256$|f");

    let url = cluster
        .url("countersign")
        .replace("//countersign@", "//exchanges@");
    let tables = format!("CREATE SCHEMA countersign; {TABLES}");
    run(psql().args(["--command", &tables]).arg(&url));
    let refused = [
        "CREATE DATABASE another",
        "CREATE ROLE another",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ];
    for statement in refused {
        let output = psql()
            .args(["--command", statement])
            .arg(&url)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{statement}");
    }
    // Nobody else enters.
    cluster.sql("postgres", "CREATE ROLE stranger LOGIN");
    let url = url.replace("//exchanges@", "//stranger@");
    let output = psql()
        .args(["--command", "SELECT 1"])
        .arg(url)
        .output()
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn a_restored_log_is_seen_to_be_shorter_than_what_was_signed() {
    let commands = commands();
    let [backup, restore, check] = commands.as_slice() else {
        panic!("{commands:#?}");
    };
    let cluster = Cluster::new("fsync = off");
    let backups = cluster.path().join("backups");
    run(unprivileged("mkdir").arg("-p").arg(backups.join("wal")));
    cluster.set(&format!(
        "archive_mode = on\narchive_command = 'cp %p {}/wal/%f'",
        backups.display()
    ));
    let server = cluster.start();
    cluster.sql("postgres", "CREATE DATABASE log");
    cluster.sql("log", &format!("CREATE SCHEMA countersign; {TABLES}"));
    let mut variables = BTreeMap::from([("BACKUPS", backups.display().to_string())]);

    // What the backup brings along of the old server, which itself has not read it yet.
    cluster.set("synchronous_standby_names = 'standby_1'");
    for day in ["2026-01-01", "2026-01-02"] {
        add(&cluster, 3);
        variables.insert("TODAY", day.to_owned());
        shell(backup, &cluster, &variables);
    }
    add(&cluster, 2);
    let moment = cluster.sql("log", "SELECT clock_timestamp()");
    add(&cluster, 4);
    let last = cluster.sql("log", "SELECT pg_walfile_name(pg_switch_wal())");
    until(
        &cluster,
        &format!("SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver"),
    );
    server.kill();

    let restored = Cluster::empty();
    variables.insert("DATA", restored.data().display().to_string());
    variables.insert("MOMENT", moment);
    variables.insert("DAY", "2026-01-02".to_owned());
    shell(restore, &restored, &variables);
    restored.set("archive_mode = off");
    let _server = restored.start();
    until(&restored, "SELECT NOT pg_is_in_recovery()");

    let mut checked = |signed: u32| {
        let checkpoint = restored.path().join("checkpoint");
        write(
            &checkpoint,
            &format!("sts.example.com/audit\n{signed}\nhash\n"),
        );
        variables.insert("CHECKPOINT", checkpoint.display().to_string());
        shell(check, &restored, &variables)
    };
    assert_eq!(checked(8), "");
    assert_eq!(checked(12), "4 entries that were signed are lost\n");
    // It waits for no standby: it has none.
    let standbys = "SHOW synchronous_standby_names";
    assert_eq!(restored.sql("log", standbys), "");
    add(&restored, 1);
    assert_eq!(checked(9), "");
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}
