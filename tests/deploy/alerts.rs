//! The alerts and the dashboard: Prometheus understands them, and every metric and label in them is one that there is.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::program::run;
use super::python::json;
use crate::docs::markdown::blocks;
use crate::docs::{read, root};

const RULES: &str = "deploy/prometheus/rules.yaml";

fn promtool(arguments: &[&str]) -> String {
    let folder = root().join("deploy/prometheus");
    run(Command::new("promtool").args(arguments).current_dir(folder))
}

#[test]
fn prometheus_finds_nothing_wrong_in_the_rules() {
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["check", "config", "scrape.yaml"]);
}

#[test]
fn alerts_fire_when_they_should_and_are_silent_when_all_is_well() {
    promtool(&["test", "rules", "rules.test.yaml"]);
    let tests = read("deploy/prometheus/rules.test.yaml");
    for alert in rules().iter().filter_map(|rule| rule["alert"].as_str()) {
        assert!(tests.contains(alert), "no test of {alert}");
    }
}

fn rules() -> Vec<Value> {
    let rules = json(&read(RULES));
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

/// Every question that a document puts, each below a comment that says what it asks.
fn of_documents() -> Vec<String> {
    let blocks = blocks("promql");
    let parts = blocks.iter().flat_map(|block| block.text.split("# "));
    let questions = parts.filter_map(|part| Some(part.split_once('\n')?.1.trim().to_owned()));
    questions.filter(|text| !text.is_empty()).collect()
}

/// Every expression of the rules and of the documents, and every one of the dashboard as Grafana would send it.
fn expressions() -> Vec<String> {
    let rules = rules();
    let of_rules = rules.iter().map(|rule| rule["expr"].as_str().unwrap());
    let panels = panels();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let of_panels = targets.flatten().map(|target| {
        let text = target["expr"].as_str().unwrap();
        let text = text.replace("$__rate_interval", "1m");
        text.replace("$job", "countersign")
            .replace("$instance", ".*")
    });
    let of_rules = of_rules.map(str::to_owned);
    of_rules.chain(of_documents()).chain(of_panels).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/countersign.json")).unwrap()
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

#[test]
fn prometheus_understands_every_question_of_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let questions = expressions();
    assert!(questions.len() > 50, "{}", questions.len());
    let rules: Vec<String> = questions
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let text = serde_json::to_string(text).unwrap();
            format!("  - {{record: \"q{number}\", expr: {text}}}\n")
        })
        .collect();
    let file = folder.path().join("rules.yaml");
    std::fs::write(
        &file,
        ["groups:\n- name: all\n  rules:\n", &rules.concat()].concat(),
    )
    .unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

/// Every metric in the page on metrics: its type, and its labels.
fn metrics() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let metrics: BTreeMap<_, _> = rows
        .filter_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = cells[0].trim_end_matches('`').to_owned();
            let labels = cells.get(2)?.split('`').skip(1).step_by(2);
            let labels = labels.map(str::to_owned).collect();
            Some((name, (cells[1].to_owned(), labels)))
        })
        .collect();
    assert!(metrics.len() > 30, "{metrics:?}");
    metrics
}

/// The words of a question outside of texts.
fn words(question: &str) -> Vec<String> {
    let bare: Vec<&str> = question.split('"').step_by(2).collect();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let bare = bare.join(" ");
    let words = bare.split(word).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[test]
fn every_metric_and_label_that_is_asked_for_is_one_that_there_is() {
    const LANGUAGE: [&str; 21] = [
        "absent",
        "and",
        "by",
        "count",
        "histogram_quantile",
        "increase",
        "max",
        "min",
        "offset",
        "or",
        "rate",
        "sum",
        "up",
        "job",
        "instance",
        "le",
        "m",
        "h",
        "d",
        "s",
        "x",
    ];
    let metrics = metrics();
    for question in expressions() {
        let mut labels = BTreeSet::new();
        let mut others = Vec::new();
        for word in words(&question) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| word.strip_suffix(part))
                .filter(|family| {
                    metrics
                        .get(*family)
                        .is_some_and(|(kind, _)| kind == "histogram")
                });
            match metrics.get(family.unwrap_or(&word)) {
                Some((kind, has)) => {
                    let whole = kind == "histogram" && family.is_none();
                    assert!(!whole, "`{word}` is a histogram: {question}");
                    labels.extend(has.clone());
                }
                None => others.push(word),
            }
        }
        for word in others {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            let known = is_number || LANGUAGE.contains(&word.as_str()) || labels.contains(&word);
            assert!(known, "`{word}`: {question}");
        }
    }
}

/// Every metric of two instances, with all of its labels, as it grows for an hour.
fn samples() -> Vec<Value> {
    let mut samples = Vec::new();
    for (name, (kind, labels)) in metrics() {
        let parts: &[(&str, &str)] = match kind.as_str() {
            "histogram" => &[
                ("_bucket", ", le=\"0.01\""),
                ("_bucket", ", le=\"+Inf\""),
                ("_sum", ""),
                ("_count", ""),
            ],
            _ => &[("", "")],
        };
        let labels = labels.iter().map(|name| format!(", {name}=\"x\""));
        let labels = labels.collect::<Vec<_>>().concat();
        for instance in ["a", "b"] {
            for (part, le) in parts {
                let series = format!("{name}{part}{{instance=\"{instance}\"{labels}{le}}}");
                samples.push(serde_json::json!({"series": series, "values": "0+60x60"}));
            }
        }
    }
    samples
}

#[test]
fn every_question_of_a_document_has_an_answer() {
    let questions = of_documents();
    assert!(questions.len() >= 4, "{questions:?}");
    // What is not a number is no answer.
    let asked = questions.iter().map(|question| {
        serde_json::json!({
            "expr": format!("count(({question}) >= 0) > bool 0"),
            "eval_time": "30m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        })
    });
    let asked: Vec<Value> = asked.collect();
    let tests = serde_json::json!({"evaluation_interval": "1m", "tests": [{
        "interval": "1m", "input_series": samples(), "promql_expr_test": asked,
    }]});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("questions.yaml");
    std::fs::write(&file, tests.to_string()).unwrap();
    promtool(&["test", "rules", file.to_str().unwrap()]);
}

#[test]
fn what_an_operator_should_look_at_is_on_the_dashboard() {
    let questions = expressions().concat();
    let page = read("docs/metrics.md");
    let (_, table) = page.split_once("## What would wake you").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let named = table.split('`').skip(1).step_by(2);
    let named = named.filter(|word| word.starts_with("countersign_"));
    for name in named {
        let name = name.split(['{', ' ']).next().unwrap();
        assert!(
            questions.contains(name),
            "`{name}` is in no rule and on no panel"
        );
    }
}

#[test]
fn every_panel_of_the_dashboard_has_a_place_of_its_own_and_a_question() {
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title}");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let question = target["expr"].as_str().unwrap();
            assert!(question.contains("{job=\"$job\""), "{title}: {question}");
        }
    }
}
