//! A plot of bars, as SVG.

use std::fmt::Write as _;

/// Colours that remain different for those who see few.
const PROXIES: [(&str, &str); 3] = [
    ("Weir", "#0072b2"),
    ("Envoy", "#e69f00"),
    ("nginx", "#999999"),
];

/// In pixels.
const LABELS: f64 = 330.0;
const BARS: f64 = 480.0;
const NUMBERS: f64 = 60.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;
const TOP: f64 = 44.0;

/// Bars of CPU per request in microseconds, a group for each title; 0 is no bar. The
/// longest are cut off where the others would not be seen beside them.
pub(super) fn of_cpu(groups: &[(&str, [f64; 3])]) -> String {
    let mut longest: Vec<f64> = groups.iter().flat_map(|(_, group)| *group).collect();
    longest.sort_by(f64::total_cmp);
    // Nine tenths of the bars are whole.
    let most = longest
        .get(longest.len() * 9 / 10)
        .copied()
        .unwrap_or(1.0)
        .max(1.0);
    let mut body = String::new();
    let mut y = TOP;
    for (title, group) in groups {
        let bars = group.iter().filter(|value| **value > 0.0).count() as f64;
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{title}</text>"#,
            LABELS - 8.0,
            y + bars * BAR / 2.0 + 4.0
        );
        for (value, (_, colour)) in group.iter().zip(PROXIES) {
            if *value > 0.0 {
                let width = (value / most).min(1.0) * BARS;
                let _ = writeln!(
                    body,
                    r#"<rect x="{LABELS}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/><text x="{:.1}" y="{:.1}" font-size="9">{value:.1}</text>"#,
                    BAR - 1.0,
                    LABELS + width + 4.0,
                    y + BAR - 2.5
                );
                y += BAR;
            }
        }
        y += GAP;
    }
    let mut legend = String::new();
    for (place, (name, colour)) in PROXIES.iter().enumerate() {
        let x = LABELS + 90.0 * place as f64;
        let _ = writeln!(
            legend,
            r#"<rect x="{x}" y="24" width="10" height="10" fill="{colour}"/><text x="{}" y="33">{name}</text>"#,
            x + 15.0
        );
    }
    let (width, height) = (LABELS + BARS + NUMBERS, y);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{LABELS}" y="16" font-weight="bold">CPU per request, microseconds (medians)</text>
{legend}{body}</svg>
"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_a_bar() {
        let plot = of_cpu(&[("plain", [10.0, 20.0, 5.0]), ("hello", [12.0, 25.0, 0.0])]);
        // Five bars, three colours of the legend, the ground.
        assert_eq!(plot.matches("<rect ").count(), 5 + 3 + 1);
        assert!(plot.contains(">25.0</text>"));
    }
}
