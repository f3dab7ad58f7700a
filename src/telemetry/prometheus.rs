//! The metrics as text, for Prometheus to scrape
//! ([exposition format](https://prometheus.io/docs/instrumenting/exposition_formats/)).
//!
//! Names are those that an OpenTelemetry exporter makes from ours: dots become underscores, and units
//! in words and `_total` are appended.

use std::fmt::{self, Write};

use super::latency::{BOUNDS, SERIES};
use super::metrics::{Attributes, Instrument, METRICS, Metric, MetricsReading};

/// Renders all metrics.
pub(crate) fn render(reading: &MetricsReading<'_>) -> String {
    let mut text = String::with_capacity(16 << 10);
    for metric in &METRICS {
        write_metric(&mut text, metric, reading);
    }
    text
}

fn write_metric(text: &mut String, metric: &Metric, reading: &MetricsReading<'_>) {
    let name = name(metric);
    match &metric.instrument {
        Instrument::Counter(values) => {
            write_head(text, &name, "counter", metric.help);
            values(reading, &mut |attributes, count| {
                write_sample(text, &name, attributes, count);
            });
        }
        Instrument::Gauge(values) => {
            write_head(text, &name, "gauge", metric.help);
            values(reading, &mut |attributes, value| {
                write_sample(text, &name, attributes, value);
            });
        }
        Instrument::Histogram(series) => {
            write_head(text, &name, "histogram", metric.help);
            for series in series.clone() {
                write_histogram(text, &name, series, reading);
            }
        }
    }
}

/// Returns a metric's name for Prometheus.
pub(crate) fn name(metric: &Metric) -> String {
    let mut name = metric.name.replace('.', "_");
    name.push_str(match metric.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    });
    if let Instrument::Counter(_) = metric.instrument {
        name.push_str("_total");
    }
    name
}

fn write_head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn write_sample(
    text: &mut String,
    name: &str,
    attributes: &Attributes<'_>,
    value: impl fmt::Display,
) {
    text.push_str(name);
    write_labels(text, attributes, None);
    // Writing to a string does not fail.
    let _ = writeln!(text, " {value}");
}

fn write_histogram(text: &mut String, name: &str, series: usize, reading: &MetricsReading<'_>) {
    let histogram = reading.stats.latencies.of(series);
    let attributes = SERIES[series].as_slice();
    let bounds = BOUNDS.iter().map(|bound| bound.to_string());
    let mut count = 0;
    for (bound, bucket) in bounds.chain(["+Inf".to_owned()]).zip(histogram.buckets()) {
        count += bucket;
        let _ = write!(text, "{name}_bucket");
        write_labels(text, attributes, Some(&bound));
        let _ = writeln!(text, " {count}");
    }
    write_sample(text, &format!("{name}_sum"), attributes, histogram.sum());
    write_sample(text, &format!("{name}_count"), attributes, count);
}

fn write_labels(text: &mut String, attributes: &Attributes<'_>, bound: Option<&str>) {
    let labels = attributes
        .iter()
        .copied()
        .chain(bound.map(|bound| ("le", bound)));
    let mut before = '{';
    for (name, value) in labels {
        text.push(before);
        text.extend(
            name.chars()
                .map(|char| if char == '.' { '_' } else { char }),
        );
        text.push_str("=\"");
        write_escaped(text, value);
        text.push('"');
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
}

fn write_escaped(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut text = String::new();
        let attributes = [("http.route", "/a\\\"b\n{id}"), ("cache.outcome", "hit")];
        write_sample(&mut text, "n", &attributes, 7);
        assert_eq!(
            text,
            "n{http_route=\"/a\\\\\\\"b\\n{id}\",cache_outcome=\"hit\"} 7\n"
        );
        text.clear();
        write_sample(&mut text, "n", &[], 0.5);
        assert_eq!(text, "n 0.5\n");
    }

    #[test]
    fn names_end_as_prometheus_wants_it() {
        let names: Vec<String> = METRICS.iter().map(name).collect();
        for expected in [
            "http_cache_requests_total",
            "http_cache_hit_duration_seconds",
            "http_cache_size_bytes",
            "http_cache_entries",
            "http_cache_store_staleness_bound_seconds",
        ] {
            assert!(names.iter().any(|name| name == expected), "{expected}");
        }
    }
}
