//! The parameters of a request, from its query and its body.

use std::str::FromStr;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::answer::ErrorResponse;

/// Names and values from the query and from the body, if there is one.
///
/// Each is taken once by its name; [`finish`](Self::finish) rejects those that are left.
#[derive(Debug, Default)]
pub(super) struct Fields {
    fields: Vec<(String, String)>,
    taken: Vec<&'static str>,
}

/// The most bytes of a body: any valid one fits into a few hundred.
const LONGEST_BODY: usize = 16 << 10;

impl Fields {
    pub(super) fn of_query(query: Option<&str>) -> Self {
        let query = query.unwrap_or_default().as_bytes();
        Self {
            fields: form_urlencoded::parse(query).into_owned().collect(),
            taken: Vec::new(),
        }
    }

    /// Reads the query and the body together.
    pub(super) async fn of_request(request: Request) -> Result<Self, ErrorResponse> {
        let (parts, body) = request.into_parts();
        let mut fields = Self::of_query(parts.uri.query());
        let body = read(body).await?;
        if !body.is_empty() {
            fields.fields.extend(match format(&parts.headers)? {
                BodyFormat::Form => form_urlencoded::parse(&body).into_owned().collect(),
                BodyFormat::Json => of_json(&body)?,
            });
        }
        Ok(fields)
    }

    /// Takes a parameter that may be given several times.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.taken.push(name);
        self.fields
            .extract_if(.., |(given, _)| *given == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// Takes a parameter that may be given once.
    pub(super) fn one(&mut self, name: &'static str) -> Result<Option<String>, ErrorResponse> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(ErrorResponse::bad_request(format!(
                "`{name}` is given more than once"
            ))),
        }
    }

    /// Takes a parameter, treating an empty value as absent, because forms send empty ones.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ErrorResponse> {
        Ok(self.one(name)?.filter(|value| !value.is_empty()))
    }

    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, ErrorResponse> {
        let parse = |value: String| {
            value.parse().map_err(|_| {
                ErrorResponse::bad_request(format!("`{name}` is {value:?}: expected {expected}"))
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    /// Takes a parameter whose value is one of a few names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ErrorResponse> {
        let Some(value) = self.text(name)? else {
            return Ok(None);
        };
        match choices.iter().find(|(choice, _)| *choice == value) {
            Some((_, chosen)) => Ok(Some(*chosen)),
            None => {
                let choices: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
                Err(ErrorResponse::bad_request(format!(
                    "`{name}` is {value:?}: expected one of {}",
                    choices.join(", ")
                )))
            }
        }
    }

    /// Takes a flag; the name alone means true.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, ErrorResponse> {
        match self.one(name)?.as_deref() {
            None => Ok(None),
            Some("" | "true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(value) => Err(ErrorResponse::bad_request(format!(
                "`{name}` is {value:?}: expected true or false"
            ))),
        }
    }

    /// Rejects parameters that were not taken: a misspelt `dry_run` must not purge.
    pub(super) fn finish(self) -> Result<(), ErrorResponse> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => Err(ErrorResponse::bad_request(format!(
                "there is no parameter {name:?} here; use {}",
                self.taken.join(", ")
            ))),
        }
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, ErrorResponse> {
    to_bytes(body, LONGEST_BODY).await.map_err(|_| {
        ErrorResponse::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the body could not be read to its end; it may have at most {LONGEST_BODY} bytes"
            ),
        )
    })
}

enum BodyFormat {
    Form,
    Json,
}

fn format(headers: &HeaderMap) -> Result<BodyFormat, ErrorResponse> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(BodyFormat::Json);
    };
    let given = String::from_utf8_lossy(given.as_bytes());
    let media_type = given.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" => Ok(BodyFormat::Json),
        "application/x-www-form-urlencoded" => Ok(BodyFormat::Form),
        _ => Err(ErrorResponse::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "a body of type {media_type:?} is not supported; send application/json, \
                 application/x-www-form-urlencoded, or parameters in the query"
            ),
        )),
    }
}

fn of_json(body: &[u8]) -> Result<Vec<(String, String)>, ErrorResponse> {
    let value = serde_json::from_slice(body)
        .map_err(|error| ErrorResponse::bad_request(format!("the body is not JSON: {error}")))?;
    let Value::Object(members) = value else {
        return Err(ErrorResponse::bad_request(
            "the body is not an object; send for example {\"pattern\": \"/products/**\"}",
        ));
    };
    let mut fields = Vec::with_capacity(members.len());
    for (name, value) in members {
        match value {
            Value::Null => {}
            Value::Array(values) => {
                for value in values {
                    let value = scalar(&name, value)?;
                    fields.push((name.clone(), value));
                }
            }
            value => {
                let value = scalar(&name, value)?;
                fields.push((name, value));
            }
        }
    }
    Ok(fields)
}

fn scalar(name: &str, value: Value) -> Result<String, ErrorResponse> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(ErrorResponse::bad_request(format!(
            "{name:?} is neither a string, a number, true nor false"
        ))),
    }
}
