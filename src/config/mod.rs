//! Reads `countersign.toml` once, into checked types.
//!
//! The file is read raw, the environment is laid over it, and every rule about a key stands in `check.rs`. What is wrong
//! is said with its place and what to write instead, and the program does not start.

mod audit;
mod check;
mod environment;
mod issuers;
mod operations;
mod raw;
mod store;
mod summary;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use audit::{AuditSettings, InvalidAuditToken, Tiles, TokenDigest, TokenSource, Witness};
use ipnet::IpNet;
pub use operations::{MetricsPlace, TelemetrySettings, TlsFiles};
pub use store::StoreLocation;

use crate::clock::Seconds;
use crate::excerpt::{self, Complaint, Weight};
use crate::issuer::TrustedIssuer;
use crate::project_token::TokenAlgorithm;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Our issuer name: scheme and host, no path and no slash at the end.
    pub public_url: String,
    /// The folder of the trust policies.
    pub trust_policies: PathBuf,
    /// Whether issuers on loopback addresses may be asked over `http`, for tests and the demo.
    pub allow_loopback_http: bool,
    /// Whose forwarded client address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where everything durable is kept.
    pub store: StoreLocation,
    /// How project tokens are made.
    pub token: TokenSettings,
    /// How the log is kept and shown.
    pub audit: AuditSettings,
    /// How often one address may fail.
    pub rate_limit: RateLimit,
    /// Where metrics are told.
    pub metrics: MetricsPlace,
    /// Where traces are sent, if they are.
    pub telemetry: Option<TelemetrySettings>,
    /// What TLS is spoken with, if it is.
    pub tls: Option<TlsFiles>,
    /// How many connections may be open, at least 2; `None` is as many as the machine's limits allow.
    pub max_connections: Option<NonZeroUsize>,
    /// How long names without ids may go unused after their first load.
    pub pin_window: Seconds,
    /// The issuers that are believed.
    pub issuers: Vec<TrustedIssuer>,
}

/// How often one address may fail and still be told why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How often in a minute, in the long run. Zero: there is no limit.
    pub failures_per_minute: u32,
    /// How often at once.
    pub burst: NonZeroU32,
}

/// How project tokens are made.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// What they are signed with.
    pub algorithm: TokenAlgorithm,
    /// How long one lives where the policy does not say.
    pub default_lifetime: Seconds,
    /// How long one lives at most, whatever the policy says.
    pub maximum_lifetime: Seconds,
    /// The file from whose content the key for our signing keys at rest is derived.
    pub key_encryption_file: Option<PathBuf>,
}

impl Config {
    /// Reads `file`, lays the environment over it, and checks the whole. Without a file, the defaults are those of a
    /// service on a loopback address, and the five CI systems are the issuers.
    ///
    /// `environment` holds the variables of the process; only names that begin with `COUNTERSIGN_` matter.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let (name, text, folder) = match file {
            None => ("(no file)".to_owned(), String::new(), PathBuf::new()),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|fault| {
                    ConfigError::unreadable(&file.display().to_string(), &fault)
                })?;
                let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
                (file.display().to_string(), text, folder)
            }
        };
        let checked = environment::merge(&text, environment).and_then(|(table, variables)| {
            let raw = raw::read(table);
            let checked = raw.and_then(|raw| check::check(raw, &folder, file.is_none()));
            checked.map_err(|problems| (problems, variables))
        });
        checked.map_err(|(problems, variables)| ConfigError {
            name,
            text,
            variables,
            problems,
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub mend: Option<String>,
    /// The place in the file, or in the variables laid over it.
    span: Option<Range<usize>>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone)]
pub struct ConfigError {
    name: String,
    text: String,
    /// Where the text would go on, one place a variable: how a value from the environment is told from one of the file.
    variables: Vec<String>,
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    fn unreadable(name: &str, fault: &std::io::Error) -> Self {
        let problem = ConfigProblem {
            message: format!("the configuration cannot be read: {fault}"),
            mend: Some("give the path of the file with `--config`".to_owned()),
            span: None,
        };
        Self {
            name: name.to_owned(),
            text: String::new(),
            variables: Vec::new(),
            problems: vec![problem],
        }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }

    /// All problems the way a compiler shows them, with colour if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let complaints = self.problems.iter().map(|problem| self.complaint(problem));
        excerpt::render(&self.name, &self.text, complaints, colour)
    }

    fn complaint<'a>(&self, problem: &'a ConfigProblem) -> Complaint<'a> {
        let variable = problem
            .span
            .as_ref()
            .and_then(|span| span.start.checked_sub(self.text.len() + 1))
            .and_then(|at| self.variables.get(at));
        let message = match variable {
            Some(variable) => {
                format!("{} (environment variable `{variable}`)", problem.message).into()
            }
            None => problem.message.as_str().into(),
        };
        let in_text = |span: &Range<usize>| variable.is_none() && span.end <= self.text.len();
        Complaint {
            weight: Weight::Error,
            message,
            code: None,
            place: problem.span.clone().filter(in_text).map(|span| (span, "")),
            earlier: None,
            elsewhere: None,
            why: None,
            mend: problem.mend.as_deref(),
        }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countersign.toml");
        std::fs::write(&file, text).unwrap();
        let pairs = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(&file), &pairs.collect())
    }

    pub(super) fn faults(text: &str) -> String {
        load(text, &[]).unwrap_err().render(false)
    }

    #[test]
    fn without_a_file_the_five_ci_systems_are_the_issuers() {
        let config = Config::load(None, &BTreeMap::new()).unwrap();
        let names: Vec<&str> = config.issuers.iter().map(|issuer| &*issuer.name).collect();
        assert_eq!(names, ["github", "circleci", "buildkite", "rwx", "gitlab"]);
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn an_issuer_needs_only_a_name_and_a_profile() {
        let config = load("[[issuer]]\nname = \"ci\"\nprofile = \"github\"\n", &[]).unwrap();
        let issuer = &config.issuers[0];
        assert_eq!(
            issuer.form.as_configured(),
            "https://token.actions.githubusercontent.com"
        );
        assert_eq!((issuer.max_uses, issuer.max_token_age), (1, Some(600)));
        assert_eq!(issuer.audiences, [config.public_url]);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_place() {
        let shown = faults("listen = \"127.0.0.1:1\"\ntrust-policys = \"x\"\n");
        assert!(shown.contains("trust-policys"), "{shown}");
        assert!(shown.contains("countersign.toml:2:1"), "{shown}");
    }

    #[test]
    fn every_fault_is_told_at_once_with_a_mend() {
        let shown = faults(
            "listen = \"somewhere\"\npublic-url = \"https://sts.example.com/x\"\ntrusted-proxies = [\"ten\"]\n[token]\nsigning-algorithm = \"HS256\"\nmaximum-lifetime = \"2 fortnights\"\n",
        );
        for part in [
            "somewhere",
            "issuer name",
            "`ten`",
            "HS256",
            "fortnights",
            "help: ",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn names_without_ids_may_go_unused_for_thirty_days_unless_the_operator_says_otherwise() {
        let day = Seconds(24 * 60 * 60);
        assert_eq!(load("", &[]).unwrap().pin_window, Seconds(30 * day.0));
        let config = load("", &[("COUNTERSIGN_PIN_WINDOW", "1d")]).unwrap();
        assert_eq!(config.pin_window, day);
        assert!(faults("pin-window = \"0s\"").contains("`pin-window`"));
    }

    #[test]
    fn limits_are_numbers_that_limit_something_and_zero_failures_a_minute_is_no_limit() {
        let limit = load("", &[]).unwrap().rate_limit;
        assert_eq!((limit.failures_per_minute, limit.burst.get()), (60, 300));
        let off = load("[rate-limit]\nfailures-per-minute = 0\n", &[]).unwrap();
        assert_eq!(off.rate_limit.failures_per_minute, 0);
        for (text, said) in [
            ("[rate-limit]\nburst = 0\n", "`burst` is `0`"),
            ("[rate-limit]\nfailures-per-minute = -1\n", "from 0 to"),
            ("max-connections = 1\n", "`max-connections` is `1`"),
        ] {
            assert!(faults(text).contains(said), "{text}");
        }
    }

    #[test]
    fn two_issuers_never_share_an_address_or_a_name() {
        let one = "[[issuer]]\nname = \"a\"\nprofile = \"gitlab\"\n";
        assert!(faults(&format!("{one}{one}")).contains("two issuers are called `a`"));
        let other = one.replace("\"a\"", "\"b\"");
        assert!(faults(&format!("{one}{other}")).contains("share one address"));
    }

    #[test]
    fn signing_keys_are_not_kept_in_the_clear_by_a_service_that_others_reach() {
        let shown = faults("listen = \"0.0.0.0:80\"\npublic-url = \"https://sts.example.com\"\n");
        assert!(shown.contains("key-encryption-file"), "{shown}");
        let key = "listen = \"0.0.0.0:80\"\npublic-url = \"https://s.example\"\n[token]\nkey-encryption-file = \"kek\"\n";
        assert!(load(key, &[]).is_ok());
    }

    #[test]
    fn http_issuers_are_for_loopback_and_only_where_allowed() {
        let issuer =
            "[[issuer]]\nname = \"a\"\nprofile = \"github\"\nurl = \"http://127.0.0.1:1\"\n";
        assert!(faults(issuer).contains("allow-loopback-http"));
        assert!(load(&format!("allow-loopback-http = true\n{issuer}"), &[]).is_ok());
        let elsewhere = issuer.replace("127.0.0.1:1", "ci.example");
        assert!(faults(&format!("allow-loopback-http = true\n{elsewhere}")).contains("https://"));
    }

    #[test]
    fn the_environment_is_laid_over_the_file() {
        let config = load(
            "listen = \"127.0.0.1:1\"\n[[issuer]]\nname = \"ci\"\nprofile = \"github\"\n",
            &[
                ("COUNTERSIGN_LISTEN", "127.0.0.1:2"),
                ("COUNTERSIGN_STORE__URL", "sled:elsewhere"),
                ("COUNTERSIGN_ISSUER__0__MAX_USES", "3"),
                ("COUNTERSIGN_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
                ("COUNTERSIGN_MAX_CONNECTIONS", "70"),
                ("COUNTERSIGN_RATE_LIMIT__BURST", "7"),
            ],
        );
        let config = config.unwrap();
        assert_eq!(config.max_connections.unwrap().get(), 70);
        assert_eq!(config.rate_limit.burst.get(), 7);
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.issuers[0].max_uses, 3);
        assert_eq!(config.trusted_proxies.len(), 1);
        assert!(
            matches!(config.store, StoreLocation::Embedded(path) if path.ends_with("elsewhere"))
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let shown = load("", &[("COUNTERSIGN_LISTEN", "nowhere")])
            .unwrap_err()
            .render(false);
        assert!(
            shown.contains("environment variable `COUNTERSIGN_LISTEN`"),
            "{shown}"
        );
        let shown = load("", &[("COUNTERSIGN_STORE_URL", "sled:x")])
            .unwrap_err()
            .render(false);
        assert!(shown.contains("`COUNTERSIGN_STORE__URL`"), "{shown}");
        let shown = load("", &[("COUNTERSIGN_TOKEN__LIFETIME", "1h")])
            .unwrap_err()
            .render(false);
        assert!(
            shown.contains("environment variable `COUNTERSIGN_TOKEN__LIFETIME`"),
            "{shown}"
        );
    }

    #[test]
    fn a_wrong_member_of_a_list_in_a_variable_is_not_looked_for_in_the_file() {
        for list in ["[\"ten\"]", "[\"a\", \"bb\"]", "[{ a = \"é\" }]"] {
            let shown = load(
                "# 漢字漢字漢字漢字\n",
                &[("COUNTERSIGN_TRUSTED_PROXIES", list)],
            )
            .unwrap_err()
            .render(false);
            assert!(
                shown.contains("environment variable `COUNTERSIGN_TRUSTED_PROXIES`"),
                "{shown}"
            );
        }
    }

    #[test]
    fn the_address_of_one_organization_is_no_issuer_beside_the_template_of_all() {
        let template = "[[issuer]]\nname = \"a\"\nprofile = \"circleci\"\n";
        let one = "[[issuer]]\nname = \"b\"\nprofile = \"generic\"\nurl = \"https://oidc.circleci.com/org/a40f5d1f-d889-42e9-94ea-b9b33585fc6b\"\n";
        for text in [format!("{template}{one}"), format!("{one}{template}")] {
            assert!(faults(&text).contains("overlap"), "{text}");
        }
        assert!(load(one, &[]).is_ok());
    }

    #[test]
    fn variables_that_a_cluster_sets_for_a_service_of_our_name_do_not_matter() {
        assert!(
            load(
                "",
                &[
                    ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"),
                    ("COUNTERSIGN_PORT", "tcp://x")
                ]
            )
            .is_ok()
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load("[token]\nkey-encryption-file = \"kek\"\n", &[]).unwrap();
        let key = config.token.key_encryption_file.unwrap();
        assert_eq!(key.parent(), config.trust_policies.parent());
    }
}
