//! The image, and two instances as compose runs them. There is no Docker here: what it would read is read by its own
//! tools, and what it would run runs in a folder that holds as little as the image.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::program::{PROGRAM, Program, configure, exchanged, run};
use super::python::{json, tool};
use crate::docs::{read, root};

/// The libraries that the program is linked with here, and its loader. The image's is linked with none.
fn libraries() -> BTreeSet<PathBuf> {
    let said = run(Command::new("ldd").arg(PROGRAM));
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

/// What stands in the image, in a folder: the program, the certificates, an empty folder for data. And the configuration
/// that is mounted into it.
fn image() -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    let put = |from: &Path, to: &str| {
        let to = image.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    put(Path::new(PROGRAM), "countersign");
    for library in libraries() {
        put(&library, library.to_str().unwrap());
    }
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    put(Path::new(certificates), certificates);
    std::fs::create_dir_all(image.path().join("var/lib/countersign")).unwrap();
    let etc = image.path().join("etc/countersign");
    std::fs::create_dir_all(&etc).unwrap();
    configure(&etc, "[store]\nurl = \"sled:/var/lib/countersign/data\"");
    image
}

/// Runs the program with `arguments` as a container does: with that folder as the root of the file system, which cannot
/// be written but for the folder for data, as a user without a name or a right.
fn contained(image: &Path, arguments: &str) -> Command {
    let script = "set -e
        mount --bind \"$0\" \"$0\"
        mount -o remount,ro,bind \"$0\"
        mount -t tmpfs -o mode=777 data \"$0/var/lib/countersign\"
        if [ \"$IS_ROOT\" ]; then user=--userspec=65532:65532; fi
        exec chroot ${user-} \"$0\" /countersign $ARGUMENTS";
    let is_root = rustix::process::getuid().is_root();
    let mut command = Command::new("unshare");
    command
        .args([if is_root { "-m" } else { "-rm" }, "sh", "-c", script])
        .arg(image)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        .env("COUNTERSIGN_CONFIG", "/etc/countersign/countersign.toml")
        .env("IS_ROOT", if is_root { "yes" } else { "" })
        .env("ARGUMENTS", arguments);
    command
}

/// What a container is asked with by `healthcheck`: the port that it got here stands in no file.
fn checked(image: &Path, port: &str, arguments: &str) -> std::process::Output {
    let mut command = contained(image, &format!("healthcheck {arguments}"));
    let listen = format!("127.0.0.1:{port}");
    command.env("COUNTERSIGN_LISTEN", listen).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_needs_nothing_that_the_image_has_not() {
    let image = image();
    let service = Program::start(contained(image.path(), "serve"));
    let answer = exchanged(&service.base).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for arguments in ["", "--ready"] {
        let output = checked(image.path(), service.port(), arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"status\":\"ok\""));
    }
    let port = service.port().to_owned();
    service.stop();
    let output = checked(image.path(), &port, "");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn docker_s_linter_finds_nothing_wrong_in_the_containerfile() {
    let said = run(tool("hadolint").arg(root().join("deploy/Containerfile")));
    assert_eq!(said, "");
}

#[test]
fn the_image_is_the_program_its_certificates_and_a_folder() {
    let text = read("deploy/Containerfile");
    let last = text.split("\nFROM ").last().unwrap();
    assert!(last.starts_with("scratch\n"));
    assert!(!last.contains("\nRUN ") && !last.contains("\nADD "));
    let copied = last.lines().filter(|line| line.starts_with("COPY "));
    let copied: Vec<&str> = copied
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let there = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/var/lib/countersign",
        "/countersign",
    ];
    assert_eq!(copied, there);
    assert!(last.contains("\nUSER 65532:65532\n"));
    let toolchain = read("Cargo.toml");
    let oldest = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \"1."))
        .and_then(|version| version.trim_matches('"').parse::<u32>().ok());
    let built_with = text
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST=1."))
        .and_then(|version| version.parse::<u32>().ok());
    assert!(built_with >= oldest && oldest.is_some());
}

/// The folder of compose files, prepared, and what Docker Compose makes of them.
fn composed() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("cp")
        .args(["-r", "deploy"])
        .arg(folder.path())
        .current_dir(root()));
    let deploy = folder.path().join("deploy");
    run(Command::new(deploy.join("compose/prepare")).arg("sts.example.com"));
    let yaml = run(Command::new("docker-compose")
        .args(["--project-name", "countersign", "--file"])
        .arg(deploy.join("compose.yaml"))
        .arg("config"));
    let composed = json(&yaml);
    (folder, composed)
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

#[test]
fn every_container_is_shut_in_and_watched() {
    let (_folder, composed) = composed();
    let services = composed["services"].as_object().unwrap();
    assert_eq!(services.len(), 4);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"]);
        assert!(service["cap_add"].is_null() && service["privileged"].is_null());
        let user = service["user"].as_str().unwrap_or("0");
        assert!(!user.starts_with('0'), "{name}: {user}");
        assert!(service["healthcheck"]["test"].is_array(), "{name}");
        assert_eq!(service["ports"].is_array(), name == "nginx", "{name}");
        // A value in the environment is seen by whoever may look at the container.
        let environment = service["environment"].as_object();
        for (variable, _) in environment.into_iter().flatten() {
            let secret = variable.contains("PASSWORD") || variable.contains("KEY");
            assert!(!secret || variable.ends_with("_FILE"), "{name}: {variable}");
        }
    }
    assert_eq!(composed["networks"]["back"]["internal"], true);
    assert!(services["postgres"]["networks"].get("front").is_none());
}

#[test]
fn everything_that_a_container_mounts_is_there_once_it_is_prepared() {
    let (folder, composed) = composed();
    let mut mounted = 0;
    for (name, service) in composed["services"].as_object().unwrap() {
        for volume in texts(&service["volumes"]) {
            let from = volume.split(':').next().unwrap();
            if from.starts_with('/') {
                mounted += 1;
                assert!(Path::new(from).exists(), "{name}: {volume}");
            } else {
                assert!(composed["volumes"].get(from).is_some(), "{name}: {volume}");
            }
        }
        for secret in service["secrets"].as_array().unwrap() {
            let source = secret["source"].as_str().unwrap();
            let file = composed["secrets"][source]["file"].as_str().unwrap();
            mounted += 1;
            assert!(std::fs::metadata(file).unwrap().len() > 60, "{file}");
        }
    }
    assert!(mounted > 10, "{mounted}");
    // A second preparation leaves the secrets as they are.
    let kek = folder.path().join("deploy/compose/secrets/kek");
    let before = std::fs::read(&kek).unwrap();
    run(Command::new(folder.path().join("deploy/compose/prepare")).arg("sts.example.com"));
    assert_eq!(std::fs::read(&kek).unwrap(), before);
}
