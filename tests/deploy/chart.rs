//! The chart, linted and rendered by Helm's own library, and what comes of it held against Kubernetes' own schemas.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};

use super::program::{PROGRAM, Program, http, run};
use super::python::{charts, folder};
use crate::docs::{read, root};
use crate::support::service::answer;

const CHART: &str = "deploy/helm/countersign";

/// The versions of Kubernetes that the objects are held against: the oldest that the chart admits, and a newer one.
const KUBERNETES: [&str; 2] = ["v1.30.0", "v1.34.0"];

/// What must be given, and nothing else.
fn least() -> Value {
    json!({
        "publicUrl": "https://sts.example.com",
        "database": {
            "url": "postgres://countersign@db.example.com/countersign",
            "passwordSecret": {"name": "database", "key": "password"},
        },
        "keyEncryptionSecret": {"name": "kek", "key": "kek"},
    })
}

/// Everything that can be switched on, switched on.
fn most() -> Value {
    let mut values = least();
    let more = json!({
        "image": {"digest": format!("sha256:{}", "0123456789abcdef".repeat(4))},
        "imagePullSecrets": [{"name": "registry"}],
        "replicas": 3,
        "trustedProxies": ["10.0.0.0/8"],
        "auditTokenSecret": {"name": "audit", "key": "token"},
        "tls": {"secretName": "inside"},
        "policies": policies(),
        "checkpointClaim": "checkpoint",
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
        "ingress": {"enabled": true, "className": "nginx", "annotations": {"a": "b"}, "tlsSecretName": "outside"},
        "podMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": true},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    });
    for (key, value) in more.as_object().unwrap() {
        values[key] = value.clone();
    }
    values["database"]["caSecret"] = json!({"name": "database", "key": "ca.crt"});
    values
}

/// The shipped policies, but for those whose cases stand in files beside them.
fn policies() -> Value {
    let text = read("deploy/ci/github/policy.toml");
    let rails = "[[require]]\nissuer = \"github\"\nlifetime-at-most = \"1h\"\n";
    json!({"acme": {"api": text, "_organization": rails}})
}

fn render(values: &Value) -> Vec<Value> {
    let chart = root().join(CHART);
    let rendered = charts(&["render", chart.to_str().unwrap()], &values.to_string());
    serde_json::from_value(rendered).unwrap()
}

/// The one object of a kind.
fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// Every way in which the chart is rendered here.
fn ways() -> [Value; 3] {
    let mut claimed = most();
    claimed["policiesClaim"] = json!("policies");
    [least(), most(), claimed]
}

#[test]
fn helm_finds_nothing_wrong_in_the_chart() {
    let chart = root().join(CHART);
    for values in ways() {
        let said = charts(&["lint", chart.to_str().unwrap()], &values.to_string());
        assert_eq!(said["errors"], json!([]), "{said}");
        let messages = said["messages"].as_array().unwrap();
        let wrong = messages
            .iter()
            .find(|message| message["severity"].as_u64() > Some(1));
        assert!(wrong.is_none(), "{said}");
    }
}

#[test]
fn values_that_cannot_work_are_refused_before_anything_is_installed() {
    let slips: [(&str, Value); 7] = [
        ("/publicUrl", json!("http://sts.example.com")),
        ("/publicUrl", json!("https://sts.example.com/path")),
        ("/database/url", json!("postgres://user:secret@db/name")),
        ("/database/passwordSecret/name", json!("")),
        ("/keyEncryptionSecret/name", json!("")),
        ("/replicas", json!(0)),
        ("/policies", json!({"Acme": {"api": ""}})),
    ];
    let chart = root().join(CHART);
    for (place, value) in slips {
        let mut values = most();
        *values.pointer_mut(place).unwrap() = value;
        let said = charts(&["lint", chart.to_str().unwrap()], &values.to_string());
        let errors = said["errors"].to_string();
        assert!(errors.contains(place), "{place}: {errors}");
    }
    let mut misspelt = most();
    misspelt["trustedproxies"] = json!([]);
    let said = charts(&["lint", chart.to_str().unwrap()], &misspelt.to_string());
    assert!(said["errors"].to_string().contains("trustedproxies"));
}

/// Kubernetes' definitions of one version, as one schema.
fn definitions(version: &str) -> Value {
    let file = folder().join(format!(
        "kubernetes_validate/kubernetes-json-schema/{version}-local-strict/_definitions.json"
    ));
    let mut all: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    all["$defs"].take()
}

/// What Kubernetes' definition of an object is called.
fn definition(definitions: &Value, object: &Value) -> String {
    let named = |definition: &Value, key: &str| {
        definition["properties"][key]["enum"] == json!([object[key]])
    };
    let mut all = definitions.as_object().unwrap().iter();
    let found = all.find(|(_, one)| named(one, "apiVersion") && named(one, "kind"));
    let name = found
        .unwrap_or_else(|| panic!("Kubernetes has no {object}"))
        .0;
    name.clone()
}

#[test]
fn every_object_is_one_that_kubernetes_knows() {
    let objects: Vec<Value> = ways().iter().flat_map(render).collect();
    assert!(objects.len() > 15, "{}", objects.len());
    for version in KUBERNETES {
        let definitions = definitions(version);
        let mut validators = BTreeMap::new();
        let mut faults = |object: &Value| -> Vec<String> {
            let name = definition(&definitions, object);
            let schema = || json!({"$ref": format!("#/$defs/{name}"), "$defs": definitions});
            let validator = validators
                .entry(name.clone())
                .or_insert_with(|| jsonschema::validator_for(&schema()).unwrap());
            let faults = validator.iter_errors(object);
            faults
                .map(|fault| format!("{name}{}: {fault}", fault.instance_path()))
                .collect()
        };
        for object in &objects {
            if object["apiVersion"] == "monitoring.coreos.com/v1" {
                continue; // Prometheus Operator's, not Kubernetes'.
            }
            assert_eq!(faults(object), [""; 0], "{version}");
        }
        // A slip is seen, however deep.
        let mut deployment = object(&objects, "Deployment").clone();
        deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = json!({});
        assert_eq!(faults(&deployment).len(), 1);
    }
}

#[test]
fn a_pod_may_do_nothing_that_it_need_not() {
    for values in ways() {
        let objects = render(&values);
        let pod = &object(&objects, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        // Else Kubernetes would put variables with our prefix into its environment.
        assert_eq!(pod["enableServiceLinks"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
        for variable in pod["containers"][0]["env"].as_array().unwrap() {
            assert!(variable["valueFrom"].is_null(), "{variable}");
        }
    }
}

#[test]
fn everything_that_a_pod_mounts_is_a_volume_and_every_volume_is_mounted() {
    for values in ways() {
        let objects = render(&values);
        let pod = &object(&objects, "Deployment")["spec"]["template"]["spec"];
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            let mut names: Vec<String> = list.map(|one| one["name"].to_string()).collect();
            names.sort();
            names
        };
        let mounts = names(&pod["containers"][0]["volumeMounts"]);
        assert_eq!(mounts, names(&pod["volumes"]));
        // A file that a setting names lies in a volume.
        let settings = pod["containers"][0]["env"].as_array().unwrap().iter();
        let files = settings.filter_map(|setting| setting["value"].as_str());
        for file in files.filter(|value| value.starts_with('/')) {
            let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
            let within = |mount: &Value| file.starts_with(mount["mountPath"].as_str().unwrap());
            assert!(mounts.iter().any(within), "{file}");
        }
    }
}

#[test]
fn services_and_budgets_select_the_pods_of_the_deployment() {
    let objects = render(&most());
    let template = &object(&objects, "Deployment")["spec"]["template"];
    let labels = template["metadata"]["labels"].as_object().unwrap();
    let selectors = [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("PodMonitor", "/spec/selector/matchLabels"),
    ];
    for (kind, place) in selectors {
        let selector = object(&objects, kind).pointer(place).unwrap();
        let selector = selector.as_object().unwrap();
        assert_eq!(selector.len(), 2, "{kind}");
        for (label, value) in selector {
            assert_eq!(labels.get(label), Some(value), "{kind}");
        }
    }
    let ports = &template["spec"]["containers"][0]["ports"];
    let port = |name: &Value| {
        ports
            .as_array()
            .unwrap()
            .iter()
            .any(|port| port["name"] == *name)
    };
    assert!(port(
        &object(&objects, "Service")["spec"]["ports"][0]["targetPort"]
    ));
    assert!(port(
        &object(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"]
    ));
}

#[test]
fn the_chart_is_of_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("deploy/helm/countersign/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {version}\n")));
    assert!(chart.contains(&format!("\nappVersion: \"{version}\"\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_read_from_the_volume_that_kubernetes_makes_of_them() {
    let objects = render(&most());
    let named = |object: &&Value| object["metadata"]["name"] == "release-countersign-policies";
    let map = objects.iter().find(named).unwrap();
    let volumes = &object(&objects, "Deployment")["spec"]["template"]["spec"]["volumes"];
    let volumes = volumes.as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|one| one["name"] == "policies")
        .unwrap();
    // Folders of a time, a link to the newest, and links through that: so that all files change at once.
    let folder = super::program::folder("");
    let trust = folder.path().join("trust-policies");
    std::fs::remove_dir_all(&trust).unwrap();
    let newest = trust.join("..2026_11_20_12_00_00.1");
    for item in volume["configMap"]["items"].as_array().unwrap() {
        let text = map["data"][item["key"].as_str().unwrap()].as_str().unwrap();
        let file = newest.join(item["path"].as_str().unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    symlink("..2026_11_20_12_00_00.1", trust.join("..data")).unwrap();
    symlink("..data/acme", trust.join("acme")).unwrap();
    run(Command::new(PROGRAM).args(["policy", "check"]).arg(&trust));
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--config"])
        .arg(folder.path().join("countersign.toml"));
    let service = Program::start(command);
    let ready = answer(http().get(format!("{}/readyz", service.base))).await;
    assert_eq!(ready.json()["status"], "ok", "{}", ready.text);
    assert_eq!(ready.json()["projects"], 1);
    service.stop();
}
