//! Small bar charts, as SVG in the page.
//!
//! A chart draws what the page says in numbers as well; it never says anything alone.

use askama::Template;

/// Height of the tallest bar, in the chart's own units.
const HEIGHT: u64 = 60;

/// Width of the whole chart.
const WIDTH: usize = 340;

/// Room for one bar at most, however few there are.
const WIDEST: usize = 56;

/// What one bar stands for.
pub(super) struct Value {
    /// How much.
    pub amount: u64,
    /// Below the bar; empty for none.
    pub label: String,
    /// Something is wrong with it.
    pub bad: bool,
}

struct Bar {
    x: usize,
    y: u64,
    height: u64,
    label: String,
    bad: bool,
}

/// A row of bars from left to right.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    id: String,
    caption: String,
    width: usize,
    bars: Vec<Bar>,
}

impl Chart {
    /// Bars of these amounts; `id` is the name of its caption in the page.
    pub(super) fn of(id: impl Into<String>, caption: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let values: Vec<Value> = values.into_iter().collect();
        let most = values.iter().map(|value| value.amount).max().unwrap_or(0).max(1);
        let step = (WIDTH / values.len().max(1)).min(WIDEST);
        let bars = values.into_iter().enumerate().map(|(n, Value { amount, label, bad })| {
            // Something is seen of the smallest, and nothing of nothing.
            let height = if amount == 0 { 0 } else { (amount * HEIGHT / most).max(1) };
            Bar { x: n * step, y: HEIGHT - height, height, label, bad }
        });
        Self { id: id.into(), caption: caption.to_owned(), width: (step * 3 / 4).max(2), bars: bars.collect() }
    }
}
