//! The text format of Prometheus, made of that of `OpenMetrics`.
//!
//! They differ in little, and older scrapers, `promtool check metrics` and people with curl know the first: there the
//! name of a counter is that of its samples, an info is a gauge, and units and an end are unknown.

use std::fmt::Write as _;

/// The same metrics in the text format 0.0.4.
pub(super) fn of_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        // The help of a metric stands before its type, which says how it is called.
        if let Some(of) = line.strip_prefix("# HELP ") {
            help = of.split_once(' ').map(|(_, said)| said);
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap_or((of, "untyped"));
            let (ending, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            // Writing into a text cannot fail.
            if let Some(said) = help.take() {
                let _ = writeln!(text, "# HELP {name}{ending} {said}");
            }
            let _ = writeln!(text, "# TYPE {name}{ending} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_are_called_like_their_samples() {
        let told = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP g_seconds G.\n# TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds 1\n# EOF\n";
        let expected = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# HELP b_info Build.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP g_seconds G.\n# TYPE g_seconds gauge\ng_seconds 1\n";
        assert_eq!(of_prometheus(told), expected);
    }
}
