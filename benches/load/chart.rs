//! The chart: throughput and CPU per request by connections, as bars, one colour for each contender.

use std::fmt::Write as _;

use crate::{plan::Contender, report::Row};

const WIDTH: f64 = 900.0;
const PANEL_HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const GAP: f64 = 70.0;

/// One series of bars.
struct Series {
    name: &'static str,
    color: &'static str,
    group: &'static str,
    contender: Contender,
}

const SERIES: [Series; 5] = [
    Series { name: "nginx", color: "#9aa5b1", group: "process", contender: Contender::Nginx },
    Series { name: "bare proxy", color: "#5b8def", group: "process", contender: Contender::Bare },
    Series { name: "full path, relaxed", color: "#7bc8a4", group: "relaxed", contender: Contender::Full },
    Series { name: "full path, process", color: "#2f9e6e", group: "process", contender: Contender::Full },
    Series { name: "full path, power", color: "#e0913a", group: "power", contender: Contender::Full },
];

/// A whole SVG document.
pub fn draw(rows: &[Row]) -> String {
    let height = TOP + 2.0 * (PANEL_HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut x = LEFT;
    for series in &SERIES {
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{}\"/>", series.color);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"24\">{}</text>", x + 17.0, series.name);
        x += 155.0;
    }
    panel(&mut svg, rows, TOP, "requests per second", |row| Some(row.per_second));
    panel(&mut svg, rows, TOP + PANEL_HEIGHT + GAP, "CPU µs per request of the proxy", |row| row.cpu_us_per_request);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, rows: &[Row], top: f64, title: &str, figure: fn(&Row) -> Option<f64>) {
    let mut levels: Vec<usize> = rows.iter().filter(|row| row.group == "process").map(|row| row.connections).collect();
    levels.dedup();
    levels.sort_unstable();
    levels.dedup();
    let value = |series: &Series, connections: usize| {
        let mut found = rows.iter().filter(|row| row.group == series.group && row.contender == series.contender);
        found.find(|row| row.connections == connections).and_then(figure).filter(|value| value.is_finite())
    };
    let all = SERIES.iter().flat_map(|series| levels.iter().filter_map(move |level| value(series, *level)));
    let most = all.fold(1.0, f64::max);
    let bottom = top + PANEL_HEIGHT;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 8.0);
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let y = bottom - share * PANEL_HEIGHT;
        let _ = writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/>", WIDTH - 20.0);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{:.0}</text>", LEFT - 6.0, y + 4.0, share * most);
    }
    let slot = (WIDTH - LEFT - 20.0) / levels.len().max(1) as f64;
    let bar = slot * 0.8 / SERIES.len() as f64;
    for (number, connections) in levels.iter().enumerate() {
        let start = LEFT + slot * (number as f64 + 0.1);
        for (position, series) in SERIES.iter().enumerate() {
            let Some(value) = value(series, *connections) else { continue };
            let (x, height) = (start + bar * position as f64, value / most * PANEL_HEIGHT);
            let y = bottom - height;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"><title>{}, {connections} connections: {value:.1}</title></rect>",
                bar * 0.92,
                series.color,
                series.name
            );
        }
        let middle = start + slot * 0.4;
        let plural = if *connections == 1 { "" } else { "s" };
        let _ =
            writeln!(svg, "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{connections} connection{plural}</text>", bottom + 18.0);
    }
}
