//! The table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::child::Report;
use crate::trial::Trial;

/// What was found, a row a store, in Markdown.
pub fn render(records: u64, trials: &[Trial]) -> String {
    let mut table = format!(
        "| store | empty: durable spends/s | p50 | p99 | CPU | with {records}: durable spends/s | p50 | p99 | CPU | \
        filled at | disk a record | first start after | later start | after kill -9 | memory |\n\
        |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for trial in trials {
        let found = &trial.found;
        let fill = found.fill.as_ref();
        let killed = found.killed.as_ref();
        // Kept apart, because there are stores that read at their start all that was written since the one before.
        let first = found.full.first().map(|round| round.start);
        let later = median(found.full.get(1..).unwrap_or_default(), |round| round.start);
        let memory = median(&found.full, |round| round.resident);
        let columns = [
            rounds(&found.empty),
            rounds(&found.full),
            cell(fill.map(rate), |rate| format!("{rate}/s")),
            cell(found.octets_each, |octets| format!("{octets} B")),
            cell(first, millis),
            cell(later, millis),
            cell(killed.map(|killed| killed.start), millis),
            cell(memory, |octets| format!("{} MiB", octets >> 20)),
        ];
        let _ = writeln!(
            table,
            "| {} | {} |",
            trial.name.as_str(),
            columns.join(" | ")
        );
    }
    for trial in trials {
        let found: Vec<_> = trial.found.full.iter().map(|round| &round.looks).collect();
        let Some(first) = found.first().filter(|looks| !looks.is_empty()) else {
            continue;
        };
        let name = trial.name.as_str();
        let _ = writeln!(
            table,
            "\n| asked of the log of {name} | longest of {} |\n|---|--:|",
            found.len()
        );
        for (place, (question, _)) in first.iter().enumerate() {
            let took = found.iter().filter_map(|looks| looks.get(place));
            let longest = took.map(|(_, took)| *took).max();
            let _ = writeln!(table, "| {question} | {} |", cell(longest, millis));
        }
    }
    table
}

/// Four columns: how many a second, how long one waits, and the time that is computed for each.
fn rounds(rounds: &[Report]) -> String {
    let cpu = |round: &Report| round.cpu.as_micros() / u128::from(round.spends.max(1));
    [
        cell(median(rounds, rate), |rate| rate.to_string()),
        cell(median(rounds, |round| round.median), millis),
        cell(median(rounds, |round| round.p99), millis),
        cell(median(rounds, cpu), |micros| format!("{micros} µs")),
    ]
    .join(" | ")
}

/// How many spends a second.
fn rate(round: &Report) -> u128 {
    u128::from(round.spends) * 1_000_000 / round.elapsed.as_micros().max(1)
}

fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

fn cell<T>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), write)
}

fn median<T: Ord + Copy>(rounds: &[Report], of: impl Fn(&Report) -> T) -> Option<T> {
    let mut values: Vec<_> = rounds.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
