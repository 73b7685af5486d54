//! What an operator watches the service with, and the certificate it has.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};
use toml::Spanned;
use url::Url;

use super::check::{Problems, network};
use super::raw::{RawMetrics, RawTelemetry, RawTls};
use crate::issuer::is_loopback;

/// Who may read metrics on the service's own listener if nobody else is named: this machine and private networks (RFC
/// 1918, RFC 4193, RFC 6598), where a Prometheus is.
const READERS: [&str; 7] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

/// Who may read them on a listener of their own if nobody else is named: who reaches it.
const EVERYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Which part of the traces is sent if nothing is said: one in ten.
const SAMPLED: f64 = 0.1;

/// Where metrics are told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// A listener of their own. Without one they are told on the service's.
    pub listen: Option<SocketAddr>,
    /// The networks from which they may be read.
    pub readers: Vec<IpNet>,
}

/// Where traces are sent, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetrySettings {
    /// The address of a collector that takes OTLP over HTTP, without the path of the signal.
    pub endpoint: Url,
    /// A file of headers to send along, one `Name: value` a line.
    pub headers_file: Option<PathBuf>,
    /// Which part of the traces is sent, from 0 to 1.
    pub sample_ratio: f64,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead from it to one that clients believe, in this order (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

pub(super) fn metrics(
    raw: &RawMetrics,
    listen: SocketAddr,
    problems: &mut Problems,
) -> MetricsSettings {
    let own = raw.listen.as_ref();
    let own = own.and_then(|own| listener(own, listen, problems));
    let default = if own.is_some() {
        EVERYBODY.as_slice()
    } else {
        READERS.as_slice()
    };
    let readers = match &raw.readers {
        None => default
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        Some(readers) => readers
            .iter()
            .filter_map(|reader| network(reader, "readers", problems))
            .collect(),
    };
    MetricsSettings {
        listen: own,
        readers,
    }
}

fn listener(
    raw: &Spanned<String>,
    listen: SocketAddr,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let text = raw.get_ref();
    match text.parse() {
        Ok(address) if address == listen && listen.port() != 0 => {
            problems.add(
                raw.span(),
                format!("`metrics.listen` is `listen`: `{address}`"),
                "write another port, or leave it out: then `/metrics` is on the service's listener",
            );
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            problems.add(
                raw.span(),
                format!("`metrics.listen` is not an address and a port: `{text}`"),
                "write `127.0.0.1:9464`",
            );
            None
        }
    }
}

pub(super) fn telemetry(
    raw: &RawTelemetry,
    folder: &Path,
    problems: &mut Problems,
) -> Option<TelemetrySettings> {
    let headers_file = raw.headers_file.as_ref();
    let sample_ratio = raw.sample_ratio.as_ref();
    let Some(endpoint) = &raw.otlp_endpoint else {
        let spans = [
            headers_file.map(Spanned::span),
            sample_ratio.map(Spanned::span),
        ];
        if let Some(span) = spans.into_iter().flatten().next() {
            problems.add(
                span,
                "`[telemetry]` has no `otlp-endpoint`, so nothing is sent".to_owned(),
                "write the address of a collector: `otlp-endpoint = \"http://127.0.0.1:4318\"`",
            );
        }
        return None;
    };
    let url = collector(endpoint, headers_file.is_some(), problems)?;
    let ratio = sample_ratio.map_or(SAMPLED, |raw| {
        let ratio = *raw.get_ref();
        if !(0.0..=1.0).contains(&ratio) {
            let message = format!("`sample-ratio` is `{ratio}`, and can be from 0 to 1");
            problems.add(raw.span(), message, "");
        }
        ratio
    });
    Some(TelemetrySettings {
        endpoint: url,
        headers_file: headers_file.map(|file| folder.join(file.get_ref())),
        sample_ratio: ratio,
    })
}

fn collector(raw: &Spanned<String>, has_secrets: bool, problems: &mut Problems) -> Option<Url> {
    let fault = match Url::parse(raw.get_ref()) {
        Err(_) => "is not a URL",
        Ok(url) if !matches!(url.scheme(), "https" | "http") => "is not an `https://` address",
        Ok(url) if url.scheme() == "http" && has_secrets && !is_loopback(&url) => {
            "is not `https://`, and the headers of `headers-file` would cross the network in the clear"
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "carries a user: a header in `headers-file` can"
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "carries a query or a fragment"
        }
        Ok(url) if url.path().trim_end_matches('/').ends_with("/v1/traces") => {
            "ends in `/v1/traces`, which is added to it"
        }
        Ok(url) => return Some(url),
    };
    problems.add(
        raw.span(),
        format!("`otlp-endpoint` {fault}"),
        "write the address of a collector that takes OTLP over HTTP: `http://127.0.0.1:4318`",
    );
    None
}

pub(super) fn tls(raw: &RawTls, folder: &Path, problems: &mut Problems) -> Option<TlsFiles> {
    match (&raw.certificate, &raw.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: folder.join(certificate.get_ref()),
            key: folder.join(key.get_ref()),
        }),
        (Some(alone), None) | (None, Some(alone)) => {
            problems.add(
                alone.span(),
                "`[tls]` needs both, `certificate` and `key`".to_owned(),
                "write the other too, or neither: then TLS is the business of a proxy in front",
            );
            None
        }
    }
}

impl MetricsSettings {
    pub(super) fn on_record(&self) -> Value {
        let Self { listen, readers } = self;
        let readers = readers.iter().map(ToString::to_string);
        json!({
            "listen": listen.map(|address| address.to_string()),
            "readers": readers.collect::<Vec<_>>(),
        })
    }
}

impl TelemetrySettings {
    pub(super) fn on_record(&self) -> Value {
        let Self {
            endpoint,
            headers_file,
            sample_ratio,
        } = self;
        json!({
            "otlp-endpoint": endpoint.as_str(),
            "headers-file": headers_file.as_ref().map(|file| file.to_string_lossy()),
            "sample-ratio": sample_ratio,
        })
    }
}

impl TlsFiles {
    pub(super) fn on_record(&self) -> Value {
        let Self { certificate, key } = self;
        json!({"certificate": certificate.to_string_lossy(), "key": key.to_string_lossy()})
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults, load};
    use super::*;

    #[test]
    fn metrics_are_for_this_machine_and_private_networks_unless_they_are_told_elsewhere() {
        let place = |text: &str| load(text, &[]).unwrap().metrics;
        let here = place("");
        assert_eq!((here.listen, here.readers.len()), (None, READERS.len()));
        let own = place("[metrics]\nlisten = \"127.0.0.1:9464\"\n");
        assert_eq!(own.listen, Some("127.0.0.1:9464".parse().unwrap()));
        assert_eq!(own.readers.len(), EVERYBODY.len());
        let named = place("[metrics]\nreaders = [\"192.0.2.7\"]\n");
        assert_eq!(named.readers, ["192.0.2.7/32".parse().unwrap()]);
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_a_mend() {
        for (text, said) in [
            ("[metrics]\nlisten = \"9464\"\n", "`metrics.listen` is not"),
            (
                "[metrics]\nlisten = \"127.0.0.1:8080\"\n",
                "`metrics.listen` is `listen`",
            ),
            (
                "[metrics]\nreaders = [\"ten\"]\n",
                "`readers` holds `ten`, which is no address",
            ),
            (
                "[telemetry]\nsample-ratio = 1\n",
                "`[telemetry]` has no `otlp-endpoint`",
            ),
            (
                "[telemetry]\notlp-endpoint = \"http://c:4318\"\nsample-ratio = 1.5\n",
                "`sample-ratio` is `1.5`",
            ),
            (
                "[telemetry]\notlp-endpoint = \"grpc://c:4317\"\n",
                "`otlp-endpoint` is not an `https://`",
            ),
            (
                "[telemetry]\notlp-endpoint = \"http://c:4318\"\nheaders-file = \"h\"\n",
                "would cross the network in the clear",
            ),
            (
                "[telemetry]\notlp-endpoint = \"http://c:4318/v1/traces\"\n",
                "which is added to it",
            ),
            ("[tls]\nkey = \"key.pem\"\n", "needs both"),
        ] {
            let shown = faults(text);
            assert!(shown.contains(said), "{said} is missing in\n{shown}");
        }
    }

    #[test]
    fn each_is_set_by_environment_too_and_goes_on_record_without_secrets() {
        let config = load(
            "",
            &[
                ("COUNTERSIGN_METRICS__LISTEN", "127.0.0.1:9464"),
                ("COUNTERSIGN_TELEMETRY__OTLP_ENDPOINT", "https://c.example"),
                ("COUNTERSIGN_TELEMETRY__HEADERS_FILE", "headers"),
                ("COUNTERSIGN_TELEMETRY__SAMPLE_RATIO", "1"),
                ("COUNTERSIGN_TLS__CERTIFICATE", "tls.crt"),
                ("COUNTERSIGN_TLS__KEY", "tls.key"),
            ],
        );
        let said = config.unwrap().on_record();
        assert_eq!(said["metrics"]["listen"], "127.0.0.1:9464");
        assert_eq!(said["telemetry"]["sample-ratio"], 1.0);
        for (section, key, end) in [
            ("telemetry", "headers-file", "headers"),
            ("tls", "certificate", "tls.crt"),
            ("tls", "key", "tls.key"),
        ] {
            let path = said[section][key].as_str().unwrap();
            assert!(path.ends_with(end), "{path}");
        }
    }
}
