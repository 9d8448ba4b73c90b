//! Small bar charts as SVG. The page shows every number as text too.
//!
//! In a chart with labels, each bar has its own line, because labels below the bars would overlap on a narrow screen.

use askama::Template;

use crate::model::grouped;

/// Height of the tallest bar, in SVG units.
const HEIGHT: u64 = 60;

/// Width of the chart, in SVG units.
const WIDTH: usize = 340;

/// Maximum distance between the left edges of two bars, in SVG units.
const WIDEST: usize = 56;

pub(super) struct Value {
    pub amount: u64,
    /// The text before the bar; empty in a chart without labels.
    pub label: String,
    /// `true` if the bar is drawn in the colour of an error.
    pub bad: bool,
}

struct Bar {
    x: usize,
    y: u64,
    height: u64,
    /// Length of the bar in a chart with labels, in percent of the longest bar.
    percent: u64,
    label: String,
    amount: String,
    bad: bool,
}

#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    id: String,
    caption: String,
    width: usize,
    has_labels: bool,
    bars: Vec<Bar>,
}

impl Chart {
    /// Builds a bar chart. `id` is the HTML ID of its caption.
    pub(super) fn of(id: impl Into<String>, caption: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let values: Vec<Value> = values.into_iter().collect();
        let most = values.iter().map(|value| value.amount).max().unwrap_or(0).max(1);
        let step = (WIDTH / values.len().max(1)).min(WIDEST);
        let bars = values.into_iter().enumerate().map(|(n, Value { amount, label, bad })| {
            // An amount above zero gets a bar of at least one unit, so that it is visible.
            let height = if amount == 0 { 0 } else { (amount * HEIGHT / most).max(1) };
            let percent = if amount == 0 { 0 } else { (amount * 100 / most).max(1) };
            Bar { x: n * step, y: HEIGHT - height, height, percent, label, amount: grouped(amount), bad }
        });
        let bars: Vec<Bar> = bars.collect();
        let has_labels = bars.iter().any(|bar| !bar.label.is_empty());
        Self { has_labels, bars, id: id.into(), caption: caption.to_owned(), width: (step * 3 / 4).max(2) }
    }
}
