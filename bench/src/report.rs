//! Readings, their medians and ratios, as a table for people and as JSON for the next reader.

use serde_json::{Value, json};

use crate::rows::Figure;

/// Of one figure of one row, the values of each round, for each server.
#[derive(Debug)]
struct Reading {
    row: String,
    figure: Figure,
    values: Vec<Vec<f64>>,
}

/// Everything measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    servers: Vec<(String, String)>,
    readings: Vec<Reading>,
    failures: Vec<String>,
}

impl Report {
    /// For these servers, by name and version.
    pub(crate) fn new(servers: Vec<(String, String)>) -> Report {
        Report { servers, readings: Vec::new(), failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: &str, server: usize, figures: &[Figure]) {
        for figure in figures {
            let at = self.readings.iter().position(|r| r.row == row && r.figure.name == figure.name);
            let at = at.unwrap_or_else(|| {
                let values = vec![Vec::new(); self.servers.len()];
                self.readings.push(Reading { row: row.to_owned(), figure: *figure, values });
                self.readings.len() - 1
            });
            self.readings[at].values[server].push(figure.value);
        }
    }

    pub(crate) fn fail(&mut self, row: &str, server: usize, why: &str) {
        self.failures.push(format!("{}: {row}: {why}", self.servers[server].0));
    }

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A Markdown table. The ratio says how many times better the first server is than the best of the others.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from("| row | figure | unit |");
        for (name, _) in &self.servers {
            out += &format!(" {name} |");
        }
        let compared = self.servers.len() > 1;
        if compared {
            out += " times better |";
        }
        out += "\n|---|---|---|";
        out += &"---:|".repeat(self.servers.len() + usize::from(compared));
        out.push('\n');
        let mut last = "";
        for reading in &self.readings {
            let row = if reading.row == last { "" } else { &reading.row };
            last = &reading.row;
            out += &format!("| {row} | {} | {} |", reading.figure.name, reading.figure.unit);
            for values in &reading.values {
                out += &format!(" {} |", spread(values));
            }
            if compared {
                out += &format!(" {} |", reading.ratio().map_or_else(|| "–".to_owned(), number));
            }
            out.push('\n');
        }
        for (name, version) in &self.servers {
            out += &format!("\n{name} is {version}.");
        }
        for failure in &self.failures {
            out += &format!("\nFAILED: {failure}");
        }
        out
    }

    pub(crate) fn json(&self, machine: Value) -> Value {
        let readings: Vec<Value> = self
            .readings
            .iter()
            .map(|r| {
                let of = |server: usize| json!({"median": median(&r.values[server]), "values": r.values[server]});
                let servers: serde_json::Map<_, _> =
                    self.servers.iter().enumerate().map(|(i, (name, _))| (name.clone(), of(i))).collect();
                json!({"row": r.row, "figure": r.figure.name, "unit": r.figure.unit,
                       "more_is_better": r.figure.more_is_better, "servers": servers, "times_better": r.ratio()})
            })
            .collect();
        let servers: Vec<Value> =
            self.servers.iter().map(|(n, v)| json!({"name": n, "version": v})).collect();
        json!({"machine": machine, "servers": servers, "readings": readings, "failures": self.failures})
    }
}

impl Reading {
    /// The median of the rounds' ratios of the first server and another: the other that does best.
    fn ratio(&self) -> Option<f64> {
        let (first, others) = self.values.split_first()?;
        let against = |other: &Vec<f64>| {
            let ratios: Vec<f64> = first
                .iter()
                .zip(other)
                .map(|(a, b)| if self.figure.more_is_better { a / b } else { b / a })
                .filter(|r| r.is_finite())
                .collect();
            median(&ratios)
        };
        others.iter().filter_map(against).min_by(f64::total_cmp)
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// `median (least–most)`.
fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "–".to_owned() };
    if values.len() == 1 {
        return number(middle);
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}–{})", number(middle), number(least), number(most))
}

/// Three digits that matter, and thousands set apart.
fn number(x: f64) -> String {
    let places = match x.abs() {
        x if x >= 100.0 => 0,
        x if x >= 10.0 => 1,
        x if x >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{x:.places$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(w, r)| (w, r));
    let digits = whole.trim_start_matches('-').len();
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        let left = whole.len() - i;
        if i > whole.len() - digits && left % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    if rest.is_empty() { out } else { format!("{out}.{rest}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn figure(value: f64, more_is_better: bool) -> Figure {
        Figure { name: "rate", unit: "1/s", value, more_is_better }
    }

    #[test]
    fn medians_and_ratios() {
        let mut report = Report::new(vec![("a".into(), "1".into()), ("b".into(), "2".into())]);
        for (a, b) in [(10.0, 1.0), (30.0, 2.0), (20.0, 1.0)] {
            report.add("up", 0, &[figure(a, true)]);
            report.add("up", 1, &[figure(b, true)]);
            report.add("down", 0, &[figure(b, false)]);
            report.add("down", 1, &[figure(a, false)]);
        }
        let table = report.table();
        assert!(
            table.contains("| up | rate | 1/s | 20.0 (10.0–30.0) | 1.00 (1.00–2.00) | 15.0 |"),
            "{table}"
        );
        assert!(
            table.contains("| down | rate | 1/s | 1.00 (1.00–2.00) | 20.0 (10.0–30.0) | 15.0 |"),
            "{table}"
        );
        assert_eq!(report.json(Value::Null)["readings"][0]["servers"]["a"]["median"], 20.0);
    }

    #[test]
    fn the_best_of_the_others_counts() {
        let mut report = Report::new(["a", "b", "c"].map(|n| (n.to_owned(), String::new())).to_vec());
        for (server, value) in [20.0, 1.0, 5.0].into_iter().enumerate() {
            report.add("up", server, &[figure(value, true)]);
        }
        assert!(report.table().contains("| 20.0 | 1.00 | 5.00 | 4.00 |"), "{}", report.table());
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0123, "0.012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (999.9, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ];
        for (x, text) in cases {
            assert_eq!(number(x), text);
        }
    }
}
