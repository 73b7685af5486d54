//! The model of the page on scale, computed anew from its inputs.

use std::collections::BTreeMap;

use crate::docs::read;

const PAGE: &str = "docs/scale.md";

fn inputs(page: &str) -> BTreeMap<String, f64> {
    let (_, rest) = page.split_once("## The inputs").unwrap();
    let (table, _) = rest.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`').to_owned();
        (name, cells.next().unwrap().parse().unwrap())
    })
    .collect()
}

/// As many digits as say something.
fn told(number: f64) -> String {
    match number {
        number if number >= 10.0 => format!("{number:.0}"),
        number if number >= 1.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

/// The row of so many million exchanges a day, by the formulas of the page.
fn row(millions: f64, inputs: &BTreeMap<String, f64>) -> String {
    let input = |name: &str| inputs[name];
    let day = millions * 1e6;
    let peak = day / 86_400.0 * input("peak");
    let most = 1000.0 / input("commit-time");
    let commits = peak.min(most);
    let commits_a_day = day.min(most * 86_400.0);
    let service = peak * input("service-cpu") / 1e6 / input("busy");
    let database = (peak * input("database-cpu") + commits * input("commit-cpu")) / 1e6;
    let instances = (service / input("processors")).ceil() + 1.0;
    let numbers = [
        peak,
        commits,
        peak / commits,
        service,
        database / input("busy"),
    ];
    let each = input("entry") + input("found-by");
    let octets = [
        (peak * input("wal") + commits * input("commit-wal")) / 1e6,
        (day * input("wal") + commits_a_day * input("commit-wal")) / 1e9,
        365.0 * (day * each + commits_a_day * input("commit-entry")) / 1e12,
        peak * input("token-life") * 60.0 * input("token") / 1e6,
    ];
    let numbers = numbers.map(told).join(" | ");
    let octets = octets.map(told).join(" | ");
    let sessions = instances * input("connections");
    format!("| {millions} | {numbers} | {instances} | {octets} | {sessions} |")
}

#[test]
fn the_table_of_the_page_on_scale_follows_from_its_inputs() {
    let page = read(PAGE);
    let inputs = inputs(&page);
    let rows = [1.0, 3.0, 10.0, 30.0, 100.0].map(|millions| row(millions, &inputs));
    let table = rows.join("\n");
    assert!(
        page.contains(&table),
        "the table of {PAGE} should be\n{table}"
    );
}

#[test]
fn every_input_of_the_model_stands_in_a_formula() {
    let page = read(PAGE);
    let (_, formulas) = page.split_once("## The formulas").unwrap();
    let (formulas, _) = formulas.split_once("\n## ").unwrap();
    for name in inputs(&page).keys() {
        assert!(formulas.contains(name.as_str()), "{name}");
    }
}
