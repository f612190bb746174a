//! What a request asks and how it is answered: query parameters in, one JSON object out.

use axum::Json;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use folkmoot::SessionError;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

/// The parameters of a request.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Refusal> {
        match Query::try_from_uri(uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(Refusal::bad(format!("the query cannot be read: {error}"))),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::bad(format!("parameter {name} is missing")))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Refusal> {
        let text = self.required(name)?;
        text.parse().map_err(|_| {
            Refusal::bad(format!(
                "parameter {name}: `{text}` is not a number in range"
            ))
        })
    }
}

/// A request that cannot be answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn bad(why: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            why,
        }
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            why: format!("there is no {what}"),
        }
    }
}

/// A store or cluster failure.
impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            why: error.to_string(),
        }
    }
}

/// The fields of an answer, without `node`.
pub(crate) type Fields = Map<String, Value>;

/// The response: the fields and the node's name, or the refusal.
pub(crate) fn respond(node: &str, outcome: Result<Fields, Refusal>) -> Response {
    let (status, mut fields) = match outcome {
        Ok(fields) => (StatusCode::OK, fields),
        Err(refusal) => {
            let mut fields = Fields::new();
            fields.insert("error".into(), json!(refusal.why));
            (refusal.status, fields)
        }
    };
    fields.insert("node".into(), json!(node));
    (status, Json(Value::Object(fields))).into_response()
}
