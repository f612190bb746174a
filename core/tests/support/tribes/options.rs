//! `Channel.parseSendOptions` and `getSendOptionsAsString`.

use folkmoot_core::wire::SendOptions;

use super::OK;
use crate::support::vector::{Vector, int};
use crate::support::{Checked, same};

pub(crate) fn parse(vector: &Vector) -> Checked {
    let parsed = vector.text("input")?.parse::<SendOptions>();
    match (parsed, int(vector.field("value")?)) {
        (Ok(options), Some(value)) => {
            same("value", options.bits(), value as u32)?;
            same("rendered", options.to_string(), vector.text("rendered")?)?;
            OK
        }
        (Err(error), None) => {
            same("value", "error", vector.text("value")?)?;
            same("a reason", error.to_string().is_empty(), false)?;
            OK
        }
        (Ok(options), None) => Err(format!("read as {options:?}, should be refused")),
        (Err(error), Some(value)) => Err(format!("refused ({error}), should be {value}")),
    }
}
