//! One self-contained page that shows a run: no network, no other file.

use serde_json::Value;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("page/trace.js"),
    include_str!("page/timeline.js"),
    include_str!("page/overview.js"),
    include_str!("page/panel.js"),
    include_str!("page/events.js"),
    include_str!("page/main.js"),
];

/// The page that shows a [`document`](crate::document); without one, an empty page that waits for a run.
pub fn page(document: Option<&Value>) -> String {
    // In a script element nothing but its end tag and comments could do harm.
    let data = document.map(|document| document.to_string().replace('<', "\\u003c"));
    let script = SCRIPTS.concat();
    let mut page = String::with_capacity(data.as_ref().map_or(0, String::len) + (128 << 10));
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or(("", after));
        page.push_str(before);
        page.push_str(match name {
            "style" => STYLE,
            "script" => &script,
            "trace" => data.as_deref().unwrap_or_default(),
            _ => "",
        });
        rest = after;
    }
    page.push_str(rest);
    page
}
