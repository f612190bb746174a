//! One self-contained page that shows a run, or runs a seed itself and shows that: no network, no other file.

use serde_json::Value;

use crate::run::{MODES, Mode};
use crate::sessions::SessionMode;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 7] = [
    include_str!("page/trace.js"),
    include_str!("page/timeline.js"),
    include_str!("page/overview.js"),
    include_str!("page/panel.js"),
    include_str!("page/events.js"),
    include_str!("page/main.js"),
    include_str!("page/simulator.js"),
];

/// The page that shows a [`document`](crate::document); without one, an empty page that waits for a run.
pub fn page(document: Option<&Value>) -> String {
    // In a script element nothing but its end tag and comments could do harm.
    let data = document.map(|document| document.to_string().replace('<', "\\u003c"));
    fill(data.as_deref().unwrap_or_default(), "")
}

/// The page with the simulator inside, which runs any seed in the browser: `module` is that of `sim/wasm`.
pub fn simulator_page(module: &[u8]) -> String {
    fill("", &base64(module))
}

fn fill(trace: &str, module: &str) -> String {
    let script = SCRIPTS.concat();
    let modes = MODES.iter().enumerate().map(|(place, name)| {
        let chosen = if *name == SessionMode::NAME {
            " selected"
        } else {
            ""
        };
        format!("<option value=\"{place}\"{chosen}>{name}</option>")
    });
    let modes: String = modes.collect();
    let mut page = String::with_capacity(trace.len() + module.len() + (128 << 10));
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or(("", after));
        page.push_str(before);
        page.push_str(match name {
            "style" => STYLE,
            "script" => &script,
            "trace" => trace,
            "module" => module,
            "modes" => &modes,
            _ => "",
        });
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Bytes as `atob` of a browser reads them.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            text.push(if digit <= three.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let table: [(&[u8], &str); 7] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"\xFF\xFE\xFB", "//77"),
        ];
        for (bytes, text) in table {
            assert_eq!(base64(bytes), text);
        }
    }
}
